"""Gradients of making images larger and smaller: the same weights, the other way round."""

from __future__ import annotations

from dataclasses import replace

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.folding import dimension, element, folded
from smconvert_onnx.handlers.images import (
    COLUMNS,
    ROWS,
    Grid,
    cubic_of,
    linear_of,
    nearest_of,
)
from smconvert_onnx.handlers.images_kernels import kernel_of, spans_of
from smconvert_onnx.handlers.pixels import counted

FLOAT, INT64 = DType.FLOAT32, DType.INT64
_TURN = [0, 3, 1, 2]


def _spread(g: Builder, index: Tensor, weight: Tensor, source: Tensor) -> Tensor:
    """The matrix [result, image] of weights that are given for some pixels [result, taps]."""
    columns = counted(g, source, INT64)
    here = g.Equal(g.Unsqueeze(index, [2]), columns)
    weights = g.Where(here, g.Unsqueeze(weight, [2]), 0)
    matrix: Tensor = g.ReduceSum(weights, [1], keepdims=0)
    return matrix


def _back(g: Builder, gradients: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Gradients [N, h, w, C] of the result as those of the image, by the matrices of weights."""
    # ONNX Runtime joins other orders to the products, which then fail for an empty batch.
    x = gradients
    for matrix in (columns, rows):
        x = g.MatMul(g.Transpose(x, perm=_TURN), matrix)
    return g.Transpose(x, perm=_TURN)


class ResizeGradient:
    """Each gradient goes to the pixels that its pixel came from, by their weights
    (resize_bilinear_op.cc, resize_bicubic_op.cc, resize_nearest_neighbor_op.cc)."""

    ops = ("ResizeBilinearGrad", "ResizeBicubicGrad", "ResizeNearestNeighborGrad")

    def emit(self, g: Builder, op: Op, gradients: Tensor, image: Tensor) -> Tensor:
        matrices: list[Tensor] = []
        for axis in (ROWS, COLUMNS):
            target = dimension(g, gradients, axis)
            if op.type == "ResizeNearestNeighborGrad":
                source = g.cast(element(g, image, axis - 1), INT64)
            else:
                source = dimension(g, image, axis)
            corners, centers = op.attr("align_corners"), op.attr("half_pixel_centers")
            grid = Grid(axis, source, target, bool(corners), bool(centers))
            matrices += folded(g, _Matrix(op.type, grid), source, target)
        if op.type == "ResizeNearestNeighborGrad":
            return _back(g, gradients, *(g.cast(m, gradients.dtype) for m in matrices))
        return g.cast(_back(g, gradients, *matrices), image.dtype)


class _Matrix:
    """Writes the weights of one axis as a matrix."""

    def __init__(self, kind: str, grid: Grid) -> None:
        self._kind = kind
        self._grid = grid

    def __call__(self, g: Builder, source: Tensor, target: Tensor) -> tuple[Tensor]:
        grid = replace(self._grid, source=source, target=target)
        if self._kind == "ResizeBicubicGrad":
            index, weight = cubic_of(grid)(g, source, target)
        elif self._kind == "ResizeBilinearGrad":
            low, high, share = linear_of(grid)(g, source, target)
            index = g.Concat(g.Unsqueeze(low, [1]), g.Unsqueeze(high, [1]), axis=1)
            share = g.Unsqueeze(share, [1])
            weight = g.Concat(g.Sub(1.0, share), share, axis=1)
        else:
            (index,) = nearest_of(grid)(g, source, target)
            index = g.Unsqueeze(index, [1])
            weight = g.Add(g.Mul(g.cast(index, FLOAT), 0.0), 1.0)
        return (_spread(g, index, weight, source),)


class ScaleAndTranslateGradient:
    """As ResizeGradient, with the kernels of ScaleAndTranslate (scale_and_translate_op.cc)."""

    ops = ("ScaleAndTranslateGrad",)

    def emit(
        self, g: Builder, op: Op, gradients: Tensor, image: Tensor, scale: Tensor, shift: Tensor
    ) -> Tensor:
        spans = spans_of(kernel_of(op), antialias=bool(op.attr("antialias")))

        def matrix(g: Builder, source: Tensor, *given: Tensor) -> tuple[Tensor]:
            index, weight, inside = spans(g, source, *given)
            return (_spread(g, index, g.Where(inside, weight, 0), source),)

        matrices: list[Tensor] = []
        for axis in (ROWS, COLUMNS):
            matrices += folded(
                g,
                matrix,
                dimension(g, image, axis),
                dimension(g, gradients, axis),
                element(g, scale, axis - 1),
                element(g, shift, axis - 1),
            )
        return _back(g, gradients, *matrices)


HANDLERS: tuple[Handler, ...] = (ResizeGradient(), ScaleAndTranslateGradient())
