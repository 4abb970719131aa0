"""Images made larger and smaller.

TensorFlow computes where a pixel comes from in float32, and what comes out depends on how that is
rounded: ``x * (in / out)``, where ONNX's Resize has ``x / (out / in)``. So Resize is written where
the two agree, as they do for ratios such as 2 or 1/4; everywhere else the places and their weights
are computed as TensorFlow does, and the pixels gathered. What Resize makes of infinite pixels and
NaN is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.folding import dimension, element, folded
from smconvert_onnx.handlers.pixels import clamped, counted, rounded

FLOAT, INT64 = DType.FLOAT32, DType.INT64
ROWS, COLUMNS = 1, 2
"""The axes of an image [N, H, W, C] that are resized."""

_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


@dataclass(frozen=True)
class Grid:
    """How the pixels of the result lie over those of the image, along one axis.

    Attributes:
        axis: Of the image.
        source: Its size, an int64 scalar.
        target: The size of the result, an int64 scalar.
        corners: Whether the first and last pixels of both lie on each other.
        centers: Whether a pixel's place is its centre.
    """

    axis: int
    source: Tensor
    target: Tensor
    corners: bool
    centers: bool

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Of the image and of the result, where both are known."""
        if self.source.value is None or self.target.value is None:
            return None
        return int(self.source.value), int(self.target.value)

    def scale(self, g: Builder, source: Tensor, target: Tensor) -> Tensor:
        """Pixels of the image for one of the result (image_resizer_state.h)."""
        plain = g.Div(g.cast(source, FLOAT), g.cast(target, FLOAT))
        if not self.corners:
            return plain
        between = g.Div(g.cast(g.Sub(source, 1), FLOAT), g.cast(g.Sub(target, 1), FLOAT))
        several = g.And(g.Greater(source, 1), g.Greater(target, 1))
        return g.Where(several, between, plain)

    def places(self, g: Builder, source: Tensor, target: Tensor) -> Tensor:
        """Where each pixel of the result lies in the image, float32 [target]."""
        scale = self.scale(g, source, target)
        x = counted(g, target, FLOAT)
        if self.centers:
            return g.Sub(g.Mul(g.Add(x, 0.5), scale), 0.5)
        return g.Mul(x, scale)

    def ratio(self) -> float | None:
        """What Resize can be told, where it then comes to the size that is asked for."""
        if self.sizes is None:
            return None
        source, target = self.sizes
        ratio = np.float32(target / source)
        same = int(np.floor(ratio * np.float32(source))) == target
        return float(ratio) if same and ratio * source == target else None

    @property
    def enlarges(self) -> bool:
        """Whether the result is known not to be smaller."""
        return (self.ratio() or 0) >= 1

    def agrees(self, g: Builder) -> bool:
        """Whether Resize finds the same places: by the standard's rule, and in float32."""
        ratio = self.ratio()
        if ratio is None:
            return False
        (places,) = folded(g, lambda *of: (self.places(*of),), self.source, self.target)
        assert places.value is not None
        worst = max(
            np.max(np.abs(places.value - _resize_places(self, number)))
            for number in (np.float64, np.float32)
        )
        return bool(worst <= _SAME_PLACE)


_SAME_PLACE = 1e-6
"""So near are two places that the pixels between differ by less than float32 can tell."""


def _resize_places(grid: Grid, number: type[np.floating]) -> Array:
    """Where ONNX's Resize finds each pixel."""
    assert grid.sizes is not None
    source, target = grid.sizes
    x, scale = np.arange(target).astype(number), number(target) / number(source)
    if grid.corners:
        return x * number(source - 1) / number(max(target - 1, 1))
    return (x + number(0.5)) / scale - number(0.5) if grid.centers else x / scale


def grids(g: Builder, op: Op, images: Tensor, size: Tensor) -> tuple[Grid, Grid]:
    """Those of rows and columns."""
    corners = bool(op.attr("align_corners"))
    centers = bool(op.attr("half_pixel_centers"))
    rows, columns = (
        Grid(
            axis,
            dimension(g, images, axis),
            g.cast(element(g, size, axis - 1), INT64),
            corners,
            centers,
        )
        for axis in (ROWS, COLUMNS)
    )
    return rows, columns


def _written_as_resize(
    g: Builder, x: Tensor, both: tuple[Grid, Grid], **attributes: object
) -> Tensor:
    """ONNX's Resize, between the transposes that tf2onnx's optimizer joins with their like."""
    mode = "align_corners" if both[0].corners else "asymmetric"
    mode = "half_pixel" if both[0].centers else mode
    ratios = np.array([1, 1, *(grid.ratio() for grid in both)], np.float32)
    moved = g.Transpose(x, perm=_TO_CHANNELS_FIRST)
    resized = g.Resize(moved, None, ratios, coordinate_transformation_mode=mode, **attributes)
    if x.shape is not None:
        batch, *_, channels = x.shape
        sources, targets = zip(*(grid.sizes or () for grid in both), strict=True)
        g.shaped(moved, (batch, channels, *sources))
        g.shaped(resized, (batch, channels, *targets))
    return g.Transpose(resized, perm=_TO_CHANNELS_LAST)


