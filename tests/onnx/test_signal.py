"""Complex numbers and Fourier transforms, which ONNX Runtime only computes in real parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from proof import Tolerance, differs, ours, reference, run
from smconvert.errors import ConversionError
from smconvert_onnx.writing import DEFAULT_OPSET
from traced import traced

X = np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32)
SOUND = np.random.default_rng(1).normal(size=(2, 1600)).astype(np.float32)


def seen(z: Any) -> list[Any]:
    return [tf.math.real(z), tf.math.imag(z), tf.abs(z)]


def pair(x: Any) -> Any:
    return tf.complex(x, tf.reverse(x, [-1]))


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    **{
        f"{name}": lambda x, name=name: seen(getattr(tf.signal, name)(pair(x)))
        for name in ("fft", "ifft", "fft2d", "ifft2d", "fft3d", "ifft3d")
    },
    **{f"rfft {n}": lambda x, n=n: seen(tf.signal.rfft(x, [n])) for n in (16, 10, 20, 7, 1, 4096)},
    **{f"irfft {n}": lambda x, n=n: tf.signal.irfft(pair(x), [n]) for n in (30, 16, 10, 40, 7, 1)},
    "rfft": lambda x: seen(tf.signal.rfft(x)),
    "irfft": lambda x: tf.signal.irfft(pair(x)),
    "rfft2d": lambda x: seen(tf.signal.rfft2d(x, [5, 12])),
    "irfft2d": lambda x: tf.signal.irfft2d(pair(x), [2, 12]),
    "rfft3d": lambda x: seen(tf.signal.rfft3d(x, [2, 3, 12])),
    "irfft3d": lambda x: tf.signal.irfft3d(pair(x), [2, 3, 12]),
    "of double": lambda x: seen(tf.signal.fft(tf.cast(x, tf.complex128))),
}

ARITHMETIC: dict[str, Callable[[Any], Any]] = {
    "product": lambda x: seen(pair(x) * tf.complex(x, 2.0 * x)),
    "quotient": lambda x: seen(pair(x) / tf.complex(x, 2.0 * x + 1.0)),
    "sums": lambda x: seen(pair(x) - tf.math.conj(pair(x)) + (2.0 + 1.0j)),
    "exponential": lambda x: seen(tf.exp(pair(x))),
    "angle": lambda x: tf.math.angle(pair(x)),
    "square": lambda x: seen(tf.square(pair(x))),
    "moved": lambda x: seen(
        tf.concat([tf.transpose(pair(x), [2, 0, 1])[1:4], tf.zeros([1, 2, 3], tf.complex64)], 0)
    ),
    "matmul": lambda x: seen(tf.matmul(pair(x), pair(x), adjoint_b=True)),
    "einsum": lambda x: seen(tf.einsum("abc,abd->acd", pair(x), pair(x))),
    "cast": lambda x: seen(tf.cast(tf.cast(pair(x), tf.complex128), tf.complex64)),
    "broadcast": lambda x: seen(tf.complex(x, tf.reduce_sum(x, 0, keepdims=True))),
    "shape": lambda x: tf.shape(pair(x)),
    "sum": lambda x: seen(tf.reduce_sum(pair(x), 1)),
    "phase": lambda x: tf.math.real(tf.math.exp(tf.complex(0.0, 1.0) * tf.cast(x, tf.complex64))),
}

SOUNDS: dict[str, Callable[[Any], Any]] = {
    "stft": lambda x: tf.abs(tf.signal.stft(x, 400, 160)),
    "power": lambda x: tf.abs(tf.signal.stft(x, 400, 160, 512, pad_end=True)) ** 2,
    "parts": lambda x: seen(tf.signal.stft(x, 200, 100, 256)),
    "inverse": lambda x: tf.signal.inverse_stft(tf.signal.stft(x, 400, 160), 400, 160),
    "mel": lambda x: tf.math.log(
        tf.abs(tf.signal.stft(x, 400, 160))
        @ tf.signal.linear_to_mel_weight_matrix(40, 257, 16000, 80.0, 7600.0)
        + 1e-2
    ),
    "mfcc": lambda x: tf.signal.mfccs_from_log_mel_spectrograms(
        tf.math.log(tf.abs(tf.signal.stft(x, 128, 64)) + 1.0)
    ),
}


def compare(function: Callable[[Any], Any], x: np.ndarray, shape: Any) -> None:
    built = traced(function, x, shape)
    expected = reference(built)
    found = run(ours(built, DEFAULT_OPSET), built.feeds, list(expected))
    for name, value in expected.items():
        largest = float(np.max(np.abs(value), initial=1.0))
        assert not differs(value, found[name], Tolerance(rtol=1e-5, atol=2e-6 * largest))


@pytest.mark.parametrize("shape", [X.shape, (None, None, None)], ids=["static", "unknown"])
@pytest.mark.parametrize("name", [*TRANSFORMS, *ARITHMETIC])
def test_parts(name: str, shape: Any) -> None:
    compare({**TRANSFORMS, **ARITHMETIC}[name], X, shape)


@pytest.mark.parametrize("shape", [SOUND.shape, (None, None)], ids=["static", "unknown"])
@pytest.mark.parametrize("name", SOUNDS)
def test_sound(name: str, shape: Any) -> None:
    compare(SOUNDS[name], SOUND, shape)


@pytest.mark.parametrize("name", ["fft", "ifft", "fft2d", "ifft2d"])
def test_unknown_rank(name: str) -> None:
    compare(TRANSFORMS[name], X, None)


def test_magnitudes_neither_overflow_nor_vanish() -> None:
    x = np.array([3e38, 1e-30, 0.0, np.inf, -np.inf, 5.0], np.float32)
    compare(lambda x: tf.abs(tf.complex(x, 0.5 * x)), x, x.shape)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.signal.rfft(x),
        lambda x: tf.math.real(tf.math.sin(pair(x))),
        lambda x: tf.math.real(
            tf.while_loop(lambda z: tf.abs(z[0, 0, 0]) < 9.0, lambda z: z * 2.0, [pair(x)])[0]
        ),
    ],
    ids=["output", "unknown op", "loop"],
)
def test_what_is_refused(function: Callable[[Any], Any]) -> None:
    with pytest.raises(ConversionError):
        ours(traced(function, X, X.shape), DEFAULT_OPSET)
