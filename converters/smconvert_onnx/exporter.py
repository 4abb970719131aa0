"""ONNX out: one file for a signature, or a folder with one for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from smconvert.converters import Artifact, Executable, TargetOptions
from smconvert.errors import ConversionError, UsageError
from smconvert.graph.constants import folded
from smconvert.graph.freeze import KEPT_OUT_BYTES, FrozenGraph, freeze, whole
from smconvert.graph.names import full, legal_names, node_of, unused_name
from smconvert.graph.ops import nodes_of
from smconvert.graph.sole import sole_signature
from smconvert.model import Array, CanonicalModel, DType, Signature, SignatureInfo, TensorInfo
from smconvert_onnx import audit, tf2onnx_engine
from smconvert_onnx.canonical import canonicalize
from smconvert_onnx.decompositions import decomposed
from smconvert_onnx.initializers import (
    Initializer,
    fold,
    of_weights,
    taken_out,
    write,
    write_external,
)
from smconvert_onnx.metadata import METADATA
from smconvert_onnx.opsets import NEWEST, raised
from smconvert_onnx.tf2onnx_engine import MAX_OPSET, MIN_OPSET

SUFFIX = ".onnx"
DATA_SUFFIX = ".data"
MAX_BYTES = (1 << 31) - (1 << 20)
EXTERNAL_BYTES = 1024
"""Smaller initializers stay in the model file, for shape inference to see them."""

LOOPS = frozenset(
    {"Enter", "While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}
)


@dataclass(frozen=True)
class Written:
    """One written file, the name each output got, and what was done."""

    path: Path
    companions: tuple[Path, ...]
    output_names: Mapping[str, str]
    facts: Mapping[str, Any]


class OnnxExporter:
    """Writes ``.onnx`` files."""

    format = "onnx"
    suffixes = (SUFFIX,)
    accepts = frozenset({"opset", "external_data"})

    def destination(self, path: Path, options: TargetOptions) -> Path:
        """The file or folder itself."""
        return path

    def save(self, model: CanonicalModel, path: Path, options: TargetOptions) -> Artifact:
        """Writes one signature to a ``.onnx`` file, or each to a file of a folder.

        Raises:
            UsageError: several signatures for one file, or an opset that cannot be written.
            ConversionError: the model cannot be expressed in ONNX.
        """
        opset = MAX_OPSET if options.opset is None else options.opset
        if not MIN_OPSET <= opset <= NEWEST:
            raise UsageError(
                f"opset {opset} cannot be written",
                where="--opset",
                hint=f"choose one from {MIN_OPSET} to {NEWEST}",
            )
        if path.suffix.lower() == SUFFIX:
            signature = sole_signature(model, "an ONNX file")
            written = _write(signature, model, path, opset, options)
            return Artifact(
                self.format,
                path,
                written.companions,
                {signature.name: _executable(signature, written)},
                written.facts,
            )
        path.mkdir()
        names = legal_names(list(model.signatures))
        executables, facts = {}, {}
        for name, signature in model.signatures.items():
            file = path / (names[name].replace("/", "_") + SUFFIX)
            written = _write(signature, model, file, opset, options)
            executables[name] = _executable(signature, written)
            facts[name] = {"file": file.name, **written.facts}
        return Artifact(self.format, path, (), executables, {"signatures": facts})


def _write(
    signature: Signature, model: CanonicalModel, path: Path, opset: int, options: TargetOptions
) -> Written:
    frozen = freeze(signature)
    audit.ensure_convertible(frozen)
    if _needs_values(frozen):
        frozen = whole(frozen)
    ends = {node_of(o.tensor or "") for o in frozen.outputs}
    graph = decomposed(folded(frozen.graph, ends, KEPT_OUT_BYTES))
    frozen = replace(frozen, graph=graph)
    output_names = dict(_output_names(signature))
    weight_names = dict(_weight_names(frozen, output_names.values()))
    renames = {i.tensor or "": i.name for i in frozen.inputs}
    renames |= {o.tensor or "": output_names[o.name] for o in frozen.outputs}
    renames |= {full(node): name for node, name in weight_names.items()}
    converted = tf2onnx_engine.to_onnx(frozen, min(opset, MAX_OPSET), renames)
    weights = of_weights(frozen.weights, weight_names)
    finished = canonicalize(_finished(converted, frozen, output_names, weights))
    initializers = fold(finished, weights)
    if opset > MAX_OPSET:
        finished = raised(finished, opset)
    facts = {
        "opset": opset,
        "nodes_in": frozen.nodes_before,
        "nodes_out": len(finished.graph.node),
        "provenance": asdict(replace(model.provenance, changes=())),
        "changes": [*model.provenance.changes, *frozen.changes],
        "signature": signature.name,
        "method": signature.method,
        "output_names": {k: v for k, v in output_names.items() if k != v},
    }
    _describe(finished, facts)
    audit.ensure_valid(finished)
    companions = _save(finished, initializers, path, options)
    return Written(path, companions, output_names, facts)


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


def _output_names(signature: Signature) -> Iterator[tuple[str, str]]:
    """Each output's name in the graph, where an input may not have the same."""
    taken = {i.name for i in signature.inputs} | {o.name for o in signature.outputs}
    for output in signature.outputs:
        name = output.name
        if any(i.name == name for i in signature.inputs):
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
    batch = _shares_batch(frozen)
    inputs = [_value_info(i, i.name, batch) for i in frozen.inputs]
    outputs = [_value_info(o, output_names[o.name], batch) for o in frozen.outputs]
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


