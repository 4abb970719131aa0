"""Integers that stand for floats: in windows, images and batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from cases.quantization_ranges import RANGES, integers, scalars
from proof import Case, Tolerance


def cases() -> Iterator[Case]:
    yield from _pools()
    yield from _convolutions()
    yield from _images()
    yield from _norms()


def _pools() -> Iterator[Case]:
    for name in ("quint8", "qint8"):
        for padding in ("SAME", "VALID"):
            for size, stride in ((2, 2), (3, 2), (2, 1)):
                yield Case(
                    "QuantizedAvgPool",
                    {"input": integers(name, (2, 5, 6, 3)), **scalars(min_input=0, max_input=2)},
                    {
                        "ksize": [1, size, size, 1],
                        "strides": [1, stride, stride, 1],
                        "padding": padding,
                    },
                )


def _convolutions() -> Iterator[Case]:
    for padding in ("SAME", "VALID"):
        for size, stride, space in (
            (3, 1, (5, 6)),
            (2, 2, (7, 4)),
            (1, 3, (6, 8)),
            (3, 2, (8, 3)),
            (1, 4, (8, 8)),
        ):
            for low, high in RANGES if size == 3 else RANGES[3:4]:
                yield Case(
                    "QuantizedConv2D",
                    {
                        "input": integers("quint8", (2, *space, 5)),
                        "filter": integers("quint8", (size, size, 5, 4), 1),
                        **scalars(min_input=low, max_input=high, min_filter=-1.7, max_filter=0.4),
                    },
                    {
                        "strides": [1, stride, stride, 1],
                        "padding": padding,
                        "out_type": tf.qint32,
                    },
                )


def _images() -> Iterator[Case]:
    for name in ("quint8", "qint32", "float32"):
        for space in ((7, 9), (3, 2), (4, 5)):
            for corners, centers in ((False, False), (True, False), (False, True)):
                for channels in (1, 3):
                    shape = (2, 4, 5, channels)
                    x = np.linspace(-3, 9, 40 * channels, dtype=np.float32).reshape(shape)
                    yield Case(
                        "QuantizedResizeBilinear",
                        {
                            "images": x if name == "float32" else integers(name, shape),
                            "size": np.array(space, np.int32),
                            **scalars(min=-1, max=2),
                        },
                        {"align_corners": corners, "half_pixel_centers": centers},
                        constants=frozenset({"size"} if channels == 1 else ()),
                    )


def _norms() -> Iterator[Case]:
    for scale in (False, True):
        for low, high in RANGES:
            yield Case(
                "QuantizedBatchNormWithGlobalNormalization",
                {
                    "t": integers("quint8", (2, 3, 4, 5)),
                    **scalars(t_min=low, t_max=high),
                    "m": integers("quint8", (5,), 1),
                    **scalars(m_min=-1.3, m_max=2),
                    "v": integers("quint8", (5,), 2),
                    **scalars(v_min=0.01, v_max=7),
                    "beta": integers("quint8", (5,), 3),
                    **scalars(beta_min=-1, beta_max=0.3),
                    "gamma": integers("quint8", (5,), 4),
                    **scalars(gamma_min=-0.2, gamma_max=3),
                },
                {
                    "out_type": tf.qint32,
                    "variance_epsilon": 0.001,
                    "scale_after_normalization": scale,
                },
            )
    for given in (False, True):
        for shape in ((2, 4, 5, 3), (1, 3, 3, 16), (3, 1, 1, 2)):
            for low, high in RANGES[2:]:
                yield Case(
                    "QuantizedInstanceNorm",
                    {"x": integers("quint8", shape, 5), **scalars(x_min=low, x_max=high)},
                    {
                        "output_range_given": given,
                        "given_y_min": -1.5 if given else 0,
                        "given_y_max": 2 if given else 0,
                        "variance_epsilon": 1e-5,
                        "min_separation": 1e-3,
                    },
                    tolerance=Tolerance(rtol=1e-5),
                )
