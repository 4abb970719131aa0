"""A concrete function from a GraphDef."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smconvert.graph import tf_internals
from smconvert.graph.library import numbered
from smconvert.graph.names import is_control, node_of
from smconvert.graph.protos import graph_pb2


def build(
    graph: graph_pb2.GraphDef,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    handles: Mapping[str, Any],
    variables: Iterable[Any],
    producer_ops: Any = None,
) -> Any:
    """Builds the function.

    Args:
        graph: Nodes; those of ``handles`` are left out of the import.
        inputs: Keyword to the placeholder node that it feeds.
        outputs: Output name to tensor name.
        handles: Node name to the eager resource that takes its place.
        variables: The variables among ``handles``.
        producer_ops: Op list of the program that wrote the graph, where it is known.

    Raises:
        ValueError, TypeError, tf.errors.OpError: TensorFlow does not accept the graph.
    """
    import tensorflow as tf

    body = numbered(without(graph, handles.keys()), tf_internals.unused_number())
    inner = tf_internals.empty_function_graph("imported")
    with inner.as_default():
        captured = {f"{n}:0": tf_internals.capture(inner, h) for n, h in handles.items()}
        tf.graph_util.import_graph_def(
            body, name="", input_map=captured, producer_op_list=producer_ops
        )
    return tf_internals.wrapped_function(
        inner,
        {name: inner.get_tensor_by_name(f"{node}:0") for name, node in inputs.items()},
        {name: inner.get_tensor_by_name(tensor) for name, tensor in outputs.items()},
        variables,
    )


def without(graph: graph_pb2.GraphDef, names: Iterable[str]) -> graph_pb2.GraphDef:
    """The graph without some nodes and without the control edges on them."""
    gone = set(names)
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.name in gone:
            continue
        copy = result.node.add()
        copy.CopyFrom(node)
        inputs = [i for i in node.input if not (is_control(i) and node_of(i) in gone)]
        if len(inputs) < len(node.input):
            del copy.input[:]
            copy.input.extend(inputs)
    return result
