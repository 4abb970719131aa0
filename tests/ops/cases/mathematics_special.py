"""Special functions."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np

from proof import Case, Tolerance
from smconvert.model import Array
from values import DOUBLE, HALF, SINGLE, edges, plain

BESSEL = (
    *("BesselJ0", "BesselJ1", "BesselK0", "BesselK0e", "BesselK1", "BesselK1e"),
    *("BesselY0", "BesselY1"),
)
INTEGRALS = ("Dawsn", "Expint", "FresnelCos", "FresnelSin", "Spence")


def near(dtype: np.dtype, scale: float = 1) -> Tolerance:
    """What the kernels themselves are good to: near a zero, by the size around it."""
    if dtype == HALF:
        return Tolerance(ulps=2, atol=1e-3 * scale)
    digits = {"float32": 2e-6, "float64": 1e-14}[dtype.name] * scale
    return Tolerance(rtol=digits, atol=digits / 4)


def spread(dtype: np.dtype) -> Array:
    """Numbers of both signs and all sizes, but where half or ``1/x`` becomes 0 in TensorFlow."""
    size = np.concatenate([np.geomspace(1e-4, 1e4, 161), np.linspace(0.01, 10, 100)])
    wide = np.concatenate([size, -size]).astype(dtype)
    odd = edges(dtype)
    limits = ml_dtypes.finfo(dtype)
    few = np.abs(odd.astype(np.float64))
    ends = np.isfinite(few) & ((few == limits.smallest_normal) | (few == limits.max))
    return np.concatenate([wide, odd[~ends]])


def cases() -> Iterator[Case]:
    for op in BESSEL:
        for dtype in (SINGLE, DOUBLE, HALF):
            yield Case(op, {"x": spread(dtype)}, tolerance=near(dtype))
            for shape in ((), (0, 2), (2, 3)):
                yield Case(op, {"x": np.asarray(plain(dtype, shape))}, tolerance=near(dtype))
    for op in INTEGRALS:
        for dtype in (SINGLE, DOUBLE):
            yield Case(op, {"x": spread(dtype)}, tolerance=near(dtype))
            for shape in ((), (0, 2), (2, 3)):
                yield Case(op, {"x": np.asarray(plain(dtype, shape))}, tolerance=near(dtype))
    for dtype in (SINGLE, DOUBLE):
        yield from _pairs(dtype)
        yield from _incomplete(dtype)


def _pairs(dtype: np.dtype) -> Iterator[Case]:
    orders = [0, 1, 2, 3, 4, 7, 10, 1.5, 2.5, -1, 0.5, 1.01, 20, 100, np.inf, np.nan]
    places = [1, 1.5, 2, 0.1, 0.01, 3, 9, 10, 50, 1e3, 0, -0.5, -1, -2.25, -7.5, np.inf, np.nan]
    n, x = (a.ravel().astype(dtype) for a in np.meshgrid(orders, places))
    # Between the terms on both sides of 0 there is little left.
    given = near(dtype, 20)
    # The kernel of float32 itself has no digits there.
    huge = ((n > 5) & (x == 1e3) | (n >= 20) & (x == -7.5)) & (dtype == SINGLE)
    for one, other in (
        (n[~huge], x[~huge]),
        (np.full((2, 1), 3, dtype), plain(dtype, (3,)) * 4),
        (np.array(2, dtype), np.array(1.25, dtype)),
        (np.ones((0, 2), dtype), np.ones((1,), dtype)),
    ):
        yield Case("Zeta", {"x": one, "q": other}, tolerance=given)
        yield Case("Polygamma", {"a": one, "x": other}, tolerance=given)
    odd = edges(dtype)
    last = ml_dtypes.finfo(dtype)
    more = [last.smallest_normal * 2**k for k in (0, 1, 2, 23, 24, 25, 52, 53, 54)]
    odd = np.concatenate([odd, np.array([*more, *(-v for v in more), 1 - last.epsneg], dtype)])
    x, y = (a.ravel() for a in np.meshgrid(odd, odd))
    yield Case("NextAfter", {"x1": x, "x2": y})
    for one, other in (((2, 1), (3,)), ((), (2,)), ((0, 2), (2,)), ((), ())):
        given_two = {"x1": plain(dtype, one), "x2": plain(dtype, other, 1)}
        yield Case("NextAfter", {name: np.asarray(v, dtype) for name, v in given_two.items()})


def _incomplete(dtype: np.dtype) -> Iterator[Case]:
    few = [0.01, 0.3, 0.5, 1, 1.5, 2, 7, 20, 60]
    orders = [*few, 0, -1, np.inf, np.nan]
    places = [*few, 1e-3, 0, -1, np.inf, np.nan]
    a, x = (v.ravel().astype(dtype) for v in np.meshgrid(orders, places))
    both_infinite = np.isinf(a) & np.isinf(x)
    a, x = a[~both_infinite], x[~both_infinite]
    far = Tolerance(rtol=1e-4, atol=1e-5) if dtype == SINGLE else Tolerance(0, 1e-12, 1e-12)
    for one, other in (
        (a, x),
        (np.array(2.5, dtype), np.array(1, dtype)),
        (np.full((2, 1), 3, dtype), np.abs(plain(dtype, (3,)))),
        (np.ones((0, 2), dtype), np.ones((2,), dtype)),
    ):
        for op in ("Igamma", "Igammac", "IgammaGradA"):
            yield Case(op, {"a": one, "x": other}, tolerance=far)
        yield Case("RandomGammaGrad", {"alpha": one, "sample": other}, tolerance=far)
    parts = [0.2, 0.5, 1, 2, 7, 50, 0, -1, np.inf, np.nan]
    a, b, x = (
        v.ravel().astype(dtype)
        for v in np.meshgrid(parts, parts, [0, 1e-3, 0.2, 0.5, 0.75, 0.999, 1, -0.1, 1.1, np.nan])
    )
    half = np.array(0.5, dtype)
    for given in (
        (a, b, x),
        (half, half, half),
        (a, half, half),
        (half, half, x),
        *((v, v, v) for v in (np.ones((0, 2), dtype), np.full((2, 2), 0.3, dtype))),
    ):
        named = dict(zip("abx", given, strict=True))
        yield Case("Betainc", named, tolerance=far)
