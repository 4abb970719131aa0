"""Reductions of rows that share an id, and counts."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import FLOATS, flat, product
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.reducing import Along, extreme, total, whole_product

_SINCE = {"add": 16, "mul": 16, "max": 18, "min": 18}
_HALVES = frozenset({DType.FLOAT16, DType.BFLOAT16})


def _identity(kind: str, dtype: DType) -> float | int:
    if kind in {"add", "mul"}:
        return int(kind == "mul")
    if dtype in FLOATS:
        return -np.inf if kind == "max" else np.inf
    limits = np.iinfo(dtype.numpy)
    return int(limits.min if kind == "max" else limits.max)


def gathered_by(g: Builder, op: Op, kind: str, rows: Tensor, ids: Tensor, count: Tensor) -> Tensor:
    """Rows [n, m] reduced into ``count`` ([1]) rows by their ids; ids beyond are left out."""
    wide = g.cast(rows, DType.FLOAT32) if rows.dtype in _HALVES else rows
    start = g.constant(_identity(kind, wide.dtype), wide.dtype)
    if g.opset < _SINCE[kind]:
        return g.cast(_by_mask(g, op, kind, wide, ids, count, start), rows.dtype)
    inside = g.And(g.Not(g.Less(ids, 0)), g.Less(ids, count))
    width = g.Gather(g.shape(wide), [1])
    column = g.Unsqueeze(g.Where(inside, ids, count), [1])
    # Not Expand, which ONNX Runtime leaves out where it makes rows of no elements.
    places = g.Tile(column, g.Concat([1], width, axis=0))
    base = g.Expand(start, g.Concat(g.Add(count, 1), width, axis=0))
    # Not ScatterND, whose threads overwrite each other's sums in ONNX Runtime.
    made = g.ScatterElements(base, places, wide, axis=0, reduction=kind)
    return g.cast(g.Slice(made, [0], count, [0]), rows.dtype)


def _by_mask(
    g: Builder, op: Op, kind: str, rows: Tensor, ids: Tensor, count: Tensor, start: Tensor
) -> Tensor:
    """The same for older operator sets, in memory for ``count`` times the rows."""
    numbers = g.Range(0, g.Squeeze(count, [0]), 1)
    member = g.Unsqueeze(g.Equal(g.Unsqueeze(numbers, [1]), g.Unsqueeze(ids, [0])), [2])
    kept = g.Where(member, g.Unsqueeze(rows, [0]), start)
    along = Along(g, op, g.constant([1]), keep=False)
    if kind == "add":
        return total(g, along, kept)
    if kind == "mul":
        whole = rows.dtype not in FLOATS
        return whole_product(g, along, kept) if whole else along.reduce("ReduceProd", kept)
    return extreme(g, along, f"Reduce{kind.capitalize()}", kept)


def laid_out(g: Builder, data: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Data as rows [n, m], ids as int64 [n], and the shape of a row."""
    ids_rank = g.Shape(g.shape(ids)) if ids.rank is None else [ids.rank]
    row = g.Slice(g.shape(data), ids_rank, [2**62])
    labels = flat(g, g.cast(ids, DType.INT64))
    rows = reshaped(g, data, g.Concat(g.shape(labels), product(g, row), axis=0))
    return rows, labels, row


def _ones(g: Builder, ids: Tensor, dtype: DType) -> Tensor:
    """A column of ones for each id."""
    return g.Expand(g.constant(1, dtype), g.Concat(g.shape(ids), [1], axis=0))


class Segment:
    """Rows by sorted ids; what has none is 0, or 1 of Prod (segment_reduction_ops_impl.h)."""

    ops = ("SegmentSum", "SegmentProd", "SegmentMax", "SegmentMin", "SegmentMean")

    def emit(self, g: Builder, op: Op, data: Tensor, ids: Tensor) -> Tensor:
        rows, labels, row = laid_out(g, data, ids)
        last = g.Slice(g.Concat([-1], labels, axis=0), [-1], [2**62])
        count = g.Add(last, 1)
        kind = {"Sum": "add", "Prod": "mul", "Max": "max", "Min": "min", "Mean": "add"}[
            op.type.removeprefix("Segment")
        ]
        if op.type == "SegmentMean" and rows.dtype in _HALVES:
            rows = g.cast(rows, DType.FLOAT32)
        made = gathered_by(g, op, kind, rows, labels, count)
        if op.type in {"SegmentMax", "SegmentMin", "SegmentMean"}:
            ones = _ones(g, labels, DType.INT64)
            members = gathered_by(g, op, "add", ones, labels, count)
            if op.type == "SegmentMean":
                made = g.Div(made, g.cast(g.Max(members, 1), made.dtype))
            else:
                made = g.Where(g.Equal(members, 0), 0, made)
        return g.cast(reshaped(g, made, g.Concat(count, row, axis=0)), data.dtype)


