"""Sets along the last axis of dense or sparse tensors, and how often numbers are in rows."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.axes import flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.reductions_segments import gathered_by
from smconvert_onnx.handlers.sparse_arithmetic import rows_of
from smconvert_onnx.handlers.sparse_order import column, indices_of, places

_END = 2**62
_TIMES = {"a-b": 1, "b-a": 2, "intersection": 3}
"""How often an element is there, once of the first set and twice of the second."""


class _Members:
    """Values in rows: each pair of a row and a value as one number, in the order of the pairs.

    Attributes:
        keys: The numbers, int64 [n].
        values: The distinct values, in increasing order.
    """

    def __init__(self, g: Builder, rows: Tensor, values: Tensor) -> None:
        kind = DType.STRING if values.dtype is DType.STRING else DType.INT64
        self.dtype = values.dtype
        self.values, _, numbers, _ = g.Unique(g.cast(values, kind), outputs=4)
        self._width = g.Shape(self.values)
        self.keys = g.Add(g.Mul(rows, self._width), numbers)

    def row(self, g: Builder, keys: Tensor) -> Tensor:
        """The row of each number."""
        return g.Div(keys, g.Max(self._width, 1))

    def value(self, g: Builder, keys: Tensor) -> Tensor:
        """The value of each number."""
        return g.cast(g.Gather(self.values, g.Mod(keys, g.Max(self._width, 1))), self.dtype)


class SetOperation:
    """What is in both sets of a row, in any, or in one and not in the other (set_kernels.cc).

    The elements of a result are in increasing order.
    """

    ops = ("DenseToDenseSetOperation", "DenseToSparseSetOperation", "SparseToSparseSetOperation")

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        if op.type.startswith("Sparse"):
            outer = g.Slice(given[2], [0], [-1])
            rows, values = _of_sparse(g, *given[:3])
        else:
            outer = g.Slice(g.shape(given[0]), [0], [-1])
            rows, values = _of_dense(g, given[0])
        count = g.Shape(rows)
        if op.type.startswith("Dense") and len(given) == 2:
            others = _of_dense(g, given[1])
        else:
            others = _of_sparse(g, *given[-3:])
        members = _Members(
            g, g.Concat(rows, others[0], axis=0), g.Concat(values, others[1], axis=0)
        )
        first = _distinct(g, g.Slice(members.keys, [0], count))
        second = _distinct(g, g.Slice(members.keys, count, [_END]))
        kept, _, _, times = g.Unique(g.Concat(first, second, second, axis=0), outputs=4)
        wanted = _TIMES.get(op.attr("set_operation").lower())
        if wanted is not None:
            kept = g.Compress(kept, g.Equal(times, wanted), axis=0)
        rows = members.row(g, kept)
        position, longest = positions(g, rows)
        indices = g.Concat(indices_of(g, rows, outer), g.Unsqueeze(position, [1]), axis=1)
        return indices, members.value(g, kept), g.Concat(outer, longest, axis=0)


def _of_dense(g: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """The row of each element, and the elements."""
    last = g.Slice(g.shape(x), [-1], [_END])
    every = g.Range(0, g.Size(x), 1)
    return g.Div(every, g.Max(last, 1)), flat(g, x)


def _of_sparse(g: Builder, indices: Tensor, values: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """The row of each element, and the elements."""
    outer = g.Slice(indices, [0], [-1], [1])
    return places(g, outer, g.Slice(shape, [0], [-1])), values


def _distinct(g: Builder, keys: Tensor) -> Tensor:
    found, *_ = g.Unique(keys, outputs=4)
    return found


def positions(g: Builder, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The place of each element within its row, where rows are in order; and the most of a row."""
    _, first, ids, many = g.Unique(rows, outputs=4)
    every = g.Range(0, g.Squeeze(g.Shape(rows), [0]), 1)
    return g.Sub(every, g.Gather(first, ids)), g.ReduceMax(g.Concat([0], many, axis=0), keepdims=1)


class SetSize:
    """How many different elements each row has (set_kernels.cc)."""

    ops = ("SetSize",)

    def emit(self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor) -> Tensor:
        members = _Members(g, *_of_sparse(g, indices, values, shape))
        rows, _, _, many = g.Unique(members.row(g, _distinct(g, members.keys)), outputs=4)
        outer = g.Slice(shape, [0], [-1])
        zeros = g.Expand(g.constant(0, DType.INT32), outer)
        return g.ScatterND(zeros, indices_of(g, rows, outer), g.cast(many, DType.INT32))


class Count:
    """The numbers of each row with how often they are there, or their weights (count_ops.cc).

    Numbers from ``maxlength`` on do not count.
    """

    ops = ("DenseCountSparseOutput", "SparseCountSparseOutput", "RaggedCountSparseOutput")

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        if op.type.startswith("Dense"):
            values, outer, rows = self._dense(g, given[0])
        elif op.type.startswith("Sparse"):
            values, outer, rows = self._sparse(g, *given[:3])
        else:
            values, outer, rows = given[1], g.Sub(g.Shape(given[0]), 1), rows_of(g, given[0])
        weights = flat(g, given[-1])
        # As many as there are numbers: the weights, or ones where there are none.
        ones = g.Expand(g.constant(1, weights.dtype), g.Shape(values))
        amounts = g.Slice(g.Concat(weights, ones, axis=0), [0], g.Shape(values))
        most = op.attr("maxlength")
        if most >= 0:
            inside = g.Less(values, most)
            values, rows, amounts = (g.Compress(x, inside, axis=0) for x in (values, rows, amounts))
        members = _Members(g, rows, values)
        keys, _, ids, many = g.Unique(members.keys, outputs=4)
        numbers = g.cast(members.value(g, keys), DType.INT64)
        pairs = g.Concat(*(g.Unsqueeze(x, [1]) for x in (members.row(g, keys), numbers)), axis=1)
        size = g.constant([most])
        if most < 0:
            # The largest is the last of the distinct ones: ReduceMax of int64 is wrong in ORT 1.31.
            every = g.Concat([op.attr("minlength") - 1, 0], members.values, axis=0)
            size = g.Add(g.Slice(_distinct(g, every), [-1], [_END]), 1)
        # One row alone is not counted.
        inner = g.Sub(1, g.Shape(outer))
        return (
            g.Slice(pairs, inner, [2], [1]),
            self._summed(g, op, amounts, ids, many),
            g.Concat(outer, size, axis=0),
        )

    def _summed(self, g: Builder, op: Op, amounts: Tensor, ids: Tensor, many: Tensor) -> Tensor:
        """For each pair of a row and a number."""
        if op.attr("binary_output"):
            return g.Expand(g.constant(1, amounts.dtype), g.Shape(many))
        made = gathered_by(g, op, "add", g.Unsqueeze(amounts, [1]), ids, g.Shape(many))
        return g.Squeeze(made, [1])

    def _dense(self, g: Builder, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, flattened = _of_dense(g, values)
        return flattened, g.Slice(g.shape(values), [0], [-1]), rows

    def _sparse(
        self, g: Builder, indices: Tensor, values: Tensor, shape: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        rank = g.Shape(shape)
        outer = g.Slice(shape, [0], g.Min(g.Sub(rank, 1), 1))
        rows = g.Where(g.Greater(rank, 1), column(g, indices, 0), 0)
        return values, outer, rows


HANDLERS: tuple[Handler, ...] = (SetOperation(), SetSize(), Count())
