"""Gradients of convolutions by their kernels."""

from __future__ import annotations

from math import prod

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import product, reshaped
from smconvert_onnx.handlers.precision import single
from smconvert_onnx.handlers.windows import channels_last, part, patches, to_last, windows_of


class FilterGradient:
    """Each element of a kernel has seen some places: the sum over them, times their gradients.

    Of Conv3DBackpropFilter the second input is not the sizes, but a tensor that has them; a
    depthwise convolution has as many groups as channels (conv_grad_filter_ops.cc,
    depthwise_conv_grad_op.cc).
    """

    ops = (
        "Conv2DBackpropFilter",
        "Conv3DBackpropFilter",
        "Conv3DBackpropFilterV2",
        "DepthwiseConv2dNativeBackpropFilter",
    )

    def emit(self, g: Builder, op: Op, x: Tensor, kernel: Tensor, grad: Tensor) -> Tensor:
        windows, depthwise = windows_of(op), op.type.startswith("Depthwise")
        rank = windows.rank
        if not channels_last(op):
            x, grad = to_last(g, x, rank), to_last(g, grad, rank)
        whole = op.type == "Conv3DBackpropFilter"
        sizes = g.shape(kernel) if whole else g.cast(kernel, DType.INT64)
        window = kernel if whole else _window(g, sizes, rank)
        found = patches(g, single(g, x), windows, window)
        inner = g.constant([1]) if depthwise else g.Slice(sizes, [rank], [rank + 1])
        groups = g.Div(part(g, x, rank + 1, 1), g.Max(inner, 1))
        elements = g.ReduceProd(g.Slice(sizes, [0], [rank]), keepdims=1)
        places = g.ReduceProd(g.Slice(g.shape(grad), [0], [-1]), keepdims=1)
        # No places are in front, where a 0 means 0 before opset 14 as well.
        left = reshaped(g, found, g.Concat(places, elements, groups, inner, axis=0))
        left = g.Transpose(left, perm=[0, 2, 1, 3])
        rows = g.Mul(elements, inner)
        left = reshaped(g, left, g.Concat(places, groups, rows, axis=0))
        each = g.Div(part(g, grad, rank + 1, 1), groups)
        right = reshaped(g, single(g, grad), g.Concat(places, groups, each, axis=0))
        # ONNX Runtime 1.31 fails where it fuses a transpose and a product: a reshape is between.
        left, right = g.Transpose(left, perm=[1, 2, 0]), g.Transpose(right, perm=[1, 0, 2])
        left = reshaped(g, left, g.Concat(groups, rows, places, axis=0))
        right = reshaped(g, right, g.Concat(groups, places, each, axis=0))
        count = None if grad.sizes is None else prod(grad.sizes[:-1])
        made = product(
            g, replace_shape(left, (None, None, count)), replace_shape(right, (None, count, None))
        )
        return g.cast(reshaped(g, g.Transpose(made, perm=[1, 0, 2]), sizes), grad.dtype)


def _window(g: Builder, sizes: Tensor, rank: int) -> Tensor | list[int]:
    """The sizes of the windows, or where they are not known a tensor that has them."""
    if sizes.value is not None:
        return [int(size) for size in sizes.value[:rank]]
    made: Tensor = g.Expand(np.float32(0), g.Slice(sizes, [0], [rank]))
    return made


HANDLERS: tuple[Handler, ...] = (FilterGradient(),)
