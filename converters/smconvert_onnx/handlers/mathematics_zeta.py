"""Hurwitz's zeta, the derivatives of the digamma function, and the next number."""

from __future__ import annotations

import math

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.mathematics_special import digamma, lgamma

_BERNOULLI = (
    *(1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000),
    *(1 / 74724249600, -3617 / 10670622842880000, 43867 / 5109094217170944000),
    *(-174611 / 802857662698291200000, 77683 / 14101100039391805440000),
    -236364091 / 1693824136731743669452800000,
)
"""``B(2k) / (2k)!``."""


def _summed(g: Builder, x: Tensor, q: Tensor, *, far: bool) -> Tensor:
    """``sum (q + k)^-x`` (Euler and Maclaurin, DLMF 25.11.5), after 10 terms.

    The kernel of float64 goes on to where ``q + k`` is above 9; that of float32 does not, and has
    no digits where ``q`` is far below 0.
    """
    power = g.Neg(x)
    total = g.Pow(q, power)
    last = q
    for _ in range(8):
        last = g.Add(last, 1)
        total = g.Add(total, g.Pow(last, power))
    last = g.Add(last, 1)
    term = g.Pow(last, power)
    if far:
        total, last, term = _further(g, power, total, last, term)
    inverse = g.Div(1, last)
    square = g.Mul(inverse, inverse)
    rising = g.Mul(x, inverse)
    rest = g.Add(g.Div(last, g.Sub(x, 1)), 0.5)
    for k, coefficient in enumerate(_BERNOULLI):
        rest = g.Add(rest, g.Mul(rising, coefficient))
        more = g.Mul(g.Add(x, 2 * k + 1), g.Add(x, 2 * k + 2))
        rising = g.Mul(rising, g.Mul(more, square))
    return g.Add(total, g.Where(g.Equal(term, 0), 0, g.Mul(term, rest)))


def _further(
    g: Builder, power: Tensor, total: Tensor, last: Tensor, term: Tensor
) -> tuple[Tensor, ...]:
    """More terms, where the last is not far enough to the right of 0."""

    def any_left(g: Builder, last: Tensor) -> Tensor:
        left = g.cast(g.LessOrEqual(last, 9), DType.INT64)
        return g.Greater(g.ReduceSum(left, keepdims=0), 0)

    def step(
        g: Builder, _k: Tensor, _going: Tensor, total: Tensor, last: Tensor, term: Tensor
    ) -> list[Tensor]:
        left = g.LessOrEqual(last, 9)
        total = g.Where(left, g.Add(total, term), total)
        last = g.Where(left, g.Add(last, 1), last)
        return [any_left(g, last), total, last, g.Pow(last, power)]

    states = (total, last, term)
    inputs = [(DType.INT64, ()), (DType.BOOL, ()), *((s.dtype, None) for s in states)]
    body = g.body(inputs, step)
    made: tuple[Tensor, ...] = g.Loop(None, any_left(g, last), *states, body=body, outputs=3)
    return made


def _zeta(g: Builder, x: Tensor, q: Tensor, *, far: bool) -> Tensor:
    """In float64; at its poles it is what the kernel gives (SpecialFunctionsImpl.h: zeta_impl)."""
    even = g.Or(g.Equal(g.Mod(x, 2, fmod=1), 0), g.IsInf(x))
    at_integer = g.Equal(q, g.Floor(q))
    left = g.LessOrEqual(q, 0)
    fits = g.Or(g.Equal(x, g.Floor(x)), g.Not(left))
    infinite = g.constant(math.inf, q.dtype)
    value = _summed(g, x, g.Where(g.And(left, at_integer), 1, q), far=far)
    value = g.Where(fits, value, math.nan)
    pole = g.Where(even, infinite, math.nan)
    value = g.Where(g.And(left, at_integer), pole, value)
    value = g.Where(g.Less(x, 1), math.nan, value)
    return g.Where(g.Equal(x, 1), math.inf, value)


class Zeta:
    """``sum (q + k)^-x`` (SpecialFunctionsImpl.h: zeta_impl)."""

    ops = ("Zeta",)

    def emit(self, g: Builder, op: Op, x: Tensor, q: Tensor) -> Tensor:
        wide = (g.cast(x, DType.FLOAT64), g.cast(q, DType.FLOAT64))
        return g.cast(_zeta(g, *wide, far=x.dtype is DType.FLOAT64), x.dtype)


class Polygamma:
    """``(-1)^(n+1) n! zeta(n+1, x)``, each rounded (SpecialFunctionsImpl.h: polygamma_impl)."""

    ops = ("Polygamma",)

    def emit(self, g: Builder, op: Op, n: Tensor, x: Tensor) -> Tensor:
        order, wide = g.cast(n, DType.FLOAT64), g.cast(x, DType.FLOAT64)
        after = g.Add(order, 1)
        factorial = g.Round(g.Exp(lgamma(g, after)))
        factorial = g.Where(g.Less(order, 15), factorial, g.Exp(lgamma(g, after)))
        odd = g.Equal(g.Abs(g.Mod(after, 2, fmod=1)), 1)
        sign = g.Where(odd, g.constant(-1, DType.FLOAT64), g.constant(1, DType.FLOAT64))
        factor = g.cast(g.Mul(sign, factorial), n.dtype)
        zeta = _zeta(g, after, wide, far=n.dtype is DType.FLOAT64)
        value = g.Mul(factor, g.cast(zeta, n.dtype))
        fits = g.And(g.Equal(order, g.Floor(order)), g.GreaterOrEqual(order, 0))
        value = g.Where(fits, value, math.nan)
        return g.Where(g.Equal(order, 0), g.cast(digamma(g, wide), n.dtype), value)


class NextAfter:
    """The number next to ``x`` on the way to ``y`` (math_ops.cc: std::nextafter).

    Rump, Zimmermann, Boldo, Melquiond, "Computing predecessor and successor in rounding to
    nearest" (BIT 49, 2009): a little more than half of the last digit is added, and rounding does
    the rest. Small numbers are made larger for that, and the smallest of all change by the least.
    """

    ops = ("NextAfter",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        single = x.dtype is DType.FLOAT32
        digits, least, limit = (24, -149, 128) if single else (53, -1074, 1024)
        half = 2.0**-digits
        step = half * (1 + 2 * half)
        scale = 2.0**100 if single else 2.0**1000
        size = g.Abs(x)
        wide = g.Mul(size, scale)
        small = g.Less(size, 2.0 ** (least + 2 * digits))
        subnormal = g.Less(size, 2.0 ** (least + digits))
        change = g.Where(subnormal, 2.0**least * scale, g.Mul(wide, step))

        def moved(combine: str) -> Tensor:
            scaled = g.Mul(g.node(combine, wide, change), 1 / scale)
            return g.Where(small, scaled, g.node(combine, size, g.Mul(size, step)))

        smallest = g.constant(2.0**least, x.dtype)
        down = g.Where(g.IsInf(x), math.ldexp(1 - half, limit), moved("Sub"))
        rises = g.Greater(y, x)
        outward = g.Equal(rises, g.Greater(x, 0))
        value = g.Where(outward, moved("Add"), down)
        value = g.Where(g.Less(x, 0), g.Neg(value), value)
        from_zero = g.Where(rises, smallest, g.Neg(smallest))
        value = g.Where(g.Equal(x, 0), from_zero, value)
        value = g.Where(g.Equal(x, y), y, value)
        return g.Where(g.Or(g.IsNaN(x), g.IsNaN(y)), g.Add(x, y), value)


HANDLERS: tuple[Handler, ...] = (Zeta(), Polygamma(), NextAfter())
