"""Boxes of images, cut out or drawn."""

from __future__ import annotations

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.folding import dimension, element
from smconvert_onnx.handlers.pixels import Pixels, clamped, counted, rounded

FLOAT, INT64 = DType.FLOAT32, DType.INT64


class CropAndResize:
    """Boxes of images, each stretched to one size (crop_and_resize_op.cc)."""

    ops = ("CropAndResize",)

    def emit(
        self, g: Builder, op: Op, images: Tensor, boxes: Tensor, batch: Tensor, size: Tensor
    ) -> Tensor:
        pixels = Pixels(g, g.cast(images, FLOAT))
        sides = [g.Unsqueeze(s, [1]) for s in coordinates(g, boxes)]
        in_y = across(g, sides[0], sides[2], pixels.height, element(g, size, 0))
        in_x = across(g, sides[1], sides[3], pixels.width, element(g, size, 1))
        y, x = g.Unsqueeze(in_y, [2]), g.Unsqueeze(in_x, [1])
        image = g.Unsqueeze(g.cast(batch, INT64), [1, 2])
        if op.attr("method") == "nearest":
            rows, columns = (g.cast(rounded(g, v), INT64) for v in (y, x))
            rows, columns = (
                clamped(g, rows, pixels.height),
                clamped(g, columns, pixels.width),
            )
            value = pixels.at(image, rows, columns)
        else:
            value = _between(g, pixels, image, y, x)
        within = g.And(is_within(g, y, pixels.height), is_within(g, x, pixels.width))
        outside = float(op.attr("extrapolation_value"))
        result: Tensor = g.Where(g.Unsqueeze(within, [3]), value, outside)
        return result


def coordinates(g: Builder, boxes: Tensor) -> tuple[Tensor, ...]:
    """The four coordinates of boxes [..., 4]."""
    columns = g.Split(boxes, [1, 1, 1, 1], axis=-1, outputs=4)
    return tuple(g.Squeeze(column, [-1]) for column in columns)


def across(g: Builder, first: Tensor, last: Tensor, size: Tensor, steps: Tensor) -> Tensor:
    """Where the pixels of a crop lie between two sides [boxes, 1], float32 [boxes, steps]."""
    steps = g.cast(steps, INT64)
    extent = g.cast(g.Sub(size, 1), FLOAT)
    # One pixel lies in the middle; the division is then by 1 for the sake of the others.
    gaps = g.cast(g.Max(g.Sub(steps, 1), 1), FLOAT)
    step = g.Div(g.Mul(g.Sub(last, first), extent), gaps)
    many = g.Add(g.Mul(first, extent), g.Mul(counted(g, steps, FLOAT), step))
    if steps.value is not None and int(steps.value) > 1:
        return many
    middle = g.Mul(g.Mul(g.Add(first, last), 0.5), extent)
    return g.Where(g.Greater(steps, 1), many, middle)


def is_within(g: Builder, place: Tensor, size: Tensor) -> Tensor:
    """Whether places lie between the first and the last of so many pixels."""
    last = g.cast(g.Sub(size, 1), FLOAT)
    return g.And(g.GreaterOrEqual(place, 0.0), g.LessOrEqual(place, last))


