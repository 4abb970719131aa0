"""Images scaled and moved, by sampling kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.folding import dimension, element, folded
from smconvert_onnx.handlers.images import COLUMNS, ROWS, weighed
from smconvert_onnx.handlers.pixels import clamped, counted

FLOAT, INT64 = DType.FLOAT32, DType.INT64


@dataclass(frozen=True)
class Kernel:
    """A sampling kernel (sampling_kernels.h): its radius, and its value at a distance."""

    radius: float
    write: Callable[[Builder, Tensor], Tensor]


def _lanczos(radius: float) -> Kernel:
    def write(g: Builder, x: Tensor) -> Tensor:
        angle = g.Mul(x, float(np.float32(np.pi)))
        above = g.Mul(g.Mul(g.Sin(angle), g.Sin(g.Div(angle, radius))), radius)
        value = g.Div(above, g.Mul(angle, angle))
        value = g.Where(g.LessOrEqual(x, 1e-3), 1, value)
        return g.Where(g.Greater(x, radius), 0, value)

    return Kernel(radius, write)


def _gaussian(g: Builder, x: Tensor) -> Tensor:
    value = g.Exp(g.Div(g.Neg(g.Mul(x, x)), 0.5))
    return g.Where(g.GreaterOrEqual(x, 1.5), 0, value)


def _box(g: Builder, x: Tensor) -> Tensor:
    return g.Where(g.Less(x, 0.5), 1.0, g.Where(g.Equal(x, 0.5), 0.5, 0.0))


def _triangle(g: Builder, x: Tensor) -> Tensor:
    return g.Where(g.Less(x, 1.0), g.Sub(1.0, x), 0)


def _cubic(
    near: tuple[float, float, float], far: tuple[float, float, float, float]
) -> Callable[[Builder, Tensor], Tensor]:
    def write(g: Builder, x: Tensor) -> Tensor:
        inner = g.Add(g.Mul(g.Mul(g.Add(g.Mul(x, near[0]), near[1]), x), x), near[2])
        outer = g.Add(g.Mul(g.Add(g.Mul(x, far[0]), far[1]), x), far[2])
        outer = g.Add(g.Mul(outer, x), far[3])
        value = g.Where(g.GreaterOrEqual(x, 1.0), outer, inner)
        return g.Where(g.GreaterOrEqual(x, 2.0), 0, value)

    return write


_KERNELS = {
    "lanczos1": _lanczos(1),
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
    "gaussian": Kernel(1.5, _gaussian),
    "box": Kernel(1, _box),
    "triangle": Kernel(1, _triangle),
    "keyscubic": Kernel(2, _cubic((1.5, -2.5, 1), (-0.5, 2.5, -4, 2))),
    "mitchellcubic": Kernel(2, _cubic((7 / 6, -2, 8 / 9), (-7 / 18, 2, -10 / 3, 16 / 9))),
}


def kernel_of(op: Op) -> Kernel:
    """The kernel that the op names.

    Raises:
        ConversionError: TensorFlow does not know it either.
    """
    kernel = _KERNELS.get(op.attr("kernel_type").lower())
    if kernel is None:
        op.refuse(f"TensorFlow has no kernel_type {op.attr('kernel_type')!r}")
    return kernel


class ScaleAndTranslate:
    """Pixels weighed by a kernel around their places, which with ``antialias`` grows with the
    pixels of the result (scale_and_translate_op.cc)."""

    ops = ("ScaleAndTranslate",)

    def emit(
        self, g: Builder, op: Op, images: Tensor, size: Tensor, scale: Tensor, shift: Tensor
    ) -> Tensor:
        x = g.cast(images, FLOAT)
        for axis in (ROWS, COLUMNS):
            index, weight, inside = folded(
                g,
                spans_of(kernel_of(op), antialias=bool(op.attr("antialias"))),
                dimension(g, images, axis),
                g.cast(element(g, size, axis - 1), INT64),
                element(g, scale, axis - 1),
                element(g, shift, axis - 1),
            )
            x = weighed(g, x, axis, index, weight, inside)
        return x


def spans_of(
    kernel: Kernel, *, antialias: bool
) -> Callable[[Builder, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, ...]]:
    """The pixels [target, taps], their weights, and which of them there are."""

    def write(
        g: Builder, source: Tensor, target: Tensor, scale: Tensor, shift: Tensor
    ) -> tuple[Tensor, ...]:
        inverse = g.Reciprocal(scale)
        width = g.Max(inverse, 1) if antialias else g.constant(np.float32(1))
        reach = g.Mul(width, kernel.radius)
        widest = g.Add(g.Mul(g.cast(g.Ceil(reach), INT64), 2), 1)
        sample = g.Mul(g.Add(counted(g, target, FLOAT), 0.5), inverse)
        sample = g.Unsqueeze(g.Add(sample, g.Mul(g.Neg(inverse), shift)), [1])
        away = g.Or(g.Less(sample, 0.0), g.Greater(sample, g.cast(source, FLOAT)))
        first = g.cast(g.Ceil(g.Sub(g.Sub(sample, reach), 0.5)), INT64)
        last = g.cast(g.Floor(g.Sub(g.Add(sample, reach), 0.5)), INT64)
        first, last = clamped(g, first, source), clamped(g, last, source)
        place = g.Add(first, counted(g, g.Min(widest, source), INT64))
        distance = g.Sub(g.Add(g.cast(place, FLOAT), 0.5), sample)
        weight = kernel.write(g, g.Abs(g.Mul(distance, g.Reciprocal(width))))
        weight = g.Where(g.LessOrEqual(place, last), weight, 0)
        total = g.ReduceSum(weight, [1], keepdims=1)
        enough = g.GreaterOrEqual(g.Abs(total), 1000 * float(np.finfo(np.float32).tiny))
        share = g.Where(g.And(enough, g.Not(away)), g.Reciprocal(total), 0)
        # Outside of the image TensorFlow weighs its first pixels by 0.
        place = g.Where(away, g.Sub(place, first), place)
        return clamped(g, place, source), g.Mul(weight, share), g.Less(place, source)

    return write


HANDLERS: tuple[Handler, ...] = (ScaleAndTranslate(),)
