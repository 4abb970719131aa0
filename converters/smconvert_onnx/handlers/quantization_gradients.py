"""Gradients of floats put on a grid: they pass where the float was within the grid's ends."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.axes import around
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.quantization import nudged


def _passed(g: Builder, gradients: Tensor, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The gradients, times 0 where ``x`` is not from ``low`` to ``high``."""
    within = g.And(g.GreaterOrEqual(x, low), g.LessOrEqual(x, high))
    made: Tensor = g.Mul(gradients, g.cast(within, gradients.dtype))
    return made


class OfConstantRange:
    """The gradient within the nudged range (fake_quant_ops_functor.h)."""

    ops = ("FakeQuantWithMinMaxArgsGradient",)

    def emit(self, g: Builder, op: Op, gradients: Tensor, x: Tensor) -> Tensor:
        ends = (g.constant(op.attr(name), DType.FLOAT32) for name in ("min", "max"))
        grid = nudged(g, op, *ends)
        return _passed(g, gradients, x, grid.low, grid.high)


class OfRange:
    """Also what belongs to the ends: the sums of the gradients beyond them.

    A range from 0 to 0 passes all (fake_quant_ops_functor.h).
    """

    ops = ("FakeQuantWithMinMaxVarsGradient", "FakeQuantWithMinMaxVarsPerChannelGradient")

    def emit(
        self, g: Builder, op: Op, gradients: Tensor, x: Tensor, low: Tensor, high: Tensor
    ) -> tuple[Tensor, ...]:
        grid = nudged(g, op, low, high)
        nothing = g.And(g.Equal(low, 0), g.Equal(high, 0))
        inner = g.Where(nothing, gradients, _passed(g, gradients, x, grid.low, grid.high))
        return (
            inner,
            self._beyond(g, op, gradients, g.Less(x, grid.low), nothing),
            self._beyond(g, op, gradients, g.Greater(x, grid.high), nothing),
        )

    @staticmethod
    def _beyond(g: Builder, op: Op, gradients: Tensor, beyond: Tensor, nothing: Tensor) -> Tensor:
        products = replace_shape(g.Mul(gradients, g.cast(beyond, gradients.dtype)), None)
        if op.type == "FakeQuantWithMinMaxVarsGradient":
            total = g.ReduceSum(g.Reshape(products, [-1]), [0], keepdims=0)
        else:
            channels = g.Slice(g.shape(gradients), [-1], [2**62])
            count = g.ReduceProd(g.Slice(g.shape(gradients), [0], [-1]), keepdims=1)
            rows = reshaped(g, products, g.Concat(count, channels, axis=0))
            total = g.ReduceSum(rows, [0], keepdims=0)
        made: Tensor = g.Where(nothing, 0, total)
        return made


class ThereAndBack:
    """The gradient within the range, and none for its ends (quantize_and_dequantize_op.h)."""

    ops = ("QuantizeAndDequantizeV4Grad",)

    def emit(
        self, g: Builder, op: Op, gradients: Tensor, x: Tensor, low: Tensor, high: Tensor
    ) -> tuple[Tensor, ...]:
        axis = op.attr("axis")
        zero = g.constant(0, x.dtype)
        ends = tuple(g.Expand(zero, g.shape(end)) for end in (low, high))
        if axis == -1:
            return _passed(g, gradients, x, low, high), *ends
        folded, _, _ = around(g, x, axis)
        back, _, _ = around(g, gradients, axis)
        low, high = g.Reshape(low, [-1, 1]), g.Reshape(high, [-1, 1])
        return reshaped(g, _passed(g, back, folded, low, high), g.shape(x)), *ends


HANDLERS: tuple[Handler, ...] = (OfConstantRange(), OfRange(), ThereAndBack())
