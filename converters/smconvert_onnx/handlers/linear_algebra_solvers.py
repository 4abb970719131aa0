"""Systems of linear equations, column by column in loops.

Where TensorFlow raises for a matrix that has no inverse, the results here are not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
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

Step = Callable[..., Sequence[Tensor]]


def loop(g: Builder, count: Tensor, states: Sequence[Tensor], step: Step) -> tuple[Tensor, ...]:
    """The states after ``step(builder, k, *states)`` for each ``k`` below ``count``."""

    def write(inner: Builder, k: Tensor, going: Tensor, *held: Tensor) -> list[Tensor]:
        return [inner.Identity(going), *step(inner, k, *held)]

    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), *((s.dtype, None) for s in states)], write)
    made = g.Loop(count, g.constant(True), *states, body=body, outputs=len(states))
    return made if isinstance(made, tuple) else (made,)


def _one(g: Builder, dtype: DType) -> Tensor:
    return g.constant(1, dtype)


def identity(g: Builder, x: Tensor) -> Tensor:
    """Unit matrices of the size of ``x``, [1, n, n]."""
    n = size(g, x, -1)
    return g.Unsqueeze(g.cast(g.Equal(column_minus_row(g, n, n), 0), x.dtype), [0])


def _along(g: Builder, count: Tensor, axes: Sequence[int]) -> Tensor:
    """0, 1, 2, ... along one axis among others of size 1."""
    return g.Unsqueeze(g.Range(0, count, 1), axes)


def _eliminated(g: Builder, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gauss and Jordan's elimination with partial pivoting, of [batch, n, n or more] matrices.

    Gives the matrices, whose first ``n`` columns have become the identity, the signs of the
    permutations, and the determinants in two forms: as products, and as sums of logarithms.
    """
    n, batch = size(g, x, 1), size(g, x, 0)
    ones = g.Expand(_one(g, x.dtype), vector(g, batch))
    zeros = g.Expand(g.constant(0, x.dtype), vector(g, batch))
    rows = g.Range(0, n, 1)

    def step(
        g: Builder, k: Tensor, x: Tensor, sign: Tensor, whole: Tensor, logs: Tensor
    ) -> list[Tensor]:
        column = g.Gather(x, k, axis=2)
        below = g.Where(g.Less(rows, k), g.constant(-1, x.dtype), g.Abs(column))
        place = g.ArgMax(below, axis=1, keepdims=1)
        chosen = g.Unsqueeze(g.GatherND(x, place, batch_dims=1), [1])
        at_k = g.Unsqueeze(g.Equal(rows, k), [1])
        at_place = g.Unsqueeze(g.Equal(rows, place), [2])
        other = g.Gather(x, g.Reshape(k, [1]), axis=1)
        swapped = g.Where(at_k, chosen, g.Where(at_place, other, x))
        pivot = g.Gather(chosen, g.Reshape(k, [1]), axis=2)
        flat = g.Squeeze(pivot, [1, 2])
        scaled = g.Div(chosen, pivot)
        factors = g.Gather(swapped, g.Reshape(k, [1]), axis=2)
        made = g.Where(at_k, scaled, g.Sub(swapped, g.Mul(factors, scaled)))
        # A matrix without an inverse still has a determinant, 0.
        made = g.Where(g.Equal(pivot, 0), swapped, made)
        negative = g.cast(g.Not(g.Equal(g.Squeeze(place, [1]), k)), x.dtype)
        sign = g.Mul(g.Mul(sign, g.Sub(1, g.Mul(negative, 2))), g.Sign(flat))
        return [made, sign, g.Mul(whole, g.Abs(flat)), g.Add(logs, g.Log(g.Abs(flat)))]

    made = loop(g, n, (x, ones, ones, zeros), step)
    return made[0], made[1], made[2], made[3]


