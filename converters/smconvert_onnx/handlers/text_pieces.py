"""Texts taken apart and put together again: what StringSplit and StringConcat make of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.extensions import stripped
from smconvert_onnx.handlers.matrices import reshaped

WHITESPACE = " \t\n\v\f\r"
"""What TensorFlow takes for white space, with ``isspace`` in the C locale."""


@dataclass(frozen=True)
class Pieces:
    """Texts [n] in pieces [m], in order.

    Attributes:
        text: Each piece.
        row: The text that it comes from, int64.
        rows: How many texts there are, int64 [1].
    """

    text: Tensor
    row: Tensor
    rows: Tensor

    @classmethod
    def of(cls, g: Builder, texts: Tensor) -> Pieces:
        """Each text in one piece."""
        texts = flat(g, texts)
        rows = g.Shape(texts)
        return cls(texts, g.Range(0, g.Squeeze(rows, [0]), 1), rows)

    def cut(self, g: Builder, separator: str, most: int | None = None) -> Pieces:
        """Each piece in its parts, of which there is one where the separator is not found.

        StringSplit finds no part in an empty text, and its matrix is padded with them.
        """
        # One text more makes the matrix at least one column wide.
        parts, counts = g.StringSplit(
            g.Concat(self.text, np.array(["x"], object), axis=0),
            delimiter=separator,
            maxsplit=most,
            outputs=2,
        )
        counts = g.Unsqueeze(g.Max(counts, [1]), [1])
        column = g.Range(0, g.Squeeze(g.Shape(parts, start=1), [0]), 1)
        filled = g.Slice(g.Less(column, counts), [0], g.Shape(self.text), [0])
        owner = g.Gather(g.NonZero(filled), np.int64(0))
        # Of a rank that ONNX's own inference knows, without which it crashes in RegexFullMatch.
        found = g.Compress(flat(g, parts), flat(g, filled), axis=0)
        return Pieces(found, g.Gather(self.row, owner), self.rows)

    def cut_at_each(self, g: Builder, characters: Iterable[str]) -> Pieces:
        """Each piece cut wherever one of the characters is."""
        pieces = self
        for character in characters:
            pieces = pieces.cut(g, character)
        return pieces

    def kept(self, g: Builder, which: Tensor) -> Pieces:
        """The pieces where ``which`` [m] is true."""
        return Pieces(
            g.Compress(self.text, which, axis=0), g.Compress(self.row, which, axis=0), self.rows
        )

    def counts(self, g: Builder) -> Tensor:
        """How many pieces each text has, int64 [n]."""
        ones = g.Expand(np.int64(1), g.Shape(self.row))
        return g.ScatterElements(
            g.Expand(np.int64(0), self.rows), self.row, ones, axis=0, reduction="add"
        )

    def columns(self, g: Builder) -> Tensor:
        """The place of each piece among those of its text, int64 [m]."""
        starts = g.CumSum(self.counts(g), np.int64(0), exclusive=1)
        every = g.Range(0, g.Squeeze(g.Shape(self.row), [0]), 1)
        return g.Sub(every, g.Gather(starts, self.row))

    def positions(self, g: Builder) -> Tensor:
        """Text and place of each piece, int64 [m, 2]."""
        return g.Concat(g.Unsqueeze(self.row, [1]), g.Unsqueeze(self.columns(g), [1]), axis=1)

    def shape(self, g: Builder) -> Tensor:
        """The number of texts, and the most pieces that one has: int64 [2]."""
        widest = g.ReduceMax(g.Concat(self.counts(g), [0], axis=0), [0], keepdims=1)
        return g.Concat(self.rows, widest, axis=0)

    def joined(self, g: Builder, separator: str) -> Tensor:
        """The texts [n] that the pieces make with the separator between them."""
        before = g.Gather(np.array(["", separator], object), g.Min(self.columns(g), [1]))
        empty = g.Expand(np.array("", object), self.shape(g))
        matrix = g.ScatterND(empty, self.positions(g), g.StringConcat(before, self.text))
        return rows_joined(g, matrix, "")


def is_empty(g: Builder, texts: Tensor) -> Tensor:
    """Whether each text is empty."""
    return g.RegexFullMatch(texts, pattern="")


def rows_joined(g: Builder, matrix: Tensor, separator: str) -> Tensor:
    """The texts [n] that the rows of a matrix [n, m] make, with the separator between."""
    size = g.Shape(matrix)
    width = g.Gather(size, np.int64(1))
    if separator:
        first = g.Min(g.Range(0, width, 1), [1])
        before = g.Gather(np.array(["", separator], object), first)
        matrix = g.StringConcat(before, matrix)

    def one_more(inner: Builder, column: Tensor, going: Tensor, joined: Tensor) -> list[Tensor]:
        return [going, inner.StringConcat(joined, inner.Gather(matrix, column, axis=1))]

    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (DType.STRING, (None,))], one_more)
    empty = g.Expand(np.array("", object), g.Slice(size, [0], [1]))
    return g.Loop(width, True, empty, body=body)


def plain(op: Op, value: object, what: str) -> str:
    """A constant text.

    Raises:
        ConversionError: it is not UTF-8, which ONNX's strings are.
    """
    try:
        return value.decode() if isinstance(value, bytes) else str(value).encode().decode()
    except UnicodeError:
        op.refuse(f"its {what} is not UTF-8")


class SplitAtText:
    """Sparse pieces of texts (string_split_op.cc, SplitV2).

    Without a separator, runs of white space separate, and pieces are never empty.
    """

    ops = ("StringSplitV2",)

    def emit(self, g: Builder, op: Op, texts: Tensor, sep: Tensor) -> tuple[Tensor, ...]:
        separator = plain(op, op.constant(sep, "separator").item(), "separator")
        most = op.attr("maxsplit")
        pieces = Pieces.of(g, texts)
        if most == 0:
            return _sparse(g, pieces)
        if separator:
            return _sparse(g, pieces.cut(g, separator, most if most > 0 else None))
        if most > 0:
            op.refuse("ONNX cannot stop after some runs of white space")
        pieces = pieces.cut_at_each(g, WHITESPACE)
        return _sparse(g, pieces.kept(g, g.Not(is_empty(g, pieces.text))))


class SplitAtCharacters:
    """Sparse pieces of texts, between any of some characters (string_split_op.cc, Split)."""

    ops = ("StringSplit",)

    def emit(self, g: Builder, op: Op, texts: Tensor, delimiter: Tensor) -> tuple[Tensor, ...]:
        characters = plain(op, op.constant(delimiter, "delimiter").item(), "delimiter")
        if not characters or not characters.isascii():
            op.refuse("it takes texts apart byte by byte")
        pieces = Pieces.of(g, texts)
        if not op.attr("skip_empty"):
            # A text that is empty from the start has no pieces at all.
            pieces = pieces.kept(g, g.Not(is_empty(g, pieces.text)))
        pieces = pieces.cut_at_each(g, dict.fromkeys(characters))
        if op.attr("skip_empty"):
            pieces = pieces.kept(g, g.Not(is_empty(g, pieces.text)))
        return _sparse(g, pieces)


def _sparse(g: Builder, pieces: Pieces) -> tuple[Tensor, ...]:
    return pieces.positions(g), pieces.text, pieces.shape(g)


class Join:
    """Texts one after the other, a scalar beside each of a tensor's (string_join_op.cc)."""

    ops = ("StringJoin",)

    def emit(self, g: Builder, op: Op, *texts: Tensor) -> Tensor:
        if not texts:
            return g.constant("", DType.STRING)
        separator = plain(op, op.attr("separator"), "separator")
        joined = texts[0]
        for text in texts[1:]:
            joined = g.StringConcat(joined, separator) if separator else joined
            joined = g.StringConcat(joined, text)
        return joined


