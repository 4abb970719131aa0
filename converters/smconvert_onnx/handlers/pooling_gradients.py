"""Gradients of what slides over images and volumes: each goes to an element that a window chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smconvert.model import DType
from smconvert_onnx.handlers.axes import comparable
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.folding import dimension
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.pooling import first_largest
from smconvert_onnx.handlers.precision import in_digits, single
from smconvert_onnx.handlers.reducing import Along, total
from smconvert_onnx.handlers.reductions_segments import gathered_by
from smconvert_onnx.handlers.windows import (
    Windows,
    channels_last,
    extents,
    lowest,
    missing,
    of_space,
    part,
    windows_of,
)

_END = 2**62


@dataclass(frozen=True)
class _Seen:
    """What windows see of a tensor [N, space, C].

    Attributes:
        x: The tensor.
        found: Its elements [N, windows, K, C]; for those outside, the nearest within.
        place: Where each lies in space, int64 [1, windows, K, 1].
        inside: Whether it lies within, [1, windows, K, 1].
        axis: That of K.
    """

    x: Tensor
    found: Tensor
    place: Tensor
    inside: Tensor
    axis: int

    def places(self, g: Builder, chosen: Tensor) -> Tensor:
        """Where in space the chosen [N, windows, 1, C] of each window lie."""
        everywhere = g.Expand(self.place, g.Shape(self.found))
        made: Tensor = g.GatherElements(everywhere, chosen, axis=self.axis)
        return made

    def numbers(self, g: Builder, places: Tensor) -> Tensor:
        """Places in space [N, windows, some, C] as places in the whole of ``x``."""
        space = g.ReduceProd(g.Slice(g.shape(self.x), [1], [-1]), keepdims=0)
        batch, channels = dimension(g, self.x, 0), dimension(g, self.x, -1)
        image = g.Unsqueeze(g.Range(0, batch, 1), list(range(1, self.axis + 2)))
        pixel = g.Add(g.Mul(image, space), places)
        made: Tensor = g.Add(g.Mul(pixel, channels), g.Range(0, channels, 1))
        return made


def _steps(g: Builder, x: Tensor, windows: Windows, window: Tensor | Sequence[int]) -> list[Tensor]:
    """For each axis of space, where its windows look: int64 [windows, window]."""
    extent, last = extents(g, windows, window), part(g, x, 1, windows.rank)
    before = None
    if windows.padding == "SAME":
        added = missing(g, windows, last, extent)
        before, last = g.Div(added, 2), g.Add(last, added)
    ends = g.Add(g.Sub(last, extent), 1)
    found = []
    for axis in range(windows.rank):
        starts = g.Range(0, g.Gather(ends, axis), windows.strides[axis])
        if before is not None:
            starts = g.Sub(starts, g.Gather(before, axis))
        within = g.Range(0, g.Gather(extent, axis), windows.dilations[axis])
        found.append(g.Add(g.Unsqueeze(starts, [1]), within))
    return found


def _seen(g: Builder, x: Tensor, steps: Sequence[Tensor]) -> _Seen:
    """What windows see that look at these places along each axis."""
    rank = len(steps)
    found = x
    place, inside = g.constant([0], DType.INT64), g.constant(True)
    for axis, step in enumerate(steps):
        size = dimension(g, x, axis + 1)
        within = g.Max(g.Min(step, g.Sub(size, 1)), 0)
        found = g.Gather(found, within, axis=1 + 2 * axis)
        others = [i for i in range(2 * rank + 2) if i not in {1 + axis, 1 + rank + axis}]
        place = g.Add(g.Mul(place, size), g.Unsqueeze(within, others))
        inside = g.And(inside, g.Unsqueeze(g.Equal(step, within), others))
    turned = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
    found = g.Transpose(found, perm=turned)
    shape = g.Shape(found)
    window = g.ReduceProd(g.Slice(shape, [rank + 1], [-1]), keepdims=1)
    middle = g.Concat(g.Slice(shape, [1], [rank + 1]), window, axis=0)
    one = g.constant([1])
    ends = g.Slice(shape, [0], [1]), g.Slice(shape, [-1], [_END])
    alone = g.Concat(one, middle, one, axis=0)
    return _Seen(
        x,
        reshaped(g, found, g.Concat(ends[0], middle, ends[1], axis=0)),
        reshaped(g, place, alone),
        reshaped(g, inside, alone),
        rank + 1,
    )


def _added_up(g: Builder, op: Op, grad: Tensor, numbers: Tensor, like: Tensor) -> Tensor:
    """The gradients added in zeros like a tensor, at their places in the whole of it."""
    if g.opset < 16:
        op.refuse("ScatterElements adds since opset 16", "--opset 16")
    rows = g.Reshape(single(g, grad), g.constant([-1, 1]))
    places, count = g.Reshape(numbers, [-1]), g.Reshape(g.Size(like), [1])
    made = gathered_by(g, op, "add", replace_shape(rows, (None, 1)), places, count)
    return g.cast(reshaped(g, made, g.shape(like)), grad.dtype)


class DilationGradient:
    """Each gradient goes to where its sum was the first of the largest (dilation_ops.cc).

    A sum counts where it is larger than the least number, and else the first of the window.
    """

    ops = ("Dilation2DBackpropInput", "Dilation2DBackpropFilter")

    def emit(self, g: Builder, op: Op, x: Tensor, kernel: Tensor, grad: Tensor) -> Tensor:
        seen = _seen(g, x, _steps(g, x, windows_of(op), kernel))
        least = lowest(x.dtype)
        channels = g.Slice(g.shape(kernel), [2], [3])
        elements = g.ReduceProd(g.Slice(g.shape(kernel), [0], [2]), keepdims=1)
        flat = reshaped(g, kernel, g.Concat(elements, channels, axis=0))
        sums = in_digits(g, g.Add(single(g, seen.found), single(g, flat)), x.dtype)
        counted = g.And(seen.inside, g.Greater(sums, least))
        sums = g.Where(counted, replace_shape(sums, None), least)
        chosen = g.ArgMax(comparable(g, sums), axis=3, keepdims=1)
        if op.type == "Dilation2DBackpropInput":
            return _added_up(g, op, grad, seen.numbers(g, seen.places(g, chosen)), x)
        every = g.Unsqueeze(g.Range(0, g.Squeeze(elements, [0]), 1), [1])
        back = g.Unsqueeze(single(g, grad), [3])
        own = replace_shape(g.Where(g.Equal(chosen, every), back, 0), None)
        made = total(g, Along(g, op, g.constant([0, 1, 2]), keep=False), own)
        return g.cast(reshaped(g, made, g.shape(kernel)), grad.dtype)


class VolumeMaximumGradient:
    """Goes to all elements of a window that equal its largest (pooling_ops_3d.cc)."""

    ops = ("MaxPool3DGrad",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor, grad: Tensor) -> Tensor:
        seen, same = _largest_of_volume(g, op, x, y)
        added = g.Where(same, g.Unsqueeze(grad, [seen.axis]), 0)
        return _added_up(g, op, added, seen.numbers(g, seen.place), x)


class VolumeMaximumSecondGradient:
    """Comes from the first of them, where there is one (pooling_ops_3d.cc)."""

    ops = ("MaxPool3DGradGrad",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor, grad: Tensor) -> Tensor:
        seen, same = _largest_of_volume(g, op, x, y)
        marks = g.cast(same, DType.INT32)
        chosen = g.ArgMax(marks, axis=seen.axis, keepdims=1)
        picked = g.Gather(g.Reshape(grad, [-1]), seen.numbers(g, seen.places(g, chosen)))
        there = g.Equal(g.GatherElements(marks, chosen, axis=seen.axis), 1)
        made: Tensor = g.Squeeze(g.Where(there, picked, 0), [seen.axis])
        return made


def _largest_of_volume(g: Builder, op: Op, x: Tensor, y: Tensor) -> tuple[_Seen, Tensor]:
    """What the windows see, and which of it is what they found."""
    if not channels_last(op):
        op.refuse("its channels come first")
    seen = _seen(g, x, _steps(g, x, windows_of(op), of_space(op.attr("ksize"), True)))
    same = g.Equal(seen.found, g.Unsqueeze(y, [seen.axis]))
    return seen, replace_shape(g.And(seen.inside, same), None)


@dataclass(frozen=True)
class _Regions:
    """The parts of an axis that are pooled: where each begins and ends, int64 [regions]."""

    starts: Tensor
    ends: Tensor

    def steps(self, g: Builder) -> Tensor:
        """The places of each, as many as of the longest: the last again where there are less."""
        longest = g.ReduceMax(g.Concat(g.Sub(self.ends, self.starts), [0], axis=0), keepdims=0)
        offsets = g.Range(0, g.Add(longest, 1), 1)
        places = g.Add(g.Unsqueeze(self.starts, [1]), offsets)
        last = g.Unsqueeze(self.ends, [1])
        made: Tensor = g.Where(g.Greater(places, last), last, places)
        return made

    def around(self, g: Builder, size: Tensor) -> tuple[Tensor, Tensor]:
        """For each place of the axis, the first and the last region that it is in."""
        place = g.Unsqueeze(g.Range(0, size, 1), [1])
        before = g.cast(g.Less(self.ends, place), DType.INT64)
        begun = g.cast(g.LessOrEqual(self.starts, place), DType.INT64)
        first = g.ReduceSum(before, [1], keepdims=0)
        return first, g.Sub(g.ReduceSum(begun, [1], keepdims=0), 1)


def _regions(g: Builder, op: Op, sequence: Tensor, size: Tensor) -> _Regions:
    """From one boundary to the next, or with ``overlapping`` onto it (fractional_pool_common.h)."""
    ends = g.Slice(sequence, [1], [_END])
    if not op.attr("overlapping"):
        ends = g.Sub(ends, 1)
    last = g.Sub(size, 1)
    return _Regions(g.Slice(sequence, [0], [-1]), g.Where(g.Greater(ends, last), last, ends))


class FractionalMaximumGradient:
    """Adds each gradient where its region has the first of its largest
    (fractional_max_pool_op.cc)."""

    ops = ("FractionalMaxPoolGrad",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, y: Tensor, grad: Tensor, *sequences: Tensor
    ) -> Tensor:
        steps = [
            _regions(g, op, sequence, dimension(g, x, axis)).steps(g)
            for axis, sequence in enumerate(sequences, 1)
        ]
        seen = _seen(g, x, steps)
        places = seen.places(g, first_largest(g, seen.found))
        return _added_up(g, op, grad, seen.numbers(g, places), x)


class FractionalAverageGradient:
    """Each gradient, divided among the elements of its region (fractional_avg_pool_op.cc).

    A place is in two regions at most, the first and the last that have it; the sums are of
    doubles, in the order of the regions.
    """

    ops = ("FractionalAvgPoolGrad",)

    def emit(self, g: Builder, op: Op, sizes: Tensor, grad: Tensor, *sequences: Tensor) -> Tensor:
        parts = []
        counts, around = [], []
        for axis, sequence in enumerate(sequences, 1):
            size = g.Gather(sizes, axis)
            regions = _regions(g, op, sequence, size)
            counts.append(g.Add(g.Sub(regions.ends, regions.starts), 1))
            around.append(regions.around(g, size))
        count = g.Mul(g.Unsqueeze(counts[0], [1, 2]), g.Unsqueeze(counts[1], [1]))
        each = g.Div(g.cast(grad, DType.FLOAT64), g.cast(count, DType.FLOAT64))
        for i, row in enumerate(around[0]):
            for j, column in enumerate(around[1]):
                picked = g.Gather(g.Gather(each, row, axis=1), column, axis=2)
                counted = g.And(
                    g.Unsqueeze(_counted(g, around[0], i), [1, 2]),
                    g.Unsqueeze(_counted(g, around[1], j), [1]),
                )
                parts.append(g.Where(counted, picked, 0))
        made = parts[0]
        for more in parts[1:]:
            made = g.Add(made, more)
        return g.cast(replace_shape(made, None), grad.dtype)


def _counted(g: Builder, around: tuple[Tensor, Tensor], which: int) -> Tensor:
    """Whether the first or the last region of a place counts; the last where it is another."""
    first, last = around
    counts: Tensor = g.Greater(last, first) if which else g.GreaterOrEqual(last, first)
    return counts


HANDLERS: tuple[Handler, ...] = (
    DilationGradient(),
    VolumeMaximumGradient(),
    VolumeMaximumSecondGradient(),
    FractionalMaximumGradient(),
    FractionalAverageGradient(),
)
