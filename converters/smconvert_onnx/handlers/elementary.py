"""Functions that ONNX Runtime has no kernel for, or none for float64, by those that it has.

Each takes float32 or float64 and is good to a few units of the last place, near 0 too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.builder import Builder, Tensor


def series(g: Builder, coefficients: Array, t: Tensor) -> Tensor:
    """The Chebyshev series at ``t`` in [-1, 1], by Clenshaw's recurrence."""
    twice = g.Add(t, t)
    after = g.constant(np.zeros((), t.dtype.numpy))
    here = g.constant(coefficients[-1], t.dtype)
    for coefficient in coefficients[-2:0:-1]:
        here, after = g.Add(g.Sub(g.Mul(twice, here), after), float(coefficient)), here
    return g.Add(g.Sub(g.Mul(t, here), after), float(coefficients[0]))


def fitted(function: Callable[[float], float], degree: int) -> Array:
    """The Chebyshev series of a function on [-1, 1], by its values between the extrema.

    NumPy's ``chebinterpolate`` loses two digits: it computes the polynomials by recurrence. Here
    they are cosines, of angles that are reduced before they are rounded.
    """
    count = degree + 1
    odd = 2 * np.arange(count) + 1
    values = np.array([function(math.cos(n * math.pi / (2 * count))) for n in odd])
    turns = np.outer(np.arange(count), odd) % (4 * count)
    terms = np.cos(turns * (math.pi / (2 * count))) * values
    coefficients = np.array([math.fsum(row) for row in terms]) * (2 / count)
    coefficients[0] /= 2
    return coefficients


def signed(g: Builder, magnitude: Tensor, like: Tensor) -> Tensor:
    """``magnitude``, negative where ``like`` is."""
    return g.Where(g.Less(like, 0), g.Neg(magnitude), magnitude)


def expm1(g: Builder, x: Tensor) -> Tensor:
    """``exp(x) - 1`` as ``tanh(x/2) (exp(x) + 1)``."""
    return g.Mul(g.Tanh(g.Mul(x, 0.5)), g.Add(g.Exp(x), 1))


def log1p(g: Builder, x: Tensor) -> Tensor:
    """``log(1 + x)``, by what the sum really added (Kahan; HP-15C Advanced Functions Handbook)."""
    u = g.Add(x, 1)
    added = g.Sub(u, 1)
    log = g.Log(u)
    exact = g.Mul(log, g.Div(x, added))
    return g.Where(g.Equal(added, 0), x, g.Where(g.IsInf(u), log, exact))


def sinh(g: Builder, x: Tensor) -> Tensor:
    """``sinh(x)``: half of ``e + e/(e+1)``, where ``e`` is ``expm1(|x|)``."""
    if x.dtype is DType.FLOAT32:
        return g.Sinh(x)
    # exp(x/2) twice does not overflow before sinh does.
    size = g.Abs(x)
    root = g.Exp(g.Mul(size, 0.5))
    e = expm1(g, size)
    small = g.Mul(g.Add(e, g.Div(e, g.Add(e, 1))), 0.5)
    large = g.Mul(g.Mul(root, 0.5), root)
    return signed(g, g.Where(g.Less(size, 25), small, large), x)


def cosh(g: Builder, x: Tensor) -> Tensor:
    """``cosh(x)``: half of ``exp(x) + exp(-x)``."""
    if x.dtype is DType.FLOAT32:
        return g.Cosh(x)
    root = g.Exp(g.Mul(g.Abs(x), 0.5))
    half = g.Mul(root, 0.5)
    return g.Add(g.Mul(half, root), g.Div(0.5, g.Mul(root, root)))


def asinh(g: Builder, x: Tensor) -> Tensor:
    """``asinh(x)``: ``log1p(a + a^2 / (1 + sqrt(a^2 + 1)))`` of ``a = |x|``."""
    if x.dtype is DType.FLOAT32:
        return g.Asinh(x)
    size = g.Abs(x)
    square = g.Mul(size, size)
    near = log1p(g, g.Add(size, g.Div(square, g.Add(1, g.Sqrt(g.Add(square, 1))))))
    far = g.Add(g.Log(size), math.log(2))
    return signed(g, g.Where(g.Less(size, 1e8), near, far), x)


def acosh(g: Builder, x: Tensor) -> Tensor:
    """``acosh(x)``: ``log1p(t + sqrt(2 t + t^2))`` of ``t = x - 1``."""
    if x.dtype is DType.FLOAT32:
        return g.Acosh(x)
    t = g.Sub(x, 1)
    near = log1p(g, g.Add(t, g.Sqrt(g.Add(g.Add(t, t), g.Mul(t, t)))))
    far = g.Add(g.Log(x), math.log(2))
    return g.Where(g.Less(x, 1e8), near, far)


def atanh(g: Builder, x: Tensor) -> Tensor:
    """``atanh(x)``: half of ``log1p(2 a / (1 - a))`` of ``a = |x|``."""
    if x.dtype is DType.FLOAT32:
        return g.Atanh(x)
    size = g.Abs(x)
    half = g.Mul(log1p(g, g.Div(g.Add(size, size), g.Sub(1, size))), 0.5)
    return signed(g, half, x)


def tan(g: Builder, x: Tensor) -> Tensor:
    """``sin(x) / cos(x)``."""
    return g.Tan(x) if x.dtype is DType.FLOAT32 else g.Div(g.Sin(x), g.Cos(x))


