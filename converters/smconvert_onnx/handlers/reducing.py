"""Sums, products and extremes along axes, as exact as TensorFlow's.

ONNX Runtime sums and multiplies integers as doubles, and compares int64 by halves of 32 bits, the
lower of them signed (ReduceMax, ReduceMin, Max, Min and Clip of 1.31; not Less, ArgMax or TopK).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import FLOATS, around, flat
from smconvert_onnx.handlers.builder import Builder, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped

_WORD = 2**32
_HALF = 2**31
_DIGIT = 21
"""Bits of which 2^31 are summed exactly in a double."""

_CHAIN = 8
"""Up to so many factors, a product is written out."""


@dataclass(frozen=True)
class Along:
    """Axes to reduce: none, some, or fed."""

    g: Builder
    op: Op
    axes: Tensor
    keep: bool

    def reduce(self, kind: str, x: Tensor, *, keep: bool | None = None) -> Tensor:
        """``kind`` is ReduceSum, ReduceMax, ...; without axes, ``x`` as it is."""
        keepdims = int(self.keep if keep is None else keep)
        g, value = self.g, self.axes.value
        if kind == "ReduceSum" or g.opset >= 18:
            along = self._counted(x)
            return g.node(kind, x, along, keepdims=keepdims, noop_with_empty_axes=1)
        if value is None or (x.rank is None and (value < 0).any()):
            self.op.refuse("its axes are known only when it runs", "--opset 18")
        if not value.size:
            return g.Identity(x)
        return g.node(kind, x, keepdims=keepdims, axes=self.constants(x.rank))

    def constants(self, rank: int | None) -> list[int]:
        """The axes, where they are constant; from the front where the rank is known."""
        if self.axes.value is None:
            return []
        return sorted(int(a) + (rank or 0) * int(a < 0) for a in self.axes.value.ravel())

    def _counted(self, x: Tensor) -> Tensor:
        """The axes from the front: ONNX Runtime overlooks others where a tensor is empty."""
        g, value = self.g, self.axes.value
        if value is not None and (x.rank is not None or (value >= 0).all()):
            return g.constant(self.constants(x.rank), DType.INT64)
        axes = flat(g, g.cast(self.axes, DType.INT64))
        return g.Where(g.Less(axes, 0), g.Add(axes, g.Shape(g.shape(x))), axes)


def total(g: Builder, along: Along, x: Tensor) -> Tensor:
    """The sum; of integers, modulo their range."""
    if x.dtype in FLOATS:
        return along.reduce("ReduceSum", x)
    return g.cast(whole_total(g, along, x), x.dtype)


def whole_total(g: Builder, along: Along, x: Tensor) -> Tensor:
    """The sum of integers as int64, by digits whose sums a double holds."""
    rest = g.cast(x, DType.INT64)
    bits = np.iinfo(x.dtype.numpy).bits
    few = x.sizes is not None and prod(x.sizes) < 2**_DIGIT
    count = 3 if bits == 64 else 2 if bits == 32 and not few else 1
    digits = []
    for _ in range(count - 1):
        upper = g.Div(rest, 2**_DIGIT)
        digits.append(g.Sub(rest, g.Mul(upper, 2**_DIGIT)))
        rest = upper
    made = along.reduce("ReduceSum", rest)
    for digit in reversed(digits):
        made = g.Add(g.Mul(made, 2**_DIGIT), along.reduce("ReduceSum", digit))
    return made


def extreme(g: Builder, along: Along, kind: str, x: Tensor) -> Tensor:
    """``ReduceMax`` or ``ReduceMin``; floats have no NaN."""
    if x.dtype in FLOATS or x.dtype in {DType.INT8, DType.UINT8, DType.INT32, DType.BOOL}:
        return along.reduce(kind, x)
    if x.dtype in {DType.INT64, DType.UINT64}:
        return _extreme_of_words(g, along, kind, x)
    limits = np.iinfo(x.dtype.numpy)
    # Centred: of no elements, the result is an end of int32, which the limits are cut to.
    shift = _HALF if x.dtype is DType.UINT32 else 0
    narrow = g.cast(g.Sub(g.cast(x, DType.INT64), shift), DType.INT32)
    found = along.reduce(kind, narrow)
    clipped = g.Clip(found, max(limits.min - shift, -_HALF), min(limits.max - shift, _HALF - 1))
    return g.cast(g.Add(g.cast(clipped, DType.INT64), shift), x.dtype)


def _extreme_of_words(g: Builder, along: Along, kind: str, x: Tensor) -> Tensor:
    """The extreme upper half, and among those that have it the extreme lower half."""
    wide = g.cast(x, DType.INT64)
    if x.dtype is DType.UINT64:
        wide = g.Add(wide, np.int64(-(2**63)))
    low = g.Mod(wide, _WORD)
    high = g.cast(g.Div(g.Sub(wide, low), _WORD), DType.INT32)
    highest = along.reduce(kind, high, keep=True)
    last = -_HALF if kind == "ReduceMax" else _HALF - 1
    lower = g.cast(g.Sub(low, _HALF), DType.INT32)
    among = g.Where(g.Equal(high, highest), lower, last)
    highs = g.cast(along.reduce(kind, high), DType.INT64)
    lows = g.cast(along.reduce(kind, among), DType.INT64)
    found = g.Add(g.Mul(highs, _WORD), g.Add(lows, _HALF))
    if x.dtype is DType.UINT64:
        found = g.Add(found, np.int64(-(2**63)))
    return g.cast(found, x.dtype)


def whole_product(g: Builder, along: Along, x: Tensor) -> Tensor:
    """The product of integers, modulo their range."""
    wide = g.cast(x, DType.INT64)
    axes = along.constants(x.rank)
    if along.axes.value is None:
        made = _product_along_fed(g, along, wide)
    elif not axes:
        made = g.Identity(wide)
    else:
        for axis in axes:
            wide = replace_shape(_product(g, wide, axis), _kept(wide, axis))
        made = wide if along.keep else g.Squeeze(wide, axes)
    return g.cast(made, x.dtype)


def _kept(x: Tensor, axis: int) -> tuple[int | str | None, ...] | None:
    if x.shape is None:
        return None
    return (*x.shape[:axis], 1, *x.shape[axis + 1 :])


def _product(g: Builder, x: Tensor, axis: int | Tensor) -> Tensor:
    """Along one axis, which is kept."""
    size = x.shape[axis] if isinstance(axis, int) and x.shape is not None else None
    if isinstance(size, int) and 0 < size <= _CHAIN:
        parts = [g.Gather(x, [i], axis=axis) for i in range(size)]
        made = parts[0]
        for part in parts[1:]:
            made = g.Mul(made, part)
        return made
    folded, before, after = around(g, x, axis)
    ones = g.Expand(g.constant(1, DType.INT64), g.Gather(g.shape(folded), [0, 2]))

    def step(inner: Builder, index: Tensor, going: Tensor, made: Tensor) -> Sequence[Tensor]:
        return going, inner.Mul(made, inner.Gather(folded, index, axis=1))

    # Not Scan: that of nothing is a division by zero in ONNX Runtime.
    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (DType.INT64, (None, None))], step)
    made = g.Loop(g.Gather(g.shape(folded), 1), True, ones, body=body)
    return reshaped(g, made, g.Concat(before, [1], after, axis=0))


def _product_along_fed(g: Builder, along: Along, x: Tensor) -> Tensor:
    axes = flat(g, g.cast(along.axes, DType.INT64))

    def step(inner: Builder, index: Tensor, going: Tensor, made: Tensor) -> Sequence[Tensor]:
        axis = inner.Gather(axes, inner.Reshape(index, [1]))
        return going, _product(inner, made, replace_shape(axis, (1,)))

    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (DType.INT64, None)], step)
    made = g.Loop(g.Size(axes), True, x, body=body)
    if along.keep:
        return made
    # Squeeze without axes takes away every 1.
    rank = g.Shape(g.shape(x))
    counted = g.Where(g.Less(axes, 0), g.Add(axes, rank), axes)
    kept = g.ScatterElements(g.Expand(True, rank), counted, g.Expand(False, g.shape(axes)))
    return reshaped(g, made, g.Compress(g.shape(made), kept, axis=0))
