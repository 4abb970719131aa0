"""Indices in an order of a seed, and candidates that are hits by accident."""

from __future__ import annotations

import math

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.axes import flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.philox import needs_xor

_WORD = 2**32
_CONSTANT = 0xFFFFFFFC
_SEQUENCE = 0x7369F885192C0EF5


class IndexShuffle:
    """Simon's block cipher, again and again until an index is within (random_index_shuffle.cc).

    Its blocks are as wide as the largest index, and of 16 bits at least; a block is two words.
    """

    ops = ("RandomIndexShuffle",)

    def emit(self, g: Builder, op: Op, index: Tensor, seed: Tensor, most: Tensor) -> Tensor:
        needs_xor(g, op)
        value, last = (g.cast(g.cast(x, DType.INT64), DType.UINT64) for x in (index, most))
        seeds = g.Mod(g.cast(g.cast(seed, DType.INT64), DType.UINT64), _WORD)
        keys = [g.Gather(seeds, i, axis=-1) for i in range(3)]
        cipher = _Simon(g, last, keys, op.attr("rounds"))
        shape = g.Shape(g.Add(g.Add(value, last), keys[0]))
        value = g.Expand(value, shape)
        pending = g.Expand(g.Greater(last, 0), shape)

        def walk(b: Builder, i: Tensor, go: Tensor, now: Tensor, open_: Tensor) -> list[Tensor]:
            made = b.Where(open_, cipher.encrypted(b, now), now)
            beyond = b.And(open_, b.Greater(made, last))
            many = b.ReduceSum(b.cast(beyond, DType.INT64), keepdims=0)
            return [b.Greater(many, 0), made, beyond]

        body = g.body(
            [(DType.INT64, ()), (DType.BOOL, ()), (DType.UINT64, None), (DType.BOOL, None)], walk
        )
        made, _ = g.Loop(None, True, value, pending, body=body, outputs=2)
        return g.cast(g.Where(g.Equal(last, 0), 0, made), index.dtype)


class _Simon:
    """The cipher for blocks of the width that the largest index has."""

    def __init__(self, g: Builder, last: Tensor, keys: list[Tensor], rounds: int) -> None:
        reached = g.GreaterOrEqual(g.Unsqueeze(last, [-1]), _beginnings())
        bits = g.ReduceSum(g.cast(reached, DType.INT64), [-1], keepdims=0)
        half = g.Max(g.Div(g.Add(bits, 1), 2), 8)
        self._width = g.cast(half, DType.UINT64)
        self._mask = g.Sub(
            g.BitShift(g.constant(1, DType.UINT64), self._width, direction="LEFT"), 1
        )
        self._keys = [self._cut(g, key) for key in keys]
        for i in range(3, rounds):
            bit = _SEQUENCE >> (i - 3) & 1 if i - 3 < 64 else 0
            # Of the sequence, there are as many bits as a word has.
            bit_here = g.Where(g.Greater(half, i - 3), np.uint64(bit), np.uint64(0))
            key = g.BitwiseXor(self._cut(g, g.constant(_CONSTANT, DType.UINT64)), bit_here)
            key = g.BitwiseXor(key, self._keys[i - 3])
            for by in (3, 4):
                key = g.BitwiseXor(key, self._turned(g, self._keys[i - 1], by, "RIGHT"))
            self._keys.append(key)

    def encrypted(self, g: Builder, value: Tensor) -> Tensor:
        """Each block."""
        left = self._cut(g, g.BitShift(value, self._width, direction="RIGHT"))
        right = self._cut(g, value)
        for first, second in zip(self._keys[::2], self._keys[1::2], strict=True):
            left = g.BitwiseXor(g.BitwiseXor(left, self._mixed(g, right)), first)
            right = g.BitwiseXor(g.BitwiseXor(right, self._mixed(g, left)), second)
        return g.BitwiseOr(g.BitShift(left, self._width, direction="LEFT"), right)

    def _cut(self, g: Builder, x: Tensor) -> Tensor:
        return g.BitwiseAnd(x, self._mask)

    def _mixed(self, g: Builder, x: Tensor) -> Tensor:
        one, eight, two = (self._turned(g, x, by, "LEFT") for by in (1, 8, 2))
        return g.BitwiseXor(g.BitwiseAnd(one, eight), two)

    def _turned(self, g: Builder, x: Tensor, by: int, way: str) -> Tensor:
        """The bits of a word that go out on one side come in on the other."""
        back = "RIGHT" if way == "LEFT" else "LEFT"
        shifted = g.BitShift(x, np.uint64(by), direction=way)
        rest = g.BitShift(x, g.Sub(self._width, by), direction=back)
        return self._cut(g, g.BitwiseOr(shifted, rest))


def _beginnings() -> Array:
    """For each number of bits the first index that takes more, as ``ceil(log2(x))`` has it."""
    found = []
    for bits in range(63):
        low, high = 2**bits, 2 ** (bits + 1)
        while high - low > 1:
            middle = (low + high) // 2
            above = math.ceil(math.log2(float(middle))) > bits
            low, high = (low, middle) if above else (middle, high)
        found.append(high)
    return np.array(found, np.uint64)


class AccidentalHits:
    """Candidates that are among the true classes of a row (candidate_sampler_ops.cc).

    Of equal candidates it is the last.
    """

    ops = ("ComputeAccidentalHits",)

    def emit(self, g: Builder, op: Op, true: Tensor, sampled: Tensor) -> tuple[Tensor, ...]:
        classes = g.Unsqueeze(flat(g, true), [1])
        places = g.Range(1, g.Add(g.Size(sampled), 1), 1)
        found = g.Where(g.Equal(classes, g.Unsqueeze(sampled, [0])), places, 0)
        none = g.Mul(classes, 0)
        last, _ = g.TopK(g.Concat(none, found, axis=1), [1], axis=1, outputs=2)
        last = g.Squeeze(last, [1])
        hit = g.Squeeze(g.NonZero(last), [0])
        ids = g.Sub(g.Gather(last, hit), 1)
        weight = g.constant(-float(np.finfo(np.float32).max), DType.FLOAT32)
        rows = g.cast(g.Div(hit, max(op.attr("num_true"), 1)), DType.INT32)
        return rows, ids, g.Expand(weight, g.Shape(ids))


HANDLERS: tuple[Handler, ...] = (IndexShuffle(), AccidentalHits())
