"""Diagonals and bands of matrices.

The diagonal ``k`` of a matrix holds the elements with ``column - row == k``. Several of them are
stored as rows of the same length, the highest first, each at the left or the right end of its row.
"""

from __future__ import annotations

from dataclasses import dataclass

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import (
    batch_shape,
    column_minus_row,
    reshaped,
    size,
    vector,
)


@dataclass(frozen=True)
class _Band:
    """The diagonals from ``lower`` to ``upper``, and at which end of their rows they are.

    All are int64 scalars; ``upper_at_left`` tells of the diagonals from 0 on, ``lower_at_left`` of
    those up to 0.
    """

    lower: Tensor
    upper: Tensor
    upper_at_left: bool = True
    lower_at_left: bool = True

    def is_single(self, g: Builder) -> Tensor:
        """Whether it is one diagonal, which has no axis of its own."""
        return g.Equal(self.lower, self.upper)

    def start(
        self, g: Builder, k: Tensor, rows: Tensor, columns: Tensor, longest: Tensor
    ) -> Tensor:
        """Where in its row the diagonal ``k`` starts."""
        length = _length(g, k, rows, columns)
        at_left = g.Or(
            g.And(g.Not(g.Less(k, 0)), g.constant(self.upper_at_left)),
            g.And(g.Not(g.Greater(k, 0)), g.constant(self.lower_at_left)),
        )
        return g.Where(at_left, 0, g.Sub(longest, length))


