"""Reading single pixels of images, and the arithmetic of where they lie."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Tensor
from smconvert_onnx.handlers.folding import dimension


def rounded(g: Builder, x: Tensor) -> Tensor:
    """``x`` rounded to integers as C does, halves away from zero; ONNX rounds them to even."""
    low = g.Floor(x)
    rest = g.Sub(x, low)
    up = g.Or(g.Greater(rest, 0.5), g.And(g.Equal(rest, 0.5), g.GreaterOrEqual(x, 0.0)))
    return g.Add(low, g.cast(up, x.dtype))


def counted(g: Builder, size: Tensor, dtype: DType) -> Tensor:
    """``0 .. size - 1`` as ``dtype``."""
    return g.cast(g.Range(0, size, 1), dtype)


def clamped(g: Builder, index: Tensor, size: Tensor) -> Tensor:
    """The indices, those outside ``0 .. size - 1`` moved to its ends."""
    return g.Max(g.Min(index, g.Sub(size, 1)), 0)


class Pixels:
    """The pixels of a batch of images [N, H, W, C], to be read at any places.

    Attributes:
        height: Of the images, an int64 scalar.
        width: Of the images, an int64 scalar.
    """

    def __init__(self, g: Builder, images: Tensor) -> None:
        self._g = g
        self.batch = dimension(g, images, 0)
        self.height = dimension(g, images, 1)
        self.width = dimension(g, images, 2)
        self._flat = g.Flatten(images, axis=3)

    def at(self, batch: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The pixels [..., C] at int64 places that lie within, of shapes that broadcast."""
        g = self._g
        row = g.Add(g.Mul(batch, self.height), y)
        return g.Gather(self._flat, g.Add(g.Mul(row, self.width), x), axis=0)

    def inside(self, y: Tensor, x: Tensor) -> Tensor:
        """Whether the places lie within the image."""
        g = self._g
        rows = g.And(g.GreaterOrEqual(y, 0), g.Less(y, self.height))
        return g.And(rows, g.And(g.GreaterOrEqual(x, 0), g.Less(x, self.width)))
