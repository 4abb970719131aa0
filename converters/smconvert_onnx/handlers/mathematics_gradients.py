"""Gradients of activations and functions, from their results or arguments.

The formulas are those of relu_op_functor.h, softplus_op.h, softsign_op.h and
cwise_ops_gradients.h, products with 0 and their NaNs included.
"""

from __future__ import annotations

from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.precision import Elementwise

_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_SCALE_ALPHA = 1.7580993408473768599402175208123


class ReluGrad:
    """The gradient where the activation was within its bounds, times 0 elsewhere."""

    ops = ("ReluGrad", "Relu6Grad")

    def emit(self, g: Builder, op: Op, dy: Tensor, x: Tensor) -> Tensor:
        within = g.Greater(x, 0)
        if op.type == "Relu6Grad":
            within = g.And(within, g.Less(x, 6))
        return g.Mul(dy, g.cast(within, dy.dtype))


class LeakyReluGrad:
    """``alpha`` times the gradient where ``x`` is not above 0."""

    ops = ("LeakyReluGrad",)

    def emit(self, g: Builder, op: Op, dy: Tensor, x: Tensor) -> Tensor:
        slope = g.constant(op.attr("alpha"), dy.dtype)
        return g.Where(g.Greater(x, 0), dy, g.Mul(dy, slope))


def _elu(g: Builder, dy: Tensor, y: Tensor) -> Tensor:
    return g.Where(g.Less(y, 0), g.Mul(g.Add(y, 1), dy), dy)


def _selu(g: Builder, dy: Tensor, y: Tensor) -> Tensor:
    below = g.Mul(dy, g.Add(y, _SELU_SCALE_ALPHA))
    return g.Where(g.Less(y, 0), below, g.Mul(dy, _SELU_SCALE))


def _softplus(g: Builder, dy: Tensor, x: Tensor) -> Tensor:
    return g.Div(dy, g.Add(g.Exp(g.Neg(x)), 1))


def _softsign(g: Builder, dy: Tensor, x: Tensor) -> Tensor:
    root = g.Add(g.Abs(x), 1)
    return g.Div(dy, g.Mul(root, root))


def _tanh(g: Builder, y: Tensor, dy: Tensor) -> Tensor:
    return g.Mul(dy, g.Sub(1, g.Mul(y, y)))


def _sigmoid(g: Builder, y: Tensor, dy: Tensor) -> Tensor:
    return g.Mul(dy, g.Mul(y, g.Sub(1, y)))


def _reciprocal(g: Builder, y: Tensor, dy: Tensor) -> Tensor:
    return _no_nan(g, g.Neg(g.Mul(y, y)), dy)


def _sqrt(g: Builder, y: Tensor, dy: Tensor) -> Tensor:
    return _no_nan(g, g.Div(0.5, y), dy)


def _rsqrt(g: Builder, y: Tensor, dy: Tensor) -> Tensor:
    return _no_nan(g, g.Mul(-0.5, g.Mul(y, y)), _no_nan(g, y, dy))


def _no_nan(g: Builder, x: Tensor, dy: Tensor) -> Tensor:
    """Their product, and 0 where ``dy`` is 0."""
    return g.Where(g.Equal(dy, 0), 0, g.Mul(x, dy))


HANDLERS: tuple[Handler, ...] = (
    Elementwise("EluGrad", _elu),
    Elementwise("InvGrad", _reciprocal),
    LeakyReluGrad(),
    Elementwise("ReciprocalGrad", _reciprocal),
    ReluGrad(),
    Elementwise("RsqrtGrad", _rsqrt),
    Elementwise("SeluGrad", _selu),
    Elementwise("SigmoidGrad", _sigmoid),
    Elementwise("SoftplusGrad", _softplus),
    Elementwise("SoftsignGrad", _softsign),
    Elementwise("SqrtGrad", _sqrt),
    Elementwise("TanhGrad", _tanh),
)