class ReduceJoin:
    """Texts joined along axes, of which the last one listed is the outermost (reduce_join_op.cc).

    No axes: the texts as they are.
    """

    ops = ("ReduceJoin",)

    def emit(self, g: Builder, op: Op, texts: Tensor, reduction_indices: Tensor) -> Tensor:
        axes = op.constant(reduction_indices, "axes").ravel().tolist()
        if not axes:
            return texts
        rank = op.rank(texts)
        if rank == 0:
            return texts
        axes = [axis % rank for axis in axes]
        kept = [axis for axis in range(rank) if axis not in axes]
        turned = g.Transpose(texts, perm=[*kept, *reversed(axes)])
        size = g.shape(texts)

        def product(of: list[int]) -> Tensor:
            return g.ReduceProd(g.Gather(size, np.array(of, np.int64)), keepdims=1)

        matrix = reshaped(g, turned, g.Concat(product(kept), product(axes), axis=0))
        joined = rows_joined(g, matrix, plain(op, op.attr("separator"), "separator"))
        if op.attr("keep_dims"):
            after = g.ScatterElements(size, np.array(axes), np.ones(len(axes), np.int64))
        else:
            after = g.Gather(size, np.array(kept, np.int64))
        return reshaped(g, joined, after)


class Strip:
    """Texts without white space around them (string_strip_op.cc).

    They are cut at all white space, and what is left is joined by what was cut away there.
    """

    ops = ("StringStrip",)

    def emit(self, g: Builder, op: Op, texts: Tensor) -> Tensor:
        if g.opset < 20 and g.extensions:
            return stripped(g, texts)
        pieces, behind = _with_separators(g, Pieces.of(g, texts), WHITESPACE)
        seen = g.cast(g.Not(is_empty(g, pieces.text)), DType.INT64)
        total = g.ScatterElements(
            g.Expand(np.int64(0), pieces.rows), pieces.row, seen, axis=0, reduction="add"
        )
        before = g.Gather(g.CumSum(total, np.int64(0), exclusive=1), pieces.row)
        so_far = g.Sub(g.CumSum(seen, np.int64(0)), before)
        going_on = g.Less(so_far, g.Gather(total, pieces.row))
        inner = g.And(g.Greater(so_far, 0), g.Or(going_on, g.Equal(seen, 1)))
        behind = g.Where(going_on, behind, np.array("", object))
        ended = Pieces(g.StringConcat(pieces.text, behind), pieces.row, pieces.rows)
        return reshaped(g, ended.kept(g, inner).joined(g, ""), g.shape(texts))


def _with_separators(g: Builder, pieces: Pieces, characters: str) -> tuple[Pieces, Tensor]:
    """Each piece cut wherever one of the characters is, and the character behind each part."""
    row, text = pieces.row, pieces.text
    behind = g.Expand(g.constant("", DType.STRING), g.Shape(text))
    for character in characters:
        parts = Pieces.of(g, text).cut(g, character)
        after = g.Concat(g.Slice(parts.row, [1], [2**62]), [-1], axis=0)
        after = g.Slice(after, [0], g.Shape(parts.row))
        last = g.Not(g.Equal(parts.row, after))
        behind = g.Where(last, g.Gather(behind, parts.row), np.array(character, object))
        row, text = g.Gather(row, parts.row), parts.text
    return Pieces(text, row, pieces.rows), behind


HANDLERS: tuple[Handler, ...] = (
    SplitAtText(),
    SplitAtCharacters(),
    Join(),
    ReduceJoin(),
    Strip(),
)