class ResizeNearestNeighbor:
    """The pixel at the place, rounded down, or with ``align_corners`` to the nearest
    (resize_nearest_neighbor_op.cc)."""

    ops = ("ResizeNearestNeighbor",)

    def emit(self, g: Builder, op: Op, images: Tensor, size: Tensor) -> Tensor:
        both = grids(g, op, images, size)
        indices = [folded(g, nearest_of(grid), grid.source, grid.target)[0] for grid in both]
        if images.dtype is FLOAT and all(
            _same_indices(grid, index) for grid, index in zip(both, indices, strict=True)
        ):
            rounding = "floor" if not (both[0].corners or both[0].centers) else "round_prefer_ceil"
            return _written_as_resize(g, images, both, mode="nearest", nearest_mode=rounding)
        taken = g.Gather(images, indices[0], axis=ROWS)
        return g.Gather(taken, indices[1], axis=COLUMNS)


def nearest_of(grid: Grid) -> Callable[[Builder, Tensor, Tensor], tuple[Tensor]]:
    """The pixel for each place, [target]."""

    def write(g: Builder, source: Tensor, target: Tensor) -> tuple[Tensor]:
        x = counted(g, target, FLOAT)
        at = g.Mul(g.Add(x, 0.5) if grid.centers else x, grid.scale(g, source, target))
        whole = rounded(g, at) if grid.corners else g.Floor(at)
        return (g.Min(g.cast(whole, INT64), g.Sub(source, 1)),)

    return write


def _same_indices(grid: Grid, index: Tensor) -> bool:
    if index.value is None or grid.sizes is None or grid.ratio() is None:
        return False
    half = 0.5 if grid.corners or grid.centers else 0
    for number in (np.float64, np.float32):
        places = np.floor(_resize_places(grid, number) + number(half))
        if not np.array_equal(np.clip(places, 0, grid.sizes[0] - 1), index.value):
            return False
    return True


class ResizeBilinear:
    """Between the two pixels around a place, along columns first and then along rows
    (resize_bilinear_op.cc). Float32, whatever the type of the image."""

    ops = ("ResizeBilinear",)

    def emit(self, g: Builder, op: Op, images: Tensor, size: Tensor) -> Tensor:
        both = grids(g, op, images, size)
        x = g.cast(images, FLOAT)
        sizes = [grid.sizes for grid in both]
        if all(size is not None and size[0] == size[1] for size in sizes):
            return x
        if all(grid.agrees(g) for grid in both):
            return _written_as_resize(g, x, both, mode="linear")
        same = _same_size(g, both) if None in sizes else None
        for grid in reversed(both):
            low, high, share = folded(g, linear_of(grid), grid.source, grid.target)
            before = g.Gather(x, low, axis=grid.axis)
            step = g.Sub(g.Gather(x, high, axis=grid.axis), before)
            if same is not None:
                # An image that keeps its size is copied, infinities and all.
                step = g.Where(same, 0, step)
            share = g.Unsqueeze(share, [1, 2] if grid.axis == ROWS else [1])
            x = g.Add(before, g.Mul(step, share))
        return x


def _same_size(g: Builder, both: tuple[Grid, Grid]) -> Tensor:
    rows, columns = (g.Equal(grid.source, grid.target) for grid in both)
    same: Tensor = g.And(rows, columns)
    return same


