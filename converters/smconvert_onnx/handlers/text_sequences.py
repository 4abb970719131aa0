"""Sequences of texts: joined by the ids of their segments, and in windows; and their distances."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.indexing import gathered
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.precision import single
from smconvert_onnx.handlers.reductions_segments import laid_out
from smconvert_onnx.handlers.sparse_order import indices_of, order, places
from smconvert_onnx.handlers.sparse_ragged import cells
from smconvert_onnx.handlers.sparse_sets import positions
from smconvert_onnx.handlers.text_pieces import Pieces, is_empty, plain

_END = 2**62


class SegmentJoin:
    """The texts of each segment joined in their order (unsorted_segment_join_op.cc).

    No separator stands before the first text of a segment that is not empty.
    """

    ops = ("UnsortedSegmentJoin",)

    def emit(self, g: Builder, op: Op, texts: Tensor, ids: Tensor, segments: Tensor) -> Tensor:
        separator = plain(op, op.attr("separator"), "separator").split("\0")[0]
        rows, labels, row = laid_out(g, texts, ids)
        count = g.Reshape(g.cast(segments, DType.INT64), [1])
        by_segment = order(g, labels)
        sorted_ids = g.Gather(labels, by_segment)
        position, longest = positions(g, sorted_ids)
        width = g.Slice(g.Shape(rows), [1], [2])
        blank = g.Expand(g.constant("", DType.STRING), g.Concat([1], width, axis=0))
        rows = g.Concat(rows, blank, axis=0)
        none = g.Squeeze(g.Shape(labels), [0])
        cell = g.Concat(g.Unsqueeze(sorted_ids, [1]), g.Unsqueeze(position, [1]), axis=1)
        table = g.ScatterND(g.Expand(none, g.Concat(count, longest, axis=0)), cell, by_segment)

        def one_more(b: Builder, i: Tensor, going: Tensor, joined: Tensor) -> list[Tensor]:
            places_now = b.Gather(table, i, axis=1)
            there = b.Unsqueeze(b.Less(places_now, none), [1])
            begun = b.And(there, b.Not(is_empty(b, joined)))
            before = b.Where(begun, np.array(separator, object), np.array("", object))
            piece = gathered(b, rows, places_now, 0)
            return [going, b.StringConcat(joined, b.StringConcat(before, piece))]

        start = g.Expand(g.constant("", DType.STRING), g.Concat(count, width, axis=0))
        body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (DType.STRING, (None, None))], one_more)
        joined = g.Loop(g.Squeeze(longest, [0]), True, start, body=body)
        return reshaped(g, joined, g.Concat(count, row, axis=0))


class NGrams:
    """The windows of each row's texts, padded on both sides (string_ngrams_op.cc).

    A row that is too short for any window may be kept whole.
    """

    ops = ("StringNGrams",)

    def emit(self, g: Builder, op: Op, data: Tensor, splits: Tensor) -> tuple[Tensor, Tensor]:
        left, right, separator = (
            plain(op, op.attr(name), name) for name in ("left_pad", "right_pad", "separator")
        )
        bounds = g.cast(splits, DType.INT64)
        starts, ends = g.Slice(bounds, [0], [-1]), g.Slice(bounds, [1], [_END])
        tokens = _Tokens(g, data, starts, g.Sub(ends, starts), (left, right), separator)
        made = [tokens.windows(g, w, self._pad(op, w)) for w in op.attr("ngram_widths")]
        lengths = [g.Mul(tokens.lengths, 0), *(count for count, _, _ in made)]
        total = lengths[0]
        for count in lengths[1:]:
            total = g.Add(total, count)
        pad = op.attr("pad_width")
        if op.attr("preserve_short_sequences") and pad >= 0:
            short = g.And(g.Equal(total, 0), g.Greater(tokens.lengths, 0))
            made.append(tokens.whole(g, short, pad))
            total = g.Where(short, 1, total)
        ngrams, rows = g.constant([], DType.STRING), g.constant([], DType.INT64)
        if made:
            ngrams = g.Concat(*(texts for _, texts, _ in made), axis=0)
            rows = g.Concat(*(row for _, _, row in made), axis=0)
        if len(made) > 1:
            ngrams = g.Gather(ngrams, order(g, rows))
        sums = g.Concat([0], g.CumSum(total, np.int64(0)), axis=0)
        return ngrams, g.cast(g.Slice(sums, [0], g.Shape(splits)), splits.dtype)

    def _pad(self, op: Op, width: int) -> int:
        if width <= 0:
            op.refuse("its windows must be wide")
        pad = op.attr("pad_width")
        return min(width - 1 if pad < 0 else pad, width - 1)


class _Tokens:
    """Rows of texts, with paddings behind all of them.

    Attributes:
        lengths: How many texts each row has; 0 where there are no texts at all.
    """

    def __init__(
        self,
        g: Builder,
        data: Tensor,
        starts: Tensor,
        lengths: Tensor,
        paddings: tuple[str, str],
        separator: str,
    ) -> None:
        self.lengths = lengths
        self._starts = starts
        self._separator = separator
        self._none = g.Size(data)
        self._texts = g.Concat(data, np.array(paddings, object), axis=0)

    def windows(self, g: Builder, width: int, pad: int) -> tuple[Tensor, Tensor, Tensor]:
        """How many windows each row has; the windows, and the row of each."""
        counts = g.Max(g.Add(self.lengths, 2 * pad - width + 1), 0)
        # Nothing is padded where there are no texts in any row.
        counts = g.Where(g.Equal(self._none, 0), 0, counts)
        row, first = self._cells(g, counts)
        window = self._text(g, row, g.Sub(first, pad))
        for i in range(1, width):
            if self._separator:
                window = g.StringConcat(window, np.array(self._separator, object))
            window = g.StringConcat(window, self._text(g, row, g.Add(first, i - pad)))
        return counts, window, row

    def whole(self, g: Builder, which: Tensor, pad: int) -> tuple[Tensor, Tensor, Tensor]:
        """Some rows as one window each."""
        counts = g.Where(which, g.Add(self.lengths, 2 * pad), 0)
        row, place = self._cells(g, counts)
        pieces = Pieces(self._text(g, row, g.Sub(place, pad)), row, g.Shape(counts))
        joined = g.Compress(pieces.joined(g, self._separator), which, axis=0)
        return counts, joined, g.Squeeze(g.NonZero(which), [0])

    def _cells(self, g: Builder, counts: Tensor) -> tuple[Tensor, Tensor]:
        found = cells(g, counts)
        return g.Gather(found, np.int64(0), axis=1), g.Gather(found, np.int64(1), axis=1)

    def _text(self, g: Builder, row: Tensor, place: Tensor) -> Tensor:
        """What stands at a place of a row, which may lie outside of it."""
        inside = g.Add(g.Gather(self._starts, row), place)
        behind = g.Less(place, g.Gather(self.lengths, row))
        at = g.Where(behind, inside, g.Add(self._none, 1))
        return g.Gather(self._texts, g.Where(g.Less(place, 0), self._none, at))


class EditDistance:
    """How many changes make a sequence another (edit_distance_op.cc, Levenshtein's).

    The table of the distances of all beginnings is filled diagonal by diagonal, for all pairs.
    """

    ops = ("EditDistance",)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> Tensor:
        if given[1].dtype in {DType.COMPLEX64, DType.COMPLEX128}:
            op.refuse("its sequences are of complex numbers")
        values, others = _comparable(g, given[1], given[4])
        outer = g.Max(g.Slice(given[2], [0], [-1]), g.Slice(given[5], [0], [-1]))
        zeros = g.Expand(g.constant(0.0, DType.FLOAT32), outer)
        count = g.Reshape(g.Size(zeros), [1])
        guesses, guess_lengths = _padded(g, given[0], values, outer, count)
        truths, truth_lengths = _padded(g, given[3], others, outer, count)
        distance = _distances(g, guesses, guess_lengths, truths, truth_lengths)
        made = g.cast(distance, DType.FLOAT32)
        if op.attr("normalize"):
            made = g.Div(made, g.cast(truth_lengths, DType.FLOAT32))
            made = g.Where(g.Equal(g.Add(guess_lengths, truth_lengths), 0), 0, made)
        every = g.Range(0, g.Squeeze(count, [0]), 1)
        # Not Reshape, to whose shapes of zeros opset 13 has no name.
        return g.ScatterND(zeros, indices_of(g, every, outer), made)


def _comparable(g: Builder, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Texts as numbers that are equal where they are: Equal takes texts from opset 19 on."""
    if one.dtype is not DType.STRING:
        return single(g, one), single(g, other)
    _, _, numbers, _ = g.Unique(g.Concat(one, other, axis=0), outputs=4)
    count = g.Shape(one)
    return g.Slice(numbers, [0], count), g.Slice(numbers, count, [_END])


def _padded(
    g: Builder, indices: Tensor, values: Tensor, outer: Tensor, count: Tensor
) -> tuple[Tensor, Tensor]:
    """The elements of each sequence in a row, and how many there are."""
    rows = places(g, g.Slice(indices, [0], [-1], [1]), outer)
    position, longest = positions(g, rows)
    numbers, _, _, many = g.Unique(rows, outputs=4)
    lengths = g.ScatterElements(g.Expand(np.int64(0), count), numbers, many)
    # One column at least, for it to be gathered from.
    blank = g.Expand(g.constant(0, values.dtype), g.Concat(count, g.Max(longest, [1]), axis=0))
    cell = g.Concat(g.Unsqueeze(rows, [1]), g.Unsqueeze(position, [1]), axis=1)
    return g.ScatterND(blank, cell, values), lengths


def _distances(
    g: Builder, guesses: Tensor, guess_lengths: Tensor, truths: Tensor, truth_lengths: Tensor
) -> Tensor:
    """For each row, int64 [n].

    Cell ``i`` of diagonal ``d`` is the distance of the first ``i`` of a truth from the first
    ``d - i`` of a guess.
    """
    width = g.Gather(g.Shape(truths), np.int64(1))
    last = g.Sub(g.Gather(g.Shape(guesses), np.int64(1)), 1)
    along = g.Range(0, g.Add(width, 1), 1)
    total = g.Add(guess_lengths, truth_lengths)
    rows = g.Shape(total)
    least = g.Expand(np.int64(0), g.Concat(rows, g.Shape(along), axis=0))

    def step(
        b: Builder, i: Tensor, going: Tensor, before: Tensor, previous: Tensor, found: Tensor
    ) -> list[Tensor]:
        diagonal = b.Add(i, 1)
        column = b.Max(b.Min(b.Sub(i, b.Slice(along, [1], [_END])), last), 0)
        differ = b.Not(b.Equal(truths, b.Gather(guesses, column, axis=1)))
        inner = b.Slice(previous, [0], [-1], [1])
        changed = b.Add(b.Slice(before, [0], [-1], [1]), b.cast(differ, DType.INT64))
        moved = b.Add(b.Min(inner, b.Slice(previous, [1], [_END], [1])), 1)
        edge = b.Add(b.Slice(previous, [0], [1], [1]), 1)
        cells_now = b.Concat(edge, b.Min(changed, moved), axis=1)
        # Where nothing of the guess is taken, all of the truth is left over.
        cells_now = b.Where(b.Equal(along, diagonal), diagonal, cells_now)
        at = b.GatherElements(cells_now, b.Unsqueeze(truth_lengths, [1]), axis=1)
        ended = b.Equal(total, diagonal)
        return [going, previous, cells_now, b.Where(ended, b.Squeeze(at, [1]), found)]

    state = (DType.INT64, (None, None))
    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), state, state, (DType.INT64, (None,))], step)
    longest = g.ReduceMax(g.Concat([0], total, axis=0), keepdims=0)
    nothing = g.Expand(np.int64(0), rows)
    _, _, found = g.Loop(longest, True, least, least, nothing, body=body, outputs=3)
    return found


HANDLERS: tuple[Handler, ...] = (SegmentJoin(), NGrams(), EditDistance())
