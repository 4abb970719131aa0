"""Elementary functions and activations, element by element."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers import elementary as e
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.precision import Elementwise, in_double, single

_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_SCALE_ALPHA = 1.7580993408473768599402175208123


def _reciprocal(g: Builder, x: Tensor) -> Tensor:
    return g.Reciprocal(x)


def _rsqrt(g: Builder, x: Tensor) -> Tensor:
    return g.Reciprocal(g.Sqrt(x))


def _log(g: Builder, x: Tensor) -> Tensor:
    return g.Log(x)


def _cos(g: Builder, x: Tensor) -> Tensor:
    return g.Cos(x)


def _sin(g: Builder, x: Tensor) -> Tensor:
    return g.Sin(x)


def _erfc(g: Builder, x: Tensor) -> Tensor:
    return in_double(g, e.erfc, x)


def _xlogy(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """0 where ``x`` is 0, whatever ``y`` is (cwise_ops.h: xlogy_op)."""
    return g.Where(g.Equal(x, 0), 0, g.Mul(x, g.Log(y)))


def _xlog1py(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """0 where ``x`` is 0, whatever ``y`` is (cwise_ops.h: xlog1py_op)."""
    return g.Where(g.Equal(x, 0), 0, g.Mul(x, e.log1p(g, y)))


def _elu(g: Builder, x: Tensor) -> Tensor:
    """``exp(x) - 1`` below 0 (relu_op_functor.h)."""
    return g.Where(g.Less(x, 0), g.Sub(g.Exp(x), 1), x)


def _selu(g: Builder, x: Tensor) -> Tensor:
    """A multiple of ``exp(x) - 1`` below 0, and another of ``x`` above (relu_op_functor.h)."""
    below = g.Mul(_SELU_SCALE_ALPHA, g.Sub(g.Exp(x), 1))
    return g.Where(g.Less(x, 0), below, g.Mul(_SELU_SCALE, x))


def _softsign(g: Builder, x: Tensor) -> Tensor:
    return g.Div(x, g.Add(g.Abs(x), 1))


class LeakyRelu:
    """``alpha x`` where ``x`` is not above 0 (relu_op_functor.h)."""

    ops = ("LeakyRelu",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        alpha = op.attr("alpha")
        if x.dtype is DType.FLOAT64:
            return g.Where(g.Greater(x, 0), x, g.Mul(x, alpha))
        return g.cast(g.LeakyRelu(single(g, x), alpha=alpha), x.dtype)


HANDLERS: tuple[Handler, ...] = (
    Elementwise("Acos", e.acos),
    Elementwise("Acosh", e.acosh),
    Elementwise("Asin", e.asin),
    Elementwise("Asinh", e.asinh),
    Elementwise("Atan", e.atan),
    Elementwise("Atan2", e.atan2),
    Elementwise("Atanh", e.atanh),
    Elementwise("Cos", _cos),
    Elementwise("Cosh", e.cosh),
    Elementwise("Elu", _elu),
    Elementwise("Erf", e.erf),
    Elementwise("Erfc", _erfc),
    Elementwise("Expm1", e.expm1),
    Elementwise("Inv", _reciprocal),
    LeakyRelu(),
    Elementwise("Log", _log),
    Elementwise("Log1p", e.log1p),
    Elementwise("Reciprocal", _reciprocal),
    Elementwise("Rsqrt", _rsqrt),
    Elementwise("Selu", _selu),
    Elementwise("Sin", _sin),
    Elementwise("Sinh", e.sinh),
    Elementwise("Softplus", e.softplus),
    Elementwise("Softsign", _softsign),
    Elementwise("Tan", e.tan),
    Elementwise("Xlog1py", _xlog1py),
    Elementwise("Xlogy", _xlogy),
)
