"""tf2onnx, fenced in. Tested with tf2onnx 1.17.

tf2onnx keeps a table of functions and its log levels global, logs unsupported ops instead of
raising, and its public entry points swallow handlers' exceptions. This module calls the two steps
below those entry points, one conversion at a time.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx

from smconvert.errors import ConversionError, SmconvertError
from smconvert.graph.freeze import FrozenGraph
from smconvert.graph.names import full
from smconvert_onnx.cells import verified_cells
from smconvert_onnx.fusions import rewriters
from smconvert_onnx.handlers.builder import ONNX_TYPES, QUANTIZED, Table
from smconvert_onnx.insertion_order import insertion_order
from smconvert_onnx.own_handlers import own_handlers
from smconvert_onnx.paddings import merged_pads
from smconvert_onnx.sweeps import single_sweeps
from smconvert_onnx.walk import every_node

MAX_OPSET = 18
"""The newest operator set that tf2onnx writes."""

_LOCK = threading.Lock()


def to_onnx(
    frozen: FrozenGraph, opset: int, renames: Mapping[str, str], *, extensions: bool = False
) -> onnx.ModelProto:
    """Converts a frozen graph.

    Args:
        frozen: The graph; its inputs and outputs become those of the ONNX graph, and so do the
            placeholders of its weights.
        opset: ONNX operator set version. Above 18 the model is still one of 18, but for nodes
            of the domain ``NEXT``, which ``opsets.raised`` brings home.
        renames: Tensor of the frozen graph to its name in the ONNX graph.
        extensions: Whether ops of onnxruntime-extensions may be written.

    Raises:
        ConversionError: an op cannot be written as it is used, or a handler of tf2onnx failed.
    """
    import tensorflow as tf

    _import_tf2onnx()
    with (
        _LOCK,
        _quiet(),
        insertion_order(),
        single_sweeps(),
        _unknown_ranks(),
        _more_types(),
        merged_pads(),
        verified_cells(),
        own_handlers(opset, extensions=extensions, tables=_tables(frozen)),
    ):
        try:
            with tf.Graph().as_default() as graph:
                tf.graph_util.import_graph_def(frozen.graph, name="")
                return _convert(graph, frozen, opset, renames)
        except SmconvertError:
            raise
        except Exception as error:
            raise ConversionError(
                f"tf2onnx cannot convert the graph: {_last_line(error)}",
                hint="convert to a SavedModel or a frozen graph, which hold any TensorFlow op",
            ) from error


def _convert(
    graph: Any, frozen: FrozenGraph, target: int, renames: Mapping[str, str]
) -> onnx.ModelProto:
    from tf2onnx import optimizer, tfonnx, utils

    from smconvert_onnx.passes import ExactBackToBackOptimizer, ExactReshapeOptimizer
    from smconvert_onnx.transposes import FasterTransposeOptimizer

    # The counter behind the names that tf2onnx makes, by which some of its passes sort.
    utils.INTERNAL_NAME = 1
    converted = tfonnx.process_tf_graph(
        graph,
        continue_on_error=False,
        opset=min(target, MAX_OPSET),
        input_names=[
            *(i.tensor for i in frozen.inputs),
            *(full(weight.node) for weight in frozen.weights),
        ],
        output_names=[o.tensor for o in frozen.outputs],
        tensors_to_rename=dict(renames),
        custom_rewriter=[*rewriters(target)],
    )
    passes = {
        **optimizer._get_optimizers(),
        "optimize_transpose": FasterTransposeOptimizer,
        "reshape_optimizer": ExactReshapeOptimizer,
        "remove_back_to_back": ExactBackToBackOptimizer,
    }
    # Our handler has taken the products out; the pass fails on the diagonals that are left.
    del passes["einsum_optimizer"]
    optimized = optimizer.optimize_graph(converted, catch_errors=False, optimizers=passes)
    model: onnx.ModelProto = optimized.make_model("smconvert")
    declared = {o.domain for o in model.opset_import}
    used = {node.domain for node in every_node(model.graph)} - declared - {""}
    model.opset_import.extend(onnx.helper.make_opsetid(domain, 1) for domain in sorted(used))
    return model


def _import_tf2onnx() -> None:
    """Imports tf2onnx without TensorFlow's loader of SavedModels, which takes half a second.

    tf2onnx asks for one of its types together with one that no TensorFlow 2.21 has, and goes on
    without both.
    """
    loader = "tensorflow.python.saved_model.load"
    unused = "tf2onnx.tf_loader" not in sys.modules and loader not in sys.modules
    if unused:
        sys.modules[loader] = None  # type: ignore[assignment]
    try:
        import tf2onnx.tfonnx  # noqa: F401
    finally:
        if unused:
            del sys.modules[loader]


@contextlib.contextmanager
def _unknown_ranks() -> Iterator[None]:
    """Leaves inputs of unknown rank what they are; tf2onnx would take them for scalars."""
    from tf2onnx import shape_inference

    infer = shape_inference.infer_shape_for_op

    def infer_shape_for_op(op: Any) -> Any:
        if op.type == "Placeholder" and op.outputs[0].shape.rank is None:
            return False
        return infer(op)

    shape_inference.infer_shape_for_op = infer_shape_for_op
    try:
        yield
    finally:
        shape_inference.infer_shape_for_op = infer


@contextlib.contextmanager
def _more_types() -> Iterator[None]:
    """Has tf2onnx call bfloat16 by its name, not float16, and know quantized types.

    The integers of a quantized constant are the one field of a numpy record.
    """
    import ml_dtypes
    from tensorflow.core.framework import types_pb2
    from tf2onnx import tf_utils, utils

    kinds, arrays = tf_utils.TF_TO_ONNX_DTYPE, utils.ONNX_TO_NUMPY_DTYPE
    read = tf_utils.get_tf_tensor_data

    def get_tf_tensor_data(tensor: Any) -> Any:
        array = read(tensor)
        return array if array.dtype.names is None else array.view(array.dtype[0])

    ours = {types_pb2.DT_BFLOAT16: onnx.TensorProto.BFLOAT16}
    ours |= {d.number: number for d, number in ONNX_TYPES.items() if d.label in QUANTIZED}
    before = {kind: kinds.get(kind) for kind in ours}
    kinds.update(ours)
    arrays[onnx.TensorProto.BFLOAT16] = ml_dtypes.bfloat16
    tf_utils.get_tf_tensor_data = get_tf_tensor_data
    try:
        yield
    finally:
        for kind, number in before.items():
            if number is None:
                del kinds[kind]
            else:
                kinds[kind] = number
        del arrays[onnx.TensorProto.BFLOAT16]
        tf_utils.get_tf_tensor_data = read


def _tables(frozen: FrozenGraph) -> dict[bytes, Table]:
    shared = {n.name: n.attr["shared_name"].s for n in frozen.graph.node if n.op == "HashTableV2"}
    return {shared[t.node]: Table(t.keys, t.values) for t in frozen.tables}


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip()[:300] if lines else ''}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences tf2onnx and TensorFlow: what they log as errors, the audit refuses by name."""
    loggers = _loggers(("tf2onnx", "tensorflow", "absl"))
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _loggers(names: Sequence[str]) -> list[Any]:
    return [logging.getLogger(name) for name in names]
