"""Compositions compute what TensorFlow's own kernels do, edge values included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

import smconvert as sm
from smconvert_onnx.decompositions import COMPOSITIONS

EDGES = np.array(
    [
        0.0,
        -0.0,
        1e-7,
        -1e-7,
        0.3,
        -0.3,
        1.0,
        -1.0,
        2.5,
        -2.5,
        9.0,
        -9.0,
        80.0,
        -80.0,
        np.inf,
        -np.inf,
    ],
    np.float32,
)


@pytest.mark.parametrize("op", sorted(COMPOSITIONS))
def test_as_its_own_kernel(op: str, tmp_path: Path) -> None:
    kernel = getattr(tf.raw_ops, op)
    unary = op in {"Erfc", "Expm1"}
    module = tf.Module()
    specs = [tf.TensorSpec([None], tf.float32, name) for name in ("x", "y")[: 1 if unary else 2]]

    @tf.function(input_signature=specs)
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"z": kernel(**dict(zip(("x", "y"), inputs, strict=False)))}

    tf.saved_model.save(module, str(tmp_path / "model"), serve)
    sm.convert(tmp_path / "model", tmp_path / "model.onnx", checked=False)
    x, y = np.meshgrid(EDGES, EDGES)
    feeds = {"x": EDGES} if unary else {"x": x.ravel(), "y": y.ravel()}
    expected = kernel(**feeds).numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (actual,) = session.run(None, feeds)
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-7)


def test_a_call_that_xla_compiles_is_inlined(tmp_path: Path) -> None:
    """As Keras calls a depthwise convolution on the CPU."""

    @tf.function(jit_compile=True)
    def inner(x: tf.Tensor) -> tf.Tensor:
        return tf.tanh(x)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": inner(x) * 2.0}

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"), serve)
    assert sm.convert(tmp_path / "model", tmp_path / "model.onnx").exit_code == 0


def test_what_is_not_selected_does_not_count(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.where(x > 0.0, tf.math.log(x), -1.0)}

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"), serve)
    sm.convert(tmp_path / "model", tmp_path / "model.onnx", checked=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (found,) = session.run(None, {"x": np.float32([-2.0, 0.0, 1.0])})
    assert found.tolist() == [-1.0, -1.0, 0.0]
