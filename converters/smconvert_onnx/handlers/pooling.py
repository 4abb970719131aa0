"""Pools, and what slides over images as they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import FLOATS, comparable
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.convolutions import spread
from smconvert_onnx.handlers.matrices import reshaped, size
from smconvert_onnx.handlers.reducing import Along, extreme
from smconvert_onnx.handlers.windows import (
    Windows,
    channels_last,
    extents,
    fitted,
    lowest,
    missing,
    of_space,
    part,
    patches,
    sizes_of,
    to_first,
    to_last,
    windows_of,
)

_AVERAGED = frozenset({DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16})
_MAXIMIZED = {
    DType.FLOAT32: DType.FLOAT32,
    DType.FLOAT64: DType.FLOAT64,
    DType.FLOAT16: DType.FLOAT32,
    DType.BFLOAT16: DType.FLOAT32,
    DType.INT8: DType.INT8,
    DType.UINT8: DType.UINT8,
    DType.INT16: DType.FLOAT32,
    DType.UINT16: DType.FLOAT32,
    DType.INT32: DType.FLOAT64,
    DType.UINT32: DType.FLOAT64,
}
"""The type in which ONNX Runtime finds the maximum of each, and that holds all its values."""


class Average:
    """The mean of what of a window lies within the tensor (avgpooling_op.cc, pooling_ops_3d.cc)."""

    ops = ("AvgPool", "AvgPool3D")

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        windows, last = windows_of(op), channels_last(op)
        window = of_space(op.attr("ksize"), last)
        known = windows.pads(sizes_of(x, 1 if last else 2, windows.rank), window)
        if x.dtype in _AVERAGED and (known is not None or windows.automatic(window)):
            return _native(g, op, "AveragePool", x, windows, window, last)
        x = x if last else to_last(g, x, windows.rank)
        axes = list(range(windows.rank + 1, 2 * windows.rank + 1))
        total = g.ReduceSum(patches(g, x, windows, window), axes, keepdims=0)
        space = part(g, x, 1, windows.rank)
        y = g.Div(total, counts(g, x.dtype, space, windows, window))
        return y if last else to_first(g, y, windows.rank)


class Maximum:
    """The largest of a window (maxpooling_op.cc); or of so many channels, where there are none.

    MaxPoolV2 takes the windows as inputs.
    """

    ops = ("MaxPool", "MaxPool3D", "MaxPoolV2")

    def emit(self, g: Builder, op: Op, x: Tensor, *given: Tensor) -> Tensor:
        ksize, strides = _window(op, given)
        last = channels_last(op)
        depth = ksize[-1 if last else 1]
        if depth > 1:
            return _of_channels(g, op, x, depth, last)
        windows, window = windows_of(op, strides), of_space(ksize, last)
        if x.dtype in _MAXIMIZED:
            return _native(g, op, "MaxPool", x, windows, window, last)
        x = x if last else to_last(g, x, windows.rank)
        axes = list(range(windows.rank + 1, 2 * windows.rank + 1))
        y = _largest(g, op, patches(g, x, windows, window, lowest(x.dtype)), axes)
        return y if last else to_first(g, y, windows.rank)


class WithArgmax:
    """Also where in the tensor, or in its image, the first of the largest lies."""

    ops = ("MaxPoolWithArgmax",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
        y, place = _with_places(g, op, x)
        if op.attr("include_batch_in_index"):
            each = g.ReduceProd(g.Slice(g.shape(x), [1], [4]), keepdims=0)
            start = g.Mul(g.Range(0, size(g, x, 0), 1), each)
            place = g.Add(place, g.Unsqueeze(start, [1, 2, 3]))
        return y, g.cast(replace_shape(place, None), op.outputs[1].dtype)


class Dilation:
    """The largest sum of a window and the kernel, channel by channel (dilation_ops.cc)."""

    ops = ("Dilation2D",)

    def emit(self, g: Builder, op: Op, x: Tensor, kernel: Tensor) -> Tensor:
        windows, least = windows_of(op), lowest(x.dtype)
        total = g.Add(patches(g, x, windows, kernel), kernel)
        inside = patches(g, _ones(g, part(g, x, 1, 2), DType.BOOL), windows, kernel)
        # A sum that is not larger than the least counts no more than one outside; NaN is none.
        counted = g.And(inside, g.Greater(total, least))
        total = replace_shape(g.Where(counted, total, least), None)
        return _largest(g, op, total, [3, 4])


class AverageGradient:
    """Spreads each gradient evenly over what its window covers (avgpooling_op.cc)."""

    ops = ("AvgPoolGrad", "AvgPool3DGrad")

    def emit(self, g: Builder, op: Op, sizes: Tensor, grad: Tensor) -> Tensor:
        windows, last = windows_of(op), channels_last(op)
        window, rank = of_space(op.attr("ksize"), last), windows.rank
        sizes = g.cast(sizes, DType.INT64)
        space = g.Slice(sizes, [1], [rank + 1]) if last else g.Slice(sizes, [2], [rank + 2])
        number = counts(g, grad.dtype, space, windows, window)
        each = g.Div(grad, number if last else to_first(g, number, rank))
        channels = sizes_of(grad, rank + 1 if last else 1, 1)[0]
        if channels is None:
            op.refuse("the number of channels is unknown", "give the input a shape: --inputs")
        ones = g.constant(np.ones((*window, 1, channels)), grad.dtype)
        return spread(g, op, sizes, ones, replace_shape(each, grad.shape), channels)


class MaximumGradient:
    """Adds each gradient where its window has the first of its largest (maxpooling_op.cc)."""

    ops = ("MaxPoolGrad", "MaxPoolGradV2", "MaxPoolGradWithArgmax")

    def emit(self, g: Builder, op: Op, x: Tensor, *others: Tensor) -> Tensor:
        if op.type == "MaxPoolGradWithArgmax":
            grad, place = others[0], g.cast(others[1], DType.INT64)
        else:
            grad, place = others[1], _with_places(g, op, x, others[2:])[1]
        whole = op.type == "MaxPoolGradWithArgmax" and op.attr("include_batch_in_index")
        rows: Tensor | list[int] = [1] if whole else part(g, x, 0, 1)
        wide = DType.FLOAT32 if x.dtype in {DType.FLOAT16, DType.BFLOAT16} else x.dtype
        each = g.ReduceProd(g.Slice(g.shape(x), [0 if whole else 1], [4]), keepdims=1)
        zeros = g.Expand(g.constant(0, wide), g.Concat(rows, each, axis=0))
        shape = g.Concat(rows, [-1], axis=0)
        if g.opset < 16:
            op.refuse("ScatterElements adds since opset 16", "--opset 16")
        total = g.ScatterElements(
            zeros,
            g.Reshape(place, shape),
            g.Reshape(g.cast(grad, wide), shape),
            axis=1,
            reduction="add",
        )
        return g.cast(reshaped(g, replace_shape(total, None), g.shape(x)), x.dtype)


class MaximumSecondGradient:
    """Picks the gradient where each window has the first of its largest (maxpooling_op.cc)."""

    ops = ("MaxPoolGradGrad", "MaxPoolGradGradV2")

    def emit(
        self, g: Builder, op: Op, x: Tensor, y: Tensor, grad: Tensor, *given: Tensor
    ) -> Tensor:
        _, place = _with_places(g, op, x, given)
        shape = g.Concat(part(g, x, 0, 1), [-1], axis=0)
        picked = g.GatherElements(g.Reshape(grad, shape), g.Reshape(place, shape), axis=1)
        return reshaped(g, replace_shape(picked, None), g.Shape(place))


def _with_places(
    g: Builder, op: Op, x: Tensor, given: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor]:
    """The maxima of ``x`` [N, h, w, C], and where each lies in its image: both [N, h, w, C].

    The first element of a window counts whatever it is, and another where it is larger: NaN stays
    where it is the first, and is none otherwise. A window that reaches outside sees the nearest
    elements within it again, which changes nothing.
    """
    if not channels_last(op):
        op.refuse("its channels come first")
    ksize, strides = _window(op, given)
    windows, window = windows_of(op, strides), of_space(ksize, True)
    if ksize[-1] > 1:
        op.refuse("it looks for places among channels")
    rows, columns = _places_along(g, x, windows, window)
    width, channels = size(g, x, 2), size(g, x, 3)
    found = g.Gather(g.Gather(x, rows, axis=1), columns, axis=3)
    found = g.Transpose(found, perm=[0, 1, 3, 2, 4, 5])
    shape = g.Concat(g.Slice(g.Shape(found), [0], [3]), [int(np.prod(window))], axis=0)
    found = reshaped(g, found, g.Concat(shape, g.Slice(g.Shape(found), [5], [6]), axis=0))
    across = g.Unsqueeze(columns, [0, 2])
    place = g.Add(g.Mul(g.Unsqueeze(rows, [1, 3]), width), across)
    place = reshaped(g, place, g.Concat([1], g.Slice(shape, [1], [4]), [1], axis=0))
    place = g.Add(g.Mul(place, channels), g.Range(0, channels, 1))
    largest = first_largest(g, found)
    place = g.GatherElements(g.Expand(place, g.Shape(found)), largest, axis=3)
    y = g.GatherElements(found, largest, axis=3)
    return g.Squeeze(y, [3]), replace_shape(g.Squeeze(place, [3]), None)


def first_largest(g: Builder, found: Tensor) -> Tensor:
    """Where along axis 3 it lies."""
    if found.dtype not in FLOATS:
        return g.ArgMax(comparable(g, found), axis=3, keepdims=1)
    key = g.Where(g.IsNaN(found), g.constant(-np.inf, found.dtype), found)
    largest = g.ArgMax(key, axis=3, keepdims=1)
    return g.Where(g.IsNaN(g.Slice(found, [0], [1], [3])), np.int64(0), largest)


def _places_along(
    g: Builder, x: Tensor, windows: Windows, window: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """For each window, which rows and which columns it sees: int64 [windows, window]."""
    space, extent = part(g, x, 1, 2), extents(g, windows, window)
    total: Tensor | Any = np.zeros(2, np.int64)
    if windows.padding == "SAME":
        total = missing(g, windows, space, extent)
    before = g.Div(total, g.constant([2, 2])) if windows.padding == "SAME" else total
    ends = g.Add(g.Sub(g.Add(space, total), extent), 1)
    found = []
    for axis in range(2):
        starts = g.Range(0, g.Gather(ends, axis), windows.strides[axis])
        at = g.Gather(before, axis) if isinstance(before, Tensor) else np.int64(0)
        steps = g.Add(g.Unsqueeze(g.Sub(starts, at), [1]), np.arange(window[axis]))
        last = g.Sub(g.Gather(space, axis), 1)
        found.append(g.Min(g.Max(steps, np.int64(0)), last))
    return found[0], found[1]


def _window(op: Op, given: Sequence[Tensor]) -> tuple[list[int], list[int]]:
    """The windows' sizes and strides: attributes, or inputs."""
    if not given:
        return list(op.attr("ksize")), list(op.attr("strides"))
    ksize, strides = (op.constant(tensor, "window") for tensor in given)
    return [int(d) for d in ksize], [int(d) for d in strides]


