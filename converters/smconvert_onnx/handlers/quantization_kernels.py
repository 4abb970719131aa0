"""Ops on integers that stand for floats, whose ranges travel beside them."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.quantization import plain_dtype
from smconvert_onnx.handlers.quantization_levels import Ranged, clamped, level, product_range, zero


class QuantizedRelu:
    """Bounds at the integers for 0 and 6 (quantized_activation_ops.cc)."""

    ops = ("QuantizedRelu", "QuantizedRelu6")

    def emit(self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor) -> Ranged:
        dtype = plain_dtype(x.dtype)

        def bound(value: float) -> Tensor:
            return clamped(g, level(g, value, dtype, low, high), dtype)

        made = g.Max(x, bound(0.0))
        if op.type == "QuantizedRelu6":
            made = g.Min(made, bound(6.0))
        return made, g.Identity(low), g.Identity(high)


class QuantizedMaxPool:
    """The largest integer stands for the largest float (quantized_pooling_ops.cc)."""

    ops = ("QuantizedMaxPool",)

    def emit(self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor) -> Ranged:
        window, strides = op.attr("ksize"), op.attr("strides")
        if window[0] != 1 or window[3] != 1 or strides[0] != 1 or strides[3] != 1:
            op.refuse("it pools over the batch or the channels")
        pooled = g.MaxPool(
            g.Transpose(x, perm=[0, 3, 1, 2]),
            kernel_shape=window[1:3],
            strides=strides[1:3],
            auto_pad="SAME_UPPER" if op.attr("padding") == "SAME" else "VALID",
        )
        return g.Transpose(pooled, perm=[0, 2, 3, 1]), g.Identity(low), g.Identity(high)


class QuantizedMatMul:
    """Products of integers counted from those for 0 (quantized_matmul_op.cc)."""

    ops = ("QuantizedMatMul",)

    def emit(
        self,
        g: Builder,
        op: Op,
        a: Tensor,
        b: Tensor,
        low_a: Tensor,
        high_a: Tensor,
        low_b: Tensor,
        high_b: Tensor,
    ) -> Ranged:
        factors = []
        sides = ((a, low_a, high_a, "transpose_a"), (b, low_b, high_b, "transpose_b"))
        for x, low, high, turned in sides:
            moved = g.Sub(g.cast(x, DType.INT32), zero(g, x.dtype, low, high))
            factors.append(g.Transpose(moved, perm=[1, 0]) if op.attr(turned) else moved)
        ends = product_range(g, a.dtype, (low_a, high_a), b.dtype, (low_b, high_b))
        return g.MatMul(*factors), *ends


HANDLERS: tuple[Handler, ...] = (QuantizedRelu(), QuantizedMaxPool(), QuantizedMatMul())
