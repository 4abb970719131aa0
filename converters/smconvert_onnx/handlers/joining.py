"""Arrays put together, and taken apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import around, flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.indexing import gathered, last
from smconvert_onnx.handlers.matrices import reshaped, size

_IMAGE_RANK = 4
_REST = 2**62


class Concat:
    """Arrays along an axis (concat_op.cc)."""

    ops = ("Concat", "ConcatV2")

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> Tensor:
        *values, axis = (*inputs[1:], inputs[0]) if op.type == "Concat" else inputs
        values = _without_empty(values, axis)
        if len(values) == 1:
            return values[0]
        ranks = [v.rank for v in values if v.rank is not None]
        if axis.value is not None:
            at = int(axis.value)
            return g.Concat(*values, axis=at + ranks[0] if at < 0 and ranks else at)
        if ranks and ranks[0] == 1:
            return g.Concat(*values, axis=0)
        return self._along(g, values, axis)

    def _along(self, g: Builder, values: Sequence[Tensor], axis: Tensor) -> Tensor:
        blocks, before, after = around(g, values[0], axis)
        rows = [blocks]
        sizes = [g.Slice(g.Shape(blocks), [1], [2])]
        for value in values[1:]:
            blocks, _, _ = around(g, value, axis)
            rows.append(blocks)
            sizes.append(g.Slice(g.Shape(blocks), [1], [2]))
        whole = g.Concat(*rows, axis=1)
        return reshaped(g, whole, g.Concat(before, _sum(g, sizes), after, axis=0))


def _sum(g: Builder, terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = g.Add(total, term)
    return total


def _without_empty(values: Sequence[Tensor], axis: Tensor) -> list[Tensor]:
    """Without the constants that add nothing; the first value stays where all are such."""
    if axis.value is None:
        return list(values)
    at = int(axis.value)
    kept = [v for v in values if v.value is None or v.value.shape[at]]
    return kept or list(values[:1])


class Pack:
    """Arrays along a new axis (pack_op.cc)."""

    ops = ("Pack",)

    def emit(self, g: Builder, op: Op, *values: Tensor) -> Tensor:
        axis = op.attr("axis")
        rank = next((v.rank for v in values if v.rank is not None), None)
        if axis < 0 and rank is not None:
            axis += rank + 1
        rows = [self._row(g, value, axis) for value in values]
        return rows[0] if len(rows) == 1 else g.Concat(*rows, axis=axis)

    def _row(self, g: Builder, value: Tensor, axis: int) -> Tensor:
        if value.value is not None:
            return g.constant(np.expand_dims(value.value, axis), value.dtype)
        return g.Unsqueeze(value, [axis])


class ParallelConcat:
    """Arrays of one row each, along the first axis (the graph optimizer takes it apart)."""

    ops = ("ParallelConcat",)

    def emit(self, g: Builder, op: Op, *values: Tensor) -> Tensor:
        return values[0] if len(values) == 1 else g.Concat(*values, axis=0)


class Unpack:
    """The slices along an axis, each by itself (unpack_op.cc)."""

    ops = ("Unpack",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> tuple[Tensor, ...]:
        axis, count = op.attr("axis"), op.attr("num")
        if axis < 0 and x.rank is not None:
            axis += x.rank
        if count == 1:
            return (g.Squeeze(x, [axis]),)
        if (x.rank or 0) < _IMAGE_RANK and x.dtype is not DType.STRING:
            return tuple(g.Gather(x, i, axis=axis) for i in range(count))
        parts = g.Split(x, [1] * count, axis=axis, outputs=count) if count else ()
        return tuple(g.Squeeze(part, [axis]) for part in parts)


class Split:
    """Equal parts (split_op.cc)."""

    ops = ("Split",)

    def emit(self, g: Builder, op: Op, axis: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        count = op.attr("num_split")
        if count == 1:
            return (x,)
        at = None if axis.value is None else int(axis.value.item())
        if at is None:
            return self._along(g, x, axis, count)
        if at < 0 and x.rank is not None:
            at += x.rank
        known = x.shape[at] if x.shape is not None else None
        if isinstance(known, int):
            return g.Split(x, [known // count] * count, axis=at, outputs=count)
        part = g.Div(g.Gather(g.shape(x), [at]), count)
        return g.Split(x, g.Expand(part, [count]), axis=at, outputs=count)

    def _along(self, g: Builder, x: Tensor, axis: Tensor, count: int) -> tuple[Tensor, ...]:
        blocks, before, after = around(g, x, axis)
        part = g.Div(g.Slice(g.Shape(blocks), [1], [2]), count)
        parts = g.Split(blocks, g.Expand(part, [count]), axis=1, outputs=count)
        shape = g.Concat(before, part, after, axis=0)
        return tuple(reshaped(g, p, shape) for p in parts)


class SplitV:
    """Parts of given sizes, of which one may be -1: what remains (split_v_op.cc)."""

    ops = ("SplitV",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, sizes: Tensor, axis: Tensor
    ) -> tuple[Tensor, ...]:
        count = op.attr("num_split")
        if count == 1:
            return (x,)
        if axis.value is None:
            blocks, before, after = around(g, x, axis)
            parts = self._sizes(g, blocks, 1, sizes)
            made = g.Split(blocks, parts, axis=1, outputs=count)
            shapes = (g.Concat(before, s, after, axis=0) for s in self._each(g, parts, count))
            return tuple(reshaped(g, p, s) for p, s in zip(made, shapes, strict=True))
        at = int(axis.value.item())
        if at < 0 and x.rank is not None:
            at += x.rank
        return g.Split(x, self._sizes(g, x, at, sizes), axis=at, outputs=count)

    def _sizes(self, g: Builder, x: Tensor, axis: int, sizes: Tensor) -> Tensor:
        if sizes.value is None:
            sizes = g.cast(sizes, DType.INT64)
            rest = g.Sub(size(g, x, axis), g.Add(g.ReduceSum(sizes, keepdims=0), 1))
            return g.Where(g.Equal(sizes, -1), rest, sizes)
        given = np.asarray(sizes.value, np.int64)
        if not np.any(given == -1):
            return g.constant(given)
        rest = g.Sub(size(g, x, axis), int(given.sum()) + 1)
        known = x.shape[axis] if x.shape is not None else None
        if isinstance(known, int):
            return g.constant(np.where(given == -1, known - given.sum() - 1, given))
        return g.Where(given == -1, rest, given)

    def _each(self, g: Builder, parts: Tensor, count: int) -> Sequence[Tensor]:
        return [g.Slice(parts, [i], [i + 1]) for i in range(count)]


class Stitch:
    """Rows at the places that the indices say; of several for one place, the last."""

    ops = ("DynamicStitch", "ParallelDynamicStitch")

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> Tensor:
        half = len(inputs) // 2
        indices, data = inputs[:half], inputs[half:]
        rows = [self._rows(g, i, d) for i, d in zip(indices, data, strict=True)]
        whole = rows[0] if half == 1 else g.Concat(*rows, axis=0)
        if all(i.value is not None for i in indices):
            fixed = np.concatenate([np.ravel(np.asarray(i.value)) for i in indices])
            order = np.zeros(int(fixed.max(initial=-1)) + 1, np.int64)
            order[fixed] = np.arange(len(fixed))
            same = np.array_equal(order, np.arange(len(fixed)))
            return whole if same else gathered(g, whole, g.constant(order), 0)
        joined = [g.cast(flat(g, i), DType.INT64) for i in indices]
        places = joined[0] if half == 1 else g.Concat(*joined, axis=0)
        highest = g.ReduceMax(g.Concat(g.constant([-1]), places, axis=0), keepdims=1)
        nothing = g.Expand(0, g.Add(highest, 1))
        numbers = g.Range(0, g.Squeeze(g.Shape(places), [0]), 1)
        return gathered(g, whole, last(g, nothing, places, numbers), 0)

    def _rows(self, g: Builder, indices: Tensor, data: Tensor) -> Tensor:
        if indices.rank == 1:
            return data
        if indices.rank == 0:
            return g.Unsqueeze(data, [0])
        shape = g.shape(data)
        start = g.Shape(g.shape(indices)) if indices.rank is None else [indices.rank]
        count = g.Reshape(g.Size(indices), [1])
        return reshaped(g, data, g.Concat(count, g.Slice(shape, start, [_REST]), axis=0))


class Partition:
    """Rows by the number of their part (dynamic_partition_op.cc)."""

    ops = ("DynamicPartition",)

    def emit(self, g: Builder, op: Op, data: Tensor, partitions: Tensor) -> tuple[Tensor, ...]:
        if partitions.rank != 1:
            start = g.Shape(g.shape(partitions)) if partitions.rank is None else [partitions.rank]
            rest = g.Slice(g.shape(data), start, [_REST])
            count = g.Reshape(g.Size(partitions), [1])
            data = reshaped(g, data, g.Concat(count, rest, axis=0))
            partitions = g.Reshape(partitions, [-1])
        wide = g.cast(data, DType.FLOAT32) if data.dtype is DType.BFLOAT16 else data
        parts = (
            g.Compress(wide, g.Equal(partitions, i), axis=0)
            for i in range(op.attr("num_partitions"))
        )
        return tuple(g.cast(part, data.dtype) for part in parts)


class ConcatOffset:
    """Where each of some arrays begins in what they make along an axis (concat_op.cc)."""

    ops = ("ConcatOffset",)

    def emit(self, g: Builder, op: Op, axis: Tensor, *shapes: Tensor) -> tuple[Tensor, ...]:
        first = shapes[0]
        numbers = g.Range(0, g.Size(first), 1)
        if first.sizes is not None:
            numbers = g.constant(np.arange(first.sizes[0]))
        at = g.cast(axis, DType.INT64)
        at = g.Where(g.Less(at, 0), g.Add(at, g.Size(first)), at)
        along = g.Equal(numbers, at)
        offset = g.Mul(first, 0)
        offsets = [offset]
        for shape in shapes[:-1]:
            offset = g.Add(offset, g.Where(along, shape, 0))
            offsets.append(offset)
        return tuple(replace_shape(o, first.shape) for o in offsets)


HANDLERS: tuple[Handler, ...] = (
    Concat(),
    Pack(),
    ParallelConcat(),
    Unpack(),
    Split(),
    SplitV(),
    Stitch(),
    Partition(),
    ConcatOffset(),
)
