"""Random bits of a given state (XLA's RngBitGenerator, xla/hlo/builder/lib/prng.cc)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.philox import Words, halves, joined, stream

_PHILOX, _THREEFRY = 1, 2
_WIDTHS = {DType.UINT8: 1, DType.UINT32: 1, DType.UINT64: 2}
"""Words of 32 bits that a number takes."""

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_XOR_SINCE = 18


class BitGenerator:
    """The bits of Philox 4x32 or Threefry 2x32, and the state after them.

    The state is a key and a counter; of Philox the counter may have two words of 64 bits, and the
    key stands for the upper one where it does not.
    """

    ops = ("XlaRngBitGenerator",)

    def emit(
        self, g: Builder, op: Op, algorithm: Tensor, state: Tensor, shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        kind, dtype = int(op.constant(algorithm, "algorithm")), op.attr("dtype")
        if kind not in {_PHILOX, _THREEFRY}:
            op.refuse("its algorithm is neither Philox nor Threefry")
        if dtype not in _WIDTHS:
            op.refuse(f"XLA makes no bits of {dtype.label}")
        if g.opset < _XOR_SINCE:
            op.refuse(f"BitwiseXor is in ONNX since opset {_XOR_SINCE}", f"--opset {_XOR_SINCE}")
        if state.sizes not in {(2,), (3,)} or (kind == _THREEFRY and state.sizes != (2,)):
            op.refuse("its state is not one of two words, or for Philox of three")
        parts = [g.Slice(state, [i], [i + 1]) for i in range(3 if state.sizes == (3,) else 2)]
        key, *counter = parts
        if kind == _PHILOX:
            bits, count = self._philox(g, key, counter, shape, dtype)
        else:
            sizes = [int(n) for n in op.constant(shape, "shape")]
            bits, count = self._threefry(g, key, counter[0], sizes, dtype)
        after = g.Concat(key, *_moved(g, counter, g.cast(count, DType.UINT64)), axis=0)
        if dtype is DType.UINT8:
            bits = g.Mod(bits, 256)
        return after, g.cast(bits, dtype)

    def _philox(
        self, g: Builder, key: Tensor, counter: Sequence[Tensor], shape: Tensor, dtype: DType
    ) -> tuple[Tensor, Tensor]:
        """The numbers as uint64, and how many counters they took, int64 [1]."""
        shape = g.cast(shape, DType.INT64)
        words = g.Mul(g.ReduceProd(shape, keepdims=1), _WIDTHS[dtype])
        count = g.Div(g.Add(words, 3), 4)
        start = (*halves(g, counter[0]), *halves(g, counter[1] if len(counter) > 1 else key))
        made = stream(g, halves(g, key), start, count)
        bits = g.Slice(g.Reshape(made, [-1]), [0], words)
        if dtype is DType.UINT64:
            bits = joined(g, *(g.Slice(bits, [i], [2**62], [0], [2]) for i in (0, 1)))
        return reshaped(g, bits, shape), count

    def _threefry(
        self, g: Builder, key: Tensor, counter: Tensor, sizes: Sequence[int], dtype: DType
    ) -> tuple[Tensor, Tensor]:
        """The same: of 32 bits, two words lie side by side along the first even or largest axis."""
        if dtype is DType.UINT64:
            first, second = _words(g, key, counter, prod(sizes))
            bits = reshaped(g, joined(g, first, second), g.constant(list(sizes), DType.INT64))
            return bits, g.constant([prod(sizes)])
        dims = list(sizes) or [1]
        even = [axis for axis, size in enumerate(dims) if size % 2 == 0]
        axis = even[0] if even else dims.index(max(dims))
        half = [*dims[:axis], -(-dims[axis] // 2), 1, *dims[axis + 1 :]]
        words = _words(g, key, counter, prod(half))
        pair = (reshaped(g, word, g.constant(half, DType.INT64)) for word in words)
        whole = [*dims[:axis], 2 * half[axis], *dims[axis + 1 :]]
        bits = reshaped(g, g.Concat(*pair, axis=axis + 1), g.constant(whole, DType.INT64))
        if whole != dims:
            bits = g.Slice(bits, [0], [dims[axis]], [axis])
        return (bits if sizes else g.Squeeze(bits, [0])), g.constant([prod(half)])


def _words(g: Builder, key: Tensor, counter: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Those of so many counters."""
    steps = g.constant(np.arange(count), DType.UINT64)
    return _threefry(g, halves(g, key), halves(g, g.Add(counter, steps)))


def _moved(g: Builder, counter: Sequence[Tensor], count: Tensor) -> list[Tensor]:
    """A counter so much later: what its words of 64 bits carry goes to the next."""
    carry, found = count, []
    for part in counter:
        words = []
        for word in halves(g, part):
            low, carry = halves(g, g.Add(word, carry))
            words.append(low)
        found.append(joined(g, *words))
    return found


def _threefry(g: Builder, key: Words, counter: Words) -> tuple[Tensor, Tensor]:
    """Two words for each counter: Threefry 2x32 of 20 rounds (Salmon et al., 2011)."""
    parity = g.BitwiseXor(g.BitwiseXor(key[0], key[1]), g.constant(_PARITY, DType.UINT64))
    keys = (*key, parity)
    first, second = (_added(g, word, own) for word, own in zip(counter, key, strict=True))
    for number in range(5):
        for rotation in _ROTATIONS[number % 2]:
            first = _added(g, first, second)
            low, high = halves(g, g.Mul(second, 2**rotation))
            second = g.BitwiseXor(g.Add(low, high), first)
        first = _added(g, first, keys[(number + 1) % 3])
        second = _added(g, g.Add(second, keys[(number + 2) % 3]), number + 1)
    return first, second


def _added(g: Builder, x: Tensor, y: Tensor | int) -> Tensor:
    """The sum of words, modulo 2^32."""
    return halves(g, g.Add(x, y))[0]


HANDLERS: tuple[Handler, ...] = (BitGenerator(),)