class UnsortedSegment:
    """Rows by ids in any order, negative ones left out (segment_reduction_ops_impl.h)."""

    ops = ("UnsortedSegmentSum", "UnsortedSegmentProd", "UnsortedSegmentMax", "UnsortedSegmentMin")

    def emit(self, g: Builder, op: Op, data: Tensor, ids: Tensor, segments: Tensor) -> Tensor:
        rows, labels, row = laid_out(g, data, ids)
        count = g.Reshape(g.cast(segments, DType.INT64), [1])
        kind = {"Sum": "add", "Prod": "mul", "Max": "max", "Min": "min"}[
            op.type.removeprefix("UnsortedSegment")
        ]
        made = gathered_by(g, op, kind, rows, labels, count)
        if kind in {"max", "min"} and data.dtype in FLOATS:
            edge = _lowest(data.dtype) * (1 if kind == "max" else -1)
            members = gathered_by(g, op, "add", _ones(g, labels, DType.INT64), labels, count)
            made = g.Where(g.Equal(members, 0), edge, made)
        return reshaped(g, made, g.Concat(count, row, axis=0))


def _lowest(dtype: DType) -> float:
    if dtype is DType.BFLOAT16:
        return -float.fromhex("0x1.fep127")
    return float(np.finfo(dtype.numpy).min)


class SparseSegment:
    """Rows that are looked up first, by sorted ids (segment_reduction_ops_impl.h)."""

    ops = (
        "SparseSegmentSum",
        "SparseSegmentMean",
        "SparseSegmentSqrtN",
        "SparseSegmentSumWithNumSegments",
        "SparseSegmentMeanWithNumSegments",
        "SparseSegmentSqrtNWithNumSegments",
    )

    def emit(
        self,
        g: Builder,
        op: Op,
        data: Tensor,
        indices: Tensor,
        ids: Tensor,
        segments: Tensor | None = None,
    ) -> Tensor:
        picked = g.Gather(data, indices, axis=0)
        rows, labels, row = laid_out(g, picked, ids)
        if segments is None:
            count = g.Add(g.Slice(g.Concat([-1], labels, axis=0), [-1], [2**62]), 1)
        else:
            count = g.Reshape(g.cast(segments, DType.INT64), [1])
        kind = op.type.removeprefix("SparseSegment").removesuffix("WithNumSegments")
        wide = g.cast(rows, DType.FLOAT32) if rows.dtype in _HALVES else rows
        made = gathered_by(g, op, "add", wide, labels, count)
        if kind != "Sum":
            ones = _ones(g, labels, DType.INT64)
            members = g.Max(gathered_by(g, op, "add", ones, labels, count), 1)
            divisor = g.cast(members, wide.dtype)
            made = g.Div(made, divisor if kind == "Mean" else g.Sqrt(divisor))
        return g.cast(reshaped(g, made, g.Concat(count, row, axis=0)), data.dtype)


class Bincount:
    """How often each number is there, or the sum of its weights (bincount_op.cc)."""

    ops = ("Bincount", "DenseBincount")

    def emit(self, g: Builder, op: Op, values: Tensor, size: Tensor, weights: Tensor) -> Tensor:
        dtype = op.outputs[0].dtype
        count = g.Reshape(g.cast(size, DType.INT64), [1])
        numbers = g.cast(values, DType.INT64)
        before = g.Slice(g.shape(values), [0], [-1])
        if op.type == "Bincount":
            numbers, before = flat(g, numbers), g.constant([], DType.INT64)
        # Those too large go to a place of their own, at the end of each row.
        places = g.Where(g.Less(numbers, count), numbers, count)
        width = g.Add(count, 1)
        if before.value is None:
            rows = product(g, before)
            starts = g.Mul(g.Range(0, g.Squeeze(rows, [0]), 1), width)
            many = g.Reshape(starts, g.Concat(before, [1], axis=0))
            labels = flat(g, g.Add(places, many))
        else:
            rows, labels = g.constant([1]), places
        ones = g.Expand(g.constant(1, dtype), g.shape(labels))
        binary = op.type == "DenseBincount" and op.attr("binary_output")
        if binary:
            amounts = ones
        else:
            # As many as there are numbers: weights, or ones where there are no weights.
            amounts = g.Slice(g.Concat(flat(g, weights), ones, axis=0), [0], g.shape(labels))
        kind = "max" if binary and g.opset >= 18 else "add"
        bins = g.Mul(rows, width)
        made = gathered_by(g, op, kind, g.Unsqueeze(amounts, [1]), labels, bins)
        if binary:
            made = g.cast(g.Greater(made, 0), dtype)
        table = reshaped(g, made, g.Concat(before, width, axis=0))
        return g.Slice(table, [0], count, [-1])


class HistogramFixedWidth:
    """Counts within equal parts of a range, those outside at its ends (histogram_op.cc)."""

    ops = ("HistogramFixedWidth",)

    def emit(self, g: Builder, op: Op, values: Tensor, limits: Tensor, bins: Tensor) -> Tensor:
        count = g.Reshape(g.cast(bins, DType.INT64), [1])
        low, high = g.Gather(limits, [0]), g.Gather(limits, [1])
        wide = DType.FLOAT64
        step = g.Div(g.cast(g.Sub(high, low), wide), g.cast(count, wide))
        row = flat(g, values)
        above = g.Where(g.Less(row, low), low, row)
        bin_of = g.Div(g.cast(g.Sub(above, low), wide), step)
        places = g.cast(g.Min(bin_of, g.cast(g.Sub(count, 1), wide)), DType.INT64)
        dtype = op.outputs[0].dtype
        made = gathered_by(g, op, "add", _ones(g, places, dtype), places, count)
        return g.Squeeze(made, [1])


HANDLERS: tuple[Handler, ...] = (
    Segment(),
    UnsortedSegment(),
    SparseSegment(),
    Bincount(),
    HistogramFixedWidth(),
)
