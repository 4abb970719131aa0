"""What ``smconvert.graph.tf_internals`` relies on in TensorFlow."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from smconvert.graph import tf_internals


def scaled() -> tuple[object, tf.Variable]:
    """A function of two inputs and a variable, in a graph of its own."""
    variable = tf.Variable([2.0, 3.0], name="scale")
    graph = tf_internals.empty_function_graph("scaled")
    with graph.as_default():
        handle = tf_internals.capture(graph, variable.handle)
        value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
        b = tf.compat.v1.placeholder(tf.float32, [None, 2], "b")
        a = tf.compat.v1.placeholder(tf.float32, [None, 2], "a")
        outputs = {"y": tf.subtract(a * value, b)}
    return tf_internals.wrapped_function(graph, {"b": b, "a": a}, outputs, [variable]), variable


def test_inputs_are_bound_by_name() -> None:
    function, variable = scaled()
    result = function(b=tf.constant([[1.0, 1.0]]), a=tf.constant([[10.0, 10.0]]))
    np.testing.assert_array_equal(result["y"], [[19.0, 29.0]])
    assert tf_internals.argument_keywords(function) == ["a", "b"]
    variable.assign([1.0, 1.0])
    result = function(b=tf.constant([[1.0, 1.0]]), a=tf.constant([[10.0, 10.0]]))
    np.testing.assert_array_equal(result["y"], [[9.0, 9.0]])


def test_variables_become_constants() -> None:
    function, variable = scaled()
    frozen = tf_internals.variables_to_constants(function)
    nodes = frozen.graph.as_graph_def().node
    assert not [n for n in nodes if n.op == "ReadVariableOp"]
    assert [
        t.shape for t in (tf.make_ndarray(n.attr["value"].tensor) for n in nodes if n.op == "Const")
    ] == [tuple(variable.shape)]


def test_calls_are_inlined_and_loops_kept() -> None:
    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def inner(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda v: v < 10.0, lambda v: (v * 2.0,), [x])[0]

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def outer(x: tf.Tensor) -> tf.Tensor:
        return inner(x) + 1.0

    function = outer.get_concrete_function()
    graph = function.graph.as_graph_def()
    assert any(n.op.endswith("PartitionedCall") for n in graph.node)
    names = [t.name for t in (*function.inputs, *function.outputs)]
    inlined = tf_internals.inline(graph, names)
    ops = {n.op for n in inlined.node}
    assert not any(op.endswith("PartitionedCall") for op in ops)
    assert ops & {"While", "StatelessWhile"}
    assert not ops & {"Switch", "Merge"}


def test_registered_ops() -> None:
    definition = tf_internals.registered_op("MatMul")
    assert definition is not None
    assert [a.name for a in definition.input_arg] == ["a", "b"]
    assert tf_internals.registered_op("FooBarFromTheFuture") is None
