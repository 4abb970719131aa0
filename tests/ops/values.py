"""Values that ops are tried on: by type, with the edges that each type has."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from smconvert.model import Array

HALF = np.dtype(np.float16)
BRAIN = np.dtype(ml_dtypes.bfloat16)
SINGLE = np.dtype(np.float32)
DOUBLE = np.dtype(np.float64)
FLOATS = (SINGLE, DOUBLE, HALF, BRAIN)
SIGNED = tuple(np.dtype(t) for t in (np.int8, np.int16, np.int32, np.int64))
UNSIGNED = tuple(np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64))
INTEGERS = (*SIGNED, *UNSIGNED)
NUMBERS = (*FLOATS, *INTEGERS)
BOOL = np.dtype(bool)
TEXT = np.dtype(object)


def edges(dtype: np.dtype) -> Array:
    """The values where an op of this type may go wrong."""
    if dtype == TEXT:
        return np.array([b"", b"a", b"A b", "ü€".encode(), b"  x\n", b"aa"], object)
    if dtype == BOOL:
        return np.array([False, True])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        few = [0, 1, 2, 3, 7, 100, limits.max, limits.max - 1, limits.min]
        few += [-1, -2, -3, -7, -100, limits.min + 1] if dtype.kind == "i" else []
        return np.array(few, dtype)
    tiny, huge = float(ml_dtypes.finfo(dtype).smallest_normal), float(ml_dtypes.finfo(dtype).max)
    few = [0.0, 1e-3, 0.1, 0.3, 0.5, 0.999, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 9.0, 50.0, huge, tiny]
    return np.array([*few, *(-v for v in few), np.inf, -np.inf, np.nan], np.float64).astype(dtype)


def plain(dtype: np.dtype, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Values of moderate size, negative ones among them where the type has them."""
    random = np.random.default_rng(seed)
    if dtype == TEXT:
        return np.asarray(random.choice(edges(TEXT), shape), object)
    if dtype == BOOL:
        return np.asarray(random.random(shape) < 0.5)
    if dtype.kind in "iu":
        return random.integers(-9 if dtype.kind == "i" else 0, 10, shape).astype(dtype)
    return random.normal(size=shape).astype(dtype)


def positive(dtype: np.dtype, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Values of moderate size above zero."""
    random = np.random.default_rng(seed)
    if dtype.kind in "iu":
        return random.integers(1, 10, shape).astype(dtype)
    return random.uniform(0.1, 3.0, shape).astype(dtype)
