"""Integers with a scale and a zero point: brought to other scales in fixed point.

A factor is an integer of 31 bits and a shift, with which products are rounded upwards from halfway
(uniform_quant_ops/math_utils.h).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.convolutions import apart, by_patches
from smconvert_onnx.handlers.folding import folded
from smconvert_onnx.handlers.matrices import product, reshaped
from smconvert_onnx.handlers.quantization import along, plain_dtype, rounded
from smconvert_onnx.handlers.quantization_levels import shifted_right
from smconvert_onnx.handlers.windows import Windows, around, part, permuted

_INT32, _INT64, _DOUBLE = DType.INT32, DType.INT64, DType.FLOAT64
_MOST = 2.0**31 - 1


def _multiplier(g: Builder, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """A positive double as an integer of 31 bits, and the power of 2 to divide by (both int64)."""
    two = g.constant(2.0, _DOUBLE)
    guess = g.Floor(g.Div(g.Log(ratio), float(np.log(2.0))))
    share = g.Div(ratio, g.Pow(two, g.Add(guess, 1.0)))
    # The logarithm may be off by a digit: the share is to lie from 1/2 to 1.
    above, below = g.GreaterOrEqual(share, 1.0), g.Less(share, 0.5)
    shift = g.Add(guess, g.Sub(g.Add(1.0, g.cast(above, _DOUBLE)), g.cast(below, _DOUBLE)))
    share = g.Where(above, g.Mul(share, 0.5), g.Where(below, g.Mul(share, 2.0), share))
    digits = rounded(g, g.Mul(share, 2.0**31))
    full = g.Equal(digits, 2.0**31)
    shift = g.Add(shift, g.cast(full, _DOUBLE))
    digits = g.Where(full, 2.0**30, digits)
    tiny, huge = g.Less(shift, -31.0), g.Greater(shift, 30.0)
    digits = g.Where(tiny, 0.0, g.Where(huge, _MOST, digits))
    shift = g.Where(tiny, 0.0, g.Min(shift, 30.0))
    return g.cast(digits, _INT64), g.cast(g.Pow(two, g.Sub(31.0, shift)), _INT64)


def _scaled(g: Builder, x: Tensor, ratio: Tensor) -> Tensor:
    """int32 times a positive double, in fixed point: int32 (MultiplyByQuantizedMultiplier)."""
    digits, divisor = folded(g, _multiplier, ratio)
    half = g.Div(divisor, np.int64(2))
    found = shifted_right(g, g.Add(g.Mul(g.cast(x, _INT64), digits), half), divisor)
    limits = np.iinfo(np.int32)
    found = g.Where(g.Less(found, limits.min), limits.min, found)
    return g.cast(g.Where(g.Greater(found, limits.max), limits.max, found), _INT32)


def _ratio(g: Builder, one: Tensor, over: Tensor) -> Tensor:
    """Of scales, as a double."""
    return folded(g, _quotient, one, over)[0]


def _quotient(g: Builder, one: Tensor, over: Tensor) -> tuple[Tensor]:
    return (g.Div(g.cast(one, _DOUBLE), g.cast(over, _DOUBLE)),)


def _bounded(g: Builder, x: Tensor, low: int, high: int) -> Tensor:
    return g.Max(g.Min(x, np.int32(high)), np.int32(low))


class UniformRequantize:
    """Other scales and zero points, of all or of each place of an axis (uniform_requantize_op.cc).

    Those of input and output lie along the same axis, where both are not of all.
    """

    ops = ("UniformRequantize",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        scales: Tensor,
        zeros: Tensor,
        wanted_scales: Tensor,
        wanted_zeros: Tensor,
    ) -> Tensor:
        made = _requantized(
            g,
            x,
            Scales(scales, zeros, op.attr("input_quantization_axis")),
            Scales(wanted_scales, wanted_zeros, op.attr("output_quantization_axis")),
        )
        limits = op.attr("output_quantization_min_val"), op.attr("output_quantization_max_val")
        return g.cast(_bounded(g, made, *limits), plain_dtype(op.outputs[0].dtype))


@dataclass(frozen=True)
class Scales:
    """What integers are scaled by.

    Attributes:
        scale: float32, a scalar or along an axis.
        zero: The integer that stands for 0, int32, likewise.
        axis: The axis; -1 for a scalar.
    """

    scale: Tensor
    zero: Tensor
    axis: int

    def along(self, g: Builder, values: Tensor, axis: int) -> Tensor:
        """Values of these, as they broadcast with [before, axis, after]."""
        if axis == -1 or self.axis == -1:
            return _reshaped(g, values, [])
        return _reshaped(g, values, [-1, 1])


def _reshaped(g: Builder, x: Tensor, shape: Sequence[int]) -> Tensor:
    if x.value is not None:
        return g.constant(x.value.reshape(shape), x.dtype)
    return g.Reshape(x, g.constant(list(shape), _INT64))


def _read(g: Builder, x: Tensor) -> Tensor:
    """As int32; one of a quantized type comes by way of float32 (QInt32's only conversion)."""
    return g.cast(g.cast(x, DType.FLOAT32), _INT32)


def _requantized(g: Builder, x: Tensor, given: Scales, wanted: Scales) -> Tensor:
    axis = max(given.axis, wanted.axis)
    values, _, is_folded = along(g, x, given.scale, axis)
    ratio = _ratio(g, given.along(g, given.scale, axis), wanted.along(g, wanted.scale, axis))
    counted = g.Sub(_read(g, values), given.along(g, given.zero, axis))
    made = g.Add(_scaled(g, counted, ratio), wanted.along(g, wanted.zero, axis))
    return reshaped(g, made, g.shape(x)) if is_folded else made


class UniformQuantizedAdd:
    """Both at the scale of the sum (uniform_quantized_add_op.cc)."""

    ops = ("UniformQuantizedAdd",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor, *given: Tensor) -> Tensor:
        axes = [op.attr(f"{side}_quantization_axis") for side in ("lhs", "rhs", "output")]
        if axes[2] >= 0 and -1 in axes:
            op.refuse("the sum has scales along an axis, and what is added has not")
        terms = []
        none = g.constant(np.zeros((), np.int32))
        for term, own, axis in zip((x, y), (given[:2], given[2:4]), axes, strict=False):
            wanted = Scales(given[4], none, axis if axes[2] >= 0 else -1)
            made = _requantized(g, term, Scales(own[0], own[1], axis), wanted)
            terms.append(replace_shape(_read(g, made), term.shape))
        zero = given[5]
        total = g.Add(*terms)
        if axes[2] >= 0:
            folded_total, zero, _ = along(g, total, zero, axes[2])
            made = reshaped(g, g.Add(folded_total, zero), g.Shape(total))
        else:
            made = g.Add(total, zero)
        limits = op.attr("output_quantization_min_val"), op.attr("output_quantization_max_val")
        return _bounded(g, made, *limits)


class UniformQuantizedClip:
    """Between two integers, for all or for each place of an axis
    (uniform_quantized_clip_by_value_op.cc)."""

    ops = ("UniformQuantizedClipByValue",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        low: Tensor,
        high: Tensor,
        scales: Tensor,
        zeros: Tensor,
    ) -> Tensor:
        axis = op.attr("quantization_axis")
        values, bottom, is_folded = along(g, x, low, axis)
        _, top, _ = along(g, x, high, axis)
        made = g.Min(g.Max(values, bottom), top)
        return reshaped(g, made, g.shape(x)) if is_folded else made


@dataclass(frozen=True)
class _Product:
    """What UniformQuantizedDot and UniformQuantizedConvolution have in common.

    Attributes:
        hybrid: Whether the first factor is of floats, which are quantized row by row.
    """

    hybrid: bool

    def factors(
        self, g: Builder, op: Op, x: Tensor, kernel: Tensor, given: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both as int32, counted from 0, and the scales of the rows of the first.

        The rows of ``x`` are along its first axis, the channels of ``kernel`` along its last.
        """
        if self.hybrid:
            first, scale = _quantized_rows(g, x)
            zero = given[1]
        else:
            first, scale, zero = g.Sub(g.cast(x, _INT32), given[1]), given[0], given[3]
        second = g.Sub(g.cast(kernel, _INT32), zero)
        return replace_shape(first, x.shape), replace_shape(second, kernel.shape), scale

    def result(
        self, g: Builder, op: Op, sums: Tensor, scale: Tensor, given: Sequence[Tensor]
    ) -> Tensor:
        """Sums of products [rows, ..., channels] at the scale that is asked for."""
        if self.hybrid:
            return g.Mul(g.Mul(g.cast(sums, DType.FLOAT32), scale), given[0])
        ratio = folded(g, _three, given[0], given[2], given[4])[0]
        made = g.Add(_scaled(g, sums, ratio), given[5])
        limits = op.attr("output_quantization_min_val"), op.attr("output_quantization_max_val")
        return _bounded(g, made, *limits)


def _three(g: Builder, one: Tensor, other: Tensor, over: Tensor) -> tuple[Tensor]:
    """The factor of a product, over that of what it becomes: a double."""
    both = g.Mul(g.cast(one, _DOUBLE), g.cast(other, _DOUBLE))
    return (g.Div(both, g.cast(over, _DOUBLE)),)


def _quantized_rows(g: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Floats as int32 counted from 0, of eight bits, and the scale of each row: 1 where it is all
    zeros (AsymmetricQuantize)."""
    rank = x.rank or 2
    axes = list(range(1, rank))
    if g.opset >= 18:
        least, most = g.ReduceMin(x, axes, keepdims=1), g.ReduceMax(x, axes, keepdims=1)
    else:
        least = g.ReduceMin(x, axes=axes, keepdims=1)
        most = g.ReduceMax(x, axes=axes, keepdims=1)
    bottom = g.cast(g.Min(least, 0.0), _DOUBLE)
    top = g.cast(g.Max(most, 0.0), _DOUBLE)
    span = g.Sub(top, bottom)
    scale = g.cast(g.Div(span, 255.0), DType.FLOAT32)
    inverse = g.cast(g.Div(255.0, span), DType.FLOAT32)
    none = g.Or(g.Equal(scale, 0), g.IsInf(inverse))
    wide = g.cast(scale, _DOUBLE)
    low, high = g.Div(bottom, wide), g.Div(top, wide)
    nearer = g.Less(g.Add(128.0, g.Abs(low)), g.Add(127.0, g.Abs(high)))
    zero = g.Where(nearer, g.Sub(-128.0, low), g.Sub(127.0, high))
    zero = g.cast(g.Max(g.Min(rounded(g, zero), 127.0), -128.0), DType.FLOAT32)
    steps = g.Add(g.Floor(g.Add(g.Mul(x, inverse), 0.5)), zero)
    steps = g.Sub(g.Max(g.Min(steps, 127.0), -128.0), zero)
    return g.cast(g.Where(none, 0.0, steps), _INT32), g.Where(none, 1.0, scale)


class UniformQuantizedDot:
    """Products of matrices (uniform_quantized_dot_ops.cc)."""

    ops = ("UniformQuantizedDot", "UniformQuantizedDotHybrid")

    def emit(self, g: Builder, op: Op, x: Tensor, kernel: Tensor, *given: Tensor) -> Tensor:
        common = _Product(op.type.endswith("Hybrid"))
        x, kernel = (replace_shape(t, t.shape or (None, None)) for t in (x, kernel))
        first, second, scale = common.factors(g, op, x, kernel, given)
        return common.result(g, op, product(g, first, second), scale, given)


@dataclass(frozen=True)
class _Layout:
    """Which axes are which (uniform_quant_ops_attr.proto): batch, channels, space of the input and
    of the output, and output channels, input channels, space of the kernel."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    y: tuple[int, ...]

    @classmethod
    def of(cls, text: str, rank: int) -> _Layout:
        """That of the serialized message; by default channels come before space."""
        axes = {number: [0] for number in (1, 2, 4, 5, 7, 8)} | {3: [], 6: [], 9: []}
        for number, value in _varints(text.encode("utf-8", "surrogateescape")):
            axes[number] = [*axes[number], value] if number in {3, 6, 9} else [value]
        if not axes[3]:
            plain = tuple(range(rank))
            return cls(plain, plain, plain)
        return cls(
            (*axes[1], *axes[2], *axes[3]),
            (*axes[5], *axes[4], *axes[6]),
            (*axes[7], *axes[8], *axes[9]),
        )


def _varints(message: bytes) -> list[tuple[int, int]]:
    """The fields of a protobuf message that has but integers, packed or not."""
    found, at = [], 0

    def read() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        number, kind = divmod(read(), 8)
        end = at + 1
        if kind == 2:
            length = read()
            end = at + length
        while at < end:
            found.append((number, read()))
    return found


class UniformQuantizedConvolution:
    """Convolutions in any layout (uniform_quantized_convolution_ops.cc)."""

    ops = ("UniformQuantizedConvolution", "UniformQuantizedConvolutionHybrid")

    def emit(self, g: Builder, op: Op, x: Tensor, kernel: Tensor, *given: Tensor) -> Tensor:
        rank = x.rank if x.rank is not None else op.rank(kernel)
        layout, groups = (
            _Layout.of(op.attr("dimension_numbers"), rank),
            op.attr("batch_group_count"),
        )
        common = _Product(op.type.endswith("Hybrid"))
        if groups > 1 and (common.hybrid or op.attr("feature_group_count") > 1):
            op.refuse("it has groups of batches, and floats or groups of channels")
        first = _to_last(g, x, layout.x)
        second = permuted(g, kernel, [*layout.kernel[2:], layout.kernel[1], layout.kernel[0]])
        first, second, scale = common.factors(g, op, first, second, given)
        ones = [1] * (rank - 2)
        apart_by = op.attr("lhs_dilation") or ones
        if any(step > 1 for step in apart_by):
            first = apart(g, first, apart_by)
            none = g.constant([0] * (rank - 2))
            first = around(g, first, none, g.constant([1 - step for step in apart_by]))
        if groups > 1:
            first = _grouped(g, first, groups, rank)
        flat = op.attr("explicit_padding")
        windows = Windows(
            tuple(op.attr("window_strides") or ones),
            tuple(op.attr("rhs_dilation") or ones),
            op.attr("padding"),
            tuple(zip(flat[::2], flat[1::2], strict=True)),
        )
        sums = by_patches(g, first, second, windows)
        made = common.result(g, op, sums, scale, given)
        return _from_last(g, made, layout.y)


def _to_last(g: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    return permuted(g, x, [axes[0], *axes[2:], axes[1]])


def _from_last(g: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    order = [axes[0], *axes[2:], axes[1]]
    return permuted(g, x, [order.index(axis) for axis in range(len(order))])


def _grouped(g: Builder, x: Tensor, groups: int, rank: int) -> Tensor:
    """Parts of the batch as groups of channels."""
    sizes = part(g, x, 1, rank - 1)
    split = g.Reshape(x, g.Concat([groups, -1], sizes, axis=0))
    moved = g.Transpose(split, perm=[*range(1, rank), 0, rank])
    space, channels = g.Slice(sizes, [0], [-1]), g.Slice(sizes, [-1], [2**31])
    return g.Reshape(moved, g.Concat([-1], space, g.Mul(channels, groups), axis=0))


HANDLERS: tuple[Handler, ...] = (
    UniformRequantize(),
    UniformQuantizedAdd(),
    UniformQuantizedClip(),
    UniformQuantizedDot(),
    UniformQuantizedConvolution(),
)
