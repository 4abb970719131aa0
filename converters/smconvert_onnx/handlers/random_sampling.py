"""Samples of given seeds that are chosen among numbers of Philox, or shuffled by them."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import flat, product
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.elementary import log1p
from smconvert_onnx.handlers.indexing import gathered
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.philox import (
    Words,
    blocks,
    joined,
    key_and_counter,
    needs_xor,
    stream,
    words_of,
)
from smconvert_onnx.handlers.random import fraction, normal

_END = 2**62
_RESERVED = 256
"""Samples that TensorFlow's generators skip for each output, whatever it takes of them."""


class TruncatedNormal:
    """The first normal numbers of each group within two deviations (random_distributions.h).

    TensorFlow draws until it has enough. Here so many are drawn that too few of them lie within
    in one of 10^18 groups.
    """

    ops = ("StatelessTruncatedNormal", "StatelessTruncatedNormalV2")

    def emit(self, g: Builder, op: Op, shape: Tensor, *given: Tensor) -> Tensor:
        needs_xor(g, op)
        dtype = op.outputs[0].dtype
        key, counter = words_of(g, *given[:2]) if len(given) > 1 else key_and_counter(g, given[0])
        kind = DType.FLOAT64 if dtype is DType.FLOAT64 else DType.FLOAT32
        size, calls = (2, 8) if kind is DType.FLOAT64 else (4, 5)
        sizes = g.cast(shape, DType.INT64)
        total = product(g, sizes)
        groups = g.Div(g.Add(total, size - 1), size)
        starts = g.Mul(g.Range(0, g.Squeeze(groups, [0]), 1), size * _RESERVED // 4)
        offsets = g.Add(g.Unsqueeze(starts, [1]), np.arange(calls))
        words = blocks(g, key, counter, g.cast(offsets, DType.UINT64))
        drawn = normal(g, g.Reshape(words, [-1, 4]), kind)
        drawn = reshaped(g, drawn, g.Concat(groups, [calls * size], axis=0))
        within = g.cast(g.Less(g.Abs(drawn), 2.0), DType.INT64)
        so_far = g.Unsqueeze(g.CumSum(within, np.int64(1)), [2])
        # Before the first, the second, ... of those within lie the places with fewer up to there.
        before = g.cast(g.Less(so_far, np.arange(1, size + 1)), DType.INT64)
        places = g.Min(g.ReduceSum(before, [1], keepdims=0), calls * size - 1)
        found = g.Reshape(g.GatherElements(drawn, places, axis=1), [-1])
        return reshaped(g, g.cast(g.Slice(found, [0], total), dtype), sizes)


class Multinomial:
    """Classes whose sums of probabilities pass uniform numbers (multinomial_op.cc).

    TensorFlow's threads each begin elsewhere in the stream; this is what a single one draws.
    """

    ops = ("StatelessMultinomial",)

    def emit(self, g: Builder, op: Op, logits: Tensor, count: Tensor, seed: Tensor) -> Tensor:
        needs_xor(g, op)
        key, counter = key_and_counter(g, seed)
        sizes = g.Concat(
            g.Slice(g.shape(logits), [0], [1]), g.Reshape(g.cast(count, DType.INT64), [1]), axis=0
        )
        total = product(g, sizes)
        words = g.Reshape(stream(g, key, counter, g.Div(g.Add(total, 1), 2)), [-1, 2])
        low, high = g.Gather(words, 1, axis=1), g.Mod(g.Gather(words, 0, axis=1), 2**20)
        uniform = g.Slice(fraction(g, joined(g, low, high), DType.FLOAT64), [0], total)
        x = g.cast(logits, DType.FLOAT64)
        finite = g.Not(g.Or(g.IsNaN(x), g.IsInf(x)))
        # A class of no probability, which is never found; the largest logit is taken from all.
        known = g.Where(finite, x, -np.inf)
        largest, _ = g.TopK(known, [1], axis=1, outputs=2)
        powers = g.Where(finite, g.Exp(g.Sub(x, g.Where(g.IsInf(largest), 0, largest))), 0)
        sums = g.CumSum(powers, np.int64(1))
        searched = g.Mul(reshaped(g, uniform, sizes), g.Slice(sums, [-1], [_END], [1]))
        passed = g.LessOrEqual(g.Unsqueeze(sums, [1]), g.Unsqueeze(searched, [2]))
        found = g.ReduceSum(g.cast(passed, DType.INT64), [2], keepdims=0)
        return g.cast(found, op.outputs[0].dtype)


class Shuffle:
    """Each row exchanged with one behind it, in turn (random_shuffle_op.h)."""

    ops = ("StatelessShuffle",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, key: Tensor, counter: Tensor, alg: Tensor
    ) -> Tensor:
        needs_xor(g, op)
        if x.dtype in {DType.COMPLEX64, DType.COMPLEX128, DType.VARIANT, DType.RESOURCE}:
            op.refuse("it shuffles what is not of a type that ONNX has")
        if x.rank == 0:
            return g.Identity(x)
        shape = g.shape(x)
        # A scalar is one row.
        count = product(g, g.Slice(shape, [0], [1]))
        words = stream(g, *words_of(g, key, counter), g.Div(g.Add(count, 2), 4))
        number = g.Squeeze(count, [0])
        every = g.Range(0, number, 1)
        steps = g.Max(g.Sub(number, 1), 0)
        drawn = g.Slice(g.Reshape(words, [-1]), [0], g.Reshape(steps, [1]))
        left = g.Sub(number, g.Range(0, steps, 1))
        behind = g.cast(g.Mod(drawn, g.cast(left, DType.UINT64)), DType.INT64)

        def exchange(b: Builder, i: Tensor, going: Tensor, order: Tensor) -> list[Tensor]:
            here = b.Reshape(i, [1])
            other = b.Add(here, b.Gather(behind, here))
            there = b.Concat(other, here, axis=0)
            moved = b.Gather(order, b.Concat(here, other, axis=0))
            return [going, b.ScatterElements(order, there, moved)]

        body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (DType.INT64, (None,))], exchange)
        order = g.Loop(steps, True, every, body=body)
        if x.rank is not None:
            return gathered(g, x, order, 0)
        rows = reshaped(g, x, g.Concat(count, product(g, g.Slice(shape, [1], [_END])), axis=0))
        return reshaped(g, gathered(g, rows, order, 0), shape)