def _between(g: Builder, pixels: Pixels, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The values at places between pixels, along columns first."""
    floor_y, floor_x = g.Floor(y), g.Floor(x)
    top, bottom, left, right = (
        clamped(g, g.cast(place, INT64), size)
        for place, size in (
            (floor_y, pixels.height),
            (g.Ceil(y), pixels.height),
            (floor_x, pixels.width),
            (g.Ceil(x), pixels.width),
        )
    )
    share_y, share_x = (g.Unsqueeze(g.Sub(*pair), [3]) for pair in ((y, floor_y), (x, floor_x)))

    def mixed(before: Tensor, after: Tensor, share: Tensor) -> Tensor:
        result: Tensor = g.Add(before, g.Mul(g.Sub(after, before), share))
        return result

    above, below = (
        mixed(pixels.at(image, row, left), pixels.at(image, row, right), share_x)
        for row in (top, bottom)
    )
    return mixed(above, below, share_y)


_COLORS = np.array(
    [
        [1, 1, 0, 1],
        [0, 0, 1, 1],
        [1, 0, 0, 1],
        [0, 1, 0, 1],
        [0.5, 0, 0.5, 1],
        [0.5, 0.5, 0, 1],
        [0.5, 0, 0, 1],
        [0, 0, 0.5, 1],
        [0, 1, 1, 1],
        [1, 0, 1, 1],
    ],
    np.float32,
)


class DrawBoundingBoxes:
    """The borders of boxes, one over the other, a pixel wide (draw_bounding_box_op.cc)."""

    ops = ("DrawBoundingBoxes", "DrawBoundingBoxesV2")

    def emit(
        self, g: Builder, op: Op, images: Tensor, boxes: Tensor, colors: Tensor | None = None
    ) -> Tensor:
        depth = dimension(g, images, 3)
        height, width = dimension(g, images, 1), dimension(g, images, 2)
        table, count = _table(g, depth, colors)
        table = g.cast(table, images.dtype)
        sides = [
            g.cast(g.Mul(side, g.cast(g.Sub(size, 1), FLOAT)), INT64)
            for side, size in zip(
                coordinates(g, boxes), (height, width, height, width), strict=True
            )
        ]

        def drawn(inner: Builder, number: Tensor, go: Tensor, canvas: Tensor) -> list[Tensor]:
            top, left, bottom, right = (
                inner.Unsqueeze(inner.Gather(side, number, axis=1), [1, 2, 3]) for side in sides
            )
            border = _border(inner, (top, left, bottom, right), height, width)
            color = inner.Gather(table, inner.Mod(number, count))
            return [go, inner.Where(border, color, canvas)]

        loop: Tensor = g.Loop(
            dimension(g, boxes, 1),
            None,
            images,
            body=g.body([(INT64, ()), (DType.BOOL, ()), (images.dtype, images.shape)], drawn),
        )
        return loop


def _border(g: Builder, box: tuple[Tensor, ...], height: Tensor, width: Tensor) -> Tensor:
    """Whether a pixel lies on the border of its image's box, [N, H, W, 1]."""
    top, left, bottom, right = box
    y = g.Unsqueeze(counted(g, height, INT64), [0, 2, 3])
    x = g.Unsqueeze(counted(g, width, INT64), [0, 1, 3])
    rows = g.And(g.GreaterOrEqual(y, top), g.LessOrEqual(y, bottom))
    columns = g.And(g.GreaterOrEqual(x, left), g.LessOrEqual(x, right))
    lines = g.And(g.Or(g.Equal(y, top), g.Equal(y, bottom)), columns)
    posts = g.And(g.Or(g.Equal(x, left), g.Equal(x, right)), rows)
    upright = g.And(g.LessOrEqual(top, bottom), g.LessOrEqual(left, right))
    return g.And(g.Or(lines, posts), upright)


def _table(g: Builder, depth: Tensor, colors: Tensor | None) -> tuple[Tensor, Tensor]:
    """The colors [colors, depth], and how many there are: TensorFlow's own where none are given."""
    own: Array = _COLORS.copy()
    gray = own.copy()
    gray[:, 0] = 1
    defaults = g.Where(g.Equal(depth, 1), gray, own)
    defaults = g.Slice(defaults, [0], g.Unsqueeze(depth, [0]), [1])
    if colors is None:
        return defaults, g.constant(np.int64(len(own)))
    given = g.Slice(colors, [0], g.Unsqueeze(depth, [0]), [1])
    count = dimension(g, colors, 0)
    none = g.Equal(count, 0)
    return (
        g.Concat(given, defaults, axis=0),
        g.Where(none, len(own), count),
    )


HANDLERS: tuple[Handler, ...] = (
    CropAndResize(),
    DrawBoundingBoxes(),
)
