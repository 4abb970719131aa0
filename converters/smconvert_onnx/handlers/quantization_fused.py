"""oneDNN's products of unsigned integers and signed weights, with what comes behind them.

These take the place of TensorFlow's kernels on x86 (mkl_conv_ops.cc). Integers count from 0, as
what is quantized in SCALED mode does; what a range's ends say is how far apart two of them are.
"""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.convolutions import by_patches, in_groups
from smconvert_onnx.handlers.quantization import plain_dtype
from smconvert_onnx.handlers.quantization_levels import Range, Ranged
from smconvert_onnx.handlers.windows import windows_of

_INT32 = DType.INT32


def fused_convolution(
    g: Builder, op: Op, x: Tensor, kernel: Tensor, given: Range, weights: Range
) -> Ranged:
    """Sums of products, none of them below 0 where a Relu belongs to it, and their range."""
    if _pads_itself(op):
        op.refuse("it has a padding_list", "pad its input before it")
    wide = replace_shape(g.cast(x, _INT32), x.shape)
    factors = replace_shape(g.cast(kernel, _INT32), kernel.shape)
    if "Depthwise" in op.type:
        factors = in_groups(g, factors)
    sums = by_patches(g, wide, factors, windows_of(op))
    if op.type.endswith("Relu"):
        sums = g.Max(sums, 0)
    return sums, *_product_range(g, x, given, weights)


def _pads_itself(op: Op) -> bool:
    try:
        return bool(op.attr("padding_list"))
    except KeyError:
        return False


def _product_range(g: Builder, x: Tensor, given: Range, weights: Range) -> Range:
    """That of products; signed integers reach as far below 0 as above
    (MklQuantizationRangeForMultiplication)."""
    signed = plain_dtype(x.dtype) is DType.INT8
    step = g.Div(g.Sub(given[1], given[0]), 254.0 if signed else 255.0)
    own = g.Div(g.Sub(weights[1], weights[0]), 254.0)
    one = g.Mul(step, own)
    return g.Mul(one, -(2.0**31)), g.Mul(one, 2.0**31 - 1)


class FusedConvolution:
    """Convolutions whose integers stay as wide as they are: no other rounding comes in."""

    ops = ("QuantizedConv2DAndRelu", "QuantizedDepthwiseConv2D")

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        kernel: Tensor,
        low_x: Tensor,
        high_x: Tensor,
        low_kernel: Tensor,
        high_kernel: Tensor,
    ) -> Ranged:
        return fused_convolution(g, op, x, kernel, (low_x, high_x), (low_kernel, high_kernel))


HANDLERS: tuple[Handler, ...] = (FusedConvolution(),)