def _native(
    g: Builder,
    op: Op,
    op_type: str,
    x: Tensor,
    windows: Windows,
    window: Sequence[int],
    last: bool,
) -> Tensor:
    """By a pool of ONNX, which has the channels first."""
    dtype = _MAXIMIZED[x.dtype] if op_type == "MaxPool" else x.dtype
    given = g.cast(x, dtype)
    given = to_first(g, given, windows.rank) if last else given
    given, padding = fitted(g, given, windows, window, lowest(dtype))
    made = g.node(
        op_type, given, kernel_shape=list(window), strides=list(windows.strides), **padding
    )
    shape = op.outputs[0].shape
    if last and shape is not None:
        shape = (shape[0], shape[-1], *shape[1:-1])
    y = g.shaped(made, shape)
    return g.cast(to_last(g, y, windows.rank) if last else y, x.dtype)


def _of_channels(g: Builder, op: Op, x: Tensor, depth: int, last: bool) -> Tensor:
    if not last:
        x = to_last(g, x, 2)
    shape = g.Concat(g.Slice(g.shape(x), [0], [3]), [-1], [depth], axis=0)
    y = _largest(g, op, g.Reshape(x, shape), [4])
    return y if last else to_first(g, y, 2)


def counts(
    g: Builder, dtype: DType, space: Tensor, windows: Windows, window: Sequence[int]
) -> Tensor:
    """How many elements of each window lie within ``space``, int64 [axes]: [1, windows, 1]."""
    rank = windows.rank
    ones = _ones(g, space, dtype)
    axes = list(range(rank + 1, 2 * rank + 1))
    return replace_shape(g.ReduceSum(patches(g, ones, windows, window), axes, keepdims=0), None)


def _ones(g: Builder, space: Tensor, dtype: DType) -> Tensor:
    """[1, space, 1]."""
    return g.Expand(g.constant(1, dtype), g.Concat([1], space, [1], axis=0))


def _largest(g: Builder, op: Op, x: Tensor, axes: list[int]) -> Tensor:
    along = Along(g, op, g.constant(axes), keep=False)
    return replace_shape(extreme(g, along, "ReduceMax", replace_shape(x, None)), None)


HANDLERS: tuple[Handler, ...] = (
    Average(),
    Maximum(),
    WithArgmax(),
    Dilation(),
    AverageGradient(),
    MaximumGradient(),
    MaximumSecondGradient(),
)
