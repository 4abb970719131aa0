"""Gradients of boxes that are cut out of images: by the image, and by the boxes."""

from __future__ import annotations

from dataclasses import dataclass

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.folding import dimension, element
from smconvert_onnx.handlers.images_boxes import across, coordinates, is_within
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.pixels import Pixels, clamped, counted, rounded
from smconvert_onnx.handlers.reductions_segments import gathered_by

FLOAT, INT64 = DType.FLOAT32, DType.INT64


@dataclass(frozen=True)
class _Axis:
    """Where the pixels of crops lie along one axis of the images.

    Attributes:
        size: Of the images, an int64 scalar.
        steps: Of the crops, an int64 scalar.
        place: Float32 [boxes, steps].
        inside: Whether a place lies within the image, [boxes, steps].
        low: The pixel before it, int64.
        high: The pixel after it.
        share: How far from the one to the other it is.
    """

    size: Tensor
    steps: Tensor
    place: Tensor
    inside: Tensor
    low: Tensor
    high: Tensor
    share: Tensor


def _axis(g: Builder, first: Tensor, last: Tensor, size: Tensor, steps: Tensor) -> _Axis:
    place = across(g, g.Unsqueeze(first, [1]), g.Unsqueeze(last, [1]), size, steps)
    floor = g.Floor(place)
    low, high = (clamped(g, g.cast(p, INT64), size) for p in (floor, g.Ceil(place)))
    inside = is_within(g, place, size)
    return _Axis(size, steps, place, inside, low, high, g.Sub(place, floor))


def _axes(
    g: Builder, boxes: Tensor, gradients: Tensor, height: Tensor, width: Tensor
) -> tuple[_Axis, _Axis]:
    top, left, bottom, right = coordinates(g, boxes)
    rows = _axis(g, top, bottom, height, dimension(g, gradients, 1))
    return rows, _axis(g, left, right, width, dimension(g, gradients, 2))


class OfImage:
    """Each gradient goes to the pixels that its pixel came from, by their weights; boxes of
    images that are not there count nothing (crop_and_resize_op.cc)."""

    ops = ("CropAndResizeGradImage",)

    def emit(
        self, g: Builder, op: Op, gradients: Tensor, boxes: Tensor, batch: Tensor, size: Tensor
    ) -> Tensor:
        size = g.cast(size, INT64)
        height, width = element(g, size, 1), element(g, size, 2)
        rows, columns = _axes(g, boxes, gradients, height, width)
        if op.attr("method") == "nearest":
            taps = [(self._nearest(g, rows), self._nearest(g, columns))]
        else:
            both = [self._between(g, axis) for axis in (rows, columns)]
            taps = [(row, column) for row in both[0] for column in both[1]]
        inside = g.And(g.Unsqueeze(rows.inside, [2]), g.Unsqueeze(columns.inside, [1]))
        image = g.Unsqueeze(g.cast(batch, INT64), [1, 2])
        images = element(g, size, 0)
        known = g.And(g.GreaterOrEqual(image, 0), g.Less(image, images))
        inside = g.And(inside, known)
        places, parts = [], []
        for (row, row_share), (column, column_share) in taps:
            number = g.Add(g.Mul(image, height), g.Unsqueeze(row, [2]))
            number = g.Add(g.Mul(number, width), g.Unsqueeze(column, [1]))
            places.append(g.Reshape(g.Where(inside, number, -1), [-1]))
            part = g.Mul(g.Unsqueeze(row_share, [2, 3]), gradients)
            parts.append(g.Mul(g.Unsqueeze(column_share, [1, 3]), part))
        pixels = g.Mul(g.Mul(images, height), width)
        counts = g.Mul(g.Slice(g.Shape(places[0]), [0], [1]), len(taps))
        depth = g.Slice(g.shape(gradients), [3], [4])
        whole = reshaped(g, g.Concat(*parts, axis=0), g.Concat(counts, depth, axis=0))
        ids, count = g.Concat(*places, axis=0), g.Reshape(pixels, [1])
        made = gathered_by(g, op, "add", g.cast(whole, self._exact(op)), ids, count)
        return g.cast(reshaped(g, made, size), op.outputs[0].dtype)

    @staticmethod
    def _exact(op: Op) -> DType:
        double = op.outputs[0].dtype is DType.FLOAT64
        return DType.FLOAT64 if double else FLOAT

    @staticmethod
    def _nearest(g: Builder, axis: _Axis) -> tuple[Tensor, Tensor]:
        """The pixel for each place, and a weight of 1."""
        number = clamped(g, g.cast(rounded(g, axis.place), INT64), axis.size)
        return number, g.Expand(g.constant(1.0), g.Shape(axis.place))

    @staticmethod
    def _between(g: Builder, axis: _Axis) -> list[tuple[Tensor, Tensor]]:
        """The two pixels for each place, and their weights."""
        return [(axis.low, g.Sub(1.0, axis.share)), (axis.high, axis.share)]


