"""oneDNN's products of unsigned integers and signed weights, with what comes behind them.

These take the place of TensorFlow's kernels on x86 (mkl_conv_ops.cc, mkl_qmatmul_op.cc). oneDNN
computes in float32: sums times the step of a product, a bias, and all of that over the step of the
result, rounded to even. The roundings here are those of TensorFlow 2.21, found by comparison.
"""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.convolutions import by_patches, in_groups
from smconvert_onnx.handlers.quantization import plain_dtype
from smconvert_onnx.handlers.quantization_levels import Range, Ranged
from smconvert_onnx.handlers.windows import windows_of

_INT32 = DType.INT32
_WEIGHTS = 127.0
"""The largest weight; -128 is no more than what rounding leaves."""

_BELOW = float(np.nextafter(np.float32(2**31), np.float32(0)))
"""The largest float32 that is an int32, at which oneDNN's sums end."""


class FusedConvolution:
    """Sums of products with their biases, none below 0 where a Relu belongs to it, and their range.

    Where weights have a range for each channel, sums that stay 32 bits wide are brought to the
    widest of them, whereas the range that is given for them is each channel's own.
    """

    ops = (
        "QuantizedConv2DAndRelu",
        "QuantizedConv2DAndReluAndRequantize",
        "QuantizedConv2DAndRequantize",
        "QuantizedConv2DPerChannel",
        "QuantizedConv2DWithBias",
        "QuantizedConv2DWithBiasAndRelu",
        "QuantizedConv2DWithBiasAndReluAndRequantize",
        "QuantizedConv2DWithBiasAndRequantize",
        "QuantizedDepthwiseConv2D",
        "QuantizedDepthwiseConv2DWithBias",
        "QuantizedDepthwiseConv2DWithBiasAndRelu",
        "QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize",
    )

    def emit(self, g: Builder, op: Op, x: Tensor, kernel: Tensor, *rest: Tensor) -> Ranged:
        return fused_convolution(g, op, x, kernel, *rest)


def fused_convolution(g: Builder, op: Op, x: Tensor, kernel: Tensor, *rest: Tensor) -> Ranged:
    """As ``FusedConvolution``; ``rest`` is a bias where it has one, and the ends of ranges."""
    bias, ends = (rest[0], rest[1:]) if "WithBias" in op.type else (None, rest)
    given, weights = (ends[0], ends[1]), (ends[2], ends[3])
    if _pads_itself(op):
        op.refuse("it has a padding_list", "pad its input before it")
    wide = replace_shape(g.cast(x, _INT32), x.shape)
    factors = replace_shape(g.cast(kernel, _INT32), kernel.shape)
    if "Depthwise" in op.type:
        factors = in_groups(g, factors)
    sums = by_patches(g, wide, factors, windows_of(op))
    own, other = _farthest(g, given), _farthest(g, weights)
    most = _most(x)
    step = g.Mul(g.Div(own, most), g.Div(other, _WEIGHTS))
    if bias is not None and plain_dtype(bias.dtype) is _INT32:
        bias = _times_step(g, bias, own, other, most)
    made = g.Mul(g.cast(sums, DType.FLOAT32), step)
    made = made if bias is None else g.Add(made, bias)
    if "Requantize" in op.type:
        wanted = ends[4], ends[5]
        return _requantized(g, op, made, wanted), *(g.Identity(end) for end in wanted)
    widest = g.ReduceMax(step, keepdims=0)
    return _rounded(g, op, made, widest), *_product_range(g, x, given, weights)


def _pads_itself(op: Op) -> bool:
    try:
        return bool(op.attr("padding_list"))
    except KeyError:
        return False


def _farthest(g: Builder, ends: Range) -> Tensor:
    """How far a range reaches from 0."""
    return g.Max(g.Abs(ends[0]), g.Abs(ends[1]))


def _most(x: Tensor) -> float:
    """The largest integer of a type that counts from 0."""
    return float(np.iinfo(plain_dtype(x.dtype).numpy).max)


def _inverse(g: Builder, x: Tensor) -> Tensor:
    """``1 / x``, of which ONNX Runtime 1.31 does not make one division with what it multiplies."""
    inverse: Tensor = g.Neg(g.Div(-1.0, x))
    return inverse


def _times_step(g: Builder, bias: Tensor, own: Tensor, other: Tensor, most: float) -> Tensor:
    """Integers of a bias as floats."""
    steps = g.Div(most * _WEIGHTS, g.Mul(own, other))
    return g.Mul(g.cast(bias, DType.FLOAT32), _inverse(g, steps))


