"""What replaces tf2onnx's walks over its graphs gives what they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tf2onnx import tfonnx
from tf2onnx.graph import Graph

from smconvert_onnx import transposes
from smconvert_onnx.insertion_order import insertion_order
from smconvert_onnx.lowering import lower
from smconvert_onnx.sweeps import single_sweeps


def branches() -> tf.Graph:
    """Convolutions that part, are padded, added and joined again."""
    random = np.random.default_rng(1)

    def kernel(*shape: int) -> Any:
        return tf.constant(random.normal(0, 0.3, shape).astype(np.float32))

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 9, 9, 3], "x")
        for _ in range(3):
            channels = x.shape[-1]
            a = tf.nn.relu(tf.nn.conv2d(x, kernel(3, 3, channels, 8), 1, "SAME"))
            b = tf.pad(a, [[0, 0], [1, 1], [1, 1], [0, 0]])
            b = tf.nn.max_pool2d(b, 3, 1, "VALID") * kernel(8)
            c = tf.sigmoid(tf.nn.conv2d(x, kernel(1, 1, channels, 8), 1, "SAME"))
            x = tf.concat([a + b, c * tf.reduce_mean(a, [1, 2], keepdims=True)], 3)
        tf.identity(tf.reduce_max(x, [1, 2]), "y")
    return graph


def tf2onnx_graph() -> Any:
    with branches().as_default() as graph:
        return tfonnx.process_tf_graph(graph, opset=18, input_names=["x:0"], output_names=["y:0"])


def names(nodes: list[Any]) -> list[str]:
    return [node.name for node in nodes]


def test_the_same_nodes_are_needed() -> None:
    with insertion_order():
        graph = tf2onnx_graph()
        ends = [graph.get_nodes()[-1].output[0], "y:0"]
        theirs = names(graph.extract_sub_graph_nodes(ends, remove_unused_inputs=False))
        with single_sweeps():
            ours = names(graph.extract_sub_graph_nodes(ends, remove_unused_inputs=False))
    assert sorted(ours) == sorted(theirs)
    assert len(ours) == len(set(ours)) > 50


def test_the_sort_has_the_same_order() -> None:
    graph = tf2onnx_graph()
    graph.topological_sort(graph.get_nodes())
    theirs = names(graph.get_nodes())
    with single_sweeps():
        graph.topological_sort(graph.get_nodes()[::-1])
    assert names(graph.get_nodes()) == theirs


@pytest.mark.parametrize(("read", "words"), [("y:0", "cycle"), ("nothing:0", "no node")])
def test_what_cannot_be_sorted(read: str, words: str) -> None:
    graph = tf2onnx_graph()
    first = next(n for n in graph.get_nodes() if n.type == "Conv")
    first.input[0] = read
    with single_sweeps(), pytest.raises(ValueError, match=words):
        graph.topological_sort(graph.get_nodes())


def test_all_is_put_back() -> None:
    def parts() -> list[Callable[..., Any]]:
        return [Graph.extract_sub_graph_nodes, Graph.topological_sort, Graph.dump_node_statistics]

    before = parts()
    with single_sweeps():
        assert not {*map(id, before)} & {*map(id, parts())}
    assert parts() == before


def test_transposes_end_where_trying_all_of_them_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Patient(transposes.FasterTransposeOptimizer):
        def _pass(self, changes: Any) -> bool:
            return any(self._step(node) for node in list(self.nodes) if node.type == "Transpose")

    frozen = build_frozen()
    ours = lower(frozen, 18).model
    monkeypatch.setattr(transposes, "FasterTransposeOptimizer", Patient)
    assert lower(frozen, 18).model.SerializeToString() == ours.SerializeToString()
    assert sum(node.op_type == "Transpose" for node in ours.graph.node) <= 2


def build_frozen() -> Any:
    from smconvert.graph.freeze import FrozenGraph
    from smconvert.model import DType, TensorInfo

    graph = branches()
    x = TensorInfo("x", DType.FLOAT32, (None, 9, 9, 3), "x:0")
    y = TensorInfo("y", DType.FLOAT32, (None, 16), "y:0")
    return FrozenGraph(graph.as_graph_def(), (x,), (y,), (), (), 0)
