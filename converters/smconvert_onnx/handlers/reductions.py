"""Reductions along axes: sums, products, extremes, and where they lie."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import FLOATS, around, comparable, flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.reducing import Along, extreme, total, whole_product, whole_total

_UNSIGNED = frozenset({DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64})


def _along(g: Builder, op: Op, axes: Tensor) -> Along:
    return Along(g, op, axes, bool(op.attr("keep_dims")))


class Sum:
    """Sums; those of integers wrap (reduction_ops_sum.cc)."""

    ops = ("Sum",)

    def emit(self, g: Builder, op: Op, x: Tensor, axes: Tensor) -> Tensor:
        return total(g, _along(g, op, axes), x)


class Prod:
    """Products; those of integers wrap (reduction_ops_prod.cc)."""

    ops = ("Prod",)

    def emit(self, g: Builder, op: Op, x: Tensor, axes: Tensor) -> Tensor:
        along = _along(g, op, axes)
        return along.reduce("ReduceProd", x) if x.dtype in FLOATS else whole_product(g, along, x)


class Mean:
    """The sum by the count; integers are summed in 64 bits (reduction_ops_common.h)."""

    ops = ("Mean",)

    def emit(self, g: Builder, op: Op, x: Tensor, axes: Tensor) -> Tensor:
        along = _along(g, op, axes)
        if x.dtype in FLOATS and _some(x, axes):
            return along.reduce("ReduceMean", x)
        whole = x.dtype not in FLOATS
        summed = whole_total(g, along, x) if whole else total(g, along, x)
        if x.dtype is DType.UINT64:
            summed = g.cast(summed, DType.UINT64)
        count = g.Div(g.Size(x), g.Max(g.Size(summed), 1))
        if whole:
            count = g.Max(count, 1)
        return g.cast(g.Div(summed, g.cast(count, summed.dtype)), x.dtype)


def _some(x: Tensor, axes: Tensor) -> bool:
    """Whether there is known to be an element to reduce: of none, the mean is NaN."""
    if axes.value is None or x.shape is None:
        return False
    sizes = [x.shape[axis] for axis in axes.value.ravel()]
    return all(isinstance(size, int) and size > 0 for size in sizes)


class Extreme:
    """The largest or smallest; NaN where there is one (Eigen's MaxReducer, PropagateNaN)."""

    ops = ("Max", "Min")

    def emit(self, g: Builder, op: Op, x: Tensor, axes: Tensor) -> Tensor:
        return extreme_or_nan(g, _along(g, op, axes), f"Reduce{op.type}", x)


def extreme_or_nan(g: Builder, along: Along, kind: str, x: Tensor) -> Tensor:
    """``ReduceMax`` or ``ReduceMin``; NaN where there is one."""
    found = extreme(g, along, kind, x)
    if x.dtype not in FLOATS:
        return found
    unknown = along.reduce("ReduceMax", g.cast(g.IsNaN(x), DType.UINT8))
    return g.Where(g.Greater(unknown, 0), np.nan, found)


class Logical:
    """Whether all or any are true; of none, all are and none is (reduction_ops_all.cc)."""

    ops = ("All", "Any")

    def emit(self, g: Builder, op: Op, x: Tensor, axes: Tensor) -> Tensor:
        kind = "ReduceMin" if op.type == "All" else "ReduceMax"
        return g.cast(_along(g, op, axes).reduce(kind, g.cast(x, DType.UINT8)), DType.BOOL)


class EuclideanNorm:
    """The root of the sum of squares; that of integers wraps first (reduction_ops_euclidean.cc)."""

    ops = ("EuclideanNorm",)

    def emit(self, g: Builder, op: Op, x: Tensor, axes: Tensor) -> Tensor:
        squares = total(g, _along(g, op, axes), g.Mul(x, x))
        if x.dtype in FLOATS:
            return g.Sqrt(squares)
        root = g.cast(g.Sqrt(g.cast(squares, DType.FLOAT64)), x.dtype)
        if x.dtype in _UNSIGNED:
            return root
        wide = x.dtype in {DType.INT32, DType.INT64}
        # What x86 makes of the root of a negative number.
        invalid = np.iinfo(x.dtype.numpy).min if wide else 0
        return g.Where(g.Less(squares, 0), invalid, root)


class L2Loss:
    """Half the sum of squares (l2loss_op.h)."""

    ops = ("L2Loss",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        row = flat(g, x)
        return g.Mul(g.ReduceSum(g.Mul(row, row), [0], keepdims=0), 0.5)


class ArgExtreme:
    """Where the first of the largest or smallest lies, NaN aside (Eigen's ArgMaxTupleReducer)."""

    ops = ("ArgMax", "ArgMin")

    def emit(self, g: Builder, op: Op, x: Tensor, axis: Tensor) -> Tensor:
        keys = comparable(g, x)
        if x.dtype is DType.BOOL:
            keys = g.cast(x, DType.UINT8)
        elif x.dtype in FLOATS:
            last = -np.inf if op.type == "ArgMax" else np.inf
            keys = replace_shape(g.Where(g.IsNaN(x), last, x), x.shape)
        if axis.value is not None and x.rank:
            # Of an empty tensor, ONNX Runtime reduces nothing along a negative axis.
            found = g.node(op.type, keys, axis=int(axis.value) % x.rank, keepdims=0)
        else:
            folded, before, after = around(g, keys, axis)
            found = g.node(op.type, folded, axis=1, keepdims=0)
            found = reshaped(g, found, g.Concat(before, after, axis=0))
        return g.cast(found, op.outputs[0].dtype)


HANDLERS: tuple[Handler, ...] = (
    Sum(),
    Prod(),
    Mean(),
    Extreme(),
    Logical(),
    EuclideanNorm(),
    L2Loss(),
    ArgExtreme(),
)