def solved(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The solution of ``x z = y``, all [batch, ..., ...]."""
    n = size(g, x, 1)
    made = _eliminated(g, g.Concat(x, y, axis=2))[0]
    return g.Slice(made, g.Reshape(n, [1]), [2**62], [2])


def unstacked(g: Builder, made: Tensor, like: Tensor) -> Tensor:
    """With the batch of ``like``, from [batch, ..., ...]."""
    shape = g.Concat(batch_shape(g, like), vector(g, size(g, made, 1), size(g, made, 2)), axis=0)
    return reshaped(g, made, shape)


class MatrixInverse:
    """The inverse, or that of the transpose (matrix_inverse_op.cc)."""

    ops = ("MatrixInverse",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        if x.dtype is DType.FLOAT16:
            return g.cast(self.emit(g, op, g.cast(x, DType.FLOAT32)), DType.FLOAT16)
        flat = stacked(g, transposed(g, x) if op.attr("adjoint") else x)
        shape = g.Shape(flat)
        return unstacked(g, solved(g, flat, g.Expand(identity(g, flat), shape)), x)


class MatrixSolve:
    """The solution for one or more right sides (matrix_solve_op.cc)."""

    ops = ("MatrixSolve",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        if op.attr("adjoint"):
            x = transposed(g, x)
        return unstacked(g, solved(g, stacked(g, x), stacked(g, y)), y)


class MatrixDeterminant:
    """The product of the pivots (determinant_op.cc)."""

    ops = ("MatrixDeterminant",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        _, sign, whole, _ = _eliminated(g, stacked(g, x))
        return reshaped(g, g.Mul(sign, whole), batch_shape(g, x))


class LogMatrixDeterminant:
    """The sign, and the sum of the logarithms of the pivots (determinant_op.cc)."""

    ops = ("LogMatrixDeterminant",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
        _, sign, _, logs = _eliminated(g, stacked(g, x))
        shape = batch_shape(g, x)
        return reshaped(g, sign, shape), reshaped(g, logs, shape)


class Cholesky:
    """The lower triangle ``l`` with ``l l* = x``, of the lower triangle of ``x``
    (cholesky_op.cc)."""

    ops = ("Cholesky",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        flat = stacked(g, x)
        n = size(g, flat, 1)
        rows = _along(g, n, [1])

        def step(g: Builder, k: Tensor, x: Tensor, made: Tensor) -> list[Tensor]:
            at = g.Reshape(k, [1])
            column = g.Gather(x, at, axis=2)
            root = g.Sqrt(g.Gather(column, at, axis=1))
            column = g.Where(g.Less(rows, k), g.constant(0, x.dtype), g.Div(column, root))
            left = g.Sub(x, g.Mul(column, g.Transpose(column, perm=[0, 2, 1])))
            here = g.Equal(g.Range(0, n, 1), k)
            return [left, g.Where(here, column, made)]

        made = loop(g, n, (flat, g.Mul(flat, 0)), step)[1]
        return unstacked(g, made, x)


class MatrixTriangularSolve:
    """Substitution, row after row; the batches broadcast (matrix_triangular_solve_op_impl.h)."""

    ops = ("MatrixTriangularSolve",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        forward = bool(op.attr("lower"))
        if op.attr("adjoint"):
            x, forward = transposed(g, x), not forward
        n = size(g, x, -1)
        last = g.Sub(n, 1)
        rows = _along(g, n, [1])

        def step(g: Builder, k: Tensor, left: Tensor, made: Tensor) -> list[Tensor]:
            row = k if forward else g.Sub(last, k)
            at = g.Reshape(row, [1])
            column = g.Gather(x, at, axis=-1)
            found = g.Div(g.Gather(left, at, axis=-2), g.Gather(column, at, axis=-2))
            ahead = g.Greater(rows, row) if forward else g.Less(rows, row)
            factors = g.Where(ahead, column, g.constant(0, x.dtype))
            made = g.Where(g.Equal(rows, row), found, made)
            return [g.Sub(left, g.Mul(factors, found)), made]

        batch = broadcast(g, batch_shape(g, x), batch_shape(g, y))
        shape = g.Concat(batch, vector(g, n, size(g, y, -1)), axis=0)
        zeros = g.Expand(g.constant(0, x.dtype), shape)
        return loop(g, n, (g.Expand(y, shape), zeros), step)[1]


class TridiagonalSolve:
    """Elimination in the whole matrix of the three diagonals (tridiagonal_solve_op.cc)."""

    ops = ("TridiagonalSolve",)

    def emit(self, g: Builder, op: Op, diagonals: Tensor, y: Tensor) -> Tensor:
        if op.attr("perturb_singular"):
            op.refuse("it changes a matrix that has no inverse")
        flat, right = stacked(g, diagonals), stacked(g, y)
        n = size(g, flat, 2)
        k = column_minus_row(g, n, n)

        def placed(number: int, offset: int) -> Tensor:
            row = g.Transpose(g.Gather(flat, [number], axis=1), perm=[0, 2, 1])
            return g.Where(g.Equal(k, offset), row, g.constant(0, flat.dtype))

        whole = g.Add(g.Add(placed(0, 1), placed(1, 0)), placed(2, -1))
        return unstacked(g, solved(g, whole, right), y)


class Lu:
    """Both triangles in one matrix, and the permutation of the rows (lu_op.cc)."""

    ops = ("Lu",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = stacked(g, x)
        n, batch = size(g, flat, 1), size(g, flat, 0)
        rows = g.Range(0, n, 1)
        order = g.Expand(rows, vector(g, batch, n))

        def step(g: Builder, k: Tensor, x: Tensor, order: Tensor) -> list[Tensor]:
            at = g.Reshape(k, [1])
            column = g.Gather(x, k, axis=2)
            below = g.Where(g.Less(rows, k), g.constant(-1, x.dtype), g.Abs(column))
            place = g.ArgMax(below, axis=1, keepdims=1)
            chosen = g.Unsqueeze(g.GatherND(x, place, batch_dims=1), [1])
            at_k, at_place = g.Equal(rows, k), g.Equal(rows, place)
            swapped = g.Where(
                g.Unsqueeze(at_k, [1]),
                chosen,
                g.Where(g.Unsqueeze(at_place, [2]), g.Gather(x, at, axis=1), x),
            )
            first = g.GatherElements(order, place, axis=1)
            order = g.Where(at_k, first, g.Where(at_place, g.Gather(order, at, axis=1), order))
            factors = g.Div(g.Gather(swapped, at, axis=2), g.Gather(chosen, at, axis=2))
            after = g.Greater(rows, k)
            down, right = g.Unsqueeze(after, [1]), after
            left = g.Where(g.And(down, right), g.Sub(swapped, g.Mul(factors, chosen)), swapped)
            return [g.Where(g.And(down, at_k), factors, left), order]

        made, order = loop(g, n, (flat, order), step)
        shape = g.Slice(g.shape(x), [0], [-1])
        order = g.cast(reshaped(g, order, shape), op.outputs[1].dtype)
        return unstacked(g, made, x), order


class Qr:
    """Householder's reflections, with the signs that Eigen gives them (qr_op_impl.h)."""

    ops = ("Qr",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.dtype is DType.FLOAT16:
            op.refuse("ONNX Runtime has no kernels for float16 in a loop")
        flat = stacked(g, x)
        m, n = size(g, flat, 1), size(g, flat, 2)
        least = g.Min(m, n)
        rows = _along(g, m, [1])
        unit = g.Unsqueeze(g.cast(g.Equal(column_minus_row(g, m, m), 0), x.dtype), [0])
        q = g.Expand(unit, vector(g, size(g, flat, 0), m, m))

        def step(g: Builder, k: Tensor, q: Tensor, r: Tensor) -> list[Tensor]:
            at = g.Reshape(k, [1])
            column = g.Gather(r, at, axis=2)
            head = g.Gather(column, at, axis=1)
            zero = g.constant(0, x.dtype)
            tail = g.Where(g.Greater(rows, k), column, zero)
            rest = g.ReduceSum(g.Mul(tail, tail), [1], keepdims=1)
            flat_tail = g.Equal(rest, 0)
            norm = g.Sqrt(g.Add(g.Mul(head, head), rest))
            beta = g.Where(g.Less(head, 0), norm, g.Neg(norm))
            beta = g.Where(flat_tail, head, beta)
            ratio = g.Where(flat_tail, g.constant(1, x.dtype), g.Sub(head, beta))
            v = g.Where(g.Equal(rows, k), g.constant(1, x.dtype), g.Div(tail, ratio))
            tau = g.Where(flat_tail, zero, g.Div(g.Sub(beta, head), beta))
            turned = g.Transpose(v, perm=[0, 2, 1])
            r = g.Sub(r, g.Mul(g.Mul(tau, v), g.ReduceSum(g.Mul(v, r), [1], keepdims=1)))
            q = g.Sub(q, g.Mul(g.ReduceSum(g.Mul(q, turned), [2], keepdims=1), g.Mul(tau, turned)))
            return [q, r]

        q, r = loop(g, least, (q, flat), step)
        # What is below the diagonal is zero but for rounding.
        r = g.Where(g.Less(column_minus_row(g, m, n), 0), g.constant(0, x.dtype), r)
        if not op.attr("full_matrices"):
            q, r = (
                g.Slice(part, [0], g.Reshape(least, [1]), [axis]) for part, axis in ((q, 2), (r, 1))
            )
        return unstacked(g, q, x), unstacked(g, r, x)


HANDLERS: tuple[Handler, ...] = (
    MatrixInverse(),
    MatrixSolve(),
    MatrixDeterminant(),
    LogMatrixDeterminant(),
    Cholesky(),
    MatrixTriangularSolve(),
    TridiagonalSolve(),
    Lu(),
    Qr(),
)
