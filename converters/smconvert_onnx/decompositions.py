"""TensorFlow ops that tf2onnx does not know, as compositions of ops that it does.

Each composition is written in TensorFlow and traced, so that it can be compared with the op's own
kernel (``tests/onnx/test_decompositions.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smconvert.graph.names import is_control, node_of, port_of, short
from smconvert.graph.protos import graph_pb2, node_def_pb2


def _erfc(x: Any) -> Any:
    import tensorflow as tf

    return tf.ones_like(x) - tf.math.erf(x)


def _expm1(x: Any) -> Any:
    """``exp(x) - 1``, by ``2 sinh(x/2) exp(x/2)``, which keeps the digits of small ``x``."""
    import tensorflow as tf

    half = x * tf.constant(0.5, x.dtype)
    exact = tf.sinh(half) * tf.exp(half) * tf.constant(2.0, x.dtype)
    # Below, sinh overflows before the product does.
    return tf.where(tf.abs(half) < tf.constant(30.0, x.dtype), exact, tf.exp(x) - tf.ones_like(x))


def _xlogy(x: Any, y: Any) -> Any:
    import tensorflow as tf

    return tf.where(tf.equal(x, tf.zeros_like(x)), tf.zeros_like(x * y), x * tf.math.log(y))


def _xdivy(x: Any, y: Any) -> Any:
    import tensorflow as tf

    return tf.where(tf.equal(x, tf.zeros_like(x)), tf.zeros_like(x * y), x / y)


def _mul_no_nan(x: Any, y: Any) -> Any:
    import tensorflow as tf

    return tf.where(tf.equal(y, tf.zeros_like(y)), tf.zeros_like(x * y), x * y)


COMPOSITIONS: Mapping[str, Callable[..., Any]] = {
    "Erfc": _erfc,
    "Expm1": _expm1,
    "MulNoNan": _mul_no_nan,
    "Xdivy": _xdivy,
    "Xlogy": _xlogy,
}
"""Op to what computes the same from the same inputs, all of one type."""


def decomposed(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """The graph with compositions in place of the ops that have one; functions stay as they are."""
    if not any(node.op in COMPOSITIONS for node in graph.node):
        return graph
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.op in COMPOSITIONS:
            result.node.extend(_composed(node))
        else:
            result.node.add().CopyFrom(node)
    return result


def _composed(node: node_def_pb2.NodeDef) -> list[node_def_pb2.NodeDef]:
    import tensorflow as tf

    inputs = [i for i in node.input if not is_control(i)]
    with tf.Graph().as_default() as graph:
        dtype = tf.as_dtype(node.attr["T"].type)
        fed = [tf.compat.v1.placeholder(dtype, name=f"input_{i}") for i in range(len(inputs))]
        tf.identity(COMPOSITIONS[node.op](*fed), name="output")
    given = {f"input_{i}": name for i, name in enumerate(inputs)}
    made = []
    for part in graph.as_graph_def().node:
        if part.name in given:
            continue
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(part)
        copy.name = node.name if part.name == "output" else f"{node.name}/{part.name}"
        del copy.input[:]
        for name in part.input:
            base = node_of(name)
            copy.input.append(
                given[base] if base in given else short(f"{node.name}/{base}:{port_of(name)}")
            )
        copy.attr.pop("_output_shapes", None)
        made.append(copy)
    return made
