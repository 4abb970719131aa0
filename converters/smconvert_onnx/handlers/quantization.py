"""Floats on a grid of integers: quantized, brought back, or both at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import around
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped


def rounded(g: Builder, x: Tensor) -> Tensor:
    """To the nearest integer, halves away from zero: C's ``round``, where ONNX's is to even."""
    whole = g.Floor(g.Abs(x))
    up = g.Not(g.Less(g.Sub(g.Abs(x), whole), 0.5))
    return g.Mul(g.Sign(x), g.Add(whole, g.cast(up, x.dtype)))


@dataclass(frozen=True)
class Grid:
    """Evenly spaced numbers, of which 0 is one: their ends, and the space between two."""

    low: Tensor
    high: Tensor
    scale: Tensor
    inverse: Tensor


def nudged(g: Builder, op: Op, low: Tensor, high: Tensor) -> Grid:
    """The grid of a range, moved so that it holds 0 (fake_quant_ops_functor.h, Nudge)."""
    first = float(bool(op.attr("narrow_range")))
    last = float(2 ** op.attr("num_bits") - 1)
    span = g.Sub(high, low)
    scale = g.Div(span, last - first)
    zero = rounded(g, g.Max(g.Min(g.Sub(first, g.Div(low, scale)), last), first))
    low, high = (g.Mul(g.Sub(end, zero), scale) for end in (first, last))
    return Grid(low, high, scale, g.Div(last - first, span))


class FakeQuant:
    """Onto the grid between the nudged ends of a range (fake_quant_ops_functor.h)."""

    ops = (
        "FakeQuantWithMinMaxArgs",
        "FakeQuantWithMinMaxVars",
        "FakeQuantWithMinMaxVarsPerChannel",
    )

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ) -> Tensor:
        if low is None or high is None:
            low = g.constant(op.attr("min"), DType.FLOAT32)
            high = g.constant(op.attr("max"), DType.FLOAT32)
        grid = nudged(g, op, low, high)
        middle = g.Floor(g.Add(g.Mul(g.Neg(grid.low), grid.inverse), 0.5))
        steps = g.Mul(g.Sub(g.Max(g.Min(x, grid.high), grid.low), grid.low), grid.inverse)
        made = g.Mul(g.Floor(g.Add(g.Sub(steps, middle), 0.5)), grid.scale)
        if op.type == "FakeQuantWithMinMaxArgs":
            return made
        nothing = g.And(g.Equal(low, 0), g.Equal(high, 0))
        return g.Where(nothing, 0, made)


class QuantizeAndDequantize:
    """Onto a grid around zero that covers the range (quantize_and_dequantize_op.h).

    The first version has the range as attributes, and none of the others that came later.
    """

    ops = (
        "QuantizeAndDequantize",
        "QuantizeAndDequantizeV2",
        "QuantizeAndDequantizeV3",
        "QuantizeAndDequantizeV4",
    )

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        low: Tensor | None = None,
        high: Tensor | None = None,
        num_bits: Tensor | None = None,
    ) -> Tensor:
        axis, narrow, half_up = -1, False, False
        if low is None or high is None:
            low, high = (g.constant(op.attr(f"input_{end}"), x.dtype) for end in ("min", "max"))
        else:
            axis, narrow = op.attr("axis"), op.attr("narrow_range")
            third = op.type == "QuantizeAndDequantizeV3"
            half_up = not third and op.attr("round_mode") == "HALF_UP"
        bits = int(op.attr("num_bits") if num_bits is None else op.constant(num_bits, "num_bits"))
        signed, given = op.attr("signed_input"), op.attr("range_given")
        first = -(2 ** (bits - 1)) + int(narrow) if signed else 0
        last = 2 ** (bits - int(signed)) - 1
        values = x
        if axis != -1:
            values, _, _ = around(g, x, axis)
            low, high = g.Reshape(low, [-1, 1]), g.Reshape(high, [-1, 1])
        if not given:
            low, high = _extent(g, values, axis != -1)
        most = float(np.finfo(x.dtype.numpy).max)
        by_low = g.Where(g.Greater(g.Mul(low, first), 0), g.Div(first, low), most)
        by_high = g.Where(g.Greater(g.Mul(high, last), 0), g.Div(last, high), most)
        lower = g.Less(by_low, by_high)
        scale = g.Where(lower, by_low, by_high)
        step = g.Where(lower, g.Div(low, first or 1), g.Div(high, last))
        if given:
            top, bottom = g.Where(lower, g.Mul(step, last), high), g.Mul(step, first)
            values = g.Max(g.Min(values, top), g.Where(lower, low, bottom))
        grid = g.Mul(values, scale)
        grid = g.Floor(g.Add(grid, 0.5)) if half_up else g.Round(grid)
        made = g.Mul(grid, step)
        return made if axis == -1 else reshaped(g, made, g.shape(x))


def _extent(g: Builder, x: Tensor, by_channel: bool) -> tuple[Tensor, Tensor]:
    """The smallest and largest of all, or of each channel of [before, channels, after]."""
    if not by_channel:
        return g.ReduceMin(x, keepdims=0), g.ReduceMax(x, keepdims=0)
    ends = g.Concat(g.Gather(g.shape(x), [1]), [-1], axis=0)
    turned = g.Reshape(g.Transpose(x, perm=[1, 0, 2]), ends)
    if g.opset >= 18:
        return g.ReduceMin(turned, [1], keepdims=1), g.ReduceMax(turned, [1], keepdims=1)
    return g.ReduceMin(turned, axes=[1], keepdims=1), g.ReduceMax(turned, axes=[1], keepdims=1)


def along(g: Builder, x: Tensor, values: Tensor, axis: int) -> tuple[Tensor, Tensor, bool]:
    """``x`` and a value for all of it, or one for each place of an axis, that broadcast."""
    if axis == -1:
        return x, g.Reshape(values, []), False
    folded, _, _ = around(g, x, axis)
    return folded, g.Reshape(values, [-1, 1]), True


class Dequantize:
    """A range's ends and integers as floats (dequantize_op.cc, quantization_utils.h)."""

    ops = ("Dequantize",)

    def emit(self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        limits = np.iinfo(plain_dtype(x.dtype).numpy)
        mode, axis = op.attr("mode"), op.attr("axis")
        values, bottom, folded = along(g, x, low, axis)
        _, top, _ = along(g, x, high, axis)
        numbers = replace_shape(g.cast(values, DType.FLOAT32), values.shape)
        size = np.float32(limits.max) - np.float32(limits.min)
        if mode == "MIN_COMBINED":
            half = (size + np.float32(1)) / np.float32(2) if limits.min else 0.0
            scale = g.Div(g.Sub(top, bottom), size)
            made = g.Add(g.Mul(g.Add(numbers, half), scale), bottom)
        elif mode == "MIN_FIRST":
            made = from_grid(g, numbers, limits, bottom, top)
        else:
            scale = g.Div(top, np.float32(limits.max))
            narrow = int(op.attr("narrow_range"))
            if limits.min:
                scale = g.Max(g.Div(bottom, np.float32(limits.min + narrow)), scale)
            elif narrow and limits.bits == 8:
                op.refuse(
                    "TensorFlow on x86 leaves it to oneDNN, which scales in its own way",
                    "dequantize quint8 without narrow_range",
                )
            made = g.Mul(numbers, scale)
        made = reshaped(g, made, g.shape(x)) if folded else made
        return g.cast(made, op.outputs[0].dtype)


def plain_dtype(dtype: DType) -> DType:
    """The type of integers that a quantized type stands for."""
    return DType.from_label(dtype.label.removeprefix("q"))


def from_grid(g: Builder, numbers: Tensor, limits: np.iinfo, bottom: Tensor, top: Tensor) -> Tensor:
    """Floats of integers (QuantizedToFloatStruct)."""
    steps = float(limits.max - limits.min)
    span = g.cast(g.Sub(top, bottom), DType.FLOAT64)
    scale = g.cast(g.Div(span, steps), DType.FLOAT32)
    start = g.Where(g.Equal(top, bottom), bottom, g.Mul(rounded(g, g.Div(bottom, scale)), scale))
    shift = g.Sub(start, g.Mul(scale, float(limits.min)))
    return g.Add(shift, g.Mul(numbers, scale))


class QuantizeV2:
    """Integers for floats, within a range that is widened to hold zero (quantize_op.cc)."""

    ops = ("QuantizeV2",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = plain_dtype(op.outputs[0].dtype)
        limits = np.iinfo(dtype.numpy)
        if limits.bits == 32:
            op.refuse("qint32 has more digits than float32", "quantize to qint8 or quint8")
        mode, even = op.attr("mode"), op.attr("round_mode") == "HALF_TO_EVEN"
        if limits.bits == 8 and (
            (mode == "SCALED" and even) or (mode == "MIN_FIRST" and not limits.min)
        ):
            op.refuse(
                "TensorFlow on x86 leaves it to oneDNN, which rounds in its own way",
                "quantize with the mode SCALED and HALF_AWAY_FROM_ZERO",
            )
        axis = op.attr("axis")
        values, bottom, folded = along(g, x, low, axis)
        _, top, _ = along(g, x, high, axis)
        widest = g.Max(g.Max(g.Abs(bottom), g.Abs(top)), 1.0)
        bottom = g.Min(bottom, 0.0)
        top = g.Max(top, g.Add(bottom, g.Mul(widest, op.attr("ensure_minimum_range"))))
        top = g.Max(top, 0.0)
        if mode == "SCALED":
            grid, bottom, top = self._scaled(g, op, values, bottom, top, limits)
        elif mode == "MIN_COMBINED":
            grid = self._combined(g, values, bottom, top, limits)
        else:
            grid = to_grid(g, values, limits, bottom, top)
        made = g.cast(grid, dtype)
        if folded:
            made = reshaped(g, made, g.shape(x))
            bottom, top = g.Reshape(bottom, [-1]), g.Reshape(top, [-1])
        return made, bottom, top

    def _combined(
        self, g: Builder, x: Tensor, bottom: Tensor, top: Tensor, limits: np.iinfo
    ) -> Tensor:
        size = float(limits.max - limits.min)
        scale = g.Div(size, g.Sub(top, bottom))
        above = g.Mul(g.Sub(g.Max(g.Min(x, top), bottom), bottom), scale)
        if not limits.min:
            return g.Floor(g.Add(above, 0.5))
        return rounded(g, g.Sub(above, (size + 1) / 2))

    def _scaled(
        self, g: Builder, op: Op, x: Tensor, bottom: Tensor, top: Tensor, limits: np.iinfo
    ) -> tuple[Tensor, Tensor, Tensor]:
        first, last = limits.min + int(op.attr("narrow_range")), limits.max
        most = float(np.finfo(np.float32).max)
        low, high = float(first), float(last)
        by_low = g.Where(g.Greater(g.Mul(bottom, low), 0), g.Div(low, bottom), most)
        by_high = g.Where(g.Greater(g.Mul(top, high), 0), g.Div(high, top), most)
        scale = g.Min(by_low, by_high)
        bottom, top = g.Div(low, scale), g.Div(high, scale)
        steps = g.Mul(g.Max(g.Min(x, top), bottom), scale)
        even = op.attr("round_mode") == "HALF_TO_EVEN"
        return g.Round(steps) if even else rounded(g, steps), bottom, top


def to_grid(g: Builder, x: Tensor, limits: np.iinfo, bottom: Tensor, top: Tensor) -> Tensor:
    """Integers, as floats, of floats (FloatToQuantizedStruct)."""
    steps = float(limits.max - limits.min)
    span = g.cast(g.Sub(top, bottom), DType.FLOAT64)
    scale = g.Where(g.Equal(top, bottom), 0, g.cast(g.Div(steps, span), DType.FLOAT32))
    start = g.Sub(rounded(g, g.Mul(bottom, scale)), float(limits.min))
    grid = g.Sub(rounded(g, g.Mul(x, scale)), start)
    # Of the floats below 2**31, the largest: only that is an int32.
    return g.Min(g.Max(grid, float(limits.min)), min(float(limits.max), 2.0**31 - 2**7))


class QuantizedReshape:
    """The same numbers in another shape (quantized_reshape_op.cc)."""

    ops = ("QuantizedReshape",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, shape: Tensor, low: Tensor, high: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        made = reshaped(g, x, g.cast(shape, DType.INT64))
        return made, g.Reshape(low, []), g.Reshape(high, [])


class UniformQuantize:
    """``round(x / scale) + zero``, within limits (uniform_quantize_op.cc)."""

    ops = ("UniformQuantize", "UniformDequantize")

    def emit(self, g: Builder, op: Op, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        axis = op.attr("quantization_axis")
        values, scales, folded = along(g, x, scale, axis)
        _, zeros, _ = along(g, x, zero, axis)
        if op.type == "UniformDequantize":
            whole = g.Sub(g.cast(values, DType.INT32), zeros)
            made = g.Mul(g.cast(whole, DType.FLOAT32), scales)
        else:
            inverse = g.Div(1.0, scales)
            steps = g.Floor(g.Add(g.Mul(values, inverse), 0.5))
            low, high = op.attr("quantization_min_val"), op.attr("quantization_max_val")
            moved = g.Add(steps, g.cast(zeros, DType.FLOAT32))
            dtype = plain_dtype(op.outputs[0].dtype)
            made = g.cast(g.Min(g.Max(moved, float(low)), float(high)), dtype)
        return reshaped(g, made, g.shape(x)) if folded else made


HANDLERS: tuple[Handler, ...] = (
    FakeQuant(),
    QuantizeAndDequantize(),
    Dequantize(),
    QuantizeV2(),
    QuantizedReshape(),
    UniformQuantize(),
)
