"""XLA's convolutions (ConvWithGeneralPadding and ConvGeneralDilated of XLA's semantics)."""

from __future__ import annotations

import numpy as np

from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.convolutions import by_patches, convolved
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.windows import Windows
from smconvert_onnx.handlers.xla import padded, sizes_along, turned
from smconvert_onnx.handlers.xla_numbers import convolution_numbers, wide_type

_NATIVE_RANK = 3
"""ONNX Runtime convolves along so many axes of space."""


class Convolution:
    """In any layout, with zeros between the elements, in groups of channels or of the batch."""

    ops = ("XlaConv", "XlaConvV2")

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        kernel: Tensor,
        strides: Tensor,
        padding: Tensor,
        between: Tensor,
        dilations: Tensor,
        groups: Tensor,
    ) -> Tensor:
        numbers = convolution_numbers(op)
        steps, base, apart = (
            tuple(int(n) for n in op.constant(t, "window").ravel())
            for t in (strides, between, dilations)
        )
        pads = op.constant(padding, "padding").reshape(-1, 2).astype(np.int64)
        result = op.outputs[0].dtype
        wide = wide_type(x.dtype, kernel.dtype, result)
        rank = len(steps)
        x = turned(g, g.cast(x, wide), numbers.given)
        kernel = turned(g, g.cast(kernel, wide), numbers.kernel)
        batches = int(op.attr("batch_group_count")) if op.type == "XlaConvV2" else 1
        if batches > 1:
            x, kernel = _batch_as_channels(g, op, x, kernel, batches)
        if (pads < 0).any() or any(n > 1 for n in base):
            low, high = (g.constant([0, *pads[:, i], 0]) for i in (0, 1))
            zeros = [0, *(n - 1 for n in base), 0]
            x = padded(g, x, g.constant(0, wide), low, high, zeros)
            pads = np.zeros_like(pads)
        windows = Windows(steps, apart, "EXPLICIT", tuple((int(a), int(b)) for a, b in pads))
        if len(steps) > _NATIVE_RANK:
            made = by_patches(g, x, kernel, windows)
        else:
            count = int(op.constant(groups, "number of groups")) * batches
            made = _convolved(g, x, kernel, windows, count)
        inverse = [numbers.made.index(axis) for axis in range(rank + 2)]
        return g.cast(g.shaped(turned(g, made, inverse), op.outputs[0].shape), result)


def _convolved(g: Builder, x: Tensor, kernel: Tensor, windows: Windows, groups: int) -> Tensor:
    """With as many groups as are said, where the channels of ``x`` are not known."""
    channels = kernel.shape[-2] if kernel.shape is not None else None
    if x.shape is None or x.shape[-1] is None:
        sizes = (None,) * (windows.rank + 1)
        total = channels * groups if isinstance(channels, int) else None
        x = replace_shape(x, (*sizes, total))
    return convolved(g, x, kernel, windows, last=True)


def _batch_as_channels(
    g: Builder, op: Op, x: Tensor, kernel: Tensor, groups: int
) -> tuple[Tensor, Tensor]:
    """[groups * n, space, C] as [n, space, groups * C]: each group has kernels of its own."""
    rank = op.rank(x)
    space = sizes_along(g, x, list(range(1, rank - 1)))
    channels = sizes_along(g, x, [rank - 1])
    count = g.Div(sizes_along(g, x, [0]), groups)
    split = reshaped(g, x, g.Concat([groups], count, space, channels, axis=0))
    moved = g.Transpose(split, perm=[1, *range(2, rank), 0, rank])
    made = reshaped(g, moved, g.Concat(count, space, g.Mul(channels, groups), axis=0))
    known = x.shape[-1] if x.shape is not None else None
    total = known * groups if isinstance(known, int) else None
    return replace_shape(made, (*(None,) * (rank - 1), total)), kernel


HANDLERS: tuple[Handler, ...] = (Convolution(),)
