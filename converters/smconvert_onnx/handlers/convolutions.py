"""Convolutions, and what their gradients share with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smconvert.model import DType, Shape
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.windows import (
    Windows,
    around,
    channels_last,
    extents,
    fitted,
    missing,
    of_space,
    part,
    patches,
    permuted,
    sizes_of,
    to_first,
    to_last,
    windows_of,
)

_NATIVE = frozenset({DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16})
"""Types that ONNX Runtime convolves; others are multiplied as matrices of patches."""


class Convolution:
    """Conv2D, Conv3D; in groups where the kernel has fewer channels (conv_ops_impl.h).

    With ``bias`` where tf2onnx has merged a BiasAdd into it.
    """

    ops = ("Conv2D", "Conv3D")

    def emit(
        self, g: Builder, op: Op, x: Tensor, kernel: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        shape = op.outputs[0].shape
        return convolved(g, x, kernel, windows_of(op), channels_last(op), shape, bias)


class AnyConvolution:
    """Conv: of one to three axes of space, after any number of batch axes (conv_ops_impl.h)."""

    ops = ("Conv",)

    def emit(self, g: Builder, op: Op, x: Tensor, kernel: Tensor) -> Tensor:
        windows, last, batches = windows_of(op), channels_last(op), int(op.attr("batch_dims"))
        if batches == 1:
            return convolved(g, x, kernel, windows, last, op.outputs[0].shape)
        inner = windows.rank + 1
        batch = part(g, x, 0, batches)
        count = g.ReduceProd(batch, keepdims=1)
        shape = None if x.shape is None else (None, *x.shape[batches:])
        flat = reshaped(g, x, g.Concat(count, part(g, x, batches, inner), axis=0))
        y = convolved(g, replace_shape(flat, shape), kernel, windows, last)
        return reshaped(g, y, g.Concat(batch, g.Slice(g.Shape(y), [1], [inner + 1]), axis=0))


class Depthwise:
    """DepthwiseConv2dNative: each channel has kernels of its own (depthwise_conv_op.cc)."""

    ops = ("DepthwiseConv2dNative",)

    def emit(self, g: Builder, op: Op, x: Tensor, kernel: Tensor) -> Tensor:
        windows, last = windows_of(op), channels_last(op)
        groups = sizes_of(kernel, 2, 1)[0]
        if x.dtype in _NATIVE and groups:
            shape = op.outputs[0].shape
            return _native(g, x, in_groups(g, kernel), windows, last, groups, shape)
        x = x if last else to_last(g, x, 2)
        found = g.Unsqueeze(patches(g, x, windows, kernel), [-1])
        y = g.ReduceSum(g.Mul(found, kernel), [3, 4], keepdims=0)
        outer_size = g.ReduceProd(part(g, kernel, 2, 2), keepdims=1)
        y = reshaped(g, y, g.Concat(g.Slice(g.Shape(y), [0], [3]), outer_size, axis=0))
        return y if last else to_first(g, y, 2)


def convolved(
    g: Builder,
    x: Tensor,
    kernel: Tensor,
    windows: Windows,
    last: bool,
    shape: Shape | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """``x`` [N, space, C] convolved with ``kernel`` [window, C / groups, channels]."""
    rank = windows.rank
    inner = sizes_of(kernel, rank, 1)[0]
    if x.dtype in _NATIVE and inner:
        outer = sizes_of(x, rank + 1 if last else 1, 1)[0]
        # Of unknown channels, ONNX Runtime itself checks that they are one group.
        groups = outer // inner if outer else 1
        return _native(g, x, kernel, windows, last, groups, shape, bias)
    y = by_patches(g, x if last else to_last(g, x, rank), kernel, windows)
    if bias is not None:
        y = g.Add(y, bias)
    return y if last else to_first(g, y, rank)


def _native(
    g: Builder,
    x: Tensor,
    kernel: Tensor,
    windows: Windows,
    last: bool,
    groups: int,
    shape: Shape | None,
    bias: Tensor | None = None,
) -> Tensor:
    rank = windows.rank
    given = to_first(g, x, rank) if last else x
    given, padding = fitted(g, given, windows, kernel)
    known = sizes_of(kernel, 0, rank)
    y = g.Conv(
        given,
        permuted(g, kernel, [rank + 1, rank, *range(rank)]),
        bias,
        strides=list(windows.strides),
        dilations=list(windows.dilations),
        group=groups,
        kernel_shape=None if None in known else list(known),
        **padding,
    )
    if not last:
        return g.shaped(y, shape)
    first = None if shape is None else (shape[0], shape[-1], *shape[1:-1])
    return to_last(g, g.shaped(y, first), rank)


def by_patches(g: Builder, x: Tensor, kernel: Tensor, windows: Windows) -> Tensor:
    """A convolution in any number of groups, as products of matrices of places and elements."""
    rank = windows.rank
    found = patches(g, x, windows, kernel)
    inner, outer = part(g, kernel, rank, 1), part(g, kernel, rank + 1, 1)
    places = g.Slice(g.Shape(found), [0], [rank + 1])
    count, window = (
        g.ReduceProd(places, keepdims=1),
        g.ReduceProd(part(g, kernel, 0, rank), keepdims=1),
    )
    groups = g.Div(g.Slice(g.Shape(found), [2 * rank + 1], [2 * rank + 2]), inner)
    elements = g.Mul(window, inner)
    left = reshaped(g, found, g.Concat(count, window, groups, inner, axis=0))
    left = g.Transpose(left, perm=[2, 0, 1, 3])
    left = reshaped(g, left, g.Concat(groups, count, elements, axis=0))
    each = g.Div(outer, groups)
    right = reshaped(g, kernel, g.Concat(elements, groups, each, axis=0))
    # The second reshape is for ONNX Runtime 1.31, which fails where it fuses transpose and product.
    turned = g.Transpose(right, perm=[1, 0, 2])
    y = g.MatMul(left, reshaped(g, turned, g.Concat(groups, elements, each, axis=0)))
    return reshaped(g, g.Transpose(y, perm=[1, 0, 2]), g.Concat(places, outer, axis=0))


class Transposed:
    """The gradient of a convolution by its input: a convolution that spreads.

    Of Conv3DBackpropInput the first input is not the sizes, but a tensor that has them.
    """

    ops = ("Conv2DBackpropInput", "Conv3DBackpropInput", "Conv3DBackpropInputV2")

    def emit(
        self,
        g: Builder,
        op: Op,
        sizes: Tensor,
        kernel: Tensor,
        x: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        if op.type == "Conv3DBackpropInput":
            sizes = g.shape(sizes)
        last, rank = channels_last(op), windows_of(op).rank
        if sizes.shape == (rank,):
            # Conv2DBackpropInput takes the sizes of space alone as well.
            batch, channels = part(g, x, 0, 1), part(g, kernel, rank, 1)
            space = g.cast(sizes, DType.INT64)
            sizes = g.Concat(batch, *((space, channels) if last else (channels, space)), axis=0)
        outer, inner = _channels(op, sizes), sizes_of(kernel, rank, 1)[0]
        # Of unknown channels, the shape that is asked for checks that they are one group.
        groups = (outer // inner if outer else 1) if inner else None
        return spread(g, op, g.cast(sizes, DType.INT64), kernel, x, groups, bias)


class DepthwiseTransposed:
    """The gradient of a depthwise convolution by its input: as many groups as channels."""

    ops = ("DepthwiseConv2dNativeBackpropInput",)

    def emit(self, g: Builder, op: Op, sizes: Tensor, kernel: Tensor, x: Tensor) -> Tensor:
        groups = sizes_of(kernel, 2, 1)[0]
        return spread(g, op, g.cast(sizes, DType.INT64), in_groups(g, kernel), x, groups)


def in_groups(g: Builder, kernel: Tensor) -> Tensor:
    """A depthwise kernel [h, w, C, multiplier] as that of C groups: [h, w, 1, C * multiplier]."""
    known = sizes_of(kernel, 0, 4)
    shape = (*known[:2], 1, known[2] * known[3] if known[2] and known[3] else None)
    if kernel.value is not None:
        return g.constant(kernel.value.reshape(shape), kernel.dtype)
    if None in known[:2]:
        target = g.Concat(part(g, kernel, 0, 2), [1, -1], axis=0)
    else:
        target = g.constant([*(d for d in known[:2] if d is not None), 1, -1])
    return g.shaped(g.Reshape(kernel, target), shape)


def spread(
    g: Builder,
    op: Op,
    sizes: Tensor,
    kernel: Tensor,
    x: Tensor,
    groups: int | None,
    bias: Tensor | None = None,
) -> Tensor:
    """Adds the kernel, times an element of ``x``, for each of them, in windows that may overlap.

    Args:
        g: Writes.
        op: Describes the windows.
        sizes: Of the result, int64; what no window reaches is 0 (conv_grad_input_ops.h).
        kernel: [window, channels of the result / groups, channels of x].
        x: [N, space, C], or with its channels first.
        groups: Of channels, where their number is known.
        bias: What is added to each channel.
    """
    windows, last = windows_of(op), channels_last(op)
    rank, shape = windows.rank, _result_shape(op, sizes)
    space = g.Slice(sizes, [1], [rank + 1]) if last else g.Slice(sizes, [2], [rank + 2])
    if x.dtype not in _NATIVE or groups is None:
        y = _spread_patches(g, x if last else to_last(g, x, rank), kernel, windows, sizes, space)
        y = y if bias is None else g.Add(y, bias)
        return reshaped(g, y if last else to_first(g, y, rank), sizes)
    known = of_space(shape or (None,) * (rank + 2), last)
    given = to_first(g, x, rank) if last else x
    y = _native_spread(g, given, kernel, windows, known, space, groups, bias)
    if last:
        y = to_last(g, g.shaped(y, _first(shape)), rank)
    return y if _channels(op, sizes) else reshaped(g, y, sizes)


def _result_shape(op: Op, sizes: Tensor) -> Shape | None:
    if sizes.value is not None:
        return tuple(int(size) for size in sizes.value)
    return op.outputs[0].shape


def _channels(op: Op, sizes: Tensor) -> int | None:
    shape = _result_shape(op, sizes)
    channels = None if shape is None else shape[-1 if channels_last(op) else 1]
    return channels if isinstance(channels, int) else None


def _first(shape: Shape | None) -> Shape | None:
    return None if shape is None else (shape[0], shape[-1], *shape[1:-1])


def _native_spread(
    g: Builder,
    x: Tensor,
    kernel: Tensor,
    windows: Windows,
    known: Sequence[int | str | None],
    space: Tensor,
    groups: int,
    bias: Tensor | None,
) -> Tensor:
    """By ConvTranspose."""
    rank = windows.rank
    sizes = [size if isinstance(size, int) else None for size in known]
    window = sizes_of(kernel, 0, rank)
    attributes = {
        "strides": list(windows.strides),
        "dilations": list(windows.dilations),
        "group": groups,
        "kernel_shape": None if None in window else list(window),
    }
    weights = permuted(g, kernel, [rank + 1, rank, *range(rank)])
    pads = None if None in sizes or None in window else windows.pads(sizes, window)
    if pads is not None:
        axes = zip(sizes, window, pads, windows.strides, windows.dilations, strict=True)
        ends = [_end(*axis) for axis in axes]
        before = [p[0] for p in pads]
        beyond = [max(-end, 0) for end in ends]
        made: Tensor = g.ConvTranspose(
            x,
            weights,
            bias,
            pads=[*before, *(max(end, 0) for end in ends)],
            output_padding=beyond if any(beyond) else None,
            **attributes,
        )
        return made
    # Windows leave out less than a stride at the end.
    beyond = [stride - 1 for stride in windows.strides]
    padding = beyond if any(beyond) else None
    y = g.ConvTranspose(x, weights, bias, output_padding=padding, **attributes)
    start = _before(g, windows, space, extents(g, windows, kernel))
    cut: Tensor = g.Slice(y, start, g.Add(start, space), list(range(2, rank + 2)))
    return cut


def _end(
    size: int | None, window: int | None, pads: tuple[int, int], stride: int, dilation: int
) -> int:
    """What is to be cut from the end of all that windows reach."""
    assert size is not None
    assert window is not None
    extent = (window - 1) * dilation + 1
    count = (size + sum(pads) - extent + stride) // stride
    return (count - 1) * stride + extent - pads[0] - size


def _before(g: Builder, windows: Windows, space: Tensor, extent: Tensor) -> Tensor:
    """How far the first window lies before the beginning, int64 [axes]."""
    if windows.padding == "SAME":
        return g.Div(missing(g, windows, space, extent), 2)
    return g.constant(np.array([p[0] for p in windows.explicit] or [0] * windows.rank, np.int64))


def _spread_patches(
    g: Builder, x: Tensor, kernel: Tensor, windows: Windows, sizes: Tensor, space: Tensor
) -> Tensor:
    """By a convolution of ``x``, with zeros between its elements, and the kernel reversed."""
    rank = windows.rank
    extent = extents(g, windows, kernel)
    before = _before(g, windows, space, extent)
    x = apart(g, x, windows.strides)
    length = g.Slice(g.Shape(x), [1], [rank + 1])
    x = around(g, x, g.Sub(g.Sub(extent, 1), before), g.Sub(g.Add(space, before), length))
    inner, outer = part(g, kernel, rank, 1), part(g, kernel, rank + 1, 1)
    groups = g.Div(g.Slice(sizes, [-1], [2**31]), inner)
    window, each = part(g, kernel, 0, rank), g.Div(outer, groups)
    least = [-(2**31)] * rank
    back = g.Slice(kernel, [-1] * rank, least, list(range(rank)), [-1] * rank)
    split = g.Reshape(back, g.Concat(window, inner, groups, each, axis=0))
    turned = g.Transpose(split, perm=[*range(rank), rank + 2, rank + 1, rank])
    turned = g.Reshape(turned, g.Concat(window, each, g.Mul(groups, inner), axis=0))
    return by_patches(g, x, turned, Windows((1,) * rank, windows.dilations, "VALID"))


def apart(g: Builder, x: Tensor, strides: Sequence[int]) -> Tensor:
    """``x`` [N, space, C] with zeros after each element, so that they lie strides apart."""
    if all(stride == 1 for stride in strides):
        return x
    rank = len(strides)
    axes = [2 + 2 * axis for axis in range(rank)]
    pads = np.zeros((2, 2 * rank + 2), np.int64)
    pads[1, axes] = np.array(strides) - 1
    shape = g.Mul(g.Shape(x), np.array([1, *strides, 1], np.int64))
    return reshaped(g, g.Pad(g.Unsqueeze(x, axes), pads.ravel()), shape)


HANDLERS: tuple[Handler, ...] = (
    Convolution(),
    AnyConvolution(),
    Depthwise(),
    Transposed(),
    DepthwiseTransposed(),
)
