"""Parts of images, as they are or turned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.folding import dimension, element, folded
from smconvert_onnx.handlers.pixels import Pixels, clamped, counted, rounded

FLOAT, INT64 = DType.FLOAT32, DType.INT64


class ExtractPatches:
    """Windows of images or volumes, the pixels of each one after the other as channels
    (extract_image_patches_op.cc, extract_volume_patches_op.cc)."""

    ops = ("ExtractImagePatches", "ExtractVolumePatches")

    def emit(self, g: Builder, op: Op, images: Tensor) -> Tensor:
        sizes, strides = (list(op.attr(name))[1:-1] for name in ("ksizes", "strides"))
        rates = [1] * len(sizes)
        if op.type == "ExtractImagePatches":
            rates = list(op.attr("rates"))[1:-1]
        windows = [
            folded(
                g,
                _windows_of(*of_axis, same=op.attr("padding") == "SAME"),
                dimension(g, images, 1 + i),
            )
            for i, of_axis in enumerate(zip(sizes, strides, rates, strict=True))
        ]
        spatial = len(windows)
        x = images
        if op.attr("padding") == "SAME":
            befores, afters = ([g.Unsqueeze(w[i], [0]) for w in windows] for i in (1, 2))
            x = g.Pad(x, g.Concat([0], *befores, [0, 0], *afters, [0], axis=0))
        # Each axis becomes two: of the windows, and within one.
        for i, (index, *_) in enumerate(windows):
            x = g.Gather(x, index, axis=1 + 2 * i)
        apart = [1 + 2 * i for i in range(spatial)]
        x = g.Transpose(x, perm=[0, *apart, *(a + 1 for a in apart), 1 + 2 * spatial])
        pixels = int(np.prod(sizes))
        channels = dimension(g, images, 1 + spatial)
        (channels,) = folded(g, lambda g, count: (g.Mul(count, pixels),), channels)
        # Of a Concat ONNX Runtime would make a -1, which fails for an empty batch.
        return g.Reshape(x, g.Pad(g.Unsqueeze(channels, [0]), [1 + spatial, 0]))


def _windows_of(
    size: int, stride: int, rate: int, *, same: bool
) -> Callable[[Builder, Tensor], tuple[Tensor, ...]]:
    """Indices [windows, size] along an axis, and how many zeros go before and after it."""
    reach = (size - 1) * rate + 1
    within = np.arange(size) * rate

    def write(g: Builder, source: Tensor) -> tuple[Tensor, ...]:
        if same:
            count = g.Div(g.Add(source, stride - 1), stride)
            spare = g.Sub(g.Add(g.Mul(g.Sub(count, 1), stride), reach), source)
            spare = g.Max(spare, 0)
            before = g.Div(spare, 2)
            after = g.Sub(spare, before)
        else:
            count = g.Div(g.Add(g.Sub(source, reach), stride), stride)
            before = after = g.constant(np.int64(0))
        first = g.Unsqueeze(g.Mul(counted(g, count, INT64), stride), [1])
        return g.Add(first, within[np.newaxis]), before, after

    return write


class ExtractGlimpse:
    """A window at a place of its own in each image, with zeros where it leaves the image
    (eigen_attention.h). The first version halves offsets from the centre, and the window lies
    around the place; the second does so for normalized and centred offsets only."""

    ops = ("ExtractGlimpse", "ExtractGlimpseV2")

    def emit(self, g: Builder, op: Op, images: Tensor, size: Tensor, offsets: Tensor) -> Tensor:
        if op.attr("noise") != "zero":
            op.refuse(
                "where a window leaves the image it is filled with random numbers",
                "call tf.image.extract_glimpse with noise='zero'",
            )
        pixels = Pixels(g, images)
        starts = []
        for i, extent in enumerate((pixels.height, pixels.width)):
            offset = g.Gather(offsets, np.int64(i), axis=1)
            wanted = g.cast(element(g, size, i), FLOAT)
            start = _glimpse_start(g, op, offset, g.cast(extent, FLOAT), wanted)
            starts.append(g.Unsqueeze(g.cast(start, INT64), [1]))
        y, x = (
            g.Add(start, counted(g, g.cast(element(g, size, i), INT64), INT64))
            for i, start in enumerate(starts)
        )
        y, x = g.Unsqueeze(y, [2]), g.Unsqueeze(x, [1])
        batch = g.Unsqueeze(counted(g, pixels.batch, INT64), [1, 2])
        value = pixels.at(batch, clamped(g, y, pixels.height), clamped(g, x, pixels.width))
        result: Tensor = g.Where(g.Unsqueeze(pixels.inside(y, x), [3]), value, 0)
        return result


def _glimpse_start(g: Builder, op: Op, at: Tensor, extent: Tensor, wanted: Tensor) -> Tensor:
    normalized, centered = bool(op.attr("normalized")), bool(op.attr("centered"))
    first_version = op.type == "ExtractGlimpse"
    if normalized:
        at = g.Mul(at, extent)
    if centered and (first_version or normalized):
        at = g.Div(at, 2.0)
    if centered:
        at = g.Add(at, g.Div(extent, 2.0))
    if first_version or (normalized and centered):
        at = g.Sub(at, g.Div(wanted, 2.0))
    return at


class ImageProjectiveTransform:
    """Each pixel from where a projective transform says (image_ops.h)."""

    ops = ("ImageProjectiveTransformV2", "ImageProjectiveTransformV3")

    def emit(
        self,
        g: Builder,
        op: Op,
        images: Tensor,
        transforms: Tensor,
        size: Tensor,
        fill: Tensor | None = None,
    ) -> Tensor:
        dtype = images.dtype
        pixels = Pixels(g, images)
        fill = g.constant(0, dtype) if fill is None else g.cast(fill, dtype)
        y, x, finite = _sources(g, transforms, size)
        mode = op.attr("fill_mode")
        y, x = _brought_in(g, mode, y, pixels.height), _brought_in(g, mode, x, pixels.width)
        batch = g.Unsqueeze(counted(g, pixels.batch, INT64), [1, 2])

        def at(rows: Tensor, columns: Tensor) -> Tensor:
            value = pixels.at(
                batch, clamped(g, rows, pixels.height), clamped(g, columns, pixels.width)
            )
            return g.Where(g.Unsqueeze(pixels.inside(rows, columns), [3]), value, fill)

        if op.attr("interpolation") == "NEAREST":
            value = at(g.cast(rounded(g, y), INT64), g.cast(rounded(g, x), INT64))
        else:
            value = _mixed(g, at, y, x, dtype)
        result: Tensor = g.Where(g.Unsqueeze(finite, [3]), value, fill)
        return result


def _sources(g: Builder, transforms: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the pixels of the result come from, [transforms, height, width], if from anywhere."""
    parts = g.Split(transforms, [1] * 8, axis=1, outputs=8)
    a, b, c, d, e, f, k, m = (g.Unsqueeze(part, [2]) for part in parts)
    height, width = (g.cast(element(g, size, i), INT64) for i in (0, 1))
    y = g.Unsqueeze(counted(g, height, FLOAT), [0, 2])
    x = g.Unsqueeze(counted(g, width, FLOAT), [0, 1])

    def row(by_x: Tensor, by_y: Tensor, shift: Tensor | float) -> Tensor:
        result: Tensor = g.Add(g.Add(g.Mul(by_x, x), g.Mul(by_y, y)), shift)
        return result

    depth = row(k, m, 1.0)
    finite = g.Not(g.Equal(depth, 0.0))
    depth = g.Where(finite, depth, 1)
    return g.Div(row(d, e, f), depth), g.Div(row(a, b, c), depth), finite


