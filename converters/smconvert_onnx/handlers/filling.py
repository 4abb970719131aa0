"""Arrays made from a shape and a rule; and shapes that fit others."""

from __future__ import annotations

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.precision import HALVES

_NO_CONSTANT_OF_SHAPE = frozenset({DType.STRING, DType.BFLOAT16})


class Range:
    """``start + i * delta`` up to, and without, ``limit`` (sequence_ops.cc).

    ONNX Runtime's own Range adds up, with an error that grows.
    """

    ops = ("Range",)

    def emit(self, g: Builder, op: Op, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
        if start.dtype.numpy.kind in "iu":
            return g.Range(start, limit, delta)
        kind = start.dtype
        # ONNX Runtime computes halves in float32, and leaves out the rounding in between.
        wide = DType.FLOAT64 if kind in HALVES else kind
        start, limit, delta = (g.cast(x, wide) for x in (start, limit, delta))

        def rounded(x: Tensor) -> Tensor:
            return g.cast(g.cast(x, kind), wide)

        span = limit if start.value == 0 else rounded(g.Sub(limit, start))
        parts = span if delta.value == 1 else rounded(g.Div(span, delta))
        made = rounded(g.Range(0, g.cast(g.Ceil(parts), DType.INT64), 1))
        if delta.value != 1:
            made = rounded(g.Mul(made, delta))
        return g.cast(made if start.value == 0 else g.Add(start, made), kind)


class LinSpace:
    """Evenly spaced numbers, of which the last is ``stop`` itself (sequence_ops.cc)."""

    ops = ("LinSpace",)

    def emit(self, g: Builder, op: Op, start: Tensor, stop: Tensor, num: Tensor) -> Tensor:
        num = g.cast(num, DType.INT64)
        steps = g.Max(g.Sub(num, 1), 1)
        numbers = g.Range(0, num, 1)
        step = g.Div(g.Sub(stop, start), g.cast(steps, start.dtype))
        made = g.Add(start, g.Mul(step, g.cast(numbers, start.dtype)))
        return g.Where(g.Equal(numbers, steps), stop, made)


class OneHot:
    """One value where the index is, another elsewhere (one_hot_op.cc).

    An index outside of the depth, and so a negative one, is nowhere; ONNX's OneHot takes it from
    the end.
    """

    ops = ("OneHot",)

    def emit(
        self, g: Builder, op: Op, indices: Tensor, depth: Tensor, on: Tensor, off: Tensor
    ) -> Tensor:
        axis = op.attr("axis")
        if indices.dtype not in {DType.INT32, DType.INT64}:
            indices = g.cast(indices, DType.INT32)
        numbers = self._numbers(g, indices, depth)
        if axis != -1 and indices.rank != axis:
            numbers = self._across(g, numbers, indices, axis)
        here = g.Equal(g.Unsqueeze(indices, [axis]), numbers)
        if on.value == 1 and off.value == 0 and on.dtype is not DType.STRING:
            return g.cast(here, on.dtype)
        return g.Where(here, on, off)

    def _numbers(self, g: Builder, indices: Tensor, depth: Tensor) -> Tensor:
        if depth.value is not None:
            return g.constant(np.arange(int(depth.value.item())), indices.dtype)
        depth = g.cast(g.Reshape(depth, g.constant([], DType.INT64)), indices.dtype)
        return g.Range(g.constant(0, indices.dtype), depth, g.constant(1, indices.dtype))

    def _across(self, g: Builder, numbers: Tensor, indices: Tensor, axis: int) -> Tensor:
        if indices.rank is not None:
            if numbers.value is not None:
                shape = (-1, *(1,) * (indices.rank - axis))
                return g.constant(numbers.value.reshape(shape), indices.dtype)
            return g.Unsqueeze(numbers, list(range(1, indices.rank - axis + 1)))
        rest = g.Sub(g.Shape(g.shape(indices)), axis)
        return reshaped(g, numbers, g.Concat(g.Shape(numbers), g.Expand(1, rest), axis=0))


class Fill:
    """One value, in a shape (fill_op.cc)."""

    ops = ("Fill",)

    def emit(self, g: Builder, op: Op, dims: Tensor, value: Tensor) -> Tensor:
        shape = g.cast(dims, DType.INT64)
        if value.value is None:
            return g.Expand(value, shape)
        return filled(g, shape, value.value, value.dtype)


class Empty:
    """Any values; here zeros, as with ``init`` (inplace_ops.cc)."""

    ops = ("Empty",)

    def emit(self, g: Builder, op: Op, shape: Tensor) -> Tensor:
        dtype = op.outputs[0].dtype
        return filled(g, g.cast(shape, DType.INT64), _zero(dtype), dtype)


class Like:
    """Zeros or ones in the shape of another array (constant_op.cc)."""

    ops = ("ZerosLike", "OnesLike")

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        value = np.array(1) if op.type == "OnesLike" else _zero(x.dtype)
        return filled(g, g.shape(x), value, x.dtype)


def _zero(dtype: DType) -> Array:
    return np.array(b"" if dtype is DType.STRING else 0)


def filled(g: Builder, shape: Tensor, value: Array, dtype: DType) -> Tensor:
    """One value in an int64 shape."""
    if dtype in _NO_CONSTANT_OF_SHAPE:
        scalar = value.item() if dtype is DType.STRING else value
        return g.Expand(g.constant(scalar, dtype), shape)
    return g.ConstantOfShape(shape, value=value.astype(dtype.numpy).reshape(1), dtype=dtype)


class BroadcastTo:
    """Repeated along axes of size 1, and along new first axes (broadcast_to_op.cc)."""

    ops = ("BroadcastTo",)

    def emit(self, g: Builder, op: Op, x: Tensor, shape: Tensor) -> Tensor:
        if shape.value is not None and x.sizes == tuple(shape.value):
            return x
        return g.Expand(x, g.cast(shape, DType.INT64))


class BroadcastArgs:
    """The shape that two shapes broadcast to (broadcast_to_op.cc, bcast.h)."""

    ops = ("BroadcastArgs",)

    def emit(self, g: Builder, op: Op, a: Tensor, b: Tensor) -> Tensor:
        a, b = _aligned(g, a, b)
        return g.Where(g.Equal(a, 1), b, a)


class BroadcastGradientArgs:
    """The axes along which each of two shapes is repeated (bcast.h).

    Of equal shapes it is none; else axes that both have as 1 count for both.
    """

    ops = ("BroadcastGradientArgs",)

    def emit(self, g: Builder, op: Op, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        full = _aligned(g, a, b)
        differ = g.ReduceMax(
            g.Concat(
                g.constant([0], DType.INT32),
                g.cast(g.Not(g.Equal(*full)), DType.INT32),
                g.cast(g.Not(g.Equal(g.Shape(a), g.Shape(b))), DType.INT32),
                axis=0,
            ),
            keepdims=1,
        )
        unequal = g.cast(differ, DType.BOOL)
        first, second = (g.NonZero(g.And(g.Equal(s, 1), unequal)) for s in full)
        return g.cast(g.Squeeze(first, [0]), a.dtype), g.cast(g.Squeeze(second, [0]), a.dtype)


def _aligned(g: Builder, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The two shapes with ones before the shorter one."""
    if a.sizes is not None and a.sizes == b.sizes:
        return a, b
    count_a, count_b = g.Shape(a), g.Shape(b)
    longest = g.Max(count_a, count_b)
    one = g.constant(1, a.dtype)
    full_a = g.Concat(g.Expand(one, g.Sub(longest, count_a)), a, axis=0)
    return full_a, g.Concat(g.Expand(one, g.Sub(longest, count_b)), b, axis=0)


class HostConst:
    """A constant in the memory of the host."""

    ops = ("HostConst",)

    def emit(self, g: Builder, op: Op) -> Tensor:
        return replace_shape(g.Identity(g.constant(op.attr("value"), op.attr("dtype"))), None)


HANDLERS: tuple[Handler, ...] = (
    Range(),
    LinSpace(),
    OneHot(),
    Fill(),
    Empty(),
    Like(),
    BroadcastTo(),
    BroadcastArgs(),
    BroadcastGradientArgs(),
    HostConst(),
)
