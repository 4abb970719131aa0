"""Arithmetic with sparse tensors: sums, products and functions of what is there."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import flat, product
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.reductions_segments import gathered_by
from smconvert_onnx.handlers.sparse_order import column, indices_of, places, wide

_HALVES = frozenset({DType.FLOAT16, DType.BFLOAT16})


def sums(
    g: Builder, op: Op, values: Tensor, ids: Tensor, count: Tensor, kind: str = "add"
) -> Tensor:
    """Values [n] reduced to [count] by their ids."""
    made = gathered_by(g, op, kind, g.Unsqueeze(values, [1]), ids, count)
    return g.Squeeze(made, [1])


class MatMul:
    """Elements of a sparse matrix times rows of a dense one (sparse_tensor_dense_matmul_op.cc).

    Adjoint is transposed for numbers that are not complex.
    """

    ops = ("SparseTensorDenseMatMul",)

    def emit(
        self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor, b: Tensor
    ) -> Tensor:
        indices, shape = wide(g, indices, shape)
        out, inner = (1, 0) if op.attr("adjoint_a") else (0, 1)
        if op.attr("adjoint_b"):
            b = g.Transpose(b, perm=[1, 0])
        kind = DType.FLOAT32 if values.dtype in _HALVES else values.dtype
        rows = g.Gather(g.cast(b, kind), column(g, indices, inner))
        products = g.Mul(g.Unsqueeze(g.cast(values, kind), [1]), rows)
        count = g.Slice(shape, [out], [out + 1])
        return g.cast(gathered_by(g, op, "add", products, column(g, indices, out), count), b.dtype)


class DenseAdd:
    """A dense tensor, with the values added at their places (sparse_tensor_dense_add_op.cc)."""

    ops = ("SparseTensorDenseAdd",)

    def emit(
        self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor, b: Tensor
    ) -> Tensor:
        indices, shape = wide(g, indices, shape)
        added = sums(g, op, values, places(g, indices, shape), product(g, shape))
        return reshaped(g, g.Add(flat(g, b), added), g.shape(b))


class CwiseDense:
    """Values with those of a broadcast dense tensor (sparse_dense_binary_op_shared.cc)."""

    ops = ("SparseDenseCwiseAdd", "SparseDenseCwiseMul", "SparseDenseCwiseDiv")

    def emit(
        self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor, dense: Tensor
    ) -> Tensor:
        lacking = g.Sub(g.Shape(shape), g.Shape(g.shape(dense)))
        sizes = g.Concat(g.Expand(np.int64(1), lacking), g.shape(dense), axis=0)
        along = g.Where(g.Equal(sizes, 1), 0, indices)
        other = g.GatherND(reshaped(g, dense, sizes), along)
        kind = op.type.removeprefix("SparseDenseCwise")
        return g.node(kind, values, other)


class Softmax:
    """Softmax of the elements that each row has, along the last axis (sparse_softmax_op.cc)."""

    ops = ("SparseSoftmax",)

    def emit(self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor) -> Tensor:
        kind = DType.FLOAT32 if values.dtype in _HALVES else values.dtype
        x = g.cast(values, kind)
        outer = g.Slice(indices, [0], [-1], [1])
        groups = _Groups(g, places(g, outer, g.Slice(shape, [0], [-1])))
        largest = sums(g, op, x, groups.ids, groups.count, "max")
        powers = g.Exp(g.Sub(x, g.Gather(largest, groups.ids)))
        total = sums(g, op, powers, groups.ids, groups.count)
        return g.cast(g.Div(powers, g.Gather(total, groups.ids)), values.dtype)


class _Groups:
    """Numbers, of which the equal ones make a group.

    Attributes:
        numbers: That of each group, in increasing order.
        ids: The group of each number.
        count: How many groups there are, int64 [1].
    """

    def __init__(self, g: Builder, numbers: Tensor) -> None:
        self.numbers, _, self.ids, _ = g.Unique(numbers, sorted=1, outputs=4)
        self.count = g.Shape(self.numbers)


class Reduce:
    """Sums or maxima of what is there, along axes (sparse_reduce_op.cc); 0 where nothing is."""

    ops = ("SparseReduceSum", "SparseReduceMax")

    def emit(
        self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor, axes: Tensor
    ) -> Tensor:
        kept, inner, after = _kept(g, op, shape, axes)
        ids = places(g, g.Gather(indices, kept, axis=1), inner)
        count = product(g, inner)
        if op.type == "SparseReduceSum":
            made = sums(g, op, values, ids, count)
        else:
            ones = g.Expand(np.int64(1), g.Shape(ids))
            there = sums(g, op, ones, ids, count)
            made = g.Where(g.Equal(there, 0), 0, sums(g, op, values, ids, count, "max"))
        return reshaped(g, made, after)


class ReduceToSparse:
    """The same as a sparse tensor (sparse_reduce_op.cc)."""

    ops = ("SparseReduceSumSparse", "SparseReduceMaxSparse")

    def emit(
        self, g: Builder, op: Op, indices: Tensor, values: Tensor, shape: Tensor, axes: Tensor
    ) -> tuple[Tensor, ...]:
        kept, inner, after = _kept(g, op, shape, axes)
        groups = _Groups(g, places(g, g.Gather(indices, kept, axis=1), inner))
        kind = "add" if op.type == "SparseReduceSumSparse" else "max"
        made = sums(g, op, values, groups.ids, groups.count, kind)
        return indices_of(g, groups.numbers, after), made, after


def _kept(g: Builder, op: Op, shape: Tensor, axes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The axes that are left, their sizes, and the shape that remains; no axes mean none."""
    every = g.Range(0, g.Squeeze(g.Shape(shape), [0]), 1)
    given = g.Reshape(g.cast(axes, DType.INT64), [1, -1])
    given = g.Where(g.Less(given, 0), g.Add(given, g.Shape(shape)), given)
    found = g.cast(g.Equal(g.Unsqueeze(every, [1]), given), DType.INT64)
    is_reduced = g.Greater(g.ReduceSum(found, [1], keepdims=0), 0)
    left = g.Squeeze(g.NonZero(g.Not(is_reduced)), [0])
    inner = g.Gather(shape, left)
    return left, inner, g.Where(is_reduced, 1, shape) if op.attr("keep_dims") else inner


