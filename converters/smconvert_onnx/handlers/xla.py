"""XLA's own ops, as jax2tf writes them: pads, slices and products (tf2xla/ops/xla_ops.cc).

They have no kernel: what they compute is XLA's operation semantics,
https://openxla.org/xla/operation_semantics.
"""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.linear_algebra_einsum import Einsum
from smconvert_onnx.handlers.matrices import product, reshaped
from smconvert_onnx.handlers.windows import permuted
from smconvert_onnx.handlers.xla_numbers import dot_numbers, wide_type

_END = 2**62


class Same:
    """What says where or when a tensor is computed, and not what it is."""

    ops = ("XlaOptimizationBarrier", "XlaSharding")

    def emit(self, g: Builder, op: Op, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors


class Broadcasts:
    """Two tensors of one rank: the smaller one has ones between its axes.

    Without a place for each axis, both stay as they are: one is a scalar, or they have one rank
    (tf2xla/kernels/xla_broadcast_helper_op.cc).
    """

    ops = ("XlaBroadcastHelper",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
        places = [int(axis) for axis in op.constant(axes, "axes").ravel()]
        if not places or x.rank == y.rank is not None:
            return x, y
        if x.rank is None or y.rank is None:
            op.refuse("the rank of its inputs is unknown", "give the inputs shapes: --inputs")
        rank = max(x.rank, y.rank)
        between = [axis for axis in range(rank) if axis not in places]
        return tuple(t if t.rank == rank else g.Unsqueeze(t, between) for t in (x, y))  # type: ignore[return-value]


class Pad:
    """Values before, after and between the elements; negative numbers cut off (XLA's Pad)."""

    ops = ("XlaPad",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        value: Tensor,
        low: Tensor,
        high: Tensor,
        interior: Tensor,
    ) -> Tensor:
        between = [int(n) for n in op.constant(interior, "interior padding")]
        return padded(g, x, value, low, high, between)


def padded(
    g: Builder, x: Tensor, value: Tensor, low: Tensor, high: Tensor, between: list[int]
) -> Tensor:
    """``x`` with ``value`` around it, and so many times between its elements."""
    if not between:
        return x
    x = apart(g, x, value, between)
    low, high = g.cast(low, DType.INT64), g.cast(high, DType.INT64)
    if low.value is not None and high.value is not None:
        before, after = np.maximum(low.value, 0), np.maximum(high.value, 0)
        if before.any() or after.any():
            x = g.Pad(x, np.concatenate([before, after]), value)
        axes = [i for i in range(len(between)) if low.value[i] < 0 or high.value[i] < 0]
        if not axes:
            return x
        starts = [max(-int(low.value[i]), 0) for i in axes]
        ends = [int(high.value[i]) if high.value[i] < 0 else _END for i in axes]
        return g.Slice(x, starts, ends, axes)
    positive = g.Where(g.Greater(low, 0), low, 0), g.Where(g.Greater(high, 0), high, 0)
    x = g.Pad(x, g.Concat(*positive, axis=0), value)
    ends = g.Where(g.Less(high, 0), high, _END)
    return g.Slice(x, g.Sub(positive[0], low), ends, list(range(len(between))))


def apart(g: Builder, x: Tensor, value: Tensor, between: list[int]) -> Tensor:
    """``x`` with so many values between its elements along each axis."""
    axes = [axis for axis, count in enumerate(between) if count]
    if not axes:
        return x
    at = [axis + 1 + number for number, axis in enumerate(axes)]
    pads = np.zeros((2, len(between) + len(axes)), np.int64)
    pads[1, at] = [between[axis] for axis in axes]
    shape = g.Mul(g.shape(x), np.array(between, np.int64) + 1)
    x = reshaped(g, g.Pad(g.Unsqueeze(x, at), pads.ravel(), value), shape)
    return g.Slice(x, [0] * len(axes), [-between[axis] for axis in axes], axes)


class DynamicSlice:
    """A slice of constant sizes, moved to lie within the tensor (XLA's DynamicSlice)."""

    ops = ("XlaDynamicSlice",)

    def emit(self, g: Builder, op: Op, x: Tensor, starts: Tensor, sizes: Tensor) -> Tensor:
        if x.rank == 0 or sizes.sizes == (0,):
            return x
        sizes = g.cast(sizes, DType.INT64)
        first = within(g, starts, g.Sub(g.shape(x), sizes))
        return g.shaped(g.Slice(x, first, g.Add(first, sizes)), op.outputs[0].shape)


class DynamicUpdateSlice:
    """The tensor with a part replaced, which is moved to lie within it (DynamicUpdateSlice).

    Along each axis where the part is smaller, it is what comes before, the part, and what comes
    after.
    """

    ops = ("XlaDynamicUpdateSlice",)

    def emit(self, g: Builder, op: Op, x: Tensor, update: Tensor, starts: Tensor) -> Tensor:
        rank = x.rank if x.rank is not None else update.rank
        if rank is None and starts.sizes is not None:
            rank = starts.sizes[0]
        if rank is None:
            op.refuse("the rank of its input is unknown", "give the input a shape: --inputs")
        if not rank:
            return update
        first = within(g, starts, g.Sub(g.shape(x), g.shape(update)))
        last = g.Add(first, g.shape(update))
        axes = [axis for axis in range(rank) if not _is_whole(x, update, axis)]
        return self._with(g, x, update, (first, last), axes)

    def _with(
        self, g: Builder, x: Tensor, update: Tensor, bounds: tuple[Tensor, Tensor], axes: list[int]
    ) -> Tensor:
        if not axes:
            return update
        axis = axes[0]
        start, end = (g.Slice(bound, [axis], [axis + 1]) for bound in bounds)
        before, after = g.Slice(x, [0], start, [axis]), g.Slice(x, end, [_END], [axis])
        if len(axes) > 1:
            inner = g.Slice(x, start, end, [axis])
            update = self._with(g, inner, update, bounds, axes[1:])
        return g.Concat(before, update, after, axis=axis)


def _is_whole(x: Tensor, update: Tensor, axis: int) -> bool:
    sizes = {t.shape[axis] if t.shape is not None else None for t in (x, update)}
    return len(sizes) == 1 and isinstance(next(iter(sizes)), int)


def within(g: Builder, starts: Tensor, last: Tensor) -> Tensor:
    """Places from 0 to ``last``, those outside moved to the nearer end; int64."""
    starts = g.cast(starts, DType.INT64)
    if starts.value is not None and last.value is not None:
        return g.constant(np.clip(starts.value, 0, last.value), DType.INT64)
    # Not Clip, Max and Min: those of ONNX Runtime 1.31 compare int64 by halves.
    starts = g.Where(g.Less(starts, 0), 0, starts)
    return g.Where(g.Greater(starts, last), last, starts)


class Dot:
    """The sum of products over some axes, batch by batch (XLA's DotGeneral)."""

    ops = ("XlaDot", "XlaDotV2")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        numbers = dot_numbers(op)
        left, right = op.rank(x), op.rank(y)
        result = op.outputs[0].dtype
        wide = wide_type(x.dtype, y.dtype, result)
        x, y = g.cast(x, wide), g.cast(y, wide)
        rows = [a for a in range(left) if a not in (*numbers.batch[0], *numbers.contracted[0])]
        columns = [a for a in range(right) if a not in (*numbers.batch[1], *numbers.contracted[1])]
        batch, inner = numbers.batch, numbers.contracted
        # A single row of batches needs no other form, nor do axes that are a batch of MatMul's.
        plain = len(inner[0]) == 1 and len(columns) == 1 and (len(rows) == 1 or not batch[0])
        x_turned = turned(g, x, [*batch[0], *rows, *inner[0]])
        y_turned = turned(g, y, [*batch[1], *inner[1], *columns])
        if plain and rows:
            return g.cast(product(g, x_turned, y_turned), result)
        common = sizes_along(g, x, batch[0])
        outer = sizes_along(g, x, rows), sizes_along(g, y, columns)
        count = g.ReduceProd(sizes_along(g, x, inner[0]), keepdims=1)
        flat_rows, flat_columns = (g.ReduceProd(sizes, keepdims=1) for sizes in outer)
        x_flat = reshaped(g, x_turned, g.Concat(common, flat_rows, count, axis=0))
        y_flat = reshaped(g, y_turned, g.Concat(common, count, flat_columns, axis=0))
        known = (None,) * (len(batch[0]) + 2)
        made = product(g, replace_shape(x_flat, known), replace_shape(y_flat, known))
        return g.cast(reshaped(g, made, g.Concat(common, *outer, axis=0)), result)


def sizes_along(g: Builder, x: Tensor, axes: list[int]) -> Tensor:
    """The sizes of some axes, int64."""
    if x.sizes is not None:
        return g.constant(np.array([x.sizes[axis] for axis in axes], np.int64))
    if not axes:
        return g.constant(np.zeros(0, np.int64))
    return g.Gather(g.shape(x), axes)


def turned(g: Builder, x: Tensor, axes: list[int]) -> Tensor:
    """With its axes in another order, or as it is."""
    return x if axes == sorted(axes) else permuted(g, x, axes)


class CompiledEinsum(Einsum):
    """The same equation as that of TensorFlow's own op (xla_einsum in einsum_op.cc)."""

    ops = ("XlaEinsum",)


HANDLERS: tuple[Handler, ...] = (
    Same(),
    Broadcasts(),
    Pad(),
    DynamicSlice(),
    DynamicUpdateSlice(),
    Dot(),
    CompiledEinsum(),
)
