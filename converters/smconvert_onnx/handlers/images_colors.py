"""Colors of images."""

from __future__ import annotations

from collections.abc import Sequence

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor

SECTORS = 6
"""Of the circle of hues: a primary or secondary color begins each."""


def _channels(g: Builder, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three channels, each [..., 1]."""
    first, second, third = g.Split(image, [1, 1, 1], axis=-1, outputs=3)
    return first, second, third


def _choice(
    g: Builder, which: Tensor, values: Sequence[Tensor | float], otherwise: float
) -> Tensor:
    """``values[which]``, or ``otherwise`` where there is none."""
    result: Tensor | float = otherwise
    for number, value in reversed(list(enumerate(values))):
        result = g.Where(g.Equal(which, number), value, result)
    assert isinstance(result, Tensor)
    return result


class AdjustContrast:
    """Away from the mean of each channel, or towards it (adjust_contrast_op.cc)."""

    ops = ("AdjustContrastv2",)

    def emit(self, g: Builder, op: Op, images: Tensor, factor: Tensor) -> Tensor:
        axes = [-3, -2]
        if g.opset >= 18:
            mean = g.ReduceMean(images, axes, keepdims=1)
        else:
            mean = g.ReduceMean(images, axes=axes, keepdims=1)
        result: Tensor = g.Add(mean, g.Mul(g.Sub(images, mean), factor))
        return result


class RGBToHSV:
    """Hue, saturation and value, between 0 and 1 (colorspace_op.h)."""

    ops = ("RGBToHSV",)

    def emit(self, g: Builder, op: Op, images: Tensor) -> Tensor:
        return g.Concat(*_hsv(g, images), axis=-1)


def _hsv(g: Builder, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    red, green, blue = _channels(g, images)
    value = g.Max(g.Max(red, green), blue)
    reach = g.Sub(value, g.Min(g.Min(red, green), blue))
    saturation = g.Where(g.Greater(value, 0.0), g.Div(reach, value), 0)
    number = images.dtype.numpy.type
    sixth = number(1) / number(6)
    norm = g.Mul(g.Reciprocal(reach), sixth)
    of_red = g.Mul(norm, g.Sub(green, blue))
    of_green = g.Add(g.Mul(norm, g.Sub(blue, red)), number(2) / number(6))
    of_blue = g.Add(g.Mul(norm, g.Sub(red, green)), number(4) / number(6))
    hue = g.Where(g.Equal(green, value), of_green, of_blue)
    hue = g.Where(g.Equal(red, value), of_red, hue)
    hue = g.Where(g.Greater(reach, 0.0), hue, 0)
    hue = g.Where(g.Less(hue, 0.0), g.Add(hue, 1.0), hue)
    return hue, saturation, value


class HSVToRGB:
    """The reverse of RGBToHSV (colorspace_op.h)."""

    ops = ("HSVToRGB",)

    def emit(self, g: Builder, op: Op, images: Tensor) -> Tensor:
        hue, saturation, value = _channels(g, images)
        sector = g.Mul(hue, float(SECTORS))
        shares = (
            g.Sub(g.Abs(g.Sub(sector, 3.0)), 1.0),
            g.Add(g.Neg(g.Abs(g.Sub(sector, 2.0))), 2.0),
            g.Add(g.Neg(g.Abs(g.Sub(sector, 4.0))), 2.0),
        )
        pale = g.Add(g.Neg(saturation), 1.0)
        colors = (
            g.Mul(g.Add(pale, g.Mul(saturation, g.Min(g.Max(share, 0.0), 1.0))), value)
            for share in shares
        )
        return g.Concat(*colors, axis=-1)


class AdjustSaturation:
    """Saturation times a factor, within 0 and 1 (adjust_saturation_op.cc)."""

    ops = ("AdjustSaturation",)

    def emit(self, g: Builder, op: Op, images: Tensor, factor: Tensor) -> Tensor:
        hue, saturation, value = _hsv(g, images)
        saturation = g.Min(g.Max(g.Mul(saturation, factor), 0.0), 1.0)
        chroma = g.Mul(saturation, value)
        least = g.Sub(value, chroma)
        place = g.Mul(hue, float(SECTORS))
        sector = g.cast(place, DType.INT64)
        pair = g.Sub(place, g.Mul(g.Floor(g.Mul(place, 0.5)), 2.0))
        between = g.Mul(chroma, g.Sub(1.0, g.Abs(g.Sub(pair, 1.0))))
        none = g.Mul(chroma, 0.0)
        by_sector = (
            (chroma, between, none, none, between, chroma),
            (between, chroma, chroma, between, none, none),
            (none, none, between, chroma, chroma, between),
        )
        colors = (g.Add(_choice(g, sector, values, 0.0), least) for values in by_sector)
        return g.Concat(*colors, axis=-1)


class AdjustHue:
    """The hue turned by a part of the circle (adjust_hue_op.cc)."""

    ops = ("AdjustHue",)

    def emit(self, g: Builder, op: Op, images: Tensor, delta: Tensor) -> Tensor:
        red, green, blue = _channels(g, images)
        low, high = g.Min(red, green), g.Max(red, green)
        least, most = g.Min(low, blue), g.Max(high, blue)
        middle = g.Max(low, g.Min(high, blue))
        # By which of red and green is greater, and where blue lies: least, most or between.
        green_wins = g.Less(red, green)
        blue_low, blue_high = g.Less(blue, low), g.Greater(blue, high)
        of_green = g.Where(blue_low, 1.0, g.Where(blue_high, 3.0, 2.0))
        of_red = g.Where(blue_low, 0.0, g.Where(blue_high, 4.0, 5.0))
        sector = g.Where(green_wins, of_green, of_red)
        ratio = g.Div(g.Sub(middle, least), g.Sub(most, least))
        hue = g.Add(sector, _rising(g, sector, ratio))
        hue = g.Where(g.Equal(most, least), 0, hue)
        hue = g.Add(hue, g.Mul(delta, float(SECTORS)))
        hue = g.Sub(hue, g.Mul(g.Floor(g.Div(hue, float(SECTORS))), float(SECTORS)))
        # A hue just below 0 is rounded to the whole circle.
        hue = g.Where(g.GreaterOrEqual(hue, float(SECTORS)), 0, hue)
        sector = g.Floor(hue)
        ratio = _rising(g, sector, g.Sub(hue, sector))
        middle = g.Add(least, g.Mul(ratio, g.Sub(most, least)))
        which = g.cast(sector, DType.INT64)
        by_sector = (
            (most, middle, least, least, middle, most),
            (middle, most, most, middle, least, least),
            (least, least, middle, most, most, middle),
        )
        colors = (_choice(g, which, values, 0.0) for values in by_sector)
        return g.Concat(*colors, axis=-1)


def _rising(g: Builder, sector: Tensor, ratio: Tensor) -> Tensor:
    """The ratio in the even sectors, and what is left of 1 in the odd ones."""
    odd = g.Equal(g.Sub(sector, g.Mul(g.Floor(g.Mul(sector, 0.5)), 2.0)), 1.0)
    result: Tensor = g.Where(odd, g.Sub(1.0, ratio), ratio)
    return result


HANDLERS: tuple[Handler, ...] = (
    AdjustContrast(),
    RGBToHSV(),
    HSVToRGB(),
    AdjustSaturation(),
    AdjustHue(),
)
