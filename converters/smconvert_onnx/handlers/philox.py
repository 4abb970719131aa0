"""Philox 4x32-10, the counter-based generator of TensorFlow's stateless random ops.

After Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011). Words of 32 bits are held
in uint64, for their products to fit.
"""

from __future__ import annotations

from collections.abc import Sequence

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Op, Tensor

Words = Sequence[Tensor]

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = 2**32
_SCRAMBLE = (0x3EC8F720, 0x02461E29)
"""The key that stateless seeds are mixed with (stateless_random_ops.cc)."""


def halves(g: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """The lower and upper word of uint64."""
    return g.Mod(x, _WORD), g.BitShift(x, 32, direction="RIGHT")


def joined(g: Builder, low: Tensor, high: Tensor) -> Tensor:
    """uint64 of a lower and an upper word."""
    return g.Add(low, g.Mul(high, _WORD))


def philox(g: Builder, key: Words, counter: Words) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four random words for each counter."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for number in range(_ROUNDS):
        if number:
            k0 = g.Mod(g.Add(k0, _WEYL[0]), _WORD)
            k1 = g.Mod(g.Add(k1, _WEYL[1]), _WORD)
        low0, high0 = halves(g, g.Mul(c0, _MULTIPLIERS[0]))
        low1, high1 = halves(g, g.Mul(c2, _MULTIPLIERS[1]))
        c0, c1, c2, c3 = (
            g.BitwiseXor(g.BitwiseXor(high1, c1), k0),
            low1,
            g.BitwiseXor(g.BitwiseXor(high0, c3), k1),
            low0,
        )
    return c0, c1, c2, c3


def key_and_counter(g: Builder, seed: Tensor) -> tuple[Words, Words]:
    """What a pair of seeds stands for: words of shape [1]."""
    wide = g.cast(g.cast(seed, DType.INT64), DType.UINT64)
    first, second = (halves(g, g.Gather(wide, [i])) for i in range(2))
    scramble = [g.constant([word], DType.UINT64) for word in _SCRAMBLE]
    mixed = philox(g, scramble, [*first, *second])
    zero = g.constant([0], DType.UINT64)
    return mixed[:2], (zero, zero, *mixed[2:])


def needs_xor(g: Builder, op: Op) -> None:
    """Refuses the op in operator sets without the operations that the generator takes."""
    if g.opset < 18:
        op.refuse("its generator takes BitwiseXor, which is in ONNX since opset 18", "--opset 18")


def words_of(g: Builder, key: Tensor, counter: Tensor) -> tuple[Words, Words]:
    """The words, of shape [1], of a key [1] and a counter [2]."""
    low, high = (halves(g, g.Gather(counter, [i])) for i in range(2))
    return halves(g, g.Reshape(key, [1])), (*low, *high)


def blocks(g: Builder, key: Words, counter: Words, offsets: Tensor) -> Tensor:
    """The groups that lie so far behind a counter: uint64 [..., 4] of offsets [...]."""
    moved, carry = [], offsets
    for word in counter:
        low, carry = halves(g, g.Add(word, carry))
        moved.append(low)
    return g.Concat(*(g.Unsqueeze(w, [-1]) for w in philox(g, key, moved)), axis=-1)


def stream(g: Builder, key: Words, counter: Words, count: Tensor) -> Tensor:
    """The first ``count`` ([1]) groups from a counter on: uint64 [count, 4]."""
    every = g.cast(g.Range(0, g.Squeeze(count, [0]), 1), DType.UINT64)
    return blocks(g, key, counter, every)