_FAR = 1e6
"""So far outside no image reaches; int64 holds it, as it does not all floats."""


def _brought_in(g: Builder, mode: str, at: Tensor, size: Tensor) -> Tensor:
    """A place along one axis, moved into the image as the fill mode says."""
    extent = g.cast(size, FLOAT)
    last = g.Sub(extent, 1.0)
    if mode == "CONSTANT":
        return g.Max(g.Min(at, g.Add(extent, _FAR)), -_FAR)
    if mode in {"REFLECT", "WRAP"}:
        move = _reflected if mode == "REFLECT" else _wrapped
        at = g.Where(g.LessOrEqual(extent, 1.0), 0, move(g, at, extent, last))
    return g.Max(g.Min(at, last), 0.0)


def _reflected(g: Builder, at: Tensor, extent: Tensor, last: Tensor) -> Tensor:
    twice = g.Mul(extent, 2.0)
    below = g.Add(g.Mul(twice, g.Floor(g.Div(g.Neg(at), twice))), at)
    far_below = g.Less(below, g.Neg(extent))
    below = g.Where(far_below, g.Add(below, twice), g.Sub(g.Neg(below), 1.0))
    above = g.Sub(at, g.Mul(twice, g.Floor(g.Div(at, twice))))
    above = g.Where(g.GreaterOrEqual(above, extent), g.Sub(g.Sub(twice, above), 1.0), above)
    return g.Where(g.Less(at, 0.0), below, g.Where(g.Greater(at, last), above, at))


def _wrapped(g: Builder, at: Tensor, extent: Tensor, last: Tensor) -> Tensor:
    below = g.Add(at, g.Mul(extent, g.Add(g.Floor(g.Div(g.Neg(at), last)), 1.0)))
    above = g.Sub(at, g.Mul(extent, g.Floor(g.Div(at, last))))
    return g.Where(g.Less(at, 0.0), below, g.Where(g.Greater(at, last), above, at))


def _mixed(
    g: Builder, at: Callable[[Tensor, Tensor], Tensor], y: Tensor, x: Tensor, dtype: DType
) -> Tensor:
    """Between the four pixels around a place, computed in float32."""
    rows, columns = (
        [
            (g.cast(low, INT64), g.Sub(g.Add(low, 1.0), v)),
            (g.cast(g.Add(low, 1.0), INT64), g.Sub(v, low)),
        ]
        for v, low in ((y, g.Floor(y)), (x, g.Floor(x)))
    )
    sums = []
    for row, _ in rows:
        terms = [
            g.Mul(g.Unsqueeze(share, [3]), g.cast(at(row, column), FLOAT))
            for column, share in columns
        ]
        sums.append(g.Add(*terms))
    terms = [
        g.Mul(g.Unsqueeze(share, [3]), value) for (_, share), value in zip(rows, sums, strict=True)
    ]
    return g.cast(g.Add(*terms), dtype)


HANDLERS: tuple[Handler, ...] = (
    ExtractPatches(),
    ExtractGlimpse(),
    ImageProjectiveTransform(),
)