def _length(g: Builder, k: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return g.Min(g.Add(rows, g.Min(k, 0)), g.Sub(columns, g.Max(k, 0)))


def _band(g: Builder, op: Op, k: Tensor | None) -> _Band:
    """What ``k`` and the attribute ``align`` say; without ``k`` it is the main diagonal."""
    if k is None:
        return _Band(g.constant(0), g.constant(0))
    flat = g.Reshape(g.cast(k, DType.INT64), [-1])
    lower, upper = g.Gather(flat, 0), g.Gather(flat, -1)
    if not op.type.endswith("V3"):
        return _Band(lower, upper)
    superdiagonals, _, subdiagonals = str(op.attr("align")).partition("_")
    return _Band(lower, upper, superdiagonals == "LEFT", subdiagonals == "LEFT")


class MatrixBandPart:
    """Zero but for ``row - column <= num_lower`` and ``column - row <= num_upper``, where these
    are not negative (matrix_band_part_op.cc)."""

    ops = ("MatrixBandPart",)

    def emit(self, g: Builder, op: Op, x: Tensor, below: Tensor, above: Tensor) -> Tensor:
        k = column_minus_row(g, size(g, x, -2), size(g, x, -1))
        lower, upper = (g.cast(n, DType.INT64) for n in (below, above))
        inside = g.And(
            g.Or(g.Less(lower, 0), g.Not(g.Greater(g.Neg(k), lower))),
            g.Or(g.Less(upper, 0), g.Not(g.Greater(k, upper))),
        )
        return g.Where(inside, x, g.cast(g.constant(False), x.dtype))


def _embedded(
    g: Builder, band: _Band, diagonals: Tensor, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Matrices with the diagonals where they belong, and where that is (matrix_diag_op.cc)."""
    longest = size(g, diagonals, -1)
    count = g.Add(g.Sub(band.upper, band.lower), 1)
    k = column_minus_row(g, rows, columns)
    inside = g.And(g.Not(g.Less(k, band.lower)), g.Not(g.Greater(k, band.upper)))
    column = g.Range(0, columns, 1)
    place = g.Sub(column, g.Max(k, 0))
    place = g.Add(place, band.start(g, k, rows, columns, longest))
    index = g.Add(g.Mul(g.Sub(band.upper, k), longest), place)
    # One more element at the end is for what lies outside, even where there are no diagonals.
    whole = g.Mul(count, longest)
    drop = g.Where(band.is_single(g), 1, 2)
    batch = g.Slice(g.shape(diagonals), [0], g.Reshape(g.Neg(drop), [1]))
    flat = reshaped(g, diagonals, g.Concat(batch, vector(g, whole), axis=0))
    zero = g.cast(g.constant(False), diagonals.dtype)
    flat = g.Concat(flat, g.Expand(zero, g.Concat(batch, [1], axis=0)), axis=-1)
    return g.Gather(flat, g.Where(inside, index, whole), axis=-1), inside


class MatrixDiag:
    """A matrix of its diagonals, and ``padding_value`` elsewhere (matrix_diag_op.cc)."""

    ops = ("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3")

    def emit(
        self,
        g: Builder,
        op: Op,
        diagonals: Tensor,
        k: Tensor | None = None,
        num_rows: Tensor | None = None,
        num_cols: Tensor | None = None,
        padding: Tensor | None = None,
    ) -> Tensor:
        band = _band(g, op, k)
        rows, columns = self._sizes(g, band, size(g, diagonals, -1), num_rows, num_cols)
        made, inside = _embedded(g, band, diagonals, rows, columns)
        return made if padding is None else g.Where(inside, made, padding)

    def _sizes(
        self,
        g: Builder,
        band: _Band,
        longest: Tensor,
        num_rows: Tensor | None,
        num_cols: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Rows and columns: what is -1 is as small as it can be, or both are equal."""
        if num_rows is None or num_cols is None:
            return longest, longest
        rows = g.Sub(longest, g.Min(band.upper, 0))
        columns = g.Add(longest, g.Max(band.lower, 0))
        # At unknown rank these scalars may come as vectors of one element.
        wanted = [
            g.Reshape(g.cast(n, DType.INT64), g.constant([], DType.INT64))
            for n in (num_rows, num_cols)
        ]
        neither = g.And(*(g.Equal(n, -1) for n in wanted))
        square = g.Max(rows, columns)
        return (
            g.Where(neither, square, g.Where(g.Equal(wanted[0], -1), rows, wanted[0])),
            g.Where(neither, square, g.Where(g.Equal(wanted[1], -1), columns, wanted[1])),
        )


class MatrixDiagPart:
    """The diagonals of a matrix, with ``padding_value`` beside those that are shorter than the
    longest (matrix_diag_op.cc)."""

    ops = ("MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3")

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        k: Tensor | None = None,
        padding: Tensor | None = None,
    ) -> Tensor:
        band = _band(g, op, k)
        rows, columns = size(g, x, -2), size(g, x, -1)
        longest = g.Min(g.Add(rows, g.Min(band.upper, 0)), g.Sub(columns, g.Max(band.lower, 0)))
        each = g.Unsqueeze(g.Range(band.upper, g.Sub(band.lower, 1), -1), [1])
        place = g.Sub(g.Range(0, longest, 1), band.start(g, each, rows, columns, longest))
        inside = g.And(g.Not(g.Less(place, 0)), g.Less(place, _length(g, each, rows, columns)))
        row, column = g.Sub(place, g.Min(each, 0)), g.Add(place, g.Max(each, 0))
        index = g.Where(inside, g.Add(g.Mul(row, columns), column), 0)
        # A single diagonal has no axis of its own.
        count = g.Add(g.Sub(band.upper, band.lower), 1)
        few = g.Slice(
            vector(g, count, longest), g.Reshape(g.cast(band.is_single(g), DType.INT64), [1]), [2]
        )
        flat = reshaped(g, x, g.Concat(batch_shape(g, x), vector(g, g.Mul(rows, columns)), axis=0))
        taken = g.Gather(flat, reshaped(g, index, few), axis=-1)
        return taken if padding is None else g.Where(reshaped(g, inside, few), taken, padding)


class MatrixSetDiag:
    """A matrix with other diagonals (matrix_set_diag_op.cc)."""

    ops = ("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")

    def emit(
        self, g: Builder, op: Op, x: Tensor, diagonals: Tensor, k: Tensor | None = None
    ) -> Tensor:
        band = _band(g, op, k)
        made, inside = _embedded(g, band, diagonals, size(g, x, -2), size(g, x, -1))
        return g.Where(inside, made, x)


class Diag:
    """Elements as the diagonal of a tensor of twice the rank (diag_op.cc)."""

    ops = ("Diag",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        flat, shape = g.Reshape(x, [-1]), g.shape(x)
        count = size(g, flat, 0)
        zero = g.cast(g.constant(False), x.dtype)
        made = g.Where(g.Equal(column_minus_row(g, count, count), 0), flat, zero)
        return reshaped(g, made, g.Concat(shape, shape, axis=0))


class DiagPart:
    """The diagonal of a tensor, whose axes are twice the same (diag_op.cc)."""

    ops = ("DiagPart",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        shape = g.shape(x)
        half = g.Slice(shape, [0], g.Div(g.shape(shape), 2))
        count = g.ReduceProd(half, keepdims=0)
        index = g.Mul(g.Range(0, count, 1), g.Add(count, 1))
        return reshaped(g, g.Gather(g.Reshape(x, [-1]), index), half)


HANDLERS: tuple[Handler, ...] = (
    MatrixBandPart(),
    MatrixDiag(),
    MatrixDiagPart(),
    MatrixSetDiag(),
    Diag(),
    DiagPart(),
)
