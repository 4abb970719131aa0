"""Special functions, element by element; all are computed in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from smconvert.model import Array
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.elementary import fitted, series, signed
from smconvert_onnx.handlers.precision import in_double

_SHIFT = 10
"""From here on the asymptotic series of the gamma functions have all digits."""

_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


@dataclass(frozen=True)
class Special:
    """An op of one argument, by a function for float64."""

    op: str
    function: Callable[[Builder, Tensor], Tensor]

    @property
    def ops(self) -> tuple[str, ...]:
        return (self.op,)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return in_double(g, self.function, x)


def _polynomial(g: Builder, coefficients: Sequence[float], x: Tensor) -> Tensor:
    """With the constant term first, by Horner's rule."""
    value = g.constant(coefficients[-1], x.dtype)
    for coefficient in coefficients[-2::-1]:
        value = g.Add(g.Mul(value, x), coefficient)
    return value


def lgamma(g: Builder, x: Tensor) -> Tensor:
    """``log |gamma(x)|``: Stirling's series, brought near by the factorial's own rule.

    Of a negative number by reflection: gamma(-z) = -pi / (z sin(pi z) gamma(z)).
    """
    z = g.Abs(x)
    near = g.Less(z, _SHIFT)
    s = g.Where(near, g.Add(z, _SHIFT), z)
    product = z
    for step in range(1, _SHIFT):
        product = g.Mul(product, g.Add(z, step))
    inverse = g.Div(1, s)
    rest = g.Mul(inverse, _polynomial(g, _STIRLING, g.Mul(inverse, inverse)))
    stirling = g.Mul(g.Sub(s, 0.5), g.Sub(g.Log(s), 1))
    stirling = g.Add(stirling, g.Add(rest, (math.log(2 * math.pi) - 1) / 2))
    value = g.Sub(stirling, g.Log(g.Where(near, product, 1)))
    fraction = g.Sub(z, g.Floor(z))
    sine = g.Sin(g.Mul(g.Min(fraction, g.Sub(1, fraction)), math.pi))
    reflected = g.Sub(g.Sub(g.Log(g.Div(math.pi, sine)), g.Log(z)), value)
    reflected = g.Where(g.Equal(sine, 0), math.inf, reflected)
    return g.Where(g.And(g.Less(x, 0), g.Not(g.IsInf(x))), reflected, value)


def digamma(g: Builder, x: Tensor) -> Tensor:
    """The derivative of ``lgamma``; NaN at its poles, 0 and the negative integers."""
    mirrored = g.LessOrEqual(x, 0)
    z = g.Where(mirrored, g.Sub(1, x), x)
    near = g.Less(z, _SHIFT)
    s = g.Where(near, g.Add(z, _SHIFT), z)
    steps = g.Div(1, z)
    for step in range(1, _SHIFT):
        steps = g.Add(steps, g.Div(1, g.Add(z, step)))
    inverse = g.Div(1, s)
    square = g.Mul(inverse, inverse)
    rest = g.Add(g.Mul(inverse, 0.5), g.Mul(square, _polynomial(g, _DIGAMMA, square)))
    value = g.Sub(g.Sub(g.Log(s), rest), g.Where(near, steps, 0))
    fraction = g.Sub(x, g.Round(x))
    angle = g.Mul(fraction, math.pi)
    cotangent = g.Mul(g.Div(g.Cos(angle), g.Sin(angle)), math.pi)
    pole = g.Where(g.Equal(fraction, 0), math.nan, cotangent)
    return g.Where(mirrored, g.Sub(value, pole), value)


_CENTRE = (
    (
        *(3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946),
        *(45921.95393154987, 67265.7709270087, 33430.57558358813, 2509.0809287301227),
    ),
    (
        *(1.0, 42.31333070160091, 687.1870074920579, 5394.196021424751),
        *(21213.794301586597, 39307.89580009271, 28729.085735721943, 5226.495278852854),
    ),
)
_TAIL = (
    (
        *(1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045),
        *(1.2704582524523684, 0.2417807251774506, 0.022723844989269184, 0.0007745450142783414),
    ),
    (
        *(1.0, 2.053191626637759, 1.6763848301838038, 0.6897673349851),
        *(0.14810397642748008, 0.015198666563616457, 0.0005475938084995345, 1.0507500716444169e-09),
    ),
)
_FAR_TAIL = (
    (
        *(6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487),
        *(
            0.026532189526576124,
            0.0012426609473880784,
            2.7115555687434876e-05,
            2.0103343992922881e-07,
        ),
    ),
    (
        *(1.0, 0.599832206555888, 0.1369298809227358, 0.014875361290850615),
        *(
            0.0007868691311456133,
            1.8463183175100548e-05,
            1.421511758316446e-07,
            2.0442631033899397e-15,
        ),
    ),
)


