"""Control edges that order nothing, and Identities."""

from __future__ import annotations

import tensorflow as tf

from smconvert.graph.protos import graph_pb2
from smconvert.graph.simplify import without_identities, without_idle_edges


def edges(graph: graph_pb2.GraphDef) -> dict[str, list[str]]:
    return {node.name: list(node.input) for node in graph.node}


def test_edges_from_nodes_without_effect_go() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [], "x")
        with tf.control_dependencies([tf.no_op("start")]):
            one = tf.constant(1.0, name="one")
        total = tf.add(x, one, "total")
        with tf.control_dependencies([tf.raw_ops.Assert(condition=x > 0, data=[x], name="sure")]):
            tf.identity(total, "y")
    left = edges(without_idle_edges(graph.as_graph_def()))
    assert left["one"] == []
    assert left["y"] == ["total", "^sure"]
    assert "start" not in left


def test_edges_behind_what_has_an_effect_stay() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [], "x")
        checked = tf.raw_ops.Assert(condition=x > 0, data=[x], name="sure")
        with tf.control_dependencies([checked]):
            after = tf.no_op("after")
        with tf.control_dependencies([after]):
            tf.constant(1.0, name="one")
    assert edges(without_idle_edges(graph.as_graph_def()))["one"] == ["^after"]


def test_v1_branches_keep_their_edges() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [], "x")
        _, taken = tf.raw_ops.Switch(data=x, pred=x > 0, name="branch")
        with tf.control_dependencies([tf.identity(taken, "pivot")]):
            tf.constant(1.0, name="one")
    assert edges(without_idle_edges(graph.as_graph_def()))["one"] == ["^pivot"]


def test_identities_are_passed_by() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [3], "x")
        parts = tf.raw_ops.Split(axis=0, value=x, num_split=3, name="parts")
        middle = tf.identity(tf.identity(parts[1], "first"), "second")
        tf.add(middle, middle, "total")
        with tf.control_dependencies([middle]):
            tf.identity(x, "y")
    left = edges(without_identities(graph.as_graph_def(), {"y"}))
    assert left["total"] == ["parts:1", "parts:1"]
    assert left["y"] == ["x", "^parts"]
    assert not {"first", "second"} & left.keys()
