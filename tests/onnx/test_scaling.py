"""Batch normalisation after a convolution goes into its weights, and only there."""

from __future__ import annotations

import numpy as np
import onnx
import tensorflow as tf

from proof import ours, reference, run
from traced import traced

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(2, 9, 9, 4)).astype(np.float32)
KERNEL = RANDOM.normal(size=(3, 3, 4, 6)).astype(np.float32)
SCALE = RANDOM.uniform(0.5, 1.5, 6).astype(np.float32)
OFFSET = RANDOM.normal(size=6).astype(np.float32)


def convolved(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, KERNEL, 1, "SAME")


def ops_of(function: object, shape: tuple[int | None, ...] = X.shape) -> list[str]:
    built = traced(function, X, shape)  # type: ignore[arg-type]
    model = ours(built, 18)
    expected = reference(built)
    actual = run(model, built.feeds, list(expected))
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-5)
    return [n.op_type for n in onnx.load_from_string(model).graph.node if n.op_type != "Transpose"]


def test_scale_and_offset() -> None:
    assert ops_of(lambda x: convolved(x) * SCALE + OFFSET, (None, None, None, 4)) == ["Conv"]


def test_bias_before_them() -> None:
    assert ops_of(lambda x: tf.nn.bias_add(convolved(x), OFFSET) * SCALE + OFFSET) == ["Conv"]


def test_one_number_for_all_channels() -> None:
    assert ops_of(lambda x: (convolved(x) + 0.5) * 3.0) == ["Conv"]


def test_depthwise() -> None:
    kernel = RANDOM.normal(size=(3, 3, 4, 2)).astype(np.float32)
    scale = RANDOM.uniform(0.5, 1.5, 8).astype(np.float32)
    found = ops_of(lambda x: tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME") * scale)
    assert found == ["Conv"]


def test_not_where_something_else_reads_the_convolution() -> None:
    def function(x: tf.Tensor) -> list[tf.Tensor]:
        made = convolved(x)
        return [made * SCALE, made]

    assert sorted(ops_of(function)) == ["Conv", "Mul"]


def test_not_by_what_differs_from_place_to_place() -> None:
    places = RANDOM.normal(size=(9, 9, 1)).astype(np.float32)
    assert "Mul" in ops_of(lambda x: convolved(x) * places)


def test_not_after_something_between() -> None:
    assert "Mul" in ops_of(lambda x: tf.nn.relu(convolved(x)) * SCALE)