class Add:
    """The sum of two sparse tensors (sparse_add_op.cc).

    Of the places that both have, those stay whose sums reach the threshold.
    """

    ops = ("SparseAdd",)

    def emit(
        self,
        g: Builder,
        op: Op,
        a_indices: Tensor,
        a_values: Tensor,
        a_shape: Tensor,
        b_indices: Tensor,
        b_values: Tensor,
        b_shape: Tensor,
        threshold: Tensor,
    ) -> tuple[Tensor, ...]:
        groups = _Groups(g, _both(g, a_shape, a_indices, b_indices))
        total = sums(g, op, g.Concat(a_values, b_values, axis=0), groups.ids, groups.count)
        ones = g.Expand(np.int64(1), g.Shape(groups.ids))
        alone = g.Equal(sums(g, op, ones, groups.ids, groups.count), 1)
        # A sum that is NaN is left out.
        kept = g.Or(alone, g.LessOrEqual(threshold, g.Abs(total)))
        numbers = g.Compress(groups.numbers, kept, axis=0)
        return indices_of(g, numbers, a_shape), g.Compress(total, kept, axis=0), a_shape


class Extreme:
    """The greater or smaller of two sparse tensors, what is not there being 0
    (sparse_sparse_binary_op_shared.cc)."""

    ops = ("SparseSparseMaximum", "SparseSparseMinimum")

    def emit(
        self,
        g: Builder,
        op: Op,
        a_indices: Tensor,
        a_values: Tensor,
        a_shape: Tensor,
        b_indices: Tensor,
        b_values: Tensor,
        b_shape: Tensor,
    ) -> tuple[Tensor, Tensor]:
        groups = _Groups(g, _both(g, a_shape, a_indices, b_indices))
        split = g.Shape(a_values)
        a = sums(g, op, a_values, g.Slice(groups.ids, [0], split), groups.count)
        b = sums(g, op, b_values, g.Slice(groups.ids, split, [2**62]), groups.count)
        kind = "Max" if op.type == "SparseSparseMaximum" else "Min"
        return indices_of(g, groups.numbers, a_shape), g.node(kind, a, b)


def _both(g: Builder, shape: Tensor, *indices: Tensor) -> Tensor:
    return places(g, g.Concat(*indices, axis=0), shape)


class Bincount:
    """How often each number is in a row, or the sum of its weights (bincount_op.cc)."""

    ops = ("SparseBincount", "RaggedBincount")

    def emit(self, g: Builder, op: Op, *given: Tensor) -> Tensor:
        if op.type == "SparseBincount":
            indices, values, shape, size, weights = given
            rows, count = self._sparse(g, op, indices, shape)
        else:
            splits, values, size, weights = given
            rows, count = rows_of(g, splits), g.Sub(g.Shape(splits), 1)
        width = g.Reshape(g.cast(size, DType.INT64), [1])
        numbers = g.cast(values, DType.INT64)
        # Numbers beyond the table get an id that is left out.
        ids = g.Where(g.Less(numbers, width), g.Add(g.Mul(rows, width), numbers), -1)
        ones = g.Expand(g.constant(1, weights.dtype), g.Shape(ids))
        cells = g.Mul(count, width)
        if op.attr("binary_output"):
            made = sums(g, op, g.cast(ones, DType.INT64), ids, cells)
            made = g.cast(g.Greater(made, 0), weights.dtype)
        else:
            # As many as there are numbers: the weights, or ones where there are none.
            amounts = g.Slice(g.Concat(weights, ones, axis=0), [0], g.Shape(ids))
            made = sums(g, op, amounts, ids, cells)
        if op.outputs[0].shape is not None and len(op.outputs[0].shape) == 1:
            return made
        return reshaped(g, made, g.Concat(count, width, axis=0))

    @staticmethod
    def _sparse(g: Builder, op: Op, indices: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        if shape.shape is None or not isinstance(shape.shape[0], int):
            op.refuse("the rank of its input is unknown", "give the input a shape: --inputs")
        if shape.shape[0] == 1:
            return g.Mul(column(g, indices, 0), 0), g.constant([1])
        return column(g, indices, 0), g.Slice(shape, [0], [1])


def rows_of(g: Builder, splits: Tensor) -> Tensor:
    """The row of each value of a ragged tensor."""
    splits = g.cast(splits, DType.INT64)
    every = g.Range(0, g.Squeeze(g.Slice(splits, [-1], [2**62]), [0]), 1)
    begun = g.Not(g.Less(g.Unsqueeze(every, [1]), g.Slice(splits, [1], [2**62])))
    return g.ReduceSum(g.cast(begun, DType.INT64), [1], keepdims=0)


HANDLERS: tuple[Handler, ...] = (
    MatMul(),
    DenseAdd(),
    CwiseDense(),
    Softmax(),
    Reduce(),
    ReduceToSparse(),
    Add(),
    Extreme(),
    Bincount(),
)
