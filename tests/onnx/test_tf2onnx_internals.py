"""tf2onnx still has the private parts that are replaced for a while, and they are put back."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from tf2onnx import optimizer, shape_inference, tf_utils, tfonnx, utils
from tf2onnx.handler import tf_op
from tf2onnx.optimizer import back_to_back_optimizer
from tf2onnx.optimizer.back_to_back_optimizer import BackToBackOptimizer
from tf2onnx.optimizer.reshape_optimizer import ReshapeOptimizer
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

from proof import Case, Shapes, build, ours

PARTS: dict[str, tuple[Any, list[str]]] = {
    "create_mapping": (tf_op.create_mapping, ["max_onnx_opset_version", "extra_opsets"]),
    "read_tf_node_attrs": (tf_utils.read_tf_node_attrs, ["node"]),
    "infer_shape_for_op": (shape_inference.infer_shape_for_op, ["op"]),
    "optimize_graph": (optimizer.optimize_graph, ["graph", "catch_errors", "optimizers"]),
    "make_name": (utils.make_name, ["name"]),
    "add handler": (TransposeOptimizer._add_handler, ["self", "trans", "node"]),
    "reshapes": (ReshapeOptimizer._optimize_reshape, ["self", "node", "graph"]),
    "casts": (BackToBackOptimizer._optimize_cast, ["g", "node", "consumer_nodes"]),
}


def test_the_version_that_was_looked_at() -> None:
    assert version("tf2onnx").startswith("1.17.")


@pytest.mark.parametrize("part", PARTS)
def test_it_takes_what_it_took(part: str) -> None:
    function, parameters = PARTS[part]
    assert list(inspect.signature(function).parameters) == parameters


def test_passes_have_their_names() -> None:
    passes = optimizer._get_optimizers()
    assert {"optimize_transpose", "reshape_optimizer", "remove_back_to_back"} <= {*passes}
    assert {("Cast",), ("Reshape",)} <= {*back_to_back_optimizer._func_map}


def test_all_is_put_back() -> None:
    def parts() -> list[Any]:
        return [
            tf_op.create_mapping,
            tf_utils.read_tf_node_attrs,
            shape_inference.infer_shape_for_op,
            tfonnx.rewrite_conv2d_with_pad,
            dict(back_to_back_optimizer._func_map),
        ]

    before = parts()
    x = np.ones((1, 4, 4, 1), np.float32)
    ours(build([Case("Relu", {"features": x})], Shapes.STATIC), 18)
    assert parts() == before
