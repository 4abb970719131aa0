"""Convolutions of what is first resized and mirrored, as a tool for old graphs fuses them."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.borders import MirrorPad
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.convolutions import convolved
from smconvert_onnx.handlers.folding import dimension, element, folded
from smconvert_onnx.handlers.images import COLUMNS, ROWS, Grid, linear_of
from smconvert_onnx.handlers.windows import windows_of


class Padded:
    """Resized as ResizeBilinear does, padded as MirrorPad does, and convolved
    (conv_ops_fused_image_transform.cc).

    Each image is its own; that kernel keeps rows of an image, and may take them for those of the
    next one in a batch.
    """

    ops = ("FusedPadConv2D", "FusedResizeAndPadConv2D")

    def emit(self, g: Builder, op: Op, x: Tensor, *given: Tensor) -> Tensor:
        *size, paddings, kernel = given
        if size:
            x = _resized(g, op, x, size[0])
        x = MirrorPad().emit(g, op, x, paddings)
        return convolved(g, x, kernel, windows_of(op), last=True)


def _resized(g: Builder, op: Op, x: Tensor, size: Tensor) -> Tensor:
    """Between the two pixels around each place, along columns first."""
    for axis in (COLUMNS, ROWS):
        target = g.cast(element(g, size, axis - 1), DType.INT64)
        corners = bool(op.attr("resize_align_corners"))
        grid = Grid(axis, dimension(g, x, axis), target, corners, centers=False)
        low, high, share = folded(g, linear_of(grid), grid.source, grid.target)
        before = g.Gather(x, low, axis=axis)
        step = g.Sub(g.Gather(x, high, axis=axis), before)
        share = g.cast(g.Unsqueeze(share, [1, 2] if axis == ROWS else [1]), x.dtype)
        x = g.Add(before, g.Mul(step, share))
    return x


HANDLERS: tuple[Handler, ...] = (Padded(),)
