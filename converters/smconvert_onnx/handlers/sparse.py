"""Sparse tensors: indices [n, rank], values [n] and a dense shape [rank], each a tensor in ONNX."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.indexing import scattered
from smconvert_onnx.handlers.sparse_order import column, count_of, indices_of, order, places, wide


class ToDense:
    """Values at their indices, the default elsewhere (sparse_to_dense_op.cc).

    The last of several values for one place remains, which may be there unless they are validated.
    """

    ops = ("SparseToDense",)

    def emit(
        self, g: Builder, op: Op, indices: Tensor, shape: Tensor, values: Tensor, default: Tensor
    ) -> Tensor:
        indices, shape = wide(g, indices, shape)
        rows = g.Reshape(indices, g.Concat([-1], g.Shape(shape), axis=0))
        values = g.Expand(values, _rows(g, rows))
        base = g.Expand(default, shape)
        if op.attr("validate_indices"):
            return g.ScatterND(base, rows, values)
        return scattered(g, base, rows, values, "none")


def _rows(g: Builder, indices: Tensor) -> Tensor:
    """How many indices there are, int64 [1]."""
    return g.Slice(g.Shape(indices), [0], [1])


class Reorder:
    """The elements in the order of their places (sparse_reorder_op.cc)."""

    ops = ("SparseReorder",)

    def emit(
        self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        return _ordered(g, indices, values, shape)


def _ordered(g: Builder, indices: Tensor, values: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    by_place = order(g, places(g, indices, shape))
    return g.Gather(indices, by_place), g.Gather(values, by_place)


class Reshape:
    """The indices that the same places have in another shape (reshape_util.cc)."""

    ops = ("SparseReshape",)

    def emit(
        self, g: Builder, op: Op, indices: Tensor, shape: Tensor, new_shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        free = g.Equal(new_shape, -1)
        others = g.Max(count_of(g, g.Where(free, 1, new_shape)), 1)
        new_shape = g.Where(free, g.Div(count_of(g, shape), others), new_shape)
        return indices_of(g, places(g, indices, shape), new_shape), new_shape


class FillEmptyRows:
    """An element with the default in each row that has none (fill_empty_rows_functor.h).

    Elements are in the order of their rows, and within a row in the order that they had.
    """

    ops = ("SparseFillEmptyRows",)

    def emit(
        self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor, default: Tensor
    ) -> tuple[Tensor, ...]:
        rows = column(g, indices, 0)
        filled = _filled(g, rows, g.Slice(shape, [0], [1]))
        width = g.Sub(g.Slice(g.Shape(indices), [1], [2]), 1)
        zeros = g.Expand(np.int64(0), g.Concat(g.Shape(filled.new), width, axis=0))
        added = g.Concat(g.Unsqueeze(filled.new, [1]), zeros, axis=1)
        extended = g.Concat(indices, added, axis=0)
        return (
            g.Gather(extended, filled.order),
            filled.values(g, values, default),
            filled.is_empty,
            filled.moved(g, rows),
        )


class FillEmptyRaggedRows:
    """The same for the numbers of rows (ragged_fill_empty_rows_op.cc)."""

    ops = ("RaggedFillEmptyRows",)

    def emit(
        self, g: Builder, op: Op, rows: Tensor, values: Tensor, count: Tensor, default: Tensor
    ) -> tuple[Tensor, ...]:
        filled = _filled(g, rows, g.Reshape(count, [1]))
        return (
            g.Gather(g.Concat(rows, filled.new, axis=0), filled.order),
            filled.values(g, values, default),
            filled.is_empty,
            filled.moved(g, rows),
        )


class _Filled:
    """Rows with those that were empty behind them.

    Attributes:
        is_empty: Of each row.
        new: The rows that were empty.
        order: Where each element comes from, in the order of the rows.
    """

    def __init__(self, is_empty: Tensor, new: Tensor, order: Tensor) -> None:
        self.is_empty = is_empty
        self.new = new
        self.order = order

    def values(self, g: Builder, values: Tensor, default: Tensor) -> Tensor:
        """The values in the new order."""
        added = g.Expand(default, g.Shape(self.new))
        return g.Gather(g.Concat(values, added, axis=0), self.order)

    def moved(self, g: Builder, rows: Tensor) -> Tensor:
        """Where each of the old elements is now."""
        size = g.Shape(self.order)
        every = g.Range(0, g.Squeeze(size, [0]), 1)
        back = g.ScatterElements(g.Expand(np.int64(0), size), self.order, every)
        return g.Slice(back, [0], g.Shape(rows))


def _filled(g: Builder, rows: Tensor, count: Tensor) -> _Filled:
    present = g.Expand(g.constant(False), g.Shape(rows))
    is_empty = g.ScatterElements(g.Expand(g.constant(True), count), rows, present)
    new = g.Squeeze(g.NonZero(is_empty), [0])
    return _Filled(is_empty, new, order(g, g.Concat(rows, new, axis=0)))


class Slice:
    """The elements within a box, whose indices begin at its corner (sparse_tensor.h, Slice)."""

    ops = ("SparseSlice",)

    def emit(
        self,
        g: Builder,
        op: Op,
        indices: Tensor,
        values: Tensor,
        shape: Tensor,
        start: Tensor,
        size: Tensor,
    ) -> tuple[Tensor, ...]:
        end = g.Add(start, size)
        kept, inside = _cut(g, indices, values, start, end)
        new_shape = g.Max(g.Sub(g.Min(end, shape), start), 0)
        return kept, inside, new_shape


def _cut(
    g: Builder, indices: Tensor, values: Tensor, start: Tensor, end: Tensor
) -> tuple[Tensor, Tensor]:
    """The elements from ``start`` up to ``end``, their indices from ``start`` on."""
    outside = g.Or(g.Less(indices, start), g.Not(g.Less(indices, end)))
    # ReduceMax of no elements is an error where there are no indices.
    many = g.ReduceSum(g.cast(outside, DType.INT64), [1], keepdims=0)
    inside = g.Squeeze(g.NonZero(g.Equal(many, 0)), [0])
    return g.Sub(g.Gather(indices, inside), start), g.Gather(values, inside)


class Concat:
    """Sparse tensors along an axis, in the order of their places (sparse_concat_op.cc)."""

    ops = ("SparseConcat",)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        count = op.attr("N")
        indices, values, shapes = given[:count], given[count : 2 * count], given[2 * count :]
        rank = g.Shape(shapes[0])
        axis = op.attr("concat_dim")
        at = g.constant([axis]) if axis >= 0 else g.Add(rank, axis)
        is_axis = g.Equal(g.Range(0, g.Squeeze(rank, [0]), 1), at)
        moved, length = [indices[0]], shapes[0]
        for index, shape in zip(indices[1:], shapes[1:], strict=True):
            moved.append(g.Add(index, g.Where(is_axis, length, 0)))
            length = g.Add(length, g.Where(is_axis, shape, 0))
        joined = g.Concat(*moved, axis=0), g.Concat(*values, axis=0)
        return (*_ordered(g, *joined, length), length)


class Split:
    """Parts along an axis, of which the first ones are one longer (sparse_tensor.h, Split)."""

    ops = ("SparseSplit",)

    def emit(
        self, g: Builder, op: Op, axis: Tensor, indices: Tensor, values: Tensor, shape: Tensor
    ) -> tuple[Tensor, ...]:
        count = op.attr("num_split")
        rank = g.Shape(shape)
        at = g.Reshape(axis, [1])
        at = g.Where(g.Less(at, 0), g.Add(at, rank), at)
        is_axis = g.Equal(g.Range(0, g.Squeeze(rank, [0]), 1), at)
        length = g.Gather(shape, at)
        least, longer = g.Div(length, count), g.Mod(length, count)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for i in range(count):
            start = g.Add(g.Mul(least, i), g.Min(longer, i))
            end = g.Add(g.Mul(least, i + 1), g.Min(longer, i + 1))
            starts, ends = g.Where(is_axis, start, 0), g.Where(is_axis, end, shape)
            parts.append((*_cut(g, indices, values, starts, ends), g.Sub(ends, starts)))
        return tuple(part[i] for i in range(3) for part in parts)


HANDLERS: tuple[Handler, ...] = (
    ToDense(),
    Reorder(),
    Reshape(),
    FillEmptyRows(),
    FillEmptyRaggedRows(),
    Slice(),
    Concat(),
    Split(),
)
