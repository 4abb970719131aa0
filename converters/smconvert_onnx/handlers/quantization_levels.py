"""Integers that stand for floats within a range: what each is, and how ranges change.

This is the arithmetic of TensorFlow's quantization_utils.h, with its roundings: doubles where it
has doubles, and fixed point where it has that.
"""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Tensor
from smconvert_onnx.handlers.quantization import from_grid, plain_dtype, rounded, to_grid

Ranged = tuple[Tensor, Tensor, Tensor]
"""Integers, and the floats that the least and the largest of them stand for."""

Range = tuple[Tensor, Tensor]


def _limits(dtype: DType) -> np.iinfo:
    return np.iinfo(plain_dtype(dtype).numpy)


def _step(g: Builder, limits: np.iinfo, low: Tensor, high: Tensor) -> Tensor:
    """How far the floats of two neighbouring integers are apart, as a double.

    The power of 2 changes no digit, and takes the factor away from 1: products with a number that
    near to it, ONNX Runtime 1.31 leaves out, even of doubles.
    """
    steps = 2.0**limits.bits
    return g.Mul(g.cast(g.Sub(high, low), DType.FLOAT64), steps / (steps - 1) / steps)


def level(g: Builder, value: float | Tensor, dtype: DType, low: Tensor, high: Tensor) -> Tensor:
    """The integer, as a double, that stands for a float32 (FloatToQuantizedUnclamped)."""
    limits = _limits(dtype)
    scale = g.Div(1.0, _step(g, limits, low, high))
    place = g.Mul(scale, g.cast(value, DType.FLOAT64) if isinstance(value, Tensor) else value)
    start = g.Mul(g.cast(low, DType.FLOAT64), scale)
    found = g.Add(g.Sub(rounded(g, place), rounded(g, start)), float(limits.min))
    return g.Where(g.Equal(low, high), float(limits.min), found)


def clamped(g: Builder, found: Tensor, dtype: DType) -> Tensor:
    """A double as an integer of the type, that nearest to it at its ends."""
    limits = _limits(dtype)
    within = g.Max(g.Min(found, float(limits.max)), float(limits.min))
    return g.cast(within, plain_dtype(dtype))


def number(g: Builder, x: Tensor | int, dtype: DType, low: Tensor, high: Tensor) -> Tensor:
    """The float32 that an integer stands for (QuantizedToFloat)."""
    limits = _limits(dtype)
    scale = _step(g, limits, low, high)
    short = g.cast(scale, DType.FLOAT32)
    start = g.cast(g.Mul(rounded(g, g.Div(low, short)), short), DType.FLOAT64)
    above: Tensor | float = float(x - limits.min) if isinstance(x, int) else 0.0
    if isinstance(x, Tensor):
        # As in Eigen, an integer becomes a double by way of float32.
        above = g.Sub(g.cast(g.cast(x, DType.FLOAT32), DType.FLOAT64), float(limits.min))
    found = g.cast(g.Add(start, g.Mul(scale, above)), DType.FLOAT32)
    return g.Where(g.Equal(low, high), low, found)


def zero(g: Builder, dtype: DType, low: Tensor, high: Tensor) -> Tensor:
    """The integer that stands for 0, which may lie beyond those of the type: int32."""
    return g.cast(level(g, 0.0, dtype, low, high), DType.INT32)


def one_level(g: Builder, dtype: DType, low: Tensor, high: Tensor) -> Tensor:
    """How far the floats of two neighbouring integers are apart (FloatForOneQuantizedLevel)."""
    limits = _limits(dtype)
    return g.Div(g.Sub(high, low), float(limits.max - limits.min))


def product_range(g: Builder, one: DType, first: Range, other: DType, second: Range) -> Range:
    """That of the qint32 products of two integers (QuantizationRangeForMultiplication)."""
    step = g.Mul(one_level(g, one, *first), one_level(g, other, *second))
    return g.Mul(step, -(2.0**31)), g.Mul(step, 2.0**31 - 1)


def moved(g: Builder, x: Tensor, given: Range, dtype: DType, wanted: Range) -> Tensor:
    """The integers that stand for the same floats in another range (RequantizeInNewRange)."""
    return clamped(g, level(g, number(g, x, x.dtype, *given), dtype, *wanted), dtype)


def moved_singly(g: Builder, x: Tensor, given: Range, dtype: DType, wanted: Range) -> Tensor:
    """The same in float32 (RequantizeManyInNewRangeUsingEigen)."""
    floats = from_grid(g, g.cast(x, DType.FLOAT32), _limits(x.dtype), *given)
    return g.cast(to_grid(g, floats, _limits(dtype), *wanted), plain_dtype(dtype))


def narrowed(g: Builder, x: Tensor, given: Range, wanted: Range) -> Tensor:
    """qint32 as quint8, in fixed point (RequantizeManyInNewRangeUsingEigen<qint32, quint8>)."""
    low, high = wanted
    span, out = g.Sub(given[1], given[0]), g.Sub(high, low)
    wide, none = g.cast(out, DType.FLOAT64), g.Equal(out, 0)
    step = g.Where(none, 0, g.cast(g.Div(255.0, wide), DType.FLOAT32))
    scale = g.Div(g.Mul(g.cast(span, DType.FLOAT64), 255.0 * 2**16), wide)
    scale = g.cast(g.Where(none, 0, scale), DType.INT64)
    middle = g.Div(g.Add(*given), 2.0)
    start = g.cast(g.Mul(g.Mul(middle, step), 2.0**16), DType.INT64)
    end = g.Mul(g.Mul(g.cast(low, DType.FLOAT64), 255.0), 2.0**16)
    end = g.cast(g.Where(none, 0, rounded(g, g.Div(end, wide))), DType.INT64)
    # As in Eigen, an integer becomes a wider one by way of float32.
    wider = g.cast(g.cast(x, DType.FLOAT32), DType.INT64)
    shifted = shifted_right(g, g.Mul(wider, scale), 2**32)
    fixed = g.Add(shifted, g.Add(g.Sub(start, end), np.int64(2**15)))
    # ONNX Runtime 1.31 compares int64 by their low words in Max and Min; doubles hold these.
    return clamped(g, g.cast(shifted_right(g, fixed, 2**16), DType.FLOAT64), DType.QUINT8)


def shifted_right(g: Builder, x: Tensor, by: Tensor | int) -> Tensor:
    """An int64 divided by a power of 2, downwards: what ``>>`` does."""
    divisor = np.int64(by) if isinstance(by, int) else by
    return g.Div(g.Sub(x, g.Mod(x, divisor)), divisor)
