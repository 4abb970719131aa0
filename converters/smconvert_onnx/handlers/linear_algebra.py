"""Linear algebra: products of matrices and vectors."""

from __future__ import annotations

from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import product, transposed


class MatMul:
    """A product of matrices; integers wrap (matmul_op_impl.h)."""

    ops = ("MatMul", "SparseMatMul")

    def emit(self, g: Builder, op: Op, a: Tensor, b: Tensor) -> Tensor:
        dtype = op.outputs[0].dtype
        if op.attr("transpose_a"):
            a = g.Transpose(a, perm=[1, 0])
        if op.attr("transpose_b"):
            b = g.Transpose(b, perm=[1, 0])
        return g.MatMul(g.cast(a, dtype), g.cast(b, dtype))


class BatchMatMul:
    """A product of matrices, batches broadcast; computed in the type of the result (V3)."""

    ops = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        dtype = op.outputs[0].dtype
        if op.attr("adj_x"):
            x = transposed(g, x)
        if op.attr("adj_y"):
            y = transposed(g, y)
        return product(g, g.cast(x, dtype), g.cast(y, dtype))


class Cross:
    """``a[1] b[2] - a[2] b[1]`` and so on around, along the last axis (cross_op.h)."""

    ops = ("Cross",)

    def emit(self, g: Builder, op: Op, a: Tensor, b: Tensor) -> Tensor:
        def turned(x: Tensor, order: list[int]) -> Tensor:
            return g.Gather(x, order, axis=-1)

        first, second = [1, 2, 0], [2, 0, 1]
        return g.Sub(
            g.Mul(turned(a, first), turned(b, second)), g.Mul(turned(a, second), turned(b, first))
        )


class TridiagonalMatMul:
    """Row by row: the three diagonals times the rows around (tridiagonal_matmul_op.cc)."""

    ops = ("TridiagonalMatMul",)

    def emit(
        self, g: Builder, op: Op, above: Tensor, main: Tensor, below: Tensor, x: Tensor
    ) -> Tensor:
        def column(diagonal: Tensor) -> Tensor:
            # Diagonals are [..., 1, n].
            return transposed(g, diagonal)

        row = g.Slice(g.Mul(x, 0), [0], [1], [-2])
        earlier = g.Concat(row, g.Slice(x, [0], [-1], [-2]), axis=-2)
        later = g.Concat(g.Slice(x, [1], [2**62], [-2]), row, axis=-2)
        sides = g.Add(g.Mul(column(below), earlier), g.Mul(column(above), later))
        return g.Add(g.Mul(column(main), x), sides)


HANDLERS: tuple[Handler, ...] = (MatMul(), BatchMatMul(), Cross(), TridiagonalMatMul())
