"""Sound. Complex numbers and Fourier transforms are gone before (``complex_parts.py``)."""

from __future__ import annotations

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import size


class AudioSpectrogram:
    """The squared magnitudes of windows, transformed in double precision (spectrogram.cc).

    The window is Hann's, of a period; the transform's length is the next power of two.
    """

    ops = ("AudioSpectrogram",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        width, stride = int(op.attr("window_size")), int(op.attr("stride"))
        samples = size(g, x, 0)
        # A division would round towards zero, and give a frame of too few samples.
        room = g.Max(g.Add(g.Sub(samples, width), stride), 0)
        first = g.Mul(g.Range(0, g.Div(room, stride), 1), stride)
        index = g.Add(g.Unsqueeze(first, [1]), np.arange(width))
        channels = g.Transpose(g.cast(x, DType.FLOAT64), perm=[1, 0])
        frames = g.Gather(channels, index, axis=1)
        cosine, sine = _windowed(width)
        power = g.Add(*(_squared(g, g.MatMul(frames, m)) for m in (cosine, sine)))
        squared = op.attr("magnitude_squared")
        return g.cast(power if squared else g.Sqrt(power), DType.FLOAT32)


def _windowed(width: int) -> tuple[Array, Array]:
    """The matrices of the transform's parts, times the window."""
    length = 1 << (width - 1).bit_length()
    row, column = np.arange(width)[:, None], np.arange(length // 2 + 1)
    angle = 2 * np.pi * (row * column % length) / length
    window = 0.5 - 0.5 * np.cos(2 * np.pi * row / width)
    return window * np.cos(angle), window * np.sin(angle)


def _squared(g: Builder, x: Tensor) -> Tensor:
    return g.Mul(x, x)


class Mfcc:
    """Mel frequency cepstral coefficients of a spectrogram (mfcc.cc, mfcc_mel_filterbank.cc)."""

    ops = ("Mfcc",)

    def emit(self, g: Builder, op: Op, x: Tensor, sample_rate: Tensor) -> Tensor:
        rate = int(op.constant(sample_rate, "sample rate").reshape(()))
        bins = x.shape[-1] if x.shape else None
        if not isinstance(bins, int):
            op.refuse("the number of its frequencies is unknown", "give its input a shape")
        filters = _filters(
            bins,
            rate,
            float(op.attr("lower_frequency_limit")),
            float(op.attr("upper_frequency_limit")),
            int(op.attr("filterbank_channel_count")),
        )
        bands = g.MatMul(g.Sqrt(g.cast(x, DType.FLOAT64)), filters)
        cosines = _cosines(filters.shape[1], int(op.attr("dct_coefficient_count")))
        return g.cast(g.MatMul(g.Log(g.Max(bands, 1e-12)), cosines), DType.FLOAT32)


def _mel(frequency: Array) -> Array:
    return 1127.0 * np.log1p(frequency / 700.0)


def _filters(bins: int, rate: int, low: float, high: float, channels: int) -> Array:
    """Triangles of equal width in mel, [bins, channels]; without the lowest bin, as HTK."""
    lowest, highest = _mel(np.array([low, high]))
    centers = lowest + (highest - lowest) / (channels + 1) * np.arange(1, channels + 2)
    step = 0.5 * rate / (bins - 1)
    mel = _mel(np.arange(bins) * step)
    band = np.minimum(np.searchsorted(centers[:channels], mel), channels) - 1
    below = np.where(band >= 0, centers[band], lowest)
    weight = (centers[band + 1] - mel) / (centers[band + 1] - below)
    matrix = np.zeros((bins, channels))
    for i in range(int(1.5 + low / step), min(int(high / step), bins - 1) + 1):
        if band[i] >= 0:
            matrix[i, band[i]] += weight[i]
        if band[i] + 1 < channels:
            matrix[i, band[i] + 1] += 1 - weight[i]
    return matrix


def _cosines(channels: int, count: int) -> Array:
    """The discrete cosine transform, [channels, count]."""
    column, row = np.arange(count), np.arange(channels)[:, None] + 0.5
    made: Array = np.sqrt(2.0 / channels) * np.cos(column * np.pi / channels * row)
    return made


HANDLERS: tuple[Handler, ...] = (AudioSpectrogram(), Mfcc())
