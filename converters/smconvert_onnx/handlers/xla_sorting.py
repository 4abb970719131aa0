"""XLA's sorts: of several arrays by the numbers of some of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import FLOATS, comparable
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.precision import HALVES
from smconvert_onnx.handlers.xla_computations import computation

_NARROW = HALVES | {DType.FLOAT32}


class Sort:
    """The rows in ascending order, with what belongs to them (tf2xla/kernels/sort_ops.cc)."""

    ops = ("XlaSort", "XlaKeyValueSort")

    def emit(self, g: Builder, op: Op, keys: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        order = _order(g, sort_keys(g, keys), -1)
        return tuple(g.GatherElements(x, order, axis=-1) for x in (keys, *values))


class VariadicSort:
    """Arrays in the order that a function of pairs of their elements says (XLA's Sort).

    The function compares two elements of an array, or of what elements are made to; or of several,
    of which the next counts where they are equal, as jax.lax.sort does.
    """

    ops = ("XlaVariadicSort",)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        *tensors, dimension = given
        axis = int(op.constant(dimension, "dimension"))
        if axis < 0:
            axis += op.rank(tensors[0])
        keys = computation(op, "comparator").sort_keys(g, tensors)
        order = _order(g, keys, axis)
        return tuple(g.GatherElements(x, order, axis=axis) for x in tensors)


def sort_keys(g: Builder, x: Tensor) -> list[Tensor]:
    """Numbers that TopK sorts as XLA does: -0 before 0, NaN last; by the first, then the next."""
    if x.dtype is DType.BOOL:
        return [g.cast(x, DType.INT32)]
    if x.dtype not in FLOATS:
        return [comparable(g, x)]
    negative_zero = g.And(g.Equal(x, 0), g.Less(g.Div(1, x), 0))
    if x.dtype in _NARROW:
        # There is room beyond the largest of these numbers, and next to 0.
        wide = g.cast(x, DType.FLOAT64)
        wide = g.Where(negative_zero, -1e-300, g.Where(g.Equal(wide, np.inf), 1e300, wide))
        return [g.Where(g.IsNaN(x), np.inf, wide)]
    unknown = g.IsNaN(x)
    zero_sign = g.Where(negative_zero, np.int32(-1), np.int32(0))
    return [g.cast(unknown, DType.INT32), g.Where(unknown, 0, x), zero_sign]


def _order(g: Builder, keys: Sequence[Tensor], axis: int) -> Tensor:
    """Where what comes first, second, … lies along an axis: a stable sort by each key, last first."""
    order: Tensor | None = None
    for key in reversed(keys):
        there = key if order is None else g.GatherElements(key, order, axis=axis)
        count = g.Gather(g.shape(key), [axis])
        _, step = g.TopK(there, count, axis=axis, largest=0, sorted=1, outputs=2)
        order = step if order is None else g.GatherElements(order, step, axis=axis)
    assert order is not None
    return order


HANDLERS: tuple[Handler, ...] = (Sort(), VariadicSort())
