"""A concrete function from a GraphDef, imported by ``wrap_function`` and pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smconvert.graph import tf_internals
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

    body = without(graph, handles.keys())
    used = list(variables)

    def imported() -> None:
        inner = tf.compat.v1.get_default_graph()
        captured = {f"{n}:0": tf_internals.capture(inner, h) for n, h in handles.items()}
        tf.graph_util.import_graph_def(
            body, name="", input_map=captured, producer_op_list=producer_ops
        )
        for variable in used:
            tf_internals.watch_variable(inner, variable)

    wrapped = tf.compat.v1.wrap_function(imported, [])
    # Feeds in any other order than that of their names are bound to the wrong arguments.
    names = sorted(inputs)
    feeds = [wrapped.graph.get_tensor_by_name(f"{inputs[name]}:0") for name in names]
    specs = {
        name: tf.TensorSpec(feed.shape, feed.dtype, name=name)
        for name, feed in zip(names, feeds, strict=True)
    }
    fetches = {name: wrapped.graph.get_tensor_by_name(t) for name, t in outputs.items()}
    pruned = wrapped.prune(feeds, fetches, input_signature=((), specs))
    return tf_internals.name_arguments(pruned, names)


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
