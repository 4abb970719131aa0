"""The eight-bit graphs of 2017: sums and products of integers, and their ranges made to fit."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import broadcast, reshaped
from smconvert_onnx.handlers.quantization import plain_dtype
from smconvert_onnx.handlers.quantization_levels import (
    Range,
    Ranged,
    level,
    moved,
    moved_singly,
    narrowed,
    number,
    product_range,
    zero,
)

_INT32 = np.iinfo(np.int32)
_Binary = Callable[[Tensor, Tensor], Tensor]


class QuantizedAdd:
    """Sums in a range with room for them (quantized_add_op.cc).

    There an operand is a line through what its integers 0 and 1 become, or, where it has but one
    element and the other has not been taken for that already, is brought there by itself.
    """

    ops = ("QuantizedAdd",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        y: Tensor,
        low_x: Tensor,
        high_x: Tensor,
        low_y: Tensor,
        high_y: Tensor,
    ) -> Ranged:
        largest = g.Max(g.Abs(g.Min(low_x, low_y)), g.Abs(g.Max(high_x, high_y)))
        high = g.Mul(largest, 2.0**14)
        wanted = g.Neg(high), high
        lone_x = g.Equal(g.Size(x), 1)
        lone_y = g.And(g.Equal(g.Size(y), 1), g.Not(lone_x))
        terms = []
        for term, ends, lone in ((x, (low_x, high_x), lone_x), (y, (low_y, high_y), lone_y)):
            alone = moved(g, term, ends, DType.QINT32, wanted)
            made = g.Where(lone, alone, self._on_line(g, term, ends, wanted))
            terms.append(replace_shape(made, term.shape))
        return _in_rows(g, g.Add, *terms), *wanted

    def _on_line(self, g: Builder, x: Tensor, given: Range, wanted: Range) -> Tensor:
        def place(code: int) -> Tensor:
            found = number(g, code, x.dtype, *given)
            return g.cast(level(g, found, DType.QINT32, *wanted), DType.INT64)

        start, step = place(0), g.Sub(place(1), place(0))
        found = g.Add(g.Mul(g.cast(x, DType.INT64), step), start)
        within = g.Where(g.Less(found, _INT32.min), _INT32.min, found)
        return g.cast(g.Where(g.Greater(within, _INT32.max), _INT32.max, within), DType.INT32)


class QuantizedMul:
    """Products of integers counted from those for 0 (quantized_mul_op.cc)."""

    ops = ("QuantizedMul",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        y: Tensor,
        low_x: Tensor,
        high_x: Tensor,
        low_y: Tensor,
        high_y: Tensor,
    ) -> Ranged:
        given = ((x, low_x, high_x), (y, low_y, high_y))
        factors = [
            replace_shape(g.Sub(g.cast(f, DType.INT32), zero(g, f.dtype, *ends)), f.shape)
            for f, *ends in given
        ]
        ends = product_range(g, x.dtype, (low_x, high_x), y.dtype, (low_y, high_y))
        return _in_rows(g, g.Mul, *factors), *ends


def _in_rows(g: Builder, function: _Binary, x: Tensor, y: Tensor) -> Tensor:
    """A function of two tensors, of which the kernels repeat the smaller one row after row.

    That is broadcasting, except where the smaller one has axes of size 1 at its end: there the
    kernels take its elements in turn all the same.
    """
    if x.rank is not None and y.rank is not None and min(x.rank, y.rank) < 2:
        return function(x, y)
    if x.sizes is not None and y.sizes is not None:
        small, large = sorted((x.sizes, y.sizes), key=lambda s: (np.prod(s), len(s)))
        cut = np.trim_zeros(np.array(small) != 1, "f").size
        if not cut or small[-cut:] == large[-cut:]:
            return function(x, y)
    sizes = g.Size(x), g.Size(y)
    some = g.And(*(g.Greater(size, 0) for size in sizes))
    turn = g.Range(0, g.Where(some, g.Max(*sizes), 0), 1)
    first, second = (
        g.Gather(flat(g, t), g.Mod(turn, g.Max(size, 1)))
        for t, size in zip((x, y), sizes, strict=True)
    )
    return reshaped(g, function(first, second), broadcast(g, g.shape(x), g.shape(y)))


class QuantizedBiasAdd:
    """A sum of what both are in a range with room for it (QuantizedAddUsingEigen)."""

    ops = ("QuantizedBiasAdd",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        bias: Tensor,
        low_x: Tensor,
        high_x: Tensor,
        low_bias: Tensor,
        high_bias: Tensor,
    ) -> Ranged:
        ends = (high_x, g.Neg(low_x), high_bias, g.Neg(low_bias))
        high = g.Mul(g.Max(*ends), 2.0**17)
        wanted = g.Neg(high), high
        first = moved_singly(g, x, (low_x, high_x), DType.QINT32, wanted)
        second = moved_singly(g, bias, (low_bias, high_bias), DType.QINT32, wanted)
        return g.Add(first, g.Add(second, zero(g, DType.QINT32, *wanted))), *wanted


class RequantizationRange:
    """The floats that the least and the largest of the integers stand for, 0 within
    (requantization_range_op.cc)."""

    ops = ("RequantizationRange",)

    def emit(self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor) -> Range:
        return _extent(g, x, (low, high))


def _extent(g: Builder, x: Tensor, given: Range) -> Range:
    row = flat(g, x)
    # Of no integers, the least is the largest that there is.
    least = g.ReduceMin(g.Concat(row, [_INT32.max], axis=0), keepdims=0)
    largest = g.ReduceMax(g.Concat(row, [_INT32.min], axis=0), keepdims=0)
    bottom = g.Min(number(g, least, DType.QINT32, *given), 0.0)
    return bottom, number(g, largest, DType.QINT32, *given)


class QuantizeDownAndShrinkRange:
    """Brought to eight bits, over the range that the integers have
    (quantize_down_and_shrink_range.cc)."""

    ops = ("QuantizeDownAndShrinkRange",)

    def emit(self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor) -> Ranged:
        wanted = _extent(g, x, (low, high))
        return narrowed(g, x, (low, high), wanted), *wanted


class Requantize:
    """Brought to eight bits, over a range that is asked for (requantize.cc)."""

    ops = ("Requantize",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        low: Tensor,
        high: Tensor,
        bottom: Tensor,
        top: Tensor,
    ) -> Ranged:
        given, wanted = (low, high), (bottom, top)
        if plain_dtype(op.outputs[0].dtype) is DType.UINT8:
            made = narrowed(g, x, given, wanted)
        else:
            made = moved_singly(g, x, given, DType.QINT8, wanted)
        return made, g.Identity(bottom), g.Identity(top)


class RequantizationRangePerChannel:
    """The largest size of a float that the integers of any channel stand for
    (mkl_requantization_range_per_channel_op.cc)."""

    ops = ("RequantizationRangePerChannel",)

    def emit(self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor) -> Range:
        rows = g.Reshape(x, g.Concat([-1], g.Shape(low), axis=0))
        axes = {"keepdims": 0}
        if g.opset >= 18:
            least, largest = g.ReduceMin(rows, [0], **axes), g.ReduceMax(rows, [0], **axes)
        else:
            least = g.ReduceMin(rows, axes=[0], **axes)
            largest = g.ReduceMax(rows, axes=[0], **axes)
        size = g.cast(g.Max(g.Abs(least), g.Abs(largest)), DType.FLOAT32)
        spans = g.Div(g.Mul(g.Max(g.Abs(low), g.Abs(high)), size), 2.0**31)
        top = g.Max(g.ReduceMax(spans, keepdims=0), float(np.finfo(np.float32).tiny))
        top = g.Min(top, op.attr("clip_value_max"))
        signed = g.Less(g.ReduceMin(least, keepdims=0), 0)
        return g.Where(signed, g.Neg(top), 0.0), top


class RequantizePerChannel:
    """Brought to eight bits, by a factor for each channel (mkl_requantize_per_channel_op.cc)."""

    ops = ("RequantizePerChannel",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        low: Tensor,
        high: Tensor,
        bottom: Tensor,
        top: Tensor,
    ) -> Ranged:
        dtype = plain_dtype(op.outputs[0].dtype)
        limits = np.iinfo(dtype.numpy)
        wanted = g.Max(g.Abs(bottom), g.Abs(top))
        share = g.Div(g.Div(g.Max(g.Abs(low), g.Abs(high)), wanted), 2.0**31)
        steps = g.Mul(g.cast(x, DType.FLOAT32), g.Mul(share, float(limits.max)))
        within = g.Min(g.Max(steps, float(limits.min)), float(limits.max))
        return g.cast(g.Round(within), dtype), g.Identity(bottom), g.Identity(top)


class QuantizedConcat:
    """Along an axis, each brought to the range that holds all, and of signed integers is as wide
    below 0 as above (quantized_concat_op.cc).

    The second version is oneDNN's, where the range of unsigned ones begins at 0, unless it is the
    same for all of four axes (mkl_concat_op.cc).
    """

    ops = ("QuantizedConcat", "QuantizedConcatV2")

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> Ranged:
        given, count = list(inputs), op.attr("N")
        axis = given.pop(count if op.type == "QuantizedConcatV2" else 0)
        values, lows, highs = given[:count], given[count : 2 * count], given[2 * count :]
        low, high = reduce(g.Min, lows), reduce(g.Max, highs)
        if np.iinfo(plain_dtype(values[0].dtype).numpy).min:
            high = g.Max(g.Abs(low), g.Abs(high))
            low = g.Neg(high)
        elif op.type == "QuantizedConcatV2":
            low = g.constant(0.0, DType.FLOAT32)
        if op.type == "QuantizedConcatV2" and values[0].rank in {None, 4}:
            alike = [g.Equal(end, ends[0]) for ends in (lows, highs) for end in ends]
            kept = reduce(g.And, alike, g.Equal(g.Size(g.Shape(values[0])), 4))
            low, high = g.Where(kept, lows[0], low), g.Where(kept, highs[0], high)
        at = int(op.constant(axis, "axis"))
        made = []
        for x, *ends in zip(values, lows, highs, strict=True):
            other = moved_singly(g, x, (ends[0], ends[1]), x.dtype, (low, high))
            same = g.And(g.Equal(ends[0], low), g.Equal(ends[1], high))
            made.append(g.Where(same, x, other))
        return g.Concat(*made, axis=at), low, high


HANDLERS: tuple[Handler, ...] = (
    QuantizedAdd(),
    QuantizedMul(),
    QuantizedBiasAdd(),
    RequantizationRange(),
    QuantizeDownAndShrinkRange(),
    Requantize(),
    RequantizationRangePerChannel(),
    RequantizePerChannel(),
    QuantizedConcat(),
)
