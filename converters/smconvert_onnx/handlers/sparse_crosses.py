"""Crossed features: each combination of what some columns have in a row, as one text."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import size
from smconvert_onnx.handlers.sparse_order import column
from smconvert_onnx.handlers.sparse_ragged import cells


class Cross:
    """The features of each combination with a separator between (sparse_cross_op.cc).

    The last column changes first; sparse columns come before dense ones.
    """

    ops = ("SparseCrossV2",)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        sparse, dense = op.attr("N"), len(op.attr("dense_types"))
        if not sparse + dense:
            op.refuse("it crosses no columns")
        *inputs, separator = given
        matrices = inputs[3 * sparse :]
        if sparse:
            rows = g.Gather(inputs[2 * sparse], [0])
        else:
            rows = g.Slice(g.shape(matrices[0]), [0], [1])
        columns = [_Column.of_sparse(g, inputs[i], inputs[sparse + i], rows) for i in range(sparse)]
        columns += [_Column.of_dense(g, matrix, rows) for matrix in matrices]
        total = columns[0].counts
        for other in columns[1:]:
            total = g.Mul(total, other.counts)
        found = cells(g, total)
        row, rest = (column(g, found, i) for i in range(2))
        picked: list[Tensor] = []
        for own in reversed(columns):
            count = g.Gather(own.counts, row)
            place = g.Add(g.Gather(own.starts, row), g.Mod(rest, count))
            rest = g.Div(rest, count)
            picked.insert(0, g.Gather(own.texts, place))
        crossed = picked[0]
        for text in picked[1:]:
            crossed = g.StringConcat(g.StringConcat(crossed, separator), text)
        most = g.ReduceMax(g.Concat([0], total, axis=0), keepdims=1)
        return found, crossed, g.Concat(rows, most, axis=0)


class _Column:
    """The features of each row, as texts, one row after the other.

    Attributes:
        texts: All features.
        counts: How many each row has.
        starts: Where those of each row begin.
    """

    def __init__(self, g: Builder, values: Tensor, counts: Tensor) -> None:
        self.texts = g.cast(flat(g, values), DType.STRING)
        self.counts = counts
        self.starts = g.CumSum(counts, np.int64(0), exclusive=1)

    @classmethod
    def of_sparse(cls, g: Builder, indices: Tensor, values: Tensor, rows: Tensor) -> _Column:
        numbers, _, _, many = g.Unique(column(g, indices, 0), outputs=4)
        none = g.Expand(np.int64(0), rows)
        return cls(g, values, g.ScatterElements(none, numbers, many))

    @classmethod
    def of_dense(cls, g: Builder, matrix: Tensor, rows: Tensor) -> _Column:
        return cls(g, matrix, g.Expand(size(g, matrix, 1), rows))


HANDLERS: tuple[Handler, ...] = (Cross(),)
