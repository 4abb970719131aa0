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
