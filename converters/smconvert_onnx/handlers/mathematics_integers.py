"""Bits of integers, and their powers."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.precision import FLOATS, UNSIGNED

_BITWISE_SINCE = 18


class Bitwise:
    """Bit by bit: before opset 18, of numbers taken to pieces and put together again."""

    ops = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        if g.opset >= _BITWISE_SINCE:
            return g.node(op.type, x, y)
        places = np.left_shift(np.int64(1), np.arange(_width(x.dtype), dtype=np.int64))
        common = g.cast(_dot(g, g.Mul(_bits(g, x), _bits(g, y)), places), x.dtype)
        if op.type == "BitwiseAnd":
            return common
        rest = g.Sub(g.Add(x, y), common)
        return rest if op.type == "BitwiseOr" else g.Sub(rest, common)


class Invert:
    """Every bit the other way: ``-1 - x``, or the largest number less ``x``."""

    ops = ("Invert",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return g.Sub(_largest(x.dtype) if x.dtype in UNSIGNED else -1, x)


class Shift:
    """By at least 0 and less than the width of the type (cwise_ops.h: left_shift_op).

    To the right, the sign comes after; ``~(~x >> y)`` does that to a negative number by the shift
    of an unsigned one, and ``~x`` is ``-1 - x``.
    """

    ops = ("LeftShift", "RightShift")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        by = g.cast(g.Max(g.Min(y, _width(x.dtype) - 1), 0), DType.UINT64)
        if op.type == "LeftShift":
            return g.cast(g.BitShift(_unsigned(g, x), by, direction="LEFT"), x.dtype)
        if x.dtype in UNSIGNED:
            return g.cast(g.BitShift(g.cast(x, DType.UINT64), by, direction="RIGHT"), x.dtype)
        wide = g.cast(x, DType.INT64)
        negative = g.Less(wide, 0)
        positive = g.cast(g.Where(negative, g.Sub(-1, wide), wide), DType.UINT64)
        shifted = g.cast(g.BitShift(positive, by, direction="RIGHT"), DType.INT64)
        return g.cast(g.Where(negative, g.Sub(-1, shifted), shifted), x.dtype)


class PopulationCount:
    """The number of bits that are 1 (population_count_op.cc)."""

    ops = ("PopulationCount",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return g.cast(_dot(g, _bits(g, x), np.ones(_width(x.dtype), np.int64)), DType.UINT8)


class Pow:
    """``x`` to the power ``y`` (cwise_op_pow.cc): of integers by squaring, modulo 2^64.

    The power of integers in ONNX Runtime goes through float64. A negative exponent of an integer
    is an error in TensorFlow, and counts as 0 here.
    """

    ops = ("Pow",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        if x.dtype in FLOATS:
            return g.Pow(x, y)
        base, exponent = g.cast(x, DType.INT64), g.cast(y, DType.INT64)
        # Both in the shape that they are broadcast to, which a Loop keeps.
        same = g.Add(g.Mul(base, 0), g.Mul(exponent, 0))
        if y.value is not None:
            power = _by_squaring(g, base, np.maximum(y.value, 0).astype(np.int64))
            return g.cast(g.Add(power, same), x.dtype)
        return g.cast(_by_loop(g, g.Add(base, same), g.Add(exponent, same)), x.dtype)


def _by_squaring(g: Builder, base: Tensor, exponent: np.ndarray) -> Tensor:
    power = g.constant(np.ones((), np.int64))
    for bit in range(int(exponent.max(initial=0)).bit_length()):
        power = g.Where((exponent >> bit & 1).astype(bool), g.Mul(power, base), power)
        base = g.Mul(base, base)
    return power


def _by_loop(g: Builder, base: Tensor, exponent: Tensor) -> Tensor:
    def square(
        h: Builder, _: Tensor, __: Tensor, power: Tensor, base: Tensor, exponent: Tensor
    ) -> list[Tensor]:
        odd = h.Equal(h.Mod(exponent, 2), 1)
        power = h.Where(odd, h.Mul(power, base), power)
        left = h.Div(exponent, 2)
        return [_any(h, left), power, h.Mul(base, base), left]

    state = (DType.INT64, None)
    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), state, state, state], square)
    given = (g.Add(g.Mul(base, 0), 1), base, g.Max(exponent, 0))
    power, _, _ = g.Loop(None, _any(g, given[2]), *given, body=body, outputs=3)
    return power


def _any(g: Builder, exponent: Tensor) -> Tensor:
    """Whether one of them is above 0; of none, no."""
    left = g.cast(g.Greater(g.Reshape(exponent, [-1]), 0), DType.INT32)
    return g.cast(g.ReduceMax(g.Concat(left, [0], axis=0), keepdims=0), DType.BOOL)


def _bits(g: Builder, x: Tensor) -> Tensor:
    """The bits of ``x``, the lowest first: int64 [..., width]."""
    places = np.arange(_width(x.dtype), dtype=np.uint64)
    each = g.BitShift(g.Unsqueeze(_unsigned(g, x), [-1]), places, direction="RIGHT")
    return g.cast(g.Mod(each, 2), DType.INT64)


def _dot(g: Builder, bits: Tensor, weights: np.ndarray) -> Tensor:
    """Bits by what each is worth; not by ReduceSum, which ONNX Runtime computes in float64."""
    return g.Squeeze(g.MatMul(bits, weights[:, None]), [-1])


def _unsigned(g: Builder, x: Tensor) -> Tensor:
    """The same bits as uint64, with the sign repeated above them."""
    return g.cast(g.cast(x, DType.INT64), DType.UINT64)


def _width(dtype: DType) -> int:
    return dtype.numpy.itemsize * 8


def _largest(dtype: DType) -> int:
    return int(np.iinfo(dtype.numpy).max)


HANDLERS: tuple[Handler, ...] = (Bitwise(), Invert(), Shift(), PopulationCount(), Pow())
