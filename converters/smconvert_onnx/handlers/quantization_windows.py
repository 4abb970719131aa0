"""The eight-bit graphs of 2017: convolutions, pools, images and normalization of integers."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.convolutions import by_patches
from smconvert_onnx.handlers.images import INT64, Grid, grids
from smconvert_onnx.handlers.pixels import clamped as within
from smconvert_onnx.handlers.pooling import counts
from smconvert_onnx.handlers.quantization import plain_dtype, to_grid
from smconvert_onnx.handlers.quantization_fused import fused_convolution
from smconvert_onnx.handlers.quantization_levels import (
    Ranged,
    clamped,
    level,
    moved,
    number,
    product_range,
    zero,
)
from smconvert_onnx.handlers.windows import Windows, around, part, patches, windows_of

_INT32 = DType.INT32


class QuantizedAvgPool:
    """The mean of what of a window lies within the image, rounded to an even integer from halfway:
    by oneDNN, which takes the place of quantized_pooling_ops.cc on x86."""

    ops = ("QuantizedAvgPool",)

    def emit(self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor) -> Ranged:
        window, windows = op.attr("ksize"), windows_of(op)
        if window[0] != 1 or window[3] != 1:
            op.refuse("it pools over the batch or the channels")
        wide = replace_shape(g.cast(x, DType.FLOAT32), x.shape)
        total = g.ReduceSum(patches(g, wide, windows, window[1:3]), [3, 4], keepdims=0)
        number_of = counts(g, DType.FLOAT32, part(g, x, 1, 2), windows, window[1:3])
        made = g.Round(g.Div(total, number_of))
        return g.cast(made, plain_dtype(x.dtype)), g.Identity(low), g.Identity(high)


class QuantizedConv2D:
    """Sums of products of integers counted from those for 0 (quantized_conv_ops.cc).

    What the windows leave over of an image, the kernel leaves out at both ends alike. Of signed
    weights, oneDNN's kernel takes its place.
    """

    ops = ("QuantizedConv2D",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        kernel: Tensor,
        low_x: Tensor,
        high_x: Tensor,
        low_kernel: Tensor,
        high_kernel: Tensor,
    ) -> Ranged:
        if plain_dtype(kernel.dtype) is DType.INT8:
            return fused_convolution(g, op, x, kernel, low_x, high_x, low_kernel, high_kernel)
        # The kernel does not look at the dilations.
        windows = Windows(windows_of(op).strides, (1, 1), str(op.attr("padding")))
        start = zero(g, x.dtype, low_x, high_x)
        # Outside of the image is the integer for 0, of which the kernel keeps eight bits.
        border = g.Where(g.Less(start, 0), start, g.Mod(start, 256))
        wide = replace_shape(g.cast(x, _INT32), x.shape)
        moved_x = g.Sub(self._framed(g, wide, kernel, windows, border), start)
        moved_kernel = g.Sub(g.cast(kernel, _INT32), zero(g, kernel.dtype, low_kernel, high_kernel))
        made = by_patches(
            g,
            moved_x,
            replace_shape(moved_kernel, kernel.shape),
            Windows(windows.strides, (1, 1), "VALID"),
        )
        ends = product_range(g, x.dtype, (low_x, high_x), kernel.dtype, (low_kernel, high_kernel))
        return made, *ends

    def _framed(
        self, g: Builder, x: Tensor, kernel: Tensor, windows: Windows, border: Tensor
    ) -> Tensor:
        size, extent = part(g, x, 1, 2), part(g, kernel, 0, 2)
        strides = np.array(windows.strides, np.int64)
        valid = int(windows.padding == "VALID")
        steps = g.Div(g.Sub(size, extent if valid else 1), strides)
        total = g.Sub(g.Add(g.Mul(steps, strides), extent), size)
        # Towards 0, as C divides, and ONNX does.
        before = g.Div(g.Add(total, valid), 2)
        return around(g, x, before, g.Sub(total, before), 1, border)


class QuantizedResizeBilinear:
    """Between the four nearest pixels, in fixed point (quantized_resize_bilinear_op.cc)."""

    ops = ("QuantizedResizeBilinear",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, size: Tensor, low: Tensor, high: Tensor
    ) -> Ranged:
        both = grids(g, op, x, size)
        wide, bits = x, 0
        same = g.And(*(g.Equal(grid.source, grid.target) for grid in both))
        if x.dtype is not DType.FLOAT32:
            bits = 7 if plain_dtype(x.dtype) is DType.UINT8 else 30
            # Where there is something to compute, the kernel reads integers as float32.
            read = g.cast(g.cast(x, DType.FLOAT32), INT64)
            wide = replace_shape(g.Where(same, g.cast(x, INT64), read), x.shape)
        rows, columns = (self._between(g, grid, bits) for grid in both)
        top, bottom = (g.Gather(wide, line, axis=1) for line in rows[:2])
        lines = [[g.Gather(line, place, axis=2) for place in columns[:2]] for line in (top, bottom)]
        down, right = g.Unsqueeze(rows[2], [1, 2]), g.Unsqueeze(columns[2], [1])
        if not bits:
            top, bottom = (g.Add(a, g.Mul(g.Sub(b, a), right)) for a, b in lines)
            made = g.Add(top, g.Mul(g.Sub(bottom, top), down))
        else:
            one = np.int64(2**bits)
            top, bottom = (g.Add(g.Mul(a, one), g.Mul(g.Sub(b, a), right)) for a, b in lines)
            made = g.Add(top, g.Mul(g.Div(g.Sub(bottom, top), one), down))
            half = g.Where(same, np.int64(0), np.int64(2 ** (bits - 1)))
            made = g.cast(g.Div(g.Add(made, half), one), plain_dtype(x.dtype))
        return made, g.Identity(low), g.Identity(high)

    def _between(self, g: Builder, grid: Grid, bits: int) -> tuple[Tensor, Tensor, Tensor]:
        """The pixels before and after each place, and how far it lies between them."""
        place = grid.places(g, grid.source, grid.target)
        floor = g.Floor(place)
        after = g.Min(g.cast(g.Ceil(place), INT64), g.Sub(grid.source, 1))
        before = g.Min(within(g, g.cast(floor, INT64), grid.source), after)
        share = g.Sub(place, floor)
        return before, after, g.cast(g.Mul(share, 2.0**bits), INT64) if bits else share


class QuantizedBatchNorm:
    """A product and a sum in fixed point, for each channel (quantized_batch_norm_op.cc)."""

    ops = ("QuantizedBatchNormWithGlobalNormalization",)

    def emit(self, g: Builder, op: Op, x: Tensor, *given: Tensor) -> Ranged:
        low_x, high_x, *rest = given
        mean, variance, beta, gamma = (
            number(g, rest[i], rest[i].dtype, rest[i + 1], rest[i + 2]) for i in range(0, 12, 3)
        )
        wanted = g.constant(np.float32(-(2**20))), g.constant(np.float32(2**20))
        scale = g.Div(1.0, g.Sqrt(g.Add(variance, op.attr("variance_epsilon"))))
        if op.attr("scale_after_normalization"):
            scale = g.Mul(scale, gamma)
        offset = g.Add(g.Mul(g.Neg(mean), scale), beta)

        def fixed(value: Tensor | float) -> Tensor:
            return clamped(g, level(g, value, DType.QINT32, *wanted), DType.QINT32)

        found = moved(g, x, (low_x, high_x), DType.QINT32, wanted)
        made = g.Div(g.Mul(found, fixed(scale)), fixed(1.0))
        return g.Add(made, fixed(offset)), *(g.Identity(end) for end in wanted)


class QuantizedInstanceNorm:
    """Each channel of each image less its mean, over its deviation (quantized_instance_norm.cc)."""

    ops = ("QuantizedInstanceNorm",)

    def emit(self, g: Builder, op: Op, x: Tensor, low: Tensor, high: Tensor) -> Ranged:
        step = g.Div(g.Sub(high, low), 255.0)
        wide = g.cast(x, DType.FLOAT32)
        axes = {"keepdims": 1}

        def mean(value: Tensor) -> Tensor:
            if g.opset >= 18:
                found: Tensor = g.ReduceMean(value, [1, 2], **axes)
            else:
                found = g.ReduceMean(value, axes=[1, 2], **axes)
            return found

        centered = g.Sub(wide, mean(wide))
        scaled = g.Mul(centered, step)
        variance = mean(g.Mul(scaled, scaled))
        spread = g.Sqrt(g.Add(variance, op.attr("variance_epsilon")))
        normed = g.Mul(scaled, g.Reciprocal(spread))
        if op.attr("output_range_given"):
            bottom = g.constant(np.float32(op.attr("given_y_min")))
            top = g.constant(np.float32(op.attr("given_y_max")))
        else:
            bottom, top = g.ReduceMin(normed, keepdims=0), g.ReduceMax(normed, keepdims=0)
        apart = op.attr("min_separation")
        top = g.Where(g.Less(g.Sub(top, bottom), apart), g.Add(bottom, apart), top)
        grid = to_grid(g, normed, np.iinfo(np.uint8), bottom, top)
        return g.cast(grid, DType.UINT8), g.Identity(bottom), g.Identity(top)


HANDLERS: tuple[Handler, ...] = (
    QuantizedAvgPool(),
    QuantizedConv2D(),
    QuantizedResizeBilinear(),
    QuantizedBatchNorm(),
    QuantizedInstanceNorm(),
)
