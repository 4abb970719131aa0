"""What tf2onnx would get wrong on its way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf

import smconvert as sm


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