def linear_of(grid: Grid) -> Callable[[Builder, Tensor, Tensor], tuple[Tensor, ...]]:
    """The pixels around each place, and how far from the first to the second it is."""

    def write(g: Builder, source: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        at = grid.places(g, source, target)
        floor = g.Floor(at)
        low = g.Max(g.cast(floor, INT64), 0)
        high = g.Min(g.cast(g.Ceil(at), INT64), g.Sub(source, 1))
        return low, high, g.Sub(at, floor)

    return write


class ResizeBicubic:
    """Four pixels along each axis, weighed by a table of 1024 steps between two pixels
    (resize_bicubic_op.cc). Half-pixel centres are Keys' cubic, whose weights outside of the image
    are left out and the others scaled up; without them A is -0.75, and the edge is repeated."""

    ops = ("ResizeBicubic",)

    def emit(self, g: Builder, op: Op, images: Tensor, size: Tensor) -> Tensor:
        both = grids(g, op, images, size)
        x = g.cast(images, FLOAT)
        # ONNX Runtime has no cubic that makes an image smaller.
        if all(grid.agrees(g) and grid.enlarges and _on_steps(g, grid) for grid in both):
            return _written_as_resize(
                g,
                x,
                both,
                mode="cubic",
                cubic_coeff_a=-0.5 if both[0].centers else -0.75,
                exclude_outside=int(both[0].centers),
            )
        for grid in both:
            index, weight = folded(g, cubic_of(grid), grid.source, grid.target)
            x = weighed(g, x, grid.axis, index, weight)
        return x


_STEPS = 1024


def _on_steps(g: Builder, grid: Grid) -> bool:
    """Whether the table has the places themselves, and does not round them."""
    (places,) = folded(g, lambda *of: (grid.places(*of),), grid.source, grid.target)
    steps = np.asarray(places.value) * _STEPS
    return bool(np.array_equal(steps, np.round(steps)))


def cubic_table(a: float) -> Array:
    """Weights of the nearer and of the farther pixel, by the step between, float32 [2, 1025]."""
    x = (np.arange(_STEPS + 1) / _STEPS).astype(np.float32)
    near = ((np.float64(a) + 2) * x - (a + 3)) * x * x + 1
    x = x + np.float32(1)
    far = ((np.float64(a) * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.stack([near, far]).astype(np.float32)


def cubic_of(grid: Grid) -> Callable[[Builder, Tensor, Tensor], tuple[Tensor, ...]]:
    """The pixels and their weights, [target, 4]."""
    near, far = cubic_table(-0.5 if grid.centers else -0.75)

    def write(g: Builder, source: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        at = grid.places(g, source, target)
        floor = g.Floor(at)
        # ONNX rounds halves to even, as lrintf does.
        step = g.cast(g.Round(g.Mul(g.Sub(at, floor), float(_STEPS))), INT64)
        rest = g.Sub(_STEPS, step)
        weights = [g.Gather(far, step), g.Gather(near, step), g.Gather(near, rest)]
        weights.append(g.Gather(far, rest))
        weight = g.Concat(*(g.Unsqueeze(w, [1]) for w in weights), axis=1)
        place = g.Add(g.Unsqueeze(g.cast(floor, INT64), [1]), [[-1, 0, 1, 2]])
        index = clamped(g, place, source)
        if grid.centers:
            weight = normalized(g, g.Where(g.Equal(place, index), weight, 0))
        return index, weight

    return write


def normalized(g: Builder, weight: Tensor) -> Tensor:
    """Weights [target, taps] that come to 1, unless they are nearly nothing."""
    total = g.ReduceSum(weight, [1], keepdims=1)
    enough = g.GreaterOrEqual(g.Abs(total), 1000 * float(np.finfo(np.float32).tiny))
    return g.Mul(weight, g.Where(enough, g.Reciprocal(total), 1))


def weighed(
    g: Builder,
    x: Tensor,
    axis: int,
    index: Tensor,
    weight: Tensor,
    inside: Tensor | None = None,
) -> Tensor:
    """Each pixel of the result as a sum of those at ``index`` [target, taps], by ``weight``.

    Where ``inside`` is false a pixel does not count, though it be infinite.
    """
    across = [2, 3] if axis == ROWS else [2]
    pixels = g.Gather(x, index, axis=axis)
    if inside is not None and not (inside.value is not None and np.all(inside.value)):
        pixels = g.Where(g.Unsqueeze(inside, across), pixels, 0)
    return g.ReduceSum(g.Mul(pixels, g.Unsqueeze(weight, across)), [axis + 1], keepdims=0)


class ResizeArea:
    """The mean of what a pixel of the result covers (resize_area_op.cc)."""

    ops = ("ResizeArea",)

    def emit(self, g: Builder, op: Op, images: Tensor, size: Tensor) -> Tensor:
        x = g.cast(images, FLOAT)
        scales = []
        for axis in (ROWS, COLUMNS):
            source = dimension(g, images, axis)
            target = g.cast(element(g, size, axis - 1), INT64)
            grid = Grid(axis, source, target, bool(op.attr("align_corners")), centers=False)
            index, weight, inside, scale = folded(g, _area_of(grid), source, target)
            x = weighed(g, x, axis, index, weight, inside)
            scales.append(scale)
        return g.Mul(x, *folded(g, lambda g, a, b: (g.Reciprocal(g.Mul(a, b)),), *scales))


def _area_of(grid: Grid) -> Callable[[Builder, Tensor, Tensor], tuple[Tensor, ...]]:
    """The pixels, how much of each is covered, which of them count, and the scale."""

    def write(g: Builder, source: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        scale = grid.scale(g, source, target)
        x = counted(g, target, FLOAT)
        low = g.Unsqueeze(g.Mul(x, scale), [1])
        high = g.Unsqueeze(g.Mul(g.Add(x, 1.0), scale), [1])
        first, end = g.cast(g.Floor(low), INT64), g.cast(g.Ceil(high), INT64)
        taps = g.ReduceMax(g.Sub(end, first), keepdims=0)
        place = g.Add(first, counted(g, taps, INT64))
        at, past = g.cast(place, FLOAT), g.cast(g.Add(place, 1), FLOAT)
        over = g.Greater(past, high)
        begins_before = g.Where(over, scale, g.Sub(past, low))
        begins_within = g.Where(over, g.Sub(high, at), 1)
        weight = g.Where(g.Less(at, low), begins_before, begins_within)
        return clamped(g, place, source), weight, g.Less(place, end), scale

    return write


HANDLERS: tuple[Handler, ...] = (
    ResizeNearestNeighbor(),
    ResizeBilinear(),
    ResizeBicubic(),
    ResizeArea(),
)
