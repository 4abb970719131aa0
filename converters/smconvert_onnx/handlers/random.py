"""Random numbers: those of a given seed exactly, others of the same distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from zlib import crc32

from smconvert.model import DType
from smconvert_onnx.handlers.axes import product
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.philox import joined, key_and_counter, needs_xor, stream, words_of

_MANTISSA = {DType.FLOAT16: 10, DType.BFLOAT16: 7, DType.FLOAT32: 23, DType.FLOAT64: 52}
_PHILOX = 1
_TRIES = 12
"""Of so many normal numbers, all lie beyond two deviations in one of 10^16 cases."""


class KeyCounter:
    """The key and counter that a pair of seeds stands for (stateless_random_ops_v2.cc)."""

    ops = (
        "StatelessRandomGetKeyCounter",
        "StatelessRandomGetKeyCounterAlg",
        "StatelessRandomGetAlg",
    )

    def emit(self, g: Builder, op: Op, seed: Tensor | None = None) -> tuple[Tensor, ...]:
        algorithm = g.constant(_PHILOX, DType.INT32)
        if seed is None:
            return (algorithm,)
        needs_xor(g, op)
        key, counter = key_and_counter(g, seed)
        made = (
            joined(g, key[0], key[1]),
            g.Concat(joined(g, *counter[:2]), joined(g, *counter[2:]), axis=0),
            algorithm,
        )
        return made[: len(op.outputs)]


class Stateless:
    """Numbers of Philox, four words at a time (random_distributions.h)."""

    ops = (
        "StatelessRandomUniform",
        "StatelessRandomUniformV2",
        "StatelessRandomNormal",
        "StatelessRandomNormalV2",
        "StatelessRandomUniformInt",
        "StatelessRandomUniformIntV2",
        "StatelessRandomUniformFullInt",
        "StatelessRandomUniformFullIntV2",
    )

    def emit(self, g: Builder, op: Op, shape: Tensor, *given: Tensor) -> Tensor:
        needs_xor(g, op)
        dtype = op.outputs[0].dtype
        if op.type.endswith("V2"):
            key, counter = words_of(g, *given[:2])
            limits = given[3:]
        else:
            key, counter = key_and_counter(g, given[0])
            limits = given[1:]
        sizes = g.cast(shape, DType.INT64)
        total = product(g, sizes)
        wide = dtype in {DType.FLOAT64, DType.INT64, DType.UINT64}
        each = 2 if wide else 4
        groups = g.Div(g.Add(total, each - 1), each)
        drawn = stream(g, key, counter, groups)
        if wide and "Normal" not in op.type:
            pairs = g.Reshape(drawn, [-1, 2])
            low, high = g.Gather(pairs, 0, axis=1), g.Gather(pairs, 1, axis=1)
            if dtype is DType.FLOAT64:
                low, high = high, g.Mod(low, 2**20)
            drawn = joined(g, low, high)
        made = self._distributed(g, op, drawn, dtype, limits)
        return reshaped(g, g.Slice(g.Reshape(made, [-1]), [0], total), sizes)

    def _distributed(
        self, g: Builder, op: Op, drawn: Tensor, dtype: DType, limits: tuple[Tensor, ...]
    ) -> Tensor:
        if "Normal" in op.type:
            return normal(g, drawn, dtype)
        if "FullInt" in op.type:
            return g.cast(drawn, dtype)
        if "Int" in op.type:
            low, high = (g.cast(g.cast(limit, DType.INT64), DType.UINT64) for limit in limits)
            return g.cast(g.Add(g.Mod(drawn, g.Sub(high, low)), low), dtype)
        return fraction(g, drawn, dtype)


def fraction(g: Builder, words: Tensor, dtype: DType) -> Tensor:
    """The low bits of a word as the digits behind the point."""
    digits = _MANTISSA[dtype]
    exact = g.cast(g.cast(g.Mod(words, 2**digits), DType.INT64), DType.FLOAT64)
    return g.cast(g.Mul(exact, 2.0**-digits), dtype)


def normal(g: Builder, drawn: Tensor, dtype: DType) -> Tensor:
    """Box and Muller's transform of pairs of uniform numbers."""
    if dtype is DType.FLOAT64:
        words = [g.Gather(drawn, i, axis=1) for i in range(4)]
        doubles = [joined(g, words[i + 1], g.Mod(words[i], 2**20)) for i in (0, 2)]
        first, second = (fraction(g, x, DType.FLOAT64) for x in doubles)
    else:
        pairs = g.Reshape(drawn, [-1, 2])
        first, second = (fraction(g, g.Gather(pairs, i, axis=1), DType.FLOAT32) for i in range(2))
    floor = 1e-7
    first = g.Where(g.Less(first, floor), floor, first)
    angle = g.Mul(g.cast(second, DType.FLOAT64), 2 * math.pi)
    turned = g.cast(g.cast(angle, first.dtype), DType.FLOAT64)
    radius = g.Sqrt(g.Mul(g.Log(g.cast(first, DType.FLOAT64)), -2.0))
    both = [g.Unsqueeze(g.Mul(f(turned), radius), [1]) for f in (g.Sin, g.Cos)]
    made = g.Concat(*both, axis=1)
    return g.cast(g.cast(made, first.dtype), dtype)