def _requantized(g: Builder, op: Op, made: Tensor, wanted: Range) -> Tensor:
    """Floats as eight bits, in a range that is asked for."""
    dtype = plain_dtype(op.outputs[0].dtype)
    limits = np.iinfo(dtype.numpy)
    step = g.Div(_farthest(g, wanted), float(limits.max))
    return _narrowed(g, op, g.Mul(made, _inverse(g, step)), dtype, float(limits.max))


def _rounded(g: Builder, op: Op, made: Tensor, step: Tensor) -> Tensor:
    """Floats as int32."""
    return _narrowed(g, op, g.Mul(made, _inverse(g, step)), _INT32, _BELOW)


def _narrowed(g: Builder, op: Op, found: Tensor, dtype: DType, top: float) -> Tensor:
    least = 0.0 if "Relu" in op.type else float(np.iinfo(dtype.numpy).min)
    return g.cast(g.Round(g.Min(g.Max(found, least), top)), dtype)


def _product_range(g: Builder, x: Tensor, given: Range, weights: Range) -> Range:
    """That of products; signed integers reach as far below 0 as above
    (MklQuantizationRangeForMultiplication)."""
    signed = plain_dtype(x.dtype) is DType.INT8
    step = g.Div(g.Sub(given[1], given[0]), 254.0 if signed else 255.0)
    own = g.Div(g.Sub(weights[1], weights[0]), 254.0)
    one = g.Mul(step, own)
    return g.Mul(one, -(2.0**31)), g.Mul(one, 2.0**31 - 1)


class FusedMatMul:
    """Rows times weights, and a bias.

    To a bias of floats, TensorFlow 2.21 adds what the least float of the rows makes of a column's
    weights, without their step: a model that it has not been wrong for begins its range at 0.
    """

    ops = (
        "QuantizedMatMulWithBias",
        "QuantizedMatMulWithBiasAndDequantize",
        "QuantizedMatMulWithBiasAndRelu",
        "QuantizedMatMulWithBiasAndReluAndRequantize",
        "QuantizedMatMulWithBiasAndRequantize",
    )

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        weights: Tensor,
        bias: Tensor,
        low: Tensor,
        high: Tensor,
        low_weights: Tensor,
        high_weights: Tensor,
        *wanted: Tensor,
    ) -> Tensor | Ranged:
        if op.attr("transpose_a") or op.attr("transpose_b"):
            op.refuse("oneDNN refuses to transpose", "transpose the integers before it")
        factors = g.cast(weights, _INT32)
        sums = g.cast(g.MatMul(g.cast(x, _INT32), factors), DType.FLOAT32)
        other = _farthest(g, (low_weights, high_weights))
        back = op.type.endswith("Dequantize")
        # Of the others, the mode changes nothing.
        scaled = back and op.attr("input_quant_mode") == "SCALED"
        span = g.Sub(high, low)
        own = _farthest(g, (low, high)) if scaled else span
        step = g.Mul(g.Div(own, 255.0), g.Div(other, _WEIGHTS))
        made = g.Add(
            g.Mul(sums, step),
            self._bias(g, bias, factors, (low, high), other, scaled, back),
        )
        if back:
            return g.cast(made, op.outputs[0].dtype)
        if wanted:
            ends = wanted[0], wanted[1]
            return _requantized(g, op, made, ends), *(g.Identity(end) for end in ends)
        product = _product_range(g, x, (low, high), (low_weights, high_weights))
        return _rounded(g, op, made, step), *product

    def _bias(
        self,
        g: Builder,
        bias: Tensor,
        factors: Tensor,
        ends: Range,
        other: Tensor,
        scaled: bool,
        back: bool,
    ) -> Tensor:
        low, high = ends
        span = g.Sub(high, low)
        if plain_dtype(bias.dtype) is _INT32:
            if back and not scaled:
                steps = g.Div(255.0 * _WEIGHTS, g.Mul(span, other))
                return g.Div(g.cast(bias, DType.FLOAT32), steps)
            return _times_step(g, bias, high if scaled else span, other, 255.0)
        if scaled:
            return bias
        columns = g.cast(g.ReduceSum(factors, [0], keepdims=0), DType.FLOAT32)
        return g.Add(bias, g.Mul(columns, g.Div(g.Mul(low, 255.0), span)))


HANDLERS: tuple[Handler, ...] = (FusedConvolution(), FusedMatMul())