def atan(g: Builder, x: Tensor) -> Tensor:
    """``atan(x)``: an odd series up to 1, and beyond it a right angle less that of ``1/x``."""
    if x.dtype is DType.FLOAT32:
        return g.Atan(x)
    size = g.Abs(x)
    beyond = g.Greater(size, 1)
    ratio = g.Where(beyond, g.Div(1, size), size)
    t = g.Sub(g.Mul(g.Mul(ratio, ratio), 2), 1)
    angle = g.Mul(series(g, _atan_series(), t), ratio)
    return signed(g, g.Where(beyond, g.Sub(math.pi / 2, angle), angle), x)


@cache
def _atan_series() -> Array:
    def over_argument(t: float) -> float:
        root = math.sqrt((t + 1) / 2)
        return math.atan(root) / root if root else 1.0

    return fitted(over_argument, 20)


def asin(g: Builder, x: Tensor) -> Tensor:
    """``asin(x)``: the angle whose tangent is ``x / sqrt((1 - x) (1 + x))``."""
    if x.dtype is DType.FLOAT32:
        return g.Asin(x)
    return atan(g, g.Div(x, g.Sqrt(g.Mul(g.Sub(1, x), g.Add(1, x)))))


def acos(g: Builder, x: Tensor) -> Tensor:
    """``acos(x)``: twice the angle whose tangent is ``sqrt((1 - x) / (1 + x))``."""
    if x.dtype is DType.FLOAT32:
        return g.Acos(x)
    half = atan(g, g.Sqrt(g.Div(g.Sub(1, x), g.Add(1, x))))
    return g.Add(half, half)


def atan2(g: Builder, y: Tensor, x: Tensor) -> Tensor:
    """The angle of the point (x, y), signs of zeros included (C's atan2)."""
    tall, wide = g.Abs(y), g.Abs(x)
    # 0/0 and inf/inf, of which the angle is 0 and half a right one.
    alike = g.Equal(tall, wide)
    ratio = g.Where(alike, g.Where(g.Equal(wide, 0), wide, 1), g.Div(tall, wide))
    angle = atan(g, ratio)
    angle = g.Where(_negative(g, x), g.Sub(math.pi, angle), angle)
    return g.Where(_negative(g, y), g.Neg(angle), angle)


def _negative(g: Builder, x: Tensor) -> Tensor:
    """Whether the sign is minus, of a zero too."""
    return g.Less(g.Where(g.Equal(x, 0), g.Reciprocal(x), x), 0)


def softplus(g: Builder, x: Tensor) -> Tensor:
    """``log(1 + exp(x))``, which does not overflow (softplus_op.h)."""
    if x.dtype is DType.FLOAT32:
        return g.Softplus(x)
    return g.Add(g.Max(x, 0), log1p(g, g.Exp(g.Neg(g.Abs(x)))))


def erf(g: Builder, x: Tensor) -> Tensor:
    """``erf(x)``: an odd series up to 1, and beyond it 1 less the rest."""
    if x.dtype is DType.FLOAT32:
        return g.Erf(x)
    size = g.Abs(x)
    far = g.Sub(1, _erfc_beyond_1(g, size))
    value = g.Where(g.Less(size, 1), _erf_within_1(g, x), signed(g, far, x))
    # TensorFlow's kernel makes NaN of a number whose square overflows.
    return g.Add(value, g.Mul(g.Mul(x, x), 0))


def erfc(g: Builder, x: Tensor) -> Tensor:
    """``1 - erf(x)``, in which the small values keep their digits; for float64."""
    size = g.Abs(x)
    rest = _erfc_beyond_1(g, size)
    far = g.Where(g.Less(x, 0), g.Sub(2, rest), rest)
    return g.Where(g.Less(size, 1), g.Sub(1, _erf_within_1(g, x)), far)


def _erf_within_1(g: Builder, x: Tensor) -> Tensor:
    t = g.Sub(g.Mul(g.Mul(x, x), 2), 1)
    return g.Mul(x, series(g, _erf_series(), t))


def _erfc_beyond_1(g: Builder, size: Tensor) -> Tensor:
    """``exp(-x^2)`` by a series in ``1/x``; the square is split, to keep its last digits."""
    size = g.Max(size, 1)
    short = g.Div(g.Floor(g.Mul(g.Min(size, 40), 16)), 16)
    rest = g.Mul(g.Sub(short, size), g.Add(short, size))
    decay = g.Mul(g.Exp(g.Neg(g.Mul(short, short))), g.Exp(rest))
    inverse = g.Div(1, size)
    t = g.Sub(g.Mul(inverse, 2), 1)
    return g.Mul(g.Mul(decay, inverse), series(g, _erfcx_series(), t))


@cache
def _erf_series() -> Array:
    def over_argument(t: float) -> float:
        root = math.sqrt((t + 1) / 2)
        return math.erf(root) / root if root else 2 / math.sqrt(math.pi)

    return fitted(over_argument, 12)


@cache
def _erfcx_series() -> Array:
    """Of ``x exp(x^2) erfc(x)``, from x = 1 on, in ``2/x - 1``."""
    return fitted(lambda t: _scaled_erfc(2 / (t + 1)) if t > -1 else 1 / math.sqrt(math.pi), 32)


def _scaled_erfc(x: float) -> float:
    """By its continued fraction (Abramowitz and Stegun, 7.1.14), from the end."""
    below = x
    for term in range(400, 0, -1):
        below = x + term / 2 / below
    return x / below / math.sqrt(math.pi)
