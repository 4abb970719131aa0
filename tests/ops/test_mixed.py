"""Small graphs of mixed ops, drawn at random: what holds for each op holds for them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proof import Tolerance, differs, ours, reference, run
from smconvert_onnx.writing import DEFAULT_OPSET
from traced import traced

NEAR = Tolerance(rtol=1e-4, atol=1e-4)
Step = Callable[[Any, Any], Any]

# Each takes two tensors of shape [a, b, c] and gives one of rank 3.
UNARY: dict[str, Step] = {
    "tanh": lambda x, _: tf.tanh(x),
    "relu6": lambda x, _: tf.nn.relu6(x),
    "softplus": lambda x, _: tf.nn.softplus(x),
    "gelu": lambda x, _: tf.nn.gelu(x),
    "round": lambda x, _: tf.round(x * 4.0) / 4.0,
    "softmax": lambda x, _: tf.nn.softmax(x),
    "reverse": lambda x, _: tf.reverse(x, [-1]),
    "roll": lambda x, _: tf.roll(x, [1, -2], [0, 2]),
    "transposed twice": lambda x, _: tf.transpose(tf.transpose(x, [2, 0, 1]), [1, 2, 0]),
    "cumulated": lambda x, _: tf.cumsum(x, 1, exclusive=True),
    "normed": lambda x, _: tf.nn.l2_normalize(x, -1),
    "layer norm": lambda x, _: (
        (x - tf.reduce_mean(x, -1, True))
        * tf.math.rsqrt(tf.math.reduce_variance(x, -1, True) + 1e-3)
    ),
    "less its mean": lambda x, _: x - tf.reduce_mean(x, [0, 2], keepdims=True),
    "as integers": lambda x, _: tf.cast(tf.cast(x * 3.0, tf.int32) % 5, tf.float32),
    "by bytes": lambda x, _: tf.cast(tf.cast(x * 20.0, tf.int8) + 120, tf.float32) / 64.0,
    "padded and cut": lambda x, _: tf.pad(x, [[0, 0], [1, 2], [0, 0]], "SYMMETRIC")[:, 1:-2],
    "sorted": lambda x, _: tf.sort(x, -1, "DESCENDING"),
    "one-hot of the largest": lambda x, _: tf.one_hot(tf.argmax(x, -1), tf.shape(x)[-1]),
    "gathered": lambda x, _: (
        tf.gather(x, [0, 2, 1], axis=2, batch_dims=0) if x.shape[2] == 3 else x
    ),
    "reshaped": lambda x, _: tf.reshape(tf.reshape(x, [-1]), tf.shape(x)),
}
BINARY: dict[str, Step] = {
    "sum": lambda x, y: x + y,
    "product": lambda x, y: tf.clip_by_value(x * y, -9.0, 9.0),
    "larger": lambda x, y: tf.maximum(x, y),
    "selected": lambda x, y: tf.where(x > y, x, tf.math.log(tf.abs(y) + 1e-3)),
    "no NaN": lambda x, y: tf.clip_by_value(tf.math.divide_no_nan(x, tf.round(y)), -9.0, 9.0),
    "attended": lambda x, y: tf.matmul(tf.nn.softmax(tf.matmul(x, y, transpose_b=True)), y),
    "contracted": lambda x, y: tf.einsum("abc,abd->acd", x, y) if x.shape[1] == x.shape[2] else x,
    "stacked": lambda x, y: tf.reduce_max(tf.stack([x, y], 1), 1),
    "joined": lambda x, y: tf.concat([x, y], -1)[..., ::2],
}

steps = st.lists(
    st.tuples(st.sampled_from(sorted(UNARY | BINARY)), st.integers(0, 99), st.integers(0, 99)),
    min_size=1,
    max_size=8,
)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 4))


def holds(drawn: list[tuple[str, int, int]], shape: tuple[int, ...], unknown: bool) -> None:
    x = np.random.default_rng(7).normal(size=shape).astype(np.float32)

    def function(given: tf.Tensor) -> list[tf.Tensor]:
        made = [given]
        for name, first, second in drawn:
            a, b = made[first % len(made)], made[second % len(made)]
            made.append((UNARY | BINARY)[name](a, b))
        return made[1:]

    built = traced(function, x, (None, *shape[1:]) if unknown else shape)
    expected = reference(built)
    actual = run(ours(built, DEFAULT_OPSET), built.feeds, list(expected))
    for name, value in expected.items():
        assert not differs(value, actual[name], NEAR), (name, drawn)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(steps, shapes, st.booleans())
def test_few(drawn: list[tuple[str, int, int]], shape: tuple[int, ...], unknown: bool) -> None:
    holds(drawn, shape, unknown)


@pytest.mark.slow
@settings(
    max_examples=1000,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps, shapes, st.booleans())
def test_many(drawn: list[tuple[str, int, int]], shape: tuple[int, ...], unknown: bool) -> None:
    holds(drawn, shape, unknown)