class Gamma:
    """Marsaglia and Tsang's rejection of pairs of numbers (stateless_random_gamma_op.cc).

    Each output has a generator of its own, with a normal and a uniform number left over or not.
    """

    ops = ("StatelessRandomGammaV2", "StatelessRandomGammaV3")

    def emit(self, g: Builder, op: Op, shape: Tensor, *given: Tensor) -> Tensor:
        needs_xor(g, op)
        words = words_of(g, *given[:2]) if len(given) > 2 else key_and_counter(g, given[0])
        alpha = g.cast(flat(g, given[-1]), DType.FLOAT64)
        sizes = g.cast(shape, DType.INT64)
        kinds = g.Shape(alpha)
        each = g.Div(product(g, sizes), g.Max(kinds, 1))
        every = g.Range(0, g.Squeeze(g.Mul(each, kinds), [0]), 1)
        alpha = g.Gather(alpha, g.Div(every, g.Max(each, 1)))
        starts = g.cast(g.Mul(every, _RESERVED), DType.UINT64)
        _, first = _uniforms(g, words, starts)
        made = g.Where(
            g.Equal(alpha, 1.0),
            g.Neg(log1p(g, g.Neg(first))),
            self._rejected(g, words, starts, alpha),
        )
        table = reshaped(g, g.cast(made, op.outputs[0].dtype), g.Concat(kinds, each, axis=0))
        return reshaped(g, g.Transpose(table, perm=[1, 0]), sizes)

    def _rejected(
        self, g: Builder, words: tuple[Words, Words], starts: Tensor, alpha: Tensor
    ) -> Tensor:
        small = g.Less(alpha, 1.0)
        d = g.Add(alpha, g.Where(small, np.float64(2 / 3), np.float64(-1 / 3)))
        c = g.Div(np.float64(1 / 3), g.Sqrt(d))

        def attempt(b: Builder, i: Tensor, go: Tensor, *state: Tensor) -> list[Tensor]:
            offset, has_x, kept_x, has_u, kept_u, done, _ = state
            low, high = _normals(b, words, offset)
            x = b.Where(has_x, kept_x, high)
            behind = b.Where(has_x, offset, b.Add(offset, 1))
            v = b.Add(b.Mul(c, x), 1.0)
            positive = b.Greater(v, 0.0)
            v = b.Mul(b.Mul(v, v), v)
            lower, higher = _uniforms(b, words, behind)
            u = b.Where(has_u, kept_u, higher)
            taken = b.And(positive, b.Not(has_u))
            square = b.Mul(x, x)
            squeezed = b.Less(u, b.Sub(1.0, b.Mul(b.Mul(square, 0.0331), square)))
            bound = b.Add(b.Mul(square, 0.5), b.Mul(d, b.Add(b.Sub(1.0, v), b.Log(v))))
            within = b.And(positive, b.Or(squeezed, b.Less(b.Log(u), bound)))
            now = (
                b.Where(taken, b.Add(behind, 1), behind),
                b.Not(has_x),
                low,
                b.Xor(has_u, positive),
                b.Where(taken, lower, kept_u),
                b.Or(done, within),
                b.Mul(d, v),
            )
            kept = [b.Where(done, old, new) for old, new in zip(state, now, strict=True)]
            open_ones = b.cast(b.Not(kept[5]), DType.INT64)
            return [b.Greater(b.ReduceSum(open_ones, keepdims=0), 0), *kept]

        zero = g.Mul(alpha, 0.0)
        no = g.Not(g.Equal(starts, starts))
        # TensorFlow takes its own path where alpha is 1.
        state = (starts, no, zero, no, zero, g.Equal(alpha, 1.0), zero)
        body = g.body(
            [(DType.INT64, ()), (DType.BOOL, ()), *((t.dtype, (None,)) for t in state)], attempt
        )
        offset, _, _, has_u, kept_u, _, value = g.Loop(None, True, *state, body=body, outputs=7)
        _, higher = _uniforms(g, words, offset)
        scale = g.Pow(g.Where(has_u, kept_u, higher), g.Div(1.0, alpha))
        return g.Where(small, g.Mul(value, scale), value)


def _uniforms(g: Builder, words: tuple[Words, Words], offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Two numbers of [0, 1) at each offset, float64."""
    drawn = blocks(g, *words, offsets)
    parts = [g.Gather(drawn, i, axis=1) for i in range(4)]
    low, high = (
        fraction(g, joined(g, parts[i + 1], g.Mod(parts[i], 2**20)), DType.FLOAT64) for i in (0, 2)
    )
    return low, high


def _normals(g: Builder, words: tuple[Words, Words], offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Two normal numbers at each offset, float64."""
    drawn = normal(g, blocks(g, *words, offsets), DType.FLOAT64)
    return g.Gather(drawn, 0, axis=1), g.Gather(drawn, 1, axis=1)


HANDLERS: tuple[Handler, ...] = (TruncatedNormal(), Multinomial(), Shuffle(), Gamma())
