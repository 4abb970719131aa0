"""Inputs that the graph shows: where indices end, and what floats are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import smconvert as sm
from smconvert.graph.hints import Hint, hints
from smconvert.parity.inputs import ATTEMPTS, generated


def hint(folder: Path, dtype: tf.DType, call: Callable[[tf.Tensor], tf.Tensor]) -> Hint:
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], dtype, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": call(x)}

    tf.saved_model.save(module, str(folder / "model"), serve)
    model = sm.load(folder / "model")
    signature = model.signatures["serving_default"]
    found = hints(signature)
    values = [c["x"] for c in generated(signature, found, 0, ATTEMPTS[0])]
    if found["x"].bound is not None:
        assert max(int(v.max()) for v in values) < found["x"].bound
    if found["x"].high is not None:
        assert all(found["x"].low <= v.min() <= v.max() <= found["x"].high for v in values)
    return found["x"]


@pytest.mark.parametrize("rows", [7, 3000], ids=["small", "kept out of the graph"])
def test_indices_end_with_the_table(rows: int, tmp_path: Path) -> None:
    table = tf.constant(np.ones((rows, 16), np.float32))
    assert hint(tmp_path, tf.int32, lambda x: tf.gather(table, x)).bound == rows


def test_pixels(tmp_path: Path) -> None:
    kernel = tf.ones([3, 3, 3, 2])
    found = hint(tmp_path, tf.float32, lambda x: tf.nn.conv2d(x / 127.5 - 1.0, kernel, 1, "SAME"))
    assert (found.low, found.high) == (0.0, 255.0)


def test_images(tmp_path: Path) -> None:
    kernel = tf.ones([3, 3, 3, 2])
    found = hint(tmp_path, tf.float32, lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"))
    assert (found.low, found.high) == (0.0, 1.0)


def test_positive_values(tmp_path: Path) -> None:
    found = hint(tmp_path, tf.float32, tf.math.log)
    assert found.low is not None
    assert found.low > 0


def test_nothing_is_known_of_others(tmp_path: Path) -> None:
    assert hint(tmp_path, tf.float32, lambda x: tf.tanh(x * 3.0)) == Hint()