def _ratio(g: Builder, polynomials: Sequence[Sequence[float]], x: Tensor) -> Tensor:
    return g.Div(_polynomial(g, polynomials[0], x), _polynomial(g, polynomials[1], x))


def _ndtri(g: Builder, p: Tensor) -> Tensor:
    """The normal quantile (Wichura 1988, algorithm AS 241)."""
    q = g.Sub(p, 0.5)
    centre = g.Mul(q, _ratio(g, _CENTRE, g.Sub(0.180625, g.Mul(q, q))))
    rest = g.Min(p, g.Sub(1, p))
    root = g.Sqrt(g.Neg(g.Log(rest)))
    tail = _ratio(g, _TAIL, g.Sub(root, 1.6))
    far = _ratio(g, _FAR_TAIL, g.Sub(root, 5))
    tail = g.Where(g.Greater(root, 5), far, tail)
    tail = g.Where(g.Equal(rest, 0), math.inf, tail)
    return g.Where(g.LessOrEqual(g.Abs(q), 0.425), centre, signed(g, tail, q))


class Erfinv:
    """The inverse of ``erf`` by the normal quantile of ``x/2 + 1/2`` (cwise_ops.h).

    The sum is rounded to the type of ``x``, as it is in TensorFlow, though near 0 it has few
    digits.
    """

    ops = ("Erfinv",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        p = g.Add(g.Mul(x, 0.5), 0.5)
        return g.Mul(in_double(g, _ndtri, p), math.sqrt(0.5))


@dataclass(frozen=True)
class BesselI:
    """A modified Bessel function of the first kind: Chebyshev series up to 8 and beyond."""

    op: str
    order: int
    scaled: bool

    @property
    def ops(self) -> tuple[str, ...]:
        return (self.op,)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return in_double(g, self._value, x)

    def _value(self, g: Builder, x: Tensor) -> Tensor:
        size = g.Abs(x)
        close = g.Min(size, 8)
        near = series(g, _bessel_near(self.order), g.Sub(g.Div(close, 4), 1))
        apart = g.Max(size, 8)
        far = series(g, _bessel_far(self.order), g.Sub(g.Div(16, apart), 1))
        far = g.Div(far, g.Sqrt(apart))
        if self.order:
            near = g.Mul(near, close)
        value = g.Where(g.LessOrEqual(size, 8), near, far)
        if not self.scaled:
            value = g.Mul(value, g.Exp(size))
        return signed(g, value, x) if self.order else value


@cache
def _bessel_near(order: int) -> Array:
    """Of ``exp(-x) I(x) / x^order`` in ``x/4 - 1``."""
    return fitted(lambda t: _bessel_series(order, 4 * (t + 1)), 30)


@cache
def _bessel_far(order: int) -> Array:
    """Of ``sqrt(x) exp(-x) I(x)`` in ``16/x - 1``."""

    def scaled(t: float) -> float:
        x = 16 / (t + 1)
        if x < 40:
            return math.sqrt(x) * _bessel_series(order, x) * x**order
        term = total = 1.0
        for k in range(1, 40):
            term *= -(4 * order**2 - (2 * k - 1) ** 2) / (8 * x * k)
            total += term
        return total / math.sqrt(2 * math.pi)

    return fitted(scaled, 25)


def _bessel_series(order: int, x: float) -> float:
    """``exp(-x) I(x) / x^order`` by its power series."""
    term = 0.5**order / math.factorial(order)
    total = term
    for k in range(1, 200):
        term *= (x / 2) ** 2 / (k * (k + order))
        total += term
    return total * math.exp(-x)


HANDLERS: tuple[Handler, ...] = (
    BesselI("BesselI0", 0, scaled=False),
    BesselI("BesselI0e", 0, scaled=True),
    BesselI("BesselI1", 1, scaled=False),
    BesselI("BesselI1e", 1, scaled=True),
    Special("Digamma", digamma),
    Erfinv(),
    Special("Lgamma", lgamma),
    Special("Ndtri", _ndtri),
)
