"""Incomplete gamma and beta functions: series and continued fractions in loops, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.elementary import log1p
from smconvert_onnx.handlers.mathematics_special import digamma, lgamma

_LAST = 2.0**-52
_BIG = 2.0**52
_LARGEST_LOGARITHM = {DType.FLOAT32: 88.72283935546875, DType.FLOAT64: 709.782712893384}
"""Where a density is smaller than 1 over such a number, the kernels take it for 0."""


def _iterated(
    g: Builder,
    count: int,
    states: Sequence[Tensor],
    step: Callable[..., tuple[Tensor, list[Tensor]]],
) -> tuple[Tensor, ...]:
    """The states after ``count`` steps, or when ``step`` says of no element that it still moves."""

    def write(inner: Builder, k: Tensor, _going: Tensor, *held: Tensor) -> list[Tensor]:
        moves, made = step(inner, inner.cast(k, DType.FLOAT64), *held)
        left = inner.ReduceSum(inner.cast(moves, DType.INT64), keepdims=0)
        return [inner.Greater(left, 0), *made]

    inputs = [(DType.INT64, ()), (DType.BOOL, ()), *((s.dtype, None) for s in states)]
    body = g.body(inputs, write)
    made: tuple[Tensor, ...] = g.Loop(
        g.constant(count), g.constant(True), *states, body=body, outputs=len(states)
    )
    return made


def _series(g: Builder, a: Tensor, x: Tensor, count: int, *, slope: bool) -> tuple[Tensor, ...]:
    """``sum x^n / ((a+1) ... (a+n))`` and its derivative by ``a`` (DLMF 8.11.4)."""
    zero = g.Mul(a, 0)
    one = g.Add(zero, 1)

    def step(
        g: Builder, k: Tensor, term: Tensor, total: Tensor, change: Tensor, changes: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        below = g.Add(a, g.Add(k, 1))
        ratio = g.Div(x, below)
        change = g.Mul(ratio, g.Sub(change, g.Div(term, below)))
        term = g.Mul(term, ratio)
        total, changes = g.Add(total, term), g.Add(changes, change)
        moves = g.Greater(term, g.Mul(total, _LAST))
        if slope:
            moves = g.Greater(g.Abs(change), g.Mul(g.Abs(changes), _LAST))
        return moves, [term, total, change, changes]

    made = _iterated(g, count, (one, one, zero, zero), step)
    return made[1], made[3]


def _fraction(g: Builder, a: Tensor, x: Tensor, count: int, *, slope: bool) -> tuple[Tensor, ...]:
    """The continued fraction of DLMF 8.9.2, and its derivative by ``a``.

    Numerators and denominators are those of two steps, and their derivatives.
    """
    zero = g.Mul(a, 0)
    one = g.Add(zero, 1)
    start = g.Sub(g.Add(x, 2), a)
    first = (one, g.Add(x, 1), zero, zero)
    second = (x, g.Mul(start, x), zero, g.Neg(x))
    value = g.Div(first[1], second[1])

    def step(g: Builder, k: Tensor, *held: Tensor) -> tuple[Tensor, list[Tensor]]:
        number = g.Add(k, 1)
        z = g.Add(start, g.Mul(number, 2))
        yc = g.Mul(number, g.Sub(g.Add(number, 1), a))
        parts: list[Tensor] = []
        for before, here, slope_before, slope_here in (held[:4], held[4:8]):
            after = g.Sub(g.Mul(here, z), g.Mul(before, yc))
            change = g.Sub(g.Mul(slope_here, z), g.Mul(slope_before, yc))
            change = g.Add(g.Sub(change, here), g.Mul(before, number))
            parts += [here, after, slope_here, change]
        above, below = parts[1], parts[5]
        used = g.Not(g.Equal(below, 0))
        value = g.Where(used, g.Div(above, below), held[8])
        rate = g.Div(g.Sub(parts[3], g.Mul(value, parts[7])), below)
        rate = g.Where(used, rate, held[9])
        moves = g.Greater(g.Abs(g.Sub(value, held[8])), g.Mul(g.Abs(value), _LAST))
        if slope:
            moves = g.Greater(g.Abs(g.Sub(rate, held[9])), _LAST)
        scale = g.Where(g.Greater(g.Abs(above), _BIG), 1 / _BIG, g.Add(g.Mul(above, 0), 1))
        return moves, [*(g.Mul(part, scale) for part in parts), value, rate]

    rate = g.Div(g.Mul(value, x), second[1])
    made = _iterated(g, count, (*first, *second, value, rate), step)
    return made[8], made[9]


@dataclass(frozen=True)
class IncompleteGamma:
    """P, Q, the derivative of P by ``a``, or that of a sample of the gamma distribution by ``a``.

    Right of 1 and of ``a`` it is the continued fraction, elsewhere the series, with as many terms
    at most as the kernel takes (SpecialFunctionsImpl.h: igamma_generic_impl).
    """

    op: str
    upper: bool = False
    slope: bool = False
    sample: bool = False

    @property
    def ops(self) -> tuple[str, ...]:
        return (self.op,)

    def emit(self, g: Builder, op: Op, given_a: Tensor, given_x: Tensor) -> Tensor:
        count = 2000
        if self.slope:
            count = 200 if given_a.dtype is DType.FLOAT32 else 500
        a, x = g.cast(given_a, DType.FLOAT64), g.cast(given_x, DType.FLOAT64)
        finite = g.Not(g.Or(g.IsInf(a), g.IsInf(x)))
        inside = g.And(finite, g.And(g.Greater(a, 0), g.Greater(x, 0)))
        right = g.And(inside, g.And(g.Greater(x, 1), g.Greater(x, a)))
        left = g.And(inside, g.Not(right))
        least = -_LARGEST_LOGARITHM[given_a.dtype]
        by_series = self._near(g, g.Where(left, a, 1), g.Where(left, x, 0.5), count, least)
        by_fraction = self._far(g, g.Where(right, a, 1), g.Where(right, x, 2), count, least)
        value = g.Where(right, by_fraction, by_series)
        return g.cast(self._edges(g, a, x, g.Where(inside, value, math.nan)), given_a.dtype)

    def _near(self, g: Builder, a: Tensor, x: Tensor, count: int, least: float) -> Tensor:
        total, changes = _series(g, a, x, count, slope=self.slope)
        logarithm, after = g.Log(x), g.Add(a, 1)
        exponent = g.Sub(g.Sub(g.Mul(a, logarithm), x), lgamma(g, after))
        factor = g.Exp(exponent)
        if not self.slope:
            value = g.Mul(total, factor)
            return g.Sub(1, value) if self.upper else value
        grown = g.Mul(total, g.Sub(logarithm, digamma(g, after)))
        if self.sample:
            drawn = g.Neg(g.Div(g.Mul(g.Add(changes, grown), x), a))
            return g.Where(g.Less(exponent, least), 0, drawn)
        return g.Mul(g.Add(changes, grown), factor)

    def _far(self, g: Builder, a: Tensor, x: Tensor, count: int, least: float) -> Tensor:
        value, rate = _fraction(g, a, x, count, slope=self.slope)
        logarithm = g.Log(x)
        exponent = g.Sub(g.Sub(g.Mul(a, logarithm), x), lgamma(g, a))
        factor = g.Exp(exponent)
        if not self.slope:
            value = g.Mul(value, factor)
            return value if self.upper else g.Sub(1, value)
        grown = g.Add(rate, g.Mul(value, g.Sub(logarithm, digamma(g, a))))
        if self.sample:
            return g.Where(g.Less(exponent, least), 0, g.Mul(grown, x))
        return g.Neg(g.Mul(grown, factor))

    def _edges(self, g: Builder, a: Tensor, x: Tensor, value: Tensor) -> Tensor:
        zero = g.constant(0, x.dtype)
        one = g.constant(1, x.dtype)
        small = one if self.upper else zero
        large = zero if self.upper or self.slope else one
        above = g.And(g.Greater(a, 0), g.GreaterOrEqual(x, 0))
        one_infinite = g.Xor(g.IsInf(x), g.IsInf(a))
        value = g.Where(g.And(above, one_infinite), g.Where(g.IsInf(a), small, large), value)
        at_zero = g.Equal(x, 0)
        if self.upper:
            # The kernel of Q looks at a first.
            at_zero = g.And(at_zero, above)
        return g.Where(at_zero, small, value)


class Betainc:
    """The regularised incomplete beta function by its continued fraction (DLMF 8.17.22).

    Lentz's method, on the side of the mean where it is fast; the other side is the rest to 1.
    """

    ops = ("Betainc",)

    def emit(self, g: Builder, op: Op, given_a: Tensor, b: Tensor, x: Tensor) -> Tensor:
        a, b, x = (g.cast(v, DType.FLOAT64) for v in (given_a, b, x))
        outside = g.Or(g.LessOrEqual(a, 0), g.LessOrEqual(b, 0))
        known = g.And(g.And(g.Greater(a, 0), g.Less(a, math.inf)), g.Greater(b, 0))
        known = g.And(known, g.Less(b, math.inf))
        inside = g.And(known, g.And(g.Greater(x, 0), g.Less(x, 1)))
        a, b = g.Where(inside, a, 1), g.Where(inside, b, 1)
        y = g.Where(inside, x, 0.5)
        rest = g.Sub(1, y)
        beyond = g.Greater(y, g.Div(g.Add(a, 1), g.Add(g.Add(a, b), 2)))
        weight = g.Add(g.Mul(a, g.Log(y)), g.Mul(b, log1p(g, g.Neg(y))))
        weight = g.Sub(g.Sub(g.Add(weight, lgamma(g, g.Add(a, b))), lgamma(g, a)), lgamma(g, b))
        first, second = g.Where(beyond, b, a), g.Where(beyond, a, b)
        fraction = _beta_fraction(g, first, second, g.Where(beyond, rest, y))
        value = g.Div(g.Mul(g.Exp(weight), fraction), first)
        value = g.Where(beyond, g.Sub(1, value), value)
        ends = g.And(g.Not(outside), g.Or(g.Equal(x, 0), g.Equal(x, 1)))
        return g.cast(g.Where(inside, value, g.Where(ends, x, math.nan)), given_a.dtype)


def _beta_fraction(g: Builder, a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    def inverse(g: Builder, value: Tensor) -> Tensor:
        return g.Div(1, _not_zero(g, value))

    whole = g.Add(a, b)
    one = g.Add(g.Mul(a, 0), 1)
    start = inverse(g, g.Sub(1, g.Div(g.Mul(whole, x), g.Add(a, 1))))

    def step(
        g: Builder, k: Tensor, c: Tensor, d: Tensor, value: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        number = g.Add(k, 1)
        twice = g.Add(a, g.Mul(number, 2))
        even = g.Mul(g.Mul(number, g.Sub(b, number)), x)
        even = g.Div(even, g.Mul(g.Sub(twice, 1), twice))
        odd = g.Mul(g.Mul(g.Add(a, number), g.Add(whole, number)), x)
        odd = g.Neg(g.Div(odd, g.Mul(twice, g.Add(twice, 1))))
        for factor in (even, odd):
            d = inverse(g, g.Add(g.Mul(d, factor), 1))
            c = _not_zero(g, g.Add(g.Div(factor, c), 1))
            ratio = g.Mul(c, d)
            value = g.Mul(value, ratio)
        return g.Greater(g.Abs(g.Sub(ratio, 1)), 2 * _LAST), [c, d, value]

    return _iterated(g, 2000, (one, start, start), step)[2]


def _not_zero(g: Builder, value: Tensor) -> Tensor:
    return g.Where(g.Less(g.Abs(value), 1e-30), 1e-30, value)


HANDLERS: tuple[Handler, ...] = (
    IncompleteGamma("Igamma"),
    IncompleteGamma("Igammac", upper=True),
    IncompleteGamma("IgammaGradA", slope=True),
    IncompleteGamma("RandomGammaGrad", slope=True, sample=True),
    Betainc(),
)
