"""Order: running sums, the largest few, places in sorted lists, and what is different."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import (
    FLOATS,
    around,
    comparable,
    comparable_back,
)
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped


class Cumsum:
    """Running sums; those of integers wrap (scan_ops.h)."""

    ops = ("Cumsum",)

    def emit(self, g: Builder, op: Op, x: Tensor, axis: Tensor) -> Tensor:
        exclusive, reverse = int(op.attr("exclusive")), int(op.attr("reverse"))
        return g.CumSum(x, g.Reshape(axis, []), exclusive=exclusive, reverse=reverse)


class Running:
    """Running products, and running logarithms of sums of exponentials (scan_ops.h)."""

    ops = ("Cumprod", "CumulativeLogsumexp")

    def emit(self, g: Builder, op: Op, x: Tensor, axis: Tensor) -> Tensor:
        logs, dtype = op.type == "CumulativeLogsumexp", x.dtype
        # Within a Loop, nothing is widened later.
        wide = DType.FLOAT64 if dtype is DType.FLOAT64 else DType.FLOAT32
        x = g.cast(x, wide if dtype in FLOATS else DType.INT64)
        along: Tensor | int = axis if axis.value is None else int(axis.value)
        folded, _, _ = around(g, x, along)
        state = g.Expand(
            g.constant(-np.inf if logs else 1, x.dtype), g.Gather(g.shape(folded), [0, 2])
        )
        reverse = bool(op.attr("reverse"))
        size = g.Gather(g.shape(folded), 1)

        def step(inner: Builder, i: Tensor, going: Tensor, state: Tensor) -> Sequence[Tensor]:
            place = inner.Sub(inner.Sub(size, 1), i) if reverse else i
            item = inner.Gather(folded, place, axis=1)
            made = _log_sum_exp(inner, state, item) if logs else inner.Mul(state, item)
            return going, made, made

        # Not Scan: that of nothing is a division by zero in ONNX Runtime.
        body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (x.dtype, (None, None))], step)
        _, found = g.Loop(size, True, state, body=body, outputs=2)
        first = g.Unsqueeze(state, [0])
        exclusive = bool(op.attr("exclusive"))
        stacked = g.Concat(first, found, axis=0)
        kept = g.Slice(stacked, *(([0], [-1], [0]) if exclusive else ([1], [2**62], [0])))
        if reverse:
            kept = g.Slice(kept, [-1], [-(2**62)], [0], [-1])
        return g.cast(reshaped(g, g.Transpose(kept, perm=[1, 0, 2]), g.shape(x)), dtype)


def _log_sum_exp(g: Builder, a: Tensor, b: Tensor) -> Tensor:
    larger = g.Max(a, b)
    summed = g.Add(larger, g.Log(g.Add(g.Exp(g.Sub(g.Min(a, b), larger)), 1)))
    # Two equal infinities have no difference.
    return g.Where(g.Equal(a, b), g.Add(larger, float(np.log(2))), summed)


class TopK:
    """The largest, the earlier of equal ones first; also where no order is asked (topk_op.cc).

    On a CPU ApproxTopK is the same, and has no kernel but for the largest along the last axis.
    """

    ops = ("TopK", "TopKV2", "ApproxTopK")

    def emit(self, g: Builder, op: Op, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if op.type == "ApproxTopK" and not (
            op.attr("is_max_k") and op.attr("reduction_dimension") == -1
        ):
            op.refuse(
                "TensorFlow finds on a CPU only the largest along the last axis",
                "use tf.math.top_k in its place",
            )
        if k is None:
            count = g.constant([op.attr("k")], DType.INT64)
        else:
            count = g.Reshape(g.cast(k, DType.INT64), [1])
        values, indices = g.TopK(comparable(g, x), count, axis=-1, outputs=2)
        return comparable_back(g, values, x.dtype), g.cast(indices, op.outputs[1].dtype)


class NthElement:
    """What comes at a place when each row is sorted (nth_element_op.cc)."""

    ops = ("NthElement",)

    def emit(self, g: Builder, op: Op, x: Tensor, n: Tensor) -> Tensor:
        place = g.Reshape(g.cast(n, DType.INT64), [1])
        largest = int(op.attr("reverse"))
        values, _ = g.TopK(comparable(g, x), g.Add(place, 1), axis=-1, largest=largest, outputs=2)
        found = g.Gather(values, g.Squeeze(place, [0]), axis=-1)
        return comparable_back(g, found, x.dtype)


class InTopK:
    """Whether fewer than ``k`` are larger than the target; all must be finite (in_topk_op.h)."""

    ops = ("InTopK", "InTopKV2")

    def emit(
        self, g: Builder, op: Op, scores: Tensor, targets: Tensor, k: Tensor | None = None
    ) -> Tensor:
        limit = op.attr("k") if k is None else g.cast(k, DType.INT64)
        target = g.cast(targets, DType.INT64)
        classes = g.Gather(g.shape(scores), 1)
        known = g.And(g.Not(g.Less(target, 0)), g.Less(target, classes))
        place = g.Unsqueeze(g.Where(known, target, 0), [1])
        larger = g.Greater(scores, g.GatherElements(scores, place, axis=1))
        count = g.ReduceSum(g.cast(larger, DType.INT64), [1], keepdims=0)
        unsound = g.cast(g.Or(g.IsNaN(scores), g.IsInf(scores)), DType.INT64)
        sound = g.Equal(g.ReduceSum(unsound, [1], keepdims=0), 0)
        return g.And(g.And(known, sound), g.Less(count, limit))


class Bounds:
    """How many of a sorted row come before each value (searchsorted_op.cc)."""

    ops = ("LowerBound", "UpperBound")

    def emit(self, g: Builder, op: Op, row: Tensor, values: Tensor) -> Tensor:
        there, sought = g.Unsqueeze(row, [1]), g.Unsqueeze(values, [2])
        lower = op.type == "LowerBound"
        before = g.Less(there, sought) if lower else g.Not(g.Less(sought, there))
        count = g.ReduceSum(g.cast(before, DType.INT64), [2], keepdims=0)
        return g.cast(count, op.outputs[0].dtype)


class Bucketize:
    """How many boundaries, as float32, are not above each value (bucketize_op.cc)."""

    ops = ("Bucketize",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        wide = DType.FLOAT64 if x.dtype is DType.FLOAT64 else DType.FLOAT32
        # One more, for ONNX Runtime forgets to reduce an axis of none that is counted from the end.
        boundaries = np.array([-np.inf, *op.attr("boundaries")], np.float32).astype(wide.numpy)
        above = g.Less(g.Unsqueeze(g.cast(x, wide), [-1]), boundaries)
        count = g.ReduceSum(g.cast(g.Not(above), DType.INT64), [-1], keepdims=0)
        return g.cast(g.Sub(count, 1), DType.INT32)


class NearestNeighbors:
    """The centers at the smallest squared distances (clustering_ops.cc)."""

    ops = ("NearestNeighbors",)

    def emit(
        self, g: Builder, op: Op, points: Tensor, centers: Tensor, k: Tensor
    ) -> tuple[Tensor, Tensor]:
        def norms(x: Tensor) -> Tensor:
            return g.ReduceSum(g.Mul(x, x), [1], keepdims=1)

        products = g.MatMul(points, g.Transpose(centers, perm=[1, 0]))
        apart = g.Sub(g.Transpose(norms(centers), perm=[1, 0]), g.Mul(products, 2))
        distances = g.Add(norms(points), apart)
        count = g.Min(g.Reshape(k, [1]), g.Gather(g.shape(centers), [0]))
        values, indices = g.TopK(distances, count, axis=1, largest=0, outputs=2)
        return indices, values


class Unique:
    """What is different, as it comes first (unique_op.cc); each NaN differs from all."""

    ops = ("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2")

    def emit(self, g: Builder, op: Op, x: Tensor, axes: Tensor | None = None) -> tuple[Tensor, ...]:
        chosen = [] if axes is None else op.constant(axes, "axis").ravel().tolist()
        axis = int(chosen[0]) if chosen else 0
        texts, x = _numbered(g, x) if x.dtype is DType.STRING else (None, x)
        keys, along = g.cast(x, DType.FLOAT64 if x.dtype in FLOATS else DType.INT64), None
        if chosen or x.dtype in FLOATS:
            folded, _, _ = around(g, keys, axis)
            turned = g.Transpose(folded, perm=[1, 0, 2])
            count = g.Gather(g.shape(turned), [0])
            width = g.Div(g.Size(turned), g.Max(count, 1))
            keys, along = reshaped(g, turned, g.Concat(count, width, axis=0)), 0
        if x.dtype in FLOATS:
            keys = _told_apart(g, keys, x.dtype)
        types = [keys.dtype, DType.INT64, DType.INT64, DType.INT64]
        _, first, inverse, counts = g.Unique(keys, sorted=0, axis=along, outputs=4, dtype=types)
        dtype, made = op.outputs[1].dtype, g.Gather(x, first, axis=axis)
        if texts is not None:
            made = g.Gather(texts, made, axis=0)
        found = (made, g.cast(inverse, dtype), g.cast(counts, dtype))
        return found[: len(op.outputs)]


def _numbered(g: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Different strings in a row, and the place of each string there.

    ONNX Runtime gathers no more than the first string of each row.
    """
    types = [DType.STRING, DType.INT64, DType.INT64]
    texts, _, inverse = g.Unique(x, sorted=0, outputs=3, dtype=types)
    return texts, replace_shape(reshaped(g, inverse, g.shape(x)), x.shape)


def _told_apart(g: Builder, rows: Tensor, dtype: DType) -> Tensor:
    """Rows [n, m] without NaN; what makes those different that have one comes at their ends."""
    unknown = g.IsNaN(rows)
    count, width = (g.Gather(g.shape(rows), i) for i in range(2))
    numbers = g.Unsqueeze(g.cast(g.Range(1, g.Add(count, 1), 1), DType.FLOAT64), [1])
    among = g.ReduceSum(g.cast(unknown, DType.FLOAT64), [1], keepdims=1)
    parts = [g.Where(unknown, 0, rows), g.Where(g.Greater(among, 0), numbers, 0)]
    if dtype in _HALVES:
        # Single halves are told apart by their bits, and zeros by their signs.
        negative = g.And(g.Equal(g.Reciprocal(rows), -np.inf), g.Equal(width, 1))
        parts.append(g.cast(negative, DType.FLOAT64))
    return g.Concat(*parts, axis=1)


_HALVES = frozenset({DType.FLOAT16, DType.BFLOAT16})

HANDLERS: tuple[Handler, ...] = (
    Cumsum(),
    Running(),
    TopK(),
    NthElement(),
    InTopK(),
    Bounds(),
    Bucketize(),
    NearestNeighbors(),
    Unique(),
)
