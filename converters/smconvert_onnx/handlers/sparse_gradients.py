"""Gradients of what is done with sparse tensors."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import product
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.precision import single
from smconvert_onnx.handlers.reducing import Along, total
from smconvert_onnx.handlers.reductions_segments import gathered_by
from smconvert_onnx.handlers.sparse_arithmetic import sums
from smconvert_onnx.handlers.sparse_order import wide

_END = 2**62


class SegmentGradient:
    """The gradient of rows that are looked up and summed (segment_reduction_ops_impl.h).

    V2 gives the rows that were looked up alone, and beside them their indices in order.
    """

    ops = (
        "SparseSegmentSumGrad",
        "SparseSegmentMeanGrad",
        "SparseSegmentSqrtNGrad",
        "SparseSegmentSumGradV2",
        "SparseSegmentMeanGradV2",
        "SparseSegmentSqrtNGradV2",
    )

    def emit(
        self, g: Builder, op: Op, grad: Tensor, indices: Tensor, ids: Tensor, count: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        places, ids = wide(g, indices, ids)
        count = g.Reshape(g.cast(count, DType.INT64), [1])
        inner = g.Slice(g.shape(grad), [1], [_END])
        rows = g.Slice(g.shape(grad), [0], [1])
        size = g.Concat(rows, product(g, inner), axis=0)
        matrix = reshaped(g, single(g, grad), size)
        kind = op.type.removeprefix("SparseSegment").removesuffix("V2").removesuffix("Grad")
        if kind != "Sum":
            ones = g.Expand(g.constant(1, matrix.dtype), g.Shape(ids))
            members = g.Unsqueeze(g.Max(sums(g, op, ones, ids, rows), 1), [1])
            matrix = g.Div(matrix, members if kind == "Mean" else g.Sqrt(members))
        found = None
        if op.type.endswith("V2"):
            # The count, which is no index, is last; Unique does not take an empty tensor.
            every, _, numbers, _ = g.Unique(g.Concat(places, count, axis=0), sorted=1, outputs=4)
            found, places = g.Slice(every, [0], [-1]), g.Slice(numbers, [0], [-1])
            count = g.Shape(found)
        made = gathered_by(g, op, "add", g.Gather(matrix, ids), places, count)
        if grad.rank != 2:
            made = reshaped(g, made, g.Concat(count, inner, axis=0))
        result = g.cast(made, grad.dtype)
        return result if found is None else (result, g.cast(found, indices.dtype))


class FillGradient:
    """What came from values goes to them, and the sum of the rest to the default
    (fill_empty_rows_functor.h)."""

    ops = ("SparseFillEmptyRowsGrad", "RaggedFillEmptyRowsGrad")

    def emit(self, g: Builder, op: Op, places: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        marks = g.Expand(g.constant(False), g.Shape(places))
        added = g.ScatterElements(g.Expand(g.constant(True), g.Shape(grad)), places, marks)
        rest = g.Where(added, single(g, grad), 0)
        found = total(g, Along(g, op, g.constant([0]), keep=False), rest)
        return g.Gather(grad, places), g.cast(found, grad.dtype)


def _at_keys(g: Builder, rows: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """For each row [n, rank] the value of the key [m, rank] that is equal to it, or 0."""
    # Unique does not take an empty tensor: there is one more row, which is none.
    none = g.Expand(np.int64(-1), g.Concat([1], g.Slice(g.shape(keys), [1], [2]), axis=0))
    different, _, numbers, _ = g.Unique(
        g.Concat(keys, none, rows, axis=0), axis=0, sorted=1, outputs=4
    )
    zeros = g.Expand(g.constant(0, values.dtype), g.Slice(g.Shape(different), [0], [1]))
    count = g.Slice(g.shape(keys), [0], [1])
    table = g.ScatterElements(zeros, g.Slice(numbers, [0], count), values)
    made: Tensor = g.Gather(table, g.Slice(numbers, g.Add(count, 1), [_END]))
    return made


class AddGradient:
    """Each value has the gradient of the sum at its index, if that is there
    (sparse_add_grad_op.cc)."""

    ops = ("SparseAddGrad",)

    def emit(
        self, g: Builder, op: Op, grad: Tensor, a: Tensor, b: Tensor, indices: Tensor
    ) -> tuple[Tensor, Tensor]:
        return _at_keys(g, a, indices, grad), _at_keys(g, b, indices, grad)


class SliceGradient:
    """Each value has the gradient of where it is in the slice, if it is there
    (sparse_slice_grad_op.cc)."""

    ops = ("SparseSliceGrad",)

    def emit(
        self, g: Builder, op: Op, grad: Tensor, indices: Tensor, start: Tensor, kept: Tensor
    ) -> Tensor:
        return _at_keys(g, indices, g.Add(kept, start), grad)


HANDLERS: tuple[Handler, ...] = (
    SegmentGradient(),
    FillGradient(),
    AddGradient(),
    SliceGradient(),
)
