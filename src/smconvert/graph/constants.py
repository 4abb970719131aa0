"""Constants of a graph, and values that it computes from them alone."""

from __future__ import annotations

from smconvert.errors import ConversionError
from smconvert.graph.cut import reached_from, subgraph
from smconvert.graph.names import full, short
from smconvert.graph.ops import ensure_importable
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.references import VARIABLES, has_references
from smconvert.model import Array, DType


def evaluate(graph: graph_pb2.GraphDef, tensor: str) -> Array | None:
    """The value of a tensor that depends on nothing but constants; None if on more than that.

    Raises:
        ConversionError: its computation fails, or needs Python code, files or unknown ops.
    """
    for node in reached_from(graph, [tensor]):
        if node.op.startswith("Placeholder") or "Random" in node.op or node.op in VARIABLES:
            return None
    needed = subgraph(graph, [tensor])
    if has_references(needed) or any(n.op == "VarHandleOp" for n in needed.node):
        return None
    ensure_importable(needed)
    import tensorflow as tf

    with tf.Graph().as_default() as built:
        try:
            tf.import_graph_def(needed, name="")
            with tf.compat.v1.Session(graph=built) as session:
                value: Array = session.run(full(tensor))
        except (ValueError, tf.errors.OpError) as error:
            raise ConversionError(
                f"the value of {short(tensor)!r} cannot be computed: {str(error)[:200]}"
            ) from error
    return value


def constant(name: str, value: Array, dtype: DType) -> node_def_pb2.NodeDef:
    """A Const node."""
    import tensorflow as tf

    node = node_def_pb2.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = dtype.number
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype.label))
    return node
