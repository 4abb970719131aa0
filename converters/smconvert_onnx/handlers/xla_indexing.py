"""XLA's Gather and Scatter: windows of a tensor, at the places that an array names.

A place is a number for some axes of the tensor. The axes along which a window is not whole are
*indexed*: they come first, in the order of the tensor, for GatherND and ScatterND to take, and the
others stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import FLOATS
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.indexing import scattered
from smconvert_onnx.handlers.matrices import reshaped, size
from smconvert_onnx.handlers.precision import HALVES
from smconvert_onnx.handlers.xla import sizes_along, turned, within
from smconvert_onnx.handlers.xla_computations import Computation, computation
from smconvert_onnx.handlers.xla_numbers import WindowNumbers, gather_numbers, scatter_numbers

_END = 2**62
_ORDERED = {"add": "add", "max": "max", "min": "min", "or": "max", "and": "min", "second": "none"}
"""How ``scattered`` calls what a function does."""

_MUL_SINCE = 16


@dataclass(frozen=True)
class _Places:
    """Where windows begin.

    Attributes:
        numbers: Which axis is what.
        starts: int64 [places, numbers of a place].
        rank: Of the places.
    """

    numbers: WindowNumbers
    starts: Tensor
    rank: int

    def along(self, g: Builder, axis: int) -> Tensor:
        """Where they begin along an axis of the tensor, int64 [places]; 0 where nothing says it."""
        numbers = self.numbers
        if axis in numbers.batch:
            along = numbers.places_batch[numbers.batch.index(axis)]
            along -= int(along > numbers.vector)
            row = g.Range(0, size(g, self.starts, along), 1)
            behind = list(range(1, self.rank - along))
            return g.Unsqueeze(row, behind) if behind else row
        if axis in numbers.places:
            number = numbers.places.index(axis)
            return g.Gather(self.starts, number, axis=self.rank)
        return g.constant(0, DType.INT64)

    def shape(self, g: Builder) -> Tensor:
        """Of the places, int64."""
        return g.Slice(g.shape(self.starts), [0], [-1])


def _places(g: Builder, op: Op, indices: Tensor, numbers: WindowNumbers) -> _Places:
    rank = op.rank(indices)
    indices = g.cast(indices, DType.INT64)
    if numbers.vector == rank:
        known = None if indices.shape is None else (*indices.shape, 1)
        return _Places(numbers, replace_shape(g.Unsqueeze(indices, [-1]), known), rank)
    axes = [axis for axis in range(rank) if axis != numbers.vector]
    return _Places(numbers, turned(g, indices, [*axes, numbers.vector]), rank - 1)


@dataclass(frozen=True)
class _Windows:
    """Which axes of a tensor windows are cut along.

    Attributes:
        places: Where they begin.
        indexed: Axes of the tensor along which a window is not whole.
        inner: Those of them that are axes of a window.
        free: The other axes, in whose full length it lies.
    """

    places: _Places
    indexed: list[int]
    inner: list[int]
    free: list[int]

    def at(self, g: Builder, starts: Tensor, axis: int, count: Tensor) -> Tensor:
        """Numbers along an axis from the starts on: [places, inner], or what broadcasts to it."""
        if self.inner:
            # From the end, whatever the rank.
            starts = g.Unsqueeze(starts, list(range(-len(self.inner), 0)))
        if axis not in self.inner:
            return starts
        known = None if count.value is None else np.arange(int(count.value))
        offsets = g.Range(0, count, 1) if known is None else g.constant(known)
        behind = list(range(1, len(self.inner) - self.inner.index(axis)))
        return g.Add(starts, g.Unsqueeze(offsets, behind) if behind else offsets)

    def whole(self, g: Builder, number: Tensor, counts: Tensor) -> Tensor:
        """A number for each element of the windows: [places, inner]."""
        if any(axis in self.places.numbers.places for axis in self.indexed):
            return number
        return g.Expand(number, g.Concat(self.places.shape(g), counts, axis=0))

    def order(self, rank: int) -> list[int]:
        """For each axis of [places, inner, free], which one it is of the gathered or updates."""
        numbers = self.places.numbers
        kept = [a for a in range(rank) if a not in (*numbers.collapsed, *numbers.batch)]
        offsets = sorted(numbers.offset)
        total = self.places.rank + len(offsets)
        outer = [a for a in range(total) if a not in offsets]
        return [*outer, *(offsets[kept.index(a)] for a in (*self.inner, *self.free))]


class Gather:
    """The windows; each is moved to lie within the tensor (XLA's Gather)."""

    ops = ("XlaGather",)

    def emit(self, g: Builder, op: Op, x: Tensor, indices: Tensor, windows: Tensor) -> Tensor:
        numbers, rank = gather_numbers(op), op.rank(x)
        counts = [int(n) for n in op.constant(windows, "sizes of windows")]
        gone = {*numbers.collapsed, *numbers.batch}
        cut = [
            a for a in range(rank) if a not in (*gone, *numbers.places) if _size(x, a) != counts[a]
        ]
        if cut:
            shape = tuple(counts[a] if a in cut else d for a, d in enumerate(x.shape or ()))
            x = g.Slice(x, [0] * len(cut), [counts[a] for a in cut], cut)
            x = replace_shape(x, shape)
        free = [a for a in range(rank) if a not in gone and (a in cut or _size(x, a) == counts[a])]
        indexed = [a for a in range(rank) if a not in free]
        inner = [a for a in indexed if a not in gone]
        found = _Windows(_places(g, op, indices, numbers), indexed, inner, free)
        number = g.constant(0, DType.INT64)
        for axis in indexed:
            starts, length = found.places.along(g, axis), size(g, x, axis)
            if axis not in numbers.batch:
                starts = within(g, starts, g.Sub(length, counts[axis]))
            at = found.at(g, starts, axis, g.constant(counts[axis]))
            number = at if axis == indexed[0] else g.Add(g.Mul(number, length), at)
        # Not GatherND, which in ONNX Runtime 1.31 reads what is not there where it takes nothing.
        rows = x if not indexed else turned(g, x, [*indexed, *free])
        if len(indexed) != 1:
            total = g.ReduceProd(sizes_along(g, x, indexed), keepdims=1)
            rows = reshaped(g, rows, g.Concat(total, sizes_along(g, x, free), axis=0))
        extents = g.constant(np.array([counts[a] for a in inner], np.int64))
        made = g.Gather(rows, found.whole(g, number, extents), axis=0)
        return g.shaped(turned(g, made, _inverse(found.order(rank))), op.outputs[0].shape)


class Scatter:
    """The tensor with updates, each combined with what is there (XLA's Scatter).

    A window that does not lie within the tensor is left out: it goes to one more row.
    """

    ops = ("XlaScatter",)

    def emit(self, g: Builder, op: Op, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        numbers, rank = scatter_numbers(op), op.rank(x)
        op.rank(updates)
        gone = [*numbers.collapsed, *numbers.batch]
        kept = [a for a in range(rank) if a not in gone]
        axis_of = dict(zip(kept, sorted(numbers.offset), strict=True))
        free = [a for a in kept if a not in numbers.places and _same(x, a, updates, axis_of[a])]
        indexed = [a for a in range(rank) if a not in free]
        inner = [a for a in indexed if a not in gone]
        found = _Windows(_places(g, op, indices, numbers), indexed, inner, free)
        extents = sizes_along(g, updates, [axis_of[a] for a in inner])
        number, inside = g.constant(0, DType.INT64), None
        for axis in indexed:
            starts, length = found.places.along(g, axis), size(g, x, axis)
            count = size(g, updates, axis_of[axis]) if axis in inner else g.constant(1)
            if axis in numbers.places:
                ends = g.LessOrEqual(g.Add(starts, count), length)
                fits = g.And(g.GreaterOrEqual(starts, 0), ends)
                inside = fits if inside is None else g.And(inside, fits)
            number = g.Add(g.Mul(number, length), found.at(g, starts, axis, count))
        total = g.ReduceProd(sizes_along(g, x, indexed), keepdims=1)
        if inside is not None:
            if inner:
                inside = g.Unsqueeze(inside, list(range(-len(inner), 0)))
            number = g.Where(inside, number, g.Squeeze(total, [0]))
        number = g.Unsqueeze(found.whole(g, number, extents), [-1])
        behind = sizes_along(g, x, free)
        ahead = turned(g, x, [*indexed, *free])
        rows = reshaped(g, ahead, g.Concat(total, behind, axis=0))
        left_out = g.Expand(g.constant(0, x.dtype), g.Concat([1], behind, axis=0))
        rows = replace_shape(g.Concat(rows, left_out, axis=0), None)
        items = turned(g, updates, found.order(rank))
        body = computation(op, "update_computation")
        made = _combined(g, body, rows, number, replace_shape(items, None))
        made = g.Slice(made, [0], [-1], [0])
        made = reshaped(g, made, g.Concat(sizes_along(g, x, indexed), behind, axis=0))
        return g.shaped(turned(g, made, _inverse([*indexed, *free])), op.outputs[0].shape)


def _combined(g: Builder, body: Computation, rows: Tensor, number: Tensor, items: Tensor) -> Tensor:
    """The rows with items combined, each with the row of its number."""
    kind, dtype = body.kind, rows.dtype
    if kind == "first":
        return rows
    if kind == "mul" and g.opset >= _MUL_SINCE:
        wide = DType.FLOAT32 if dtype in HALVES else dtype
        made = g.ScatterND(g.cast(rows, wide), number, g.cast(items, wide), reduction="mul")
        return g.cast(made, dtype)
    if kind not in _ORDERED:
        return _one_by_one(g, body, rows, number, items)
    wide = DType.INT32 if dtype is DType.BOOL and kind != "second" else dtype
    made = scattered(g, g.cast(rows, wide), number, g.cast(items, wide), _ORDERED[kind])
    if kind in {"max", "min"} and dtype in FLOATS:
        # Where ``scattered`` leaves NaN out, XLA's maximum is NaN.
        flags = (g.cast(g.IsNaN(t), DType.INT32) for t in (rows, items))
        unknown = scattered(g, next(flags), number, next(flags), "max")
        made = g.Where(g.Greater(unknown, 0), np.nan, made)
    return g.cast(made, dtype)


def _one_by_one(
    g: Builder, body: Computation, rows: Tensor, number: Tensor, items: Tensor
) -> Tensor:
    """By a loop over the updates."""
    numbers = g.Reshape(number, [-1, 1])
    count = g.Slice(g.Shape(numbers), [0], [1])
    behind = g.Slice(g.Shape(rows), [1], [_END])
    updates = reshaped(g, items, g.Concat(count, behind, axis=0))

    def step(inner: Builder, i: Tensor, going: Tensor, state: Tensor) -> list[Tensor]:
        at = inner.Gather(numbers, i, axis=0)
        there = inner.Gather(state, inner.Squeeze(at, [0]), axis=0)
        (new,) = body(inner, there, inner.Gather(updates, i, axis=0))
        place, item = inner.Unsqueeze(at, [0]), inner.Unsqueeze(new, [0])
        return [going, inner.ScatterND(state, place, item)]

    part = g.body([(DType.INT64, ()), (DType.BOOL, ()), (rows.dtype, None)], step)
    made: Tensor = g.Loop(g.Squeeze(count, [0]), True, rows, body=part)
    return made


def _size(x: Tensor, axis: int) -> int | None:
    known = None if x.shape is None else x.shape[axis]
    return known if isinstance(known, int) else None


def _same(x: Tensor, axis: int, y: Tensor, other: int) -> bool:
    """Whether two axes are known to have one size."""
    known = _size(x, axis)
    return known is not None and known == _size(y, other)


def _inverse(order: Sequence[int]) -> list[int]:
    return [list(order).index(i) for i in range(len(order))]


HANDLERS: tuple[Handler, ...] = (Gather(), Scatter())
