"""Ragged tensors: values, and for each level where its rows begin and end."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.axes import flat, product
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.indexing import gathered


class Range:
    """A range for each row, by adding up its steps (ragged_range_op.cc)."""

    ops = ("RaggedRange",)

    def emit(
        self, g: Builder, op: Op, starts: Tensor, limits: Tensor, deltas: Tensor
    ) -> tuple[Tensor, Tensor]:
        start, limit, delta = (flat(g, x) for x in (starts, limits, deltas))
        lengths = self._lengths(g, start, limit, delta)
        # Scalars are for every row.
        rows = g.Shape(lengths)
        step = g.Expand(g.Unsqueeze(delta, [1]), g.Concat(rows, [1], axis=0))
        first = g.Expand(g.Unsqueeze(start, [1]), g.Concat(rows, [1], axis=0))
        width = g.ReduceMax(g.Concat([0], lengths, axis=0), keepdims=1)
        steps = g.Tile(step, g.Concat([1], width, axis=0))
        table = g.CumSum(g.Concat(first, steps, axis=1), g.constant(1))
        return _splits(g, lengths, op.attr("Tsplits")), g.GatherND(table, cells(g, lengths))

    @staticmethod
    def _lengths(g: Builder, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
        if start.dtype in {DType.FLOAT32, DType.FLOAT64}:
            way = g.Sub(limit, start)
            steps = g.Ceil(g.Abs(g.Div(way, delta)))
        else:
            delta = g.cast(delta, DType.INT64)
            way = g.Sub(g.cast(limit, DType.INT64), g.cast(start, DType.INT64))
            size = g.Abs(delta)
            steps = g.Div(g.Sub(g.Add(g.Abs(way), size), 1), size)
        forth = g.And(g.Greater(delta, 0), g.Greater(way, 0))
        back = g.And(g.Less(delta, 0), g.Less(way, 0))
        return g.Where(g.Or(forth, back), g.cast(steps, DType.INT64), 0)


def _splits(g: Builder, lengths: Tensor, dtype: DType) -> Tensor:
    """Where rows of these lengths begin, and where the last one ends."""
    ends = g.CumSum(lengths, g.constant(0))
    return g.cast(g.Concat([0], ends, axis=0), dtype)


def cells(g: Builder, lengths: Tensor) -> Tensor:
    """Row and column of each element of rows of these lengths, int64 [n, 2]."""
    width = g.ReduceMax(g.Concat([0], lengths, axis=0), keepdims=0)
    filled = g.Less(g.Range(0, width, 1), g.Unsqueeze(lengths, [1]))
    return g.Transpose(g.NonZero(filled), perm=[1, 0])


class Gather:
    """Rows of a ragged tensor (ragged_gather_op.cc).

    Each axis of the indices but the last becomes a level of rows of equal lengths.
    """

    ops = ("RaggedGather",)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        *nested, values, indices = given
        dtype = op.attr("Tsplits")
        rank = op.rank(indices)
        size = g.shape(indices)
        levels = [
            _uniform(g, g.Slice(size, [0], [i]), g.Slice(size, [i], [i + 1]), dtype)
            for i in range(1, rank)
        ]
        rows = flat(g, g.cast(indices, DType.INT64))
        for splits in nested:
            starts = g.cast(g.Gather(splits, rows), DType.INT64)
            ends = g.cast(g.Gather(splits, g.Add(rows, 1)), DType.INT64)
            lengths = g.Sub(ends, starts)
            levels.append(_splits(g, lengths, dtype))
            found = cells(g, lengths)
            row, place = (g.Gather(found, g.constant(i), axis=1) for i in range(2))
            rows = g.Add(g.Gather(starts, row), place)
        # A single row has no level of its own.
        levels = levels if rank else levels[1:]
        return (*levels, gathered(g, values, rows, 0))


def _uniform(g: Builder, outer: Tensor, length: Tensor, dtype: DType) -> Tensor:
    """Where rows of one length begin and end."""
    count = g.Squeeze(g.Add(product(g, outer), 1), [0])
    return g.cast(g.Mul(g.Range(0, count, 1), length), dtype)


HANDLERS: tuple[Handler, ...] = (Range(), Gather())
