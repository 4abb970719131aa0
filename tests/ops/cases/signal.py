"""Sound; complex numbers are tried in ``tests/onnx/test_signal.py``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from proof import Case, Shapes, Tolerance
from values import SINGLE, plain, positive

NEAR = Tolerance(rtol=1e-5, atol=1e-5)


def cases() -> Iterator[Case]:
    for samples, channels in ((400, 1), (513, 2), (64, 1), (63, 2), (10, 1), (0, 1)):
        for width, stride in ((64, 32), (50, 70), (2, 1)):
            for squared in (False, True):
                yield Case(
                    "AudioSpectrogram",
                    {"input": plain(SINGLE, (samples, channels))},
                    {"window_size": width, "stride": stride, "magnitude_squared": squared},
                    tolerance=NEAR,
                )
    for shape in ((1, 4, 257), (2, 0, 257), (2, 3, 513)):
        for more in (
            {},
            {"upper_frequency_limit": 7000.0, "lower_frequency_limit": 100.0},
            {"filterbank_channel_count": 20, "dct_coefficient_count": 7},
        ):
            yield Case(
                "Mfcc",
                {"spectrogram": positive(SINGLE, shape), "sample_rate": np.array(16000, np.int32)},
                more,
                constants=frozenset({"sample_rate"}),
                tolerance=NEAR,
                shapes=(Shapes.STATIC,),
            )
    yield Case(
        "Mfcc",
        {"spectrogram": np.zeros((1, 2, 129), np.float32), "sample_rate": np.array(8000, np.int32)},
        constants=frozenset({"sample_rate"}),
        tolerance=NEAR,
    )
