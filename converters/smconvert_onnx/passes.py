"""Two passes of tf2onnx where they would change what a model computes. Tested with tf2onnx 1.17."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx.optimizer import back_to_back_optimizer
from tf2onnx.optimizer.back_to_back_optimizer import BackToBackOptimizer
from tf2onnx.optimizer.reshape_optimizer import ReshapeOptimizer

_DIGITS: Mapping[int, int] = {
    TensorProto.BFLOAT16: 8,
    TensorProto.FLOAT16: 11,
    TensorProto.FLOAT: 24,
    TensorProto.DOUBLE: 53,
}
_BITS: Mapping[int, int] = {
    TensorProto.BOOL: 1,
    TensorProto.INT8: 7,
    TensorProto.UINT8: 8,
    TensorProto.INT16: 15,
    TensorProto.UINT16: 16,
    TensorProto.INT32: 31,
    TensorProto.UINT32: 32,
    TensorProto.INT64: 63,
    TensorProto.UINT64: 64,
}
_UNSIGNED = frozenset(
    {
        TensorProto.BOOL,
        TensorProto.UINT8,
        TensorProto.UINT16,
        TensorProto.UINT32,
        TensorProto.UINT64,
    }
)
_ABOVE: Mapping[int, frozenset[int]] = {
    TensorProto.FLOAT16: frozenset({TensorProto.FLOAT, TensorProto.DOUBLE}),
    TensorProto.BFLOAT16: frozenset({TensorProto.FLOAT, TensorProto.DOUBLE}),
    TensorProto.FLOAT: frozenset({TensorProto.DOUBLE}),
}


class ExactReshapeOptimizer(ReshapeOptimizer):
    """Writes 0 for a dimension that stays, which is not what 0 means with ``allowzero``."""

    def _optimize_reshape(self, node: Any, graph: Any) -> bool:
        if 0 in (graph.get_shape(node.output[0]) or ()):
            return False
        changed = bool(super()._optimize_reshape(node, graph))
        if changed:
            node.attr.pop("allowzero", None)
        return changed


class ExactBackToBackOptimizer(BackToBackOptimizer):
    """Leaves a cast that rounds, and a reshape that a 0 of the next one refers to."""

    def _optimize_at_current_graph_level(self, graph: Any) -> Any:
        with _instead({("Cast",): _cast, ("Reshape",): _reshape}):
            return super()._optimize_at_current_graph_level(graph)


@contextmanager
def _instead(functions: Mapping[tuple[str, ...], Any]) -> Iterator[None]:
    table = back_to_back_optimizer._func_map
    originals = {name: table[name] for name in functions}
    table.update(functions)
    try:
        yield
    finally:
        table.update(originals)


def _cast(graph: Any, node: Any, consumers: Any) -> Any:
    to = node.get_attr_value("to")
    ends = {consumer.get_attr_value("to") for consumer in consumers}
    if ends == {to} or _holds(to, graph.get_dtype(node.input[0])):
        return BackToBackOptimizer._optimize_cast(graph, node, consumers)
    return [consumer.output[0] for consumer in consumers]


def _holds(wide: int, narrow: int | None) -> bool:
    """Whether a type has all values of another."""
    if wide == narrow:
        return True
    if narrow is not None and narrow in _BITS:
        if wide in _UNSIGNED and narrow not in _UNSIGNED:
            return False
        return _BITS[narrow] <= {**_DIGITS, **_BITS}.get(wide, 0)
    return wide in _ABOVE.get(narrow or 0, frozenset())


def _reshape(graph: Any, node: Any, consumers: Any) -> Any:
    if len(consumers) == 1 and consumers[0].type == "Reshape":
        following = consumers[0]
        shape = following.inputs[1]
        zeros = not shape.is_const() or np.any(shape.get_tensor_value(as_list=False) == 0)
        if zeros and not following.get_attr_value("allowzero", 0):
            return []
    return BackToBackOptimizer._optimize_reshape_reshape(graph, node, consumers)
