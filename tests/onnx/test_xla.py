"""Models that hold XLA's own ops, as jax2tf writes them without native serialization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.compiler.xla import xla_data_pb2

import smconvert as sm

SPEC = tf.TensorSpec((2, 6, 6, 2), tf.float32, name="x")
SCALARS = [tf.TensorSpec((), tf.float32)] * 2


def function(body: Any, *specs: Any) -> Any:
    return tf.function(body, autograph=False).get_concrete_function(*specs)


class Classifier(tf.Module):
    """A convolution, a pool, a mean and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(0)
        self.kernel = tf.Variable(random.normal(size=(3, 3, 2, 4)).astype(np.float32))
        self.dense = tf.Variable(random.normal(size=(4, 5)).astype(np.float32))

    def scores(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        axes = xla_data_pb2.ConvolutionDimensionNumbers(
            input_batch_dimension=0,
            input_spatial_dimensions=[1, 2],
            input_feature_dimension=3,
            kernel_spatial_dimensions=[0, 1],
            kernel_input_feature_dimension=2,
            kernel_output_feature_dimension=3,
            output_batch_dimension=0,
            output_spatial_dimensions=[1, 2],
            output_feature_dimension=3,
        )
        y = gen_xla_ops.xla_conv_v2(
            x,
            self.kernel,
            window_strides=[1, 1],
            padding=[[1, 1], [1, 1]],
            lhs_dilation=[1, 1],
            rhs_dilation=[1, 1],
            feature_group_count=1,
            dimension_numbers=axes.SerializeToString(),
            precision_config=b"",
            preferred_element_type=tf.float32,
        )
        y = gen_xla_ops.xla_reduce_window(
            tf.nn.relu(y),
            -np.inf,
            [1, 2, 2, 1],
            [1, 2, 2, 1],
            [1] * 4,
            [1] * 4,
            [[0, 0]] * 4,
            computation=function(tf.maximum, *SCALARS),
        )
        (y,) = gen_xla_ops.xla_variadic_reduce_v2(
            [y], [tf.constant(0.0)], dimensions_to_reduce=[1, 2], reducer=function(tf.add, *SCALARS)
        )
        inner = xla_data_pb2.DotDimensionNumbers(
            lhs_contracting_dimensions=[1], rhs_contracting_dimensions=[0]
        )
        y = gen_xla_ops.xla_dot_v2(
            y / 9.0,
            self.dense,
            dimension_numbers=inner.SerializeToString(),
            precision_config=b"",
            preferred_element_type=tf.float32,
        )
        return {"scores": y}


@pytest.mark.parametrize("compiled", [True, False])
def test_a_model_of_xla_is_converted_and_checked(tmp_path: Path, compiled: bool) -> None:
    model = Classifier()
    scores = tf.function(
        model.scores, jit_compile=compiled, autograph=False, input_signature=[SPEC]
    )
    tf.saved_model.save(model, str(tmp_path / "model"), signatures=scores)
    assert sm.convert(tmp_path / "model", tmp_path / "model.onnx").exit_code == 0


def test_a_branch_of_xla(tmp_path: Path) -> None:
    """TensorFlow 2.21 does not compile it: the node lacks an attribute that its own op has not."""
    spec = tf.TensorSpec((3,), tf.float32, name="x")
    branches = [function(lambda x: x + 1, spec), function(lambda x: x * 2, spec)]

    def chosen(x: tf.Tensor) -> dict[str, tf.Tensor]:
        made = gen_xla_ops.xla_if(
            tf.reduce_sum(x) > 0, [x], branches[0], branches[1], Tout=[tf.float32]
        )
        return {"y": made[0]}

    module = tf.Module()
    module.chosen = tf.function(chosen, autograph=False, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.chosen)
    converted = tmp_path / "model.onnx"
    sm.convert(tmp_path / "model", converted, checked=False)
    session = onnxruntime.InferenceSession(converted)
    for x in ([1, 2, 3], [-1, -2, -3]):
        given = np.array(x, np.float32)
        (found,) = session.run(None, {"x": given})
        assert found.tolist() == (given + 1 if given.sum() > 0 else given * 2).tolist()
