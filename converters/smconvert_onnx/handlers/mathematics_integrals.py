"""Integrals that have names, element by element, by Chebyshev series computed in float64.

What TensorFlow's kernels do at the edges is theirs (special_math_op_misc_impl.h: Cephes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from smconvert.model import Array, DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.elementary import fitted, series, signed
from smconvert_onnx.handlers.precision import in_double

_EULER = 0.5772156649015329


class Dawsn:
    """``exp(-x^2)`` times the integral of ``exp(t^2)`` from 0 to ``x``."""

    ops = ("Dawsn",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return in_double(g, self._value, x)

    def _value(self, g: Builder, x: Tensor) -> Tensor:
        size = g.Abs(x)
        close = g.Min(size, _DAWSON)
        t = g.Sub(g.Mul(g.Mul(close, close), 2 / _DAWSON**2), 1)
        near = g.Mul(close, series(g, _dawson_near(), t))
        apart = g.Max(size, _DAWSON)
        ratio = g.Div(_DAWSON, apart)
        t = g.Sub(g.Mul(g.Mul(ratio, ratio), 2), 1)
        far = g.Div(series(g, _dawson_far(), t), apart)
        value = signed(g, g.Where(g.Less(size, _DAWSON), near, far), x)
        # The kernel forgets the sign of large numbers.
        return g.Where(g.Greater(size, 1e9), g.Div(0.5, size), value)


_DAWSON = 2.5


def _dawson(x: float) -> float:
    """Rybicki's sum (Computers in Physics 3, 85, 1989)."""
    step = 0.2
    terms = (
        math.exp(-((n * step) ** 2)) * math.sinh(2 * n * step * x) / n for n in range(1, 60, 2)
    )
    if x < 3:
        return 2 / math.sqrt(math.pi) * math.exp(-x * x) * math.fsum(terms)
    around = 2 * round(x / step / 2)
    nearby = (math.exp(-((x - n * step) ** 2)) / n for n in range(around - 59, around + 60, 2))
    return math.fsum(nearby) / math.sqrt(math.pi)


@cache
def _dawson_near() -> Array:
    def over_argument(t: float) -> float:
        x = _DAWSON * math.sqrt((t + 1) / 2)
        return _dawson(x) / x

    return fitted(over_argument, 22)


@cache
def _dawson_far() -> Array:
    def times_argument(t: float) -> float:
        x = _DAWSON / math.sqrt((t + 1) / 2)
        return x * _dawson(x)

    return fitted(times_argument, 45)