def _uniform(g: Builder, op: Op, sizes: Tensor, dtype: DType) -> Tensor:
    """Of [0, 1)."""
    drawn = DType.FLOAT64 if dtype is DType.FLOAT64 else DType.FLOAT32
    made = _drawn(g, op, g.RandomUniformLike, sizes, drawn)
    if drawn is dtype:
        return made
    # Cut, for rounding would make ones.
    digits = 2.0 ** _MANTISSA[dtype]
    return g.cast(g.Div(g.Floor(g.Mul(made, digits)), digits), dtype)


def _drawn(g: Builder, op: Op, kind: Callable[..., Tensor], sizes: Tensor, dtype: DType) -> Tensor:
    seed = op.attr("seed") or op.attr("seed2")
    # A number of its own: tf2onnx makes one node of those that have the same inputs.
    like = g.Expand(g.constant(crc32(op.node.name.encode()), dtype), sizes)
    return kind(like, seed=float(seed) if seed else None, dtype=dtype)


class Drawn:
    """Numbers of ONNX's own generator: others than TensorFlow's, of the same distribution."""

    ops = ("RandomUniform", "RandomStandardNormal", "TruncatedNormal", "RandomUniformInt")

    def emit(self, g: Builder, op: Op, shape: Tensor, *limits: Tensor) -> Tensor:
        dtype = op.outputs[0].dtype
        sizes = g.cast(shape, DType.INT64)
        if op.type == "RandomUniform":
            return _uniform(g, op, sizes, dtype)
        if op.type == "RandomUniformInt":
            low, high = (g.cast(limit, DType.FLOAT64) for limit in limits)
            part = g.Mul(_uniform(g, op, sizes, DType.FLOAT64), g.Sub(high, low))
            return g.Add(g.cast(g.Floor(part), dtype), limits[0])
        drawn = DType.FLOAT64 if dtype is DType.FLOAT64 else DType.FLOAT32
        if op.type == "RandomStandardNormal":
            return g.cast(_drawn(g, op, g.RandomNormalLike, sizes, drawn), dtype)
        tries = g.Concat([_TRIES], sizes, axis=0)
        normal = _drawn(g, op, g.RandomNormalLike, tries, drawn)
        within = g.cast(g.Less(g.Abs(normal), 2.0), DType.INT32)
        first = g.ArgMax(within, axis=0, keepdims=1)
        found = g.Squeeze(g.GatherElements(normal, first, axis=0), [0])
        return g.cast(g.Max(g.Min(found, 2.0), -2.0), dtype)


class Multinomial:
    """The largest of the logits and as many Gumbel numbers: drawn by their probabilities."""

    ops = ("Multinomial",)

    def emit(self, g: Builder, op: Op, logits: Tensor, count: Tensor) -> Tensor:
        rows, classes = (g.Gather(g.shape(logits), [i]) for i in range(2))
        samples = g.Reshape(g.cast(count, DType.INT64), [1])
        sizes = g.Concat(rows, samples, classes, axis=0)
        uniform = _uniform(g, op, sizes, DType.FLOAT64)
        gumbel = g.Neg(g.Log(g.Neg(g.Log(uniform))))
        total = g.Add(g.Unsqueeze(g.cast(logits, DType.FLOAT64), [1]), gumbel)
        return g.cast(g.ArgMax(total, axis=2, keepdims=0), op.outputs[0].dtype)


class RandomShuffle:
    """Rows in the order of random numbers."""

    ops = ("RandomShuffle",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        if x.rank == 0:
            return g.Identity(x)
        count = g.Gather(g.shape(x), [0])
        _, order = g.TopK(_uniform(g, op, count, DType.FLOAT64), count, outputs=2)
        return g.Gather(x, order, axis=0)


HANDLERS: tuple[Handler, ...] = (
    KeyCounter(),
    Stateless(),
    Drawn(),
    Multinomial(),
    RandomShuffle(),
)
