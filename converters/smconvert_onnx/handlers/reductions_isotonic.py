"""Regression by a function that never grows."""

from __future__ import annotations

from collections.abc import Sequence

from smconvert.model import DType
from smconvert_onnx.handlers.axes import product
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped

_INT64 = DType.INT64


class Isotonic:
    """The nearest rows that never grow: neighbours out of order are pooled into their mean
    (isotonic_regression_op.cc).

    Pool adjacent violators: a stack of segments for each row, to which in each round of a Loop
    either the next element is added, or whose last two segments become one.
    """

    ops = ("IsotonicRegression",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
        shape, dtype = g.shape(x), op.outputs[0].dtype
        exact = DType.FLOAT64 if dtype is DType.FLOAT64 else DType.FLOAT32
        length = g.Slice(shape, [-1], [2**62])
        before = product(g, g.Slice(shape, [0], [-1]))
        size = g.Concat(before, length, axis=0)
        rows = replace_shape(reshaped(g, g.cast(x, exact), size), (None, None))
        column = g.Concat(before, [1], axis=0)
        # There is one more element behind each row, for those that have no next one.
        wider = g.Concat(before, g.Add(length, 1), axis=0)
        nothing = g.Expand(g.constant(0, exact), wider)
        state = (
            nothing,
            nothing,
            g.Expand(g.constant(-1), column),
            g.Expand(g.constant(0), column),
        )
        rows = g.Concat(rows, g.Expand(g.constant(0, exact), column), axis=1)
        rounds = g.Max(g.Sub(g.Mul(g.Squeeze(length, [0]), 2), 1), 0)
        every: list[tuple[DType, tuple[None, ...]]] = [
            (exact, (None, None)),
            (exact, (None, None)),
            (_INT64, (None, None)),
            (_INT64, (None, None)),
        ]

        def write(g: Builder, _: Tensor, go: Tensor, *now: Tensor) -> list[Tensor]:
            return [go, *_round(g, rows, length, *now)]

        body = g.body([(_INT64, ()), (DType.BOOL, ()), *every], write)
        sums, counts, last, _ = g.Loop(rounds, True, *state, body=body, outputs=4)
        numbers = g.Range(0, g.Squeeze(g.Add(length, 1), [0]), 1)
        used = g.LessOrEqual(numbers, last)
        ends = g.cast(g.CumSum(g.Where(used, counts, 0), 1), _INT64)
        starts = g.Where(used, ends, length)
        zeros = g.Expand(g.constant(0, exact), wider)
        marks = g.ScatterElements(zeros, starts, g.Add(zeros, 1), axis=1)
        segments = g.Slice(g.cast(g.CumSum(marks, 1), _INT64), [0], length, [1])
        means = g.Div(sums, g.Where(used, counts, 1))
        made = g.GatherElements(means, segments, axis=1)
        return (
            g.cast(reshaped(g, made, shape), dtype),
            g.cast(reshaped(g, segments, shape), DType.INT32),
        )


def _round(
    g: Builder,
    rows: Tensor,
    length: Tensor,
    sums: Tensor,
    counts: Tensor,
    last: Tensor,
    taken: Tensor,
) -> Sequence[Tensor]:
    """One change of each row's stack.

    Args:
        g: Writes.
        rows: The elements, and a 0 behind each row.
        length: Of a row.
        sums: Of the segments.
        counts: How many elements each has.
        last: The last segment of each row, -1 where there is none.
        taken: How many elements are in segments.
    """
    at, below = g.Max(last, 0), g.Max(g.Sub(last, 1), 0)
    sum_at, sum_below = (g.GatherElements(sums, i, axis=1) for i in (at, below))
    count_at, count_below = (g.GatherElements(counts, i, axis=1) for i in (at, below))
    merges = g.And(
        g.Greater(last, 0), g.Less(g.Div(sum_below, count_below), g.Div(sum_at, count_at))
    )
    adds = g.And(g.Not(merges), g.Less(taken, length))
    next_one = g.GatherElements(rows, taken, axis=1)
    # What neither merges nor adds writes the last segment anew.
    place = g.Where(merges, below, g.Where(adds, g.Add(last, 1), at))
    new_sum = g.Where(merges, g.Add(sum_below, sum_at), g.Where(adds, next_one, sum_at))
    new_count = g.Where(merges, g.Add(count_below, count_at), g.Where(adds, 1, count_at))
    added = g.cast(adds, _INT64)
    return (
        g.ScatterElements(sums, place, new_sum, axis=1),
        g.ScatterElements(counts, place, new_count, axis=1),
        g.Add(g.Sub(last, g.cast(merges, _INT64)), added),
        g.Add(taken, added),
    )


HANDLERS: tuple[Handler, ...] = (Isotonic(),)