class Expint:
    """``Ei``: the power series of DLMF 6.6.1, and ``exp(x) / x`` times what changes slowly.

    It overflows where ``exp(x)`` does, in the type that it has.
    """

    ops = ("Expint",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        wide = g.cast(x, DType.FLOAT64)
        close = g.Min(wide, _EXPINT)
        # In x/14 all coefficients have a size: ONNX Runtime 1.31 drops the addition of a float64
        # that is 0 as a float32.
        ratio = g.Mul(close, 1 / _EXPINT)
        coefficients = [_EXPINT**k / (k * math.factorial(k)) for k in range(1, 60)]
        near = g.constant(coefficients[-1], wide.dtype)
        for coefficient in coefficients[-2::-1]:
            near = g.Add(g.Mul(near, ratio), coefficient)
        near = g.Add(g.Add(g.Log(close), _EULER), g.Mul(near, ratio))
        apart = g.Max(wide, _EXPINT)
        inverse = g.Div(1, apart)
        slow = series(g, _expint_far(), g.Sub(g.Mul(inverse, 2 * _EXPINT), 1))
        growth = g.cast(g.Exp(apart), x.dtype)
        far = g.Mul(growth, g.cast(g.Mul(inverse, slow), x.dtype))
        return g.Where(g.Less(wide, _EXPINT), g.cast(near, x.dtype), far)


_EXPINT = 14.0


@cache
def _expint_far() -> Array:
    """Of ``x exp(-x) Ei(x)`` in ``28/x - 1``."""

    def scaled(t: float) -> float:
        x = 2 * _EXPINT / (t + 1)
        if x > 50:
            term, total = 1.0, 1.0
            for k in range(1, 45):
                term *= k / x
                total += term
            return total
        term, terms = 1.0, [math.log(x) + _EULER]
        for k in range(1, 300):
            term *= x / k
            terms.append(term / k)
        return x * math.exp(-x) * math.fsum(terms)

    return fitted(scaled, 38)


@dataclass(frozen=True)
class Fresnel:
    """The integral of the cosine or sine of ``pi t^2 / 2`` from 0 to ``x`` (DLMF 7.5.3, 7.5.4).

    The phase is rounded to the type of ``x``, as it is in the kernel, and so has no digits where
    ``x^2`` has none behind the point.
    """

    op: str
    sine: bool

    @property
    def ops(self) -> tuple[str, ...]:
        return (self.op,)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        wide = g.cast(x, DType.FLOAT64)
        size = g.Abs(wide)
        square = g.Mul(wide, wide)
        close = g.Min(square, _FRESNEL)
        t = g.Sub(g.Mul(g.Mul(close, close), 2 / _FRESNEL**2), 1)
        near = g.Mul(size, series(g, _fresnel_near(self.sine), t))
        if self.sine:
            near = g.Mul(near, close)
        angle = g.cast(g.Mul(g.Mul(x, x), math.pi / 2), DType.FLOAT64)
        far = self._far(g, g.Max(square, _FRESNEL), angle)
        value = g.Where(g.Less(square, _FRESNEL), near, far)
        value = g.Where(g.Greater(size, _FRESNEL_ENDS), 0.5, value)
        return g.cast(signed(g, value, wide), x.dtype)

    def _far(self, g: Builder, square: Tensor, angle: Tensor) -> Tensor:
        t = g.Sub(g.Div(2 * _FRESNEL, square), 1)
        even, odd = (series(g, part, t) for part in _fresnel_far())
        odd = g.Div(odd, g.Mul(square, math.pi))
        sine, cosine = g.Sin(angle), g.Cos(angle)
        if self.sine:
            wave = g.Neg(g.Add(g.Mul(even, cosine), g.Mul(odd, sine)))
        else:
            wave = g.Sub(g.Mul(even, sine), g.Mul(odd, cosine))
        return g.Add(g.Div(wave, g.Mul(g.Sqrt(square), math.pi)), 0.5)


_FRESNEL = 2.5625
"""Of the square, where the kernel goes from the power series to the auxiliary functions."""
_FRESNEL_ENDS = 36974.0


@cache
def _fresnel_near(sine: bool) -> Array:
    """Of ``C(x) / x`` or ``S(x) / x^3``, in the fourth power of ``x`` (DLMF 7.6.4, 7.6.6)."""
    first, power = (1, 3) if sine else (0, 1)

    def terms(fourth: float) -> Iterable[float]:
        for k in range(14):
            angle = (math.pi / 2) ** (2 * k + first)
            yield (-fourth) ** k * angle / math.factorial(2 * k + first) / (4 * k + power)

    return fitted(lambda t: math.fsum(terms(_FRESNEL**2 * (t + 1) / 2)), 14)


@cache
def _fresnel_far() -> tuple[Array, Array]:
    """Of the auxiliary functions ``pi x f`` and ``pi^2 x^3 g`` (DLMF 7.7.10, 7.7.11)."""
    step = 0.2

    def integral(power: int) -> Callable[[float], float]:
        def value(t: float) -> float:
            scale = ((t + 1) / math.pi / _FRESNEL) ** 2
            squares = [(k * step) ** 2 for k in range(-40, 41)]
            terms = (math.exp(-s) * s**power / (1 + scale * s * s) for s in squares)
            return math.fsum(terms) * step * (1 + power) / math.sqrt(math.pi)

        return value

    return fitted(integral(0), 30), fitted(integral(1), 30)


class Spence:
    """The dilogarithm of ``1 - x`` (spence.c: by its rules of reflection and inversion)."""

    ops = ("Spence",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return in_double(g, self._value, x)

    def _value(self, g: Builder, x: Tensor) -> Tensor:
        large, above = g.Greater(x, 2), g.Greater(x, 1.5)
        y = g.Where(large, g.Div(1, x), x)
        below = g.Less(y, 0.5)
        inverted = g.Sub(g.Div(1, y), 1)
        w = g.Where(below, g.Neg(y), g.Where(g.Greater(y, 1.5), inverted, g.Sub(y, 1)))
        value = g.Neg(g.Mul(w, series(g, _dilogarithm(), g.Mul(w, 2))))
        logarithm = g.Log(y)
        reflected = g.Sub(math.pi**2 / 6, g.Mul(logarithm, g.Log(g.Sub(1, y))))
        value = g.Where(below, g.Sub(reflected, value), value)
        turned = g.Sub(g.Neg(value), g.Mul(g.Mul(logarithm, logarithm), 0.5))
        value = g.Where(above, turned, value)
        return g.Where(g.Equal(x, 0), math.pi**2 / 6, value)


@cache
def _dilogarithm() -> Array:
    """Of ``-Li2(-w) / w`` between ``w = -1/2`` and ``1/2``."""

    def over_argument(t: float) -> float:
        return math.fsum((-t / 2) ** k / (k + 1) ** 2 for k in range(60))

    return fitted(over_argument, 30)


HANDLERS: tuple[Handler, ...] = (
    Dawsn(),
    Expint(),
    Fresnel("FresnelCos", sine=False),
    Fresnel("FresnelSin", sine=True),
    Spence(),
)