def _describe(model: onnx.ModelProto, facts: Mapping[str, Any]) -> None:
    """Names the signature and puts the provenance into the model."""
    model.graph.name = str(facts["signature"])
    model.producer_name = "smconvert"
    model.producer_version = version("smconvert")
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key = METADATA
    entry.value = json.dumps(facts, ensure_ascii=False, sort_keys=True)


def _initializer(default: Array, info: TensorInfo) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(default), info.name)


def _shares_batch(frozen: FrozenGraph) -> bool:
    """Whether every input of a known rank leaves its first dimension free."""
    shapes = [i.shape for i in frozen.inputs if i.shape]
    return bool(shapes) and all(shape[0] is None for shape in shapes if shape)


def _value_info(info: TensorInfo, name: str, batch: bool) -> onnx.ValueInfoProto:
    shape: list[int | str] | None = None
    if info.shape is not None:
        shape = [
            dim
            if isinstance(dim, (int, str))
            else ("batch" if axis == 0 and batch else f"{name}_dim{axis}")
            for axis, dim in enumerate(info.shape)
        ]
    return onnx.helper.make_tensor_value_info(name, _element_type(info.dtype, name), shape)


def _element_type(dtype: DType, name: str) -> int:
    if dtype is DType.STRING:
        return int(onnx.TensorProto.STRING)
    try:
        return int(onnx.helper.np_dtype_to_tensor_dtype(dtype.numpy))
    except (ValueError, KeyError) as error:
        raise ConversionError(f"ONNX has no type {dtype.label}", where=name) from error


def _save(
    model: onnx.ModelProto,
    initializers: Sequence[Initializer],
    path: Path,
    options: TargetOptions,
) -> tuple[Path, ...]:
    """Writes the file; weights beside it when they are asked to be, or do not fit."""
    size = model.ByteSize() + sum(i.bytes for i in initializers)
    if not options.external_data and size <= MAX_BYTES:
        write(model, initializers, path)
        return ()
    model, own = taken_out(model, EXTERNAL_BYTES)
    if not (own or initializers):
        write(model, (), path)
        return ()
    data = path.with_name(path.name + DATA_SUFFIX)
    write_external(model, [*own, *initializers], path, data)
    return (data,)


def _executable(signature: Signature, written: Written) -> Executable:
    info = SignatureInfo(signature.name, signature.inputs, signature.outputs, signature.method)
    renamed = {k: v for k, v in written.output_names.items() if k != v}
    return Executable("ort", written.path, info, {"output_names": renamed})
