"""Bessel functions of orders 0 and 1, element by element, computed in float64.

Near 0 they are made of the two power series of DLMF 10.2, 10.8, 10.25 and 10.31, and far from it of
an amplitude and a phase. Chebyshev series stand for all of these.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from smconvert.model import Array, DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.elementary import fitted, series, signed
from smconvert_onnx.handlers.precision import in_double, single

_EULER = 0.5772156649015329
_OSCILLATES = 5.0
"""From here on, J and Y are waves of slowly changing amplitude."""
_DECAYS = 2.0
"""From here on, K is ``exp(-x)`` times what changes slowly."""


def _powers(order: int, w: float) -> tuple[float, float]:
    """``sum w^k / (k! (k+n)!)``, and the same with ``psi(k+1) + psi(k+n+1)`` in each term.

    The sums are of rational numbers: their terms cancel.
    """
    exact = Fraction(w)
    term = Fraction(1)
    harmonic = Fraction(order)
    plain = weighted = Fraction(0)
    for k in range(30):
        plain += term
        weighted += harmonic * term
        term *= exact / ((k + 1) * (k + 1 + order))
        harmonic += Fraction(1, k + 1) + Fraction(1, k + 1 + order)
    return float(plain), float(weighted - 2 * Fraction(_EULER) * plain)


@cache
def _near(order: int, limit: float, sign: int) -> tuple[Array, Array]:
    """Both sums up to ``limit``, in ``2 (x/limit)^2 - 1``; ``sign`` is that of ``w``."""

    def part(number: int) -> Array:
        scale = sign * limit**2 / 8
        return fitted(lambda t: _powers(order, scale * (t + 1))[number], 20)

    return part(0), part(1)


def _hankel(order: int, turn: complex, x: float) -> complex:
    """``H(x)`` or ``K(x)`` over what it is far away (Watson 6.12, 6.15; DLMF 10.32.8).

    The integral over the whole line of what is analytic around it: equal steps have all digits.
    """
    step, power = 0.2, order - 0.5
    total = 0j
    for k in range(-40, 41):
        square = (k * step) ** 2
        total += math.exp(-square) * square**order * (1 + turn * square / (2 * x)) ** power
    return total * step / math.gamma(order + 0.5)


@cache
def _far(order: int) -> tuple[Array, Array]:
    """Amplitude, and phase times ``x``, of the Hankel function, in ``2 (5/x)^2 - 1``."""

    def wave(t: float) -> tuple[float, complex]:
        x = _OSCILLATES / math.sqrt((t + 1) / 2)
        return x, _hankel(order, 1j, x)

    def phase(t: float) -> float:
        x, value = wave(t)
        return x * cmath.phase(value)

    return fitted(lambda t: abs(wave(t)[1]), 26), fitted(phase, 26)


@cache
def _decay(order: int) -> Array:
    """Of ``sqrt(2 x / pi) exp(x) K(x)`` in ``4/x - 1``."""
    return fitted(lambda t: _hankel(order, 1, 4 / (t + 1)).real, 32)


@dataclass(frozen=True)
class Wave:
    """J or Y, with the phase of large arguments rounded as Eigen rounds it.

    For float64 that is after ``pi/4`` or ``3 pi/4`` is taken off, and for float32 after the sum of
    all (BesselFunctions.h: Cephes's j0.c and j0f.c).
    """

    op: str
    order: int
    second: bool = False

    @property
    def ops(self) -> tuple[str, ...]:
        return (self.op,)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        given = single(g, x)
        wide = g.cast(given, DType.FLOAT64)
        size = g.Abs(wide)
        close = g.Less(size, _OSCILLATES)
        value = g.Where(close, self._close(g, size), self._waving(g, g.Abs(given), size))
        if self.second:
            value = g.Where(g.LessOrEqual(wide, 0), -math.inf, value)
            if self.order and given.dtype is DType.FLOAT32:
                # Eigen's kernel multiplies 0 and the logarithm of 0.
                value = g.Where(g.Equal(wide, 0), math.nan, value)
        elif self.order:
            value = signed(g, value, wide)
        return g.cast(value, x.dtype)

    def _close(self, g: Builder, size: Tensor) -> Tensor:
        x = g.Min(size, _OSCILLATES)
        ratio = g.Mul(x, 1 / _OSCILLATES)
        t = g.Sub(g.Mul(g.Mul(ratio, ratio), 2), 1)
        plain, weighted = _near(self.order, _OSCILLATES, -1)
        half = g.Mul(x, 0.5)
        first = series(g, plain, t)
        if not self.second:
            return g.Mul(half, first) if self.order else first
        value = g.Sub(g.Mul(g.Mul(g.Log(half), 2), first), series(g, weighted, t))
        if self.order:
            value = g.Sub(g.Mul(half, value), g.Div(2, x))
        return g.Mul(value, 1 / math.pi)

    def _waving(self, g: Builder, given: Tensor, size: Tensor) -> Tensor:
        x = g.Max(size, _OSCILLATES)
        ratio = g.Div(_OSCILLATES, x)
        t = g.Sub(g.Mul(g.Mul(ratio, ratio), 2), 1)
        amplitude, phase = (series(g, part, t) for part in _far(self.order))
        amplitude = g.Div(amplitude, g.Sqrt(g.Mul(x, math.pi / 2)))
        turned = (2 * self.order + 1) * math.pi / 4
        bend = g.Div(phase, x)
        if given.dtype is DType.FLOAT64:
            angle = g.Sub(x, turned)
            sine, cosine = g.Sin(angle), g.Cos(angle)
            if self.second:
                wave = g.Add(g.Mul(sine, g.Cos(bend)), g.Mul(cosine, g.Sin(bend)))
            else:
                wave = g.Sub(g.Mul(cosine, g.Cos(bend)), g.Mul(sine, g.Sin(bend)))
        else:
            rounded = g.Add(given, g.cast(g.Sub(bend, turned), given.dtype))
            angle = g.cast(rounded, DType.FLOAT64)
            wave = g.Sin(angle) if self.second else g.Cos(angle)
        return g.Mul(amplitude, wave)


@dataclass(frozen=True)
class BesselK:
    """A modified Bessel function of the second kind; infinite where ``x`` is not above 0."""

    op: str
    order: int
    scaled: bool = False

    @property
    def ops(self) -> tuple[str, ...]:
        return (self.op,)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return in_double(g, self._value, x)

    def _value(self, g: Builder, x: Tensor) -> Tensor:
        close = g.Min(x, _DECAYS)
        half = g.Mul(close, 0.5)
        t = g.Sub(g.Mul(g.Mul(half, half), 2), 1)
        plain, weighted = _near(self.order, _DECAYS, 1)
        logarithm = g.Mul(g.Log(half), series(g, plain, t))
        near = g.Sub(g.Mul(series(g, weighted, t), 0.5), logarithm)
        if self.order:
            near = g.Sub(g.Div(1, close), g.Mul(half, near))
        apart = g.Max(x, _DECAYS)
        far = series(g, _decay(self.order), g.Sub(g.Div(4, apart), 1))
        far = g.Div(far, g.Sqrt(g.Mul(apart, 2 / math.pi)))
        if self.scaled:
            near = g.Mul(near, g.Exp(close))
        else:
            far = g.Mul(far, g.Exp(g.Neg(apart)))
        value = g.Where(g.LessOrEqual(x, _DECAYS), near, far)
        return g.Where(g.LessOrEqual(x, 0), math.inf, value)


HANDLERS: tuple[Handler, ...] = (
    Wave("BesselJ0", 0),
    Wave("BesselJ1", 1),
    Wave("BesselY0", 0, second=True),
    Wave("BesselY1", 1, second=True),
    BesselK("BesselK0", 0),
    BesselK("BesselK0e", 0, scaled=True),
    BesselK("BesselK1", 1),
    BesselK("BesselK1e", 1, scaled=True),
)
