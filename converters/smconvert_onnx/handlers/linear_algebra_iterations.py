"""Decompositions and functions of matrices that iterate until they converge, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.linear_algebra_solvers import identity, solved, unstacked
from smconvert_onnx.handlers.matrices import (
    batch_shape,
    broadcast,
    column_minus_row,
    reshaped,
    size,
    stacked,
    transposed,
    vector,
)

_SWEEPS = 30


def _double(g: Builder, op: Op, x: Tensor) -> Tensor:
    """The matrices along one axis, as float64."""
    if g.opset < 14 and 0 in (x.shape or ())[-2:]:
        op.refuse("empty matrices take a Reshape of opset 14", "--opset 14")
    return g.cast(stacked(g, x), DType.FLOAT64)


def _turned(g: Builder, x: Tensor) -> Tensor:
    """The transposes of [batch, rows, columns]."""
    return g.Transpose(x, perm=[0, 2, 1])


def _while(
    g: Builder,
    count: Tensor,
    start: Tensor,
    going: Callable[[Builder, Tensor], Tensor],
    step: Callable[[Builder, Tensor, Tensor], Tensor],
) -> Tensor:
    """``step`` again and again, at most ``count`` times, while ``going`` of any element."""

    def left(g: Builder, state: Tensor) -> Tensor:
        some = g.cast(going(g, state), DType.INT64)
        return g.Greater(g.ReduceSum(some, keepdims=0), 0)

    def write(g: Builder, k: Tensor, _going: Tensor, state: Tensor) -> Sequence[Tensor]:
        made = step(g, k, state)
        return [left(g, made), made]

    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (start.dtype, None)], write)
    made: Tensor = g.Loop(count, left(g, start), start, body=body)
    return made


def _rotation(g: Builder, x: Tensor, k: Tensor) -> Tensor:
    """Jacobi's rotations of disjoint pairs of axes of symmetric matrices, as matrices.

    In round ``k`` the axes ``i`` and ``(k - i) mod n`` are a pair, so each pair is once in ``n``
    rounds (Luk and Park, "On parallel Jacobi orderings", 1989). Both axes see the same angle, with
    opposite signs.
    """
    n = size(g, x, 2)
    axes = g.Range(0, n, 1)
    other = g.Mod(g.Sub(k, axes), n)
    unit = g.Squeeze(identity(g, x), [0])
    pairs = g.Gather(unit, other, axis=0)
    diagonal = g.ReduceSum(g.Mul(x, unit), [2], keepdims=0)
    beside = g.ReduceSum(g.Mul(x, pairs), [2], keepdims=0)
    apart = g.Sub(g.Gather(diagonal, other, axis=1), diagonal)
    still = g.Or(g.Equal(beside, 0), g.Equal(axes, other))
    ratio = g.Div(apart, g.Where(still, 1, g.Mul(beside, 2)))
    first = g.And(g.Equal(ratio, 0), g.Less(axes, other))
    positive = g.Or(g.Greater(ratio, 0), first)
    tangent = g.Div(1, g.Add(g.Abs(ratio), g.Sqrt(g.Add(g.Mul(ratio, ratio), 1))))
    tangent = g.Where(still, 0, g.Where(positive, tangent, g.Neg(tangent)))
    cosine = g.Div(1, g.Sqrt(g.Add(g.Mul(tangent, tangent), 1)))
    sine = g.Mul(tangent, cosine)
    return g.Add(g.Mul(g.Unsqueeze(cosine, [2]), unit), g.Mul(g.Unsqueeze(sine, [2]), pairs))


def _off_diagonal(g: Builder, x: Tensor) -> Tensor:
    n = size(g, x, 2)
    return g.Where(g.Equal(column_minus_row(g, n, n), 0), 0, g.Abs(x))


def _sorted(g: Builder, values: Tensor, count: Tensor, *, largest: bool) -> Tensor:
    found, _ = g.TopK(values, g.Reshape(count, [1]), largest=int(largest), outputs=2)
    made: Tensor = found
    return made


class SelfAdjointEig:
    """The eigenvalues of the lower triangles, from the least on, by Jacobi's rotations
    (self_adjoint_eig_v2_op_impl.h).

    The signs of the vectors come from another method there, and nothing says them.
    """

    ops = ("SelfAdjointEigV2",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
        if op.attr("compute_v"):
            op.refuse(
                "the signs of its vectors are those of Eigen's own method",
                "use the eigenvalues alone: tf.linalg.eigvalsh; or convert to a SavedModel",
            )
        flat = _double(g, op, x)
        n = size(g, flat, 2)
        place = column_minus_row(g, n, n)
        lower = g.Where(g.Greater(place, 0), 0, flat)
        whole = g.Add(lower, g.Where(g.Equal(place, 0), 0, _turned(g, lower)))

        def going(g: Builder, x: Tensor) -> Tensor:
            scale = g.ReduceSum(g.Abs(x), [1, 2], keepdims=1)
            return g.Greater(_off_diagonal(g, x), g.Mul(scale, 2.0**-54))

        def step(g: Builder, k: Tensor, x: Tensor) -> Tensor:
            turn = _rotation(g, x, k)
            made: Tensor = g.MatMul(g.MatMul(_turned(g, turn), x), turn)
            return made

        made = _while(g, g.Mul(n, _SWEEPS), whole, going, step)
        diagonal = g.Where(g.Equal(place, 0), made, 0)
        values = _sorted(g, g.ReduceSum(diagonal, [2], keepdims=0), n, largest=False)
        shape = g.Slice(g.shape(x), [0], [-1])
        return reshaped(g, g.cast(values, x.dtype), shape), g.Expand(g.constant(0, x.dtype), [0])


class Svd:
    """The singular values, from the largest on, by Hestenes's rotations of the columns
    (svd_op_impl.h)."""

    ops = ("Svd",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> tuple[Tensor, ...]:
        if op.attr("compute_uv"):
            op.refuse(
                "the signs of its vectors are those of Eigen's own method",
                "use the singular values alone: compute_uv=False; or convert to a SavedModel",
            )
        flat = _double(g, op, x)
        m, n = size(g, flat, 1), size(g, flat, 2)

        def products(g: Builder, x: Tensor) -> Tensor:
            made: Tensor = g.MatMul(_turned(g, x), x)
            return made

        def going(g: Builder, x: Tensor) -> Tensor:
            inner = products(g, x)
            norms = g.Sqrt(g.ReduceSum(g.Mul(x, x), [1], keepdims=1))
            beside = _off_diagonal(g, inner)
            scale = g.Mul(g.Mul(norms, _turned(g, norms)), 2.0**-48)
            # Columns that are only what rounding has left of them have no angle.
            least = g.Mul(g.ReduceSum(g.Mul(x, x), [1, 2], keepdims=1), 2.0**-102)
            return g.Greater(beside, g.Add(scale, least))

        def step(g: Builder, k: Tensor, x: Tensor) -> Tensor:
            made: Tensor = g.MatMul(x, _rotation(g, products(g, x), k))
            return made

        made = _while(g, g.Mul(n, _SWEEPS), flat, going, step)
        norms = g.Sqrt(g.ReduceSum(g.Mul(made, made), [1], keepdims=0))
        least = g.Min(m, n)
        values = g.cast(_sorted(g, norms, least, largest=True), x.dtype)
        shape = g.Concat(batch_shape(g, x), g.Reshape(least, [1]), axis=0)
        nothing = g.Expand(g.constant(0, x.dtype), [0])
        return reshaped(g, values, shape), nothing, nothing


class MatrixExponential:
    """Taylor's series of a matrix that was halved until it is small, and squared as often
    (Higham, "Functions of Matrices", 10.3)."""

    ops = ("MatrixExponential",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        flat = _double(g, op, x)
        n = size(g, flat, 2)
        norm = g.ReduceSum(g.Abs(flat), [1, 2], keepdims=1)
        halvings = g.Max(g.Ceil(g.Div(g.Log(g.Mul(norm, 4)), math.log(2))), 0)
        halvings = g.Where(g.Less(halvings, 1100), halvings, 0)
        small = g.Div(flat, g.Pow(g.Add(g.Mul(halvings, 0), 2), halvings))
        unit = identity(g, flat)
        total = g.Mul(g.Expand(unit, vector(g, size(g, flat, 0), n, n)), 1 / math.factorial(15))
        for k in range(14, -1, -1):
            # ONNX Runtime 1.31 fuses a product and a factor after it, which becomes a float32.
            total = g.Add(g.MatMul(small, total), g.Mul(unit, 1 / math.factorial(k)))
        steps = g.Concat(g.Reshape(halvings, [-1]), g.constant([0], DType.FLOAT64), axis=0)
        count = g.cast(g.ReduceMax(steps, keepdims=0), DType.INT64)

        def write(g: Builder, k: Tensor, going: Tensor, x: Tensor) -> Sequence[Tensor]:
            more = g.Less(g.cast(k, DType.FLOAT64), halvings)
            return [g.Identity(going), g.Where(more, g.MatMul(x, x), x)]

        body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (DType.FLOAT64, None)], write)
        made = g.Loop(count, g.constant(True), total, body=body)
        return g.cast(unstacked(g, made, x), x.dtype)


class MatrixSolveLs:
    """``fast``: the normal equations, of columns or, where there are more of them, of rows
    (matrix_solve_ls_op_impl.h)."""

    ops = ("MatrixSolveLs",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        if not op.attr("fast"):
            op.refuse("without fast it is a decomposition that finds the rank", "use fast=True")
        rows, columns = x.shape[-2:] if x.shape is not None else (None, None)
        if not isinstance(rows, int) or not isinstance(columns, int):
            op.refuse("the size of its matrices is unknown", "give the input a shape: --inputs")
        left, right = _double(g, op, x), _double(g, op, y)
        turned = _turned(g, left)
        added = g.Mul(identity(g, left if rows >= columns else turned), weight)
        if 0 in {rows, columns}:
            shape = vector(g, size(g, left, 0), columns, size(g, right, 2))
            made = g.Expand(g.constant(0, DType.FLOAT64), shape)
        elif rows >= columns:
            made = solved(g, g.Add(g.MatMul(turned, left), added), g.MatMul(turned, right))
        else:
            made = g.MatMul(turned, solved(g, g.Add(g.MatMul(left, turned), added), right))
        return g.cast(unstacked(g, made, y), x.dtype)


class CholeskyGrad:
    """Of ``l`` and its gradient, that of the matrix, made symmetric (Murray, "Differentiation of
    the Cholesky decomposition", arXiv 1602.07527, equation 10; cholesky_grad.cc)."""

    ops = ("CholeskyGrad",)

    def emit(self, g: Builder, op: Op, given: Tensor, gradient: Tensor) -> Tensor:
        flat, change = _double(g, op, given), _double(g, op, gradient)
        n = size(g, flat, 2)
        place = column_minus_row(g, n, n)
        above, diagonal = g.Greater(place, 0), g.Equal(place, 0)
        lower = g.Where(above, 0, flat)
        turned = _turned(g, lower)
        inner = g.MatMul(turned, g.Where(above, 0, change))
        inner = g.Where(above, 0, g.Where(diagonal, g.Mul(inner, 0.5), inner))
        made = solved(g, turned, _turned(g, solved(g, turned, inner)))
        made = g.Mul(g.Add(made, _turned(g, made)), 0.5)
        return g.cast(unstacked(g, made, given), given.dtype)


class BandedTriangularSolve:
    """Elimination in the whole matrix of the bands (banded_triangular_solve_op.cc).

    The bands are rows, of which the columns are those of the matrix's rows: the diagonal is the
    first of a lower triangle, and the last of an upper one.
    """

    ops = ("BandedTriangularSolve",)

    def emit(self, g: Builder, op: Op, bands: Tensor, y: Tensor) -> Tensor:
        known = bands.shape[-2] if bands.shape is not None else None
        if not isinstance(known, int):
            op.refuse("the number of its bands is unknown", "give the input a shape: --inputs")
        n = size(g, bands, -1)
        place = column_minus_row(g, n, n)
        whole = None
        for number in range(known):
            offset = -number if op.attr("lower") else known - 1 - number
            column = transposed(g, g.Gather(bands, [number], axis=-2))
            band = g.Where(g.Equal(place, offset), column, g.constant(0, bands.dtype))
            whole = band if whole is None else g.Add(whole, band)
        if whole is None:
            op.refuse("it has no bands")
        if op.attr("adjoint"):
            whole = transposed(g, whole)
        batch = broadcast(g, batch_shape(g, bands), batch_shape(g, y))
        m = size(g, y, -1)
        shape = g.Concat(batch, vector(g, n, m), axis=0)
        whole = g.Expand(whole, g.Concat(batch, vector(g, n, n), axis=0))
        right = g.Expand(y, shape)
        count = g.Reshape(g.ReduceProd(batch, keepdims=0), [1])
        flat, given = (
            reshaped(g, part, g.Concat(count, vector(g, n, width), axis=0))
            for part, width in ((whole, n), (right, m))
        )
        wide = (g.cast(flat, DType.FLOAT64), g.cast(given, DType.FLOAT64))
        return reshaped(g, g.cast(solved(g, *wide), y.dtype), shape)


HANDLERS: tuple[Handler, ...] = (
    SelfAdjointEig(),
    Svd(),
    MatrixExponential(),
    MatrixSolveLs(),
    CholeskyGrad(),
    BandedTriangularSolve(),
)
