"""A frozen graph as an ONNX model: the one way from the one to the other."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from smconvert.errors import ConversionError
from smconvert.graph.constants import folded
from smconvert.graph.freeze import KEPT_OUT_BYTES, FrozenGraph, whole
from smconvert.graph.names import full, node_of, unused_name
from smconvert.graph.ops import nodes_of
from smconvert.graph.simplify import FLOW, without_identities
from smconvert.model import Array, DType, TensorInfo
from smconvert_onnx import audit, tf2onnx_engine
from smconvert_onnx.canonical import canonicalize
from smconvert_onnx.complex_parts import in_parts
from smconvert_onnx.flow import functional
from smconvert_onnx.handlers.builder import ONNX_TYPES, QUANTIZED
from smconvert_onnx.initializers import Initializer, fold, of_weights
from smconvert_onnx.opsets import raised
from smconvert_onnx.scaling import scaled
from smconvert_onnx.widening import widened

LOG = logging.getLogger(__name__)

LOOPS = frozenset(
    {"Enter", "While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}
)


@dataclass(frozen=True)
class Lowered:
    """An ONNX model, not yet written.

    Attributes:
        model: The graph; its last inputs stand for ``initializers``.
        initializers: The weights, in the order of those inputs.
        output_names: Output of the signature to its name in the graph.
    """

    model: onnx.ModelProto
    initializers: list[Initializer]
    output_names: Mapping[str, str]

    @property
    def opset(self) -> int:
        """The version of the standard operator set."""
        return next(o.version for o in self.model.opset_import if not o.domain)


def lower(frozen: FrozenGraph, opset: int, *, extensions: bool = False) -> Lowered:
    """The ONNX model that computes what ``frozen`` does.

    Args:
        frozen: The graph.
        opset: Version of the standard operator set.
        extensions: Whether ops of onnxruntime-extensions may be used.

    Raises:
        ConversionError: ONNX cannot say it, or smconvert does not know how.
    """
    if frozen.weights and _needs_values(frozen):
        LOG.info("the weights stay in the graph: it has a loop, which may be an LSTM")
        frozen = whole(frozen)
    ends = {node_of(o.tensor or "") for o in frozen.outputs}
    frozen = functional(replace(frozen, graph=folded(frozen.graph, ends, KEPT_OUT_BYTES)))
    frozen = in_parts(_short(frozen, ends))
    audit.ensure_convertible(frozen.graph, extensions=extensions)
    output_names = dict(_output_names(frozen))
    weight_names = dict(_weight_names(frozen, output_names.values()))
    renames = {i.tensor or "": i.name for i in frozen.inputs}
    renames |= {o.tensor or "": output_names[o.name] for o in frozen.outputs}
    renames |= {full(node): name for node, name in weight_names.items()}
    converted = tf2onnx_engine.to_onnx(frozen, opset, renames, extensions=extensions)
    weights = of_weights(frozen.weights, weight_names)
    model = canonicalize(_finished(converted, frozen, output_names, weights))
    initializers = scaled(model, fold(model, weights))
    model = widened(raised(model, opset))
    _name_dimensions(model, len(frozen.inputs))
    return Lowered(model, initializers, output_names)


def _short(frozen: FrozenGraph, ends: Collection[str]) -> FrozenGraph:
    """The same without Identities, of which tf2onnx would make nodes to take out again."""
    if any(node.op in FLOW for node in frozen.graph.node):
        return frozen
    return replace(frozen, graph=without_identities(frozen.graph, ends))


def _needs_values(frozen: FrozenGraph) -> bool:
    """Whether tf2onnx looks into the weights: to make an LSTM or a GRU of a loop."""
    return any(node.op in LOOPS for node in nodes_of(frozen.graph))


def _weight_names(frozen: FrozenGraph, outputs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each weight's name in the graph."""
    taken = {i.name for i in frozen.inputs} | set(outputs)
    for weight in frozen.weights:
        name = unused_name(weight.node, taken)
        taken.add(name)
        yield weight.node, name


def _output_names(frozen: FrozenGraph) -> Iterator[tuple[str, str]]:
    """Each output's name in the graph, where an input may not have the same."""
    taken = {i.name for i in frozen.inputs} | {o.name for o in frozen.outputs}
    for output in frozen.outputs:
        name = output.name
        if any(i.name == name for i in frozen.inputs):
            name = f"{name}_out"
            while name in taken:
                name += "_"
        yield output.name, name


def _finished(
    model: onnx.ModelProto,
    frozen: FrozenGraph,
    output_names: Mapping[str, str],
    weights: Sequence[Initializer],
) -> onnx.ModelProto:
    """The model with the signature's inputs and outputs, in its order, and then the weights."""
    graph = model.graph
    has_initializer = {t.name for t in graph.initializer}
    inputs = [_value_info(i, i.name) for i in frozen.inputs]
    outputs = [_value_info(o, output_names[o.name]) for o in frozen.outputs]
    beside = {weight.name for weight in weights}
    inputs += [value for value in graph.input if value.name in beside]
    del graph.input[:]
    del graph.output[:]
    graph.input.extend(inputs)
    graph.output.extend(outputs)
    for info in frozen.inputs:
        if info.default is not None and info.name not in has_initializer:
            graph.initializer.append(_initializer(info.default, info))
    return model


def _initializer(default: Array, info: TensorInfo) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(default), info.name)


def _value_info(info: TensorInfo, name: str) -> onnx.ValueInfoProto:
    """An input or output; a dimension that has no name of its own has none yet."""
    shape = None if info.shape is None else list(info.shape)
    return onnx.helper.make_tensor_value_info(name, _element_type(info.dtype, name), shape)


def _name_dimensions(model: onnx.ModelProto, count: int) -> None:
    """Gives a name to each free dimension of the signature's ``count`` inputs, and of its outputs.

    The first one of a single input is the ``batch``. Two dimensions have one name only where
    inference says that they are equal: ONNX Runtime lays out its memory by these names.
    """
    inputs = model.graph.input[:count]
    for value in inputs:
        for axis, dim in _free(value):
            dim.dim_param = "batch" if count == 1 and axis == 0 else f"{value.name}_dim{axis}"
    inferred = shape_inference.infer_shapes(model)
    for value, known in zip(model.graph.output, inferred.graph.output, strict=True):
        dims = known.type.tensor_type.shape.dim
        for axis, dim in _free(value):
            dim.dim_param = dims[axis].dim_param or f"{value.name}_dim{axis}"


def _free(
    value: onnx.ValueInfoProto,
) -> Iterator[tuple[int, onnx.TensorShapeProto.Dimension]]:
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if not dim.HasField("dim_value") and not dim.dim_param:
            yield axis, dim


def _element_type(dtype: DType, name: str) -> int:
    if dtype is DType.STRING:
        return int(onnx.TensorProto.STRING)
    if dtype.label in QUANTIZED:
        return ONNX_TYPES[dtype]
    try:
        return int(onnx.helper.np_dtype_to_tensor_dtype(dtype.numpy))
    except (ValueError, KeyError) as error:
        raise ConversionError(f"ONNX has no type {dtype.label}", where=name) from error