class OfBoxes:
    """How the crop changes as its sides move: the slope of the image at each place, times how far
    the place moves with a side (crop_and_resize_op.cc)."""

    ops = ("CropAndResizeGradBoxes",)

    def emit(
        self, g: Builder, op: Op, gradients: Tensor, images: Tensor, boxes: Tensor, batch: Tensor
    ) -> Tensor:
        pixels = Pixels(g, g.cast(images, FLOAT))
        rows, columns = _axes(g, boxes, gradients, pixels.height, pixels.width)
        image = g.cast(batch, INT64)
        known = g.And(g.GreaterOrEqual(image, 0), g.Less(image, pixels.batch))
        image = g.Unsqueeze(clamped(g, image, pixels.batch), [1, 2])
        corners = [
            [
                pixels.at(image, g.Unsqueeze(row, [2]), g.Unsqueeze(column, [1]))
                for column in (columns.low, columns.high)
            ]
            for row in (rows.low, rows.high)
        ]
        (top_left, top_right), (bottom_left, bottom_right) = corners
        in_y, in_x = g.Unsqueeze(rows.share, [2, 3]), g.Unsqueeze(columns.share, [1, 3])
        down = self._mixed(g, g.Sub(bottom_left, top_left), g.Sub(bottom_right, top_right), in_x)
        along = self._mixed(g, g.Sub(top_right, top_left), g.Sub(bottom_right, bottom_left), in_y)
        inside = g.And(g.Unsqueeze(rows.inside, [2]), g.Unsqueeze(columns.inside, [1]))
        inside = g.Unsqueeze(g.And(inside, g.Unsqueeze(known, [1, 2])), [3])
        sides: list[Tensor] = []
        for slope, axis, others in ((down, rows, [0, 2, 3]), (along, columns, [0, 1, 3])):
            steep = g.Where(inside, g.Mul(slope, gradients), 0)
            for moved in self._moved(g, axis):
                product = g.Mul(steep, g.Unsqueeze(moved, others))
                sides.append(g.ReduceSum(product, [1, 2, 3], keepdims=0))
        top, bottom, left, right = (g.Unsqueeze(side, [1]) for side in sides)
        made: Tensor = g.Concat(top, left, bottom, right, axis=1)
        return made

    @staticmethod
    def _mixed(g: Builder, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        made: Tensor = g.Add(g.Mul(first, g.Sub(1.0, share)), g.Mul(second, share))
        return made

    @staticmethod
    def _moved(g: Builder, axis: _Axis) -> tuple[Tensor, Tensor]:
        """How far each place moves with the first and with the last side, [steps]."""
        extent = g.cast(g.Sub(axis.size, 1), FLOAT)
        many = g.Greater(axis.steps, 1)
        ratio = g.Div(extent, g.cast(g.Max(g.Sub(axis.steps, 1), 1), FLOAT))
        last = g.Mul(counted(g, axis.steps, FLOAT), ratio)
        # A single pixel lies in the middle.
        half = g.Mul(extent, 0.5)
        return g.Where(many, g.Sub(extent, last), half), g.Where(many, last, half)


HANDLERS: tuple[Handler, ...] = (OfImage(), OfBoxes())
