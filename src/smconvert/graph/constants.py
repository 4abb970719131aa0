"""Constants of a graph, and values that it computes from them alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from smconvert.errors import ConversionError
from smconvert.graph.cut import reached_from, subgraph
from smconvert.graph.names import full, is_control, node_of, short
from smconvert.graph.ops import ensure_importable
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.references import VARIABLES, has_references
from smconvert.graph.simplify import FLOW
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


def folded(graph: graph_pb2.GraphDef, ends: Collection[str], most: int) -> graph_pb2.GraphDef:
    """The graph with what it computes from constants alone as constants, all in one session.

    Args:
        graph: In topological order. Functions, loops and ops with state are left as they are.
        ends: Nodes that stay.
        most: Values of more bytes than this are not made.
    """
    import tensorflow as tf

    fixed = {n.name for n in graph.node if n.op == "Const" and not n.input}
    pure = dict.fromkeys(fixed)
    for node in graph.node:
        fed = node.input and all(not is_control(i) and node_of(i) in pure for i in node.input)
        if fed and node.name not in ends and _is_foldable(node):
            pure[node.name] = None
    if len(pure) == len(fixed):
        return graph
    with tf.Graph().as_default() as built:
        part = graph_pb2.GraphDef()
        part.versions.CopyFrom(graph.versions)
        part.node.extend(node for node in graph.node if node.name in pure)
        tf.graph_util.import_graph_def(part, name="")
        small = set(fixed)
        for node in part.node:
            (output,) = built.get_operation_by_name(node.name).outputs
            known = output.shape.is_fully_defined() and output.dtype.is_numpy_compatible
            size = output.shape.num_elements() * max(output.dtype.size, 1) if known else most + 1
            if size <= most and all(node_of(i) in small for i in node.input):
                small.add(node.name)
        made = small - fixed
        read = {node_of(i) for n in graph.node if n.name not in made for i in n.input}
        wanted = sorted(made & read)
        with tf.compat.v1.Session(graph=built, config=_unoptimized()) as session:
            values = session.run({name: f"{name}:0" for name in wanted})
        types = {name: built.get_tensor_by_name(f"{name}:0").dtype for name in wanted}
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.name in values:
            dtype = DType.from_number(types[node.name].as_datatype_enum)
            result.node.append(constant(node.name, values[node.name], dtype))
        elif node.name not in made and (node.name not in fixed or node.name in read):
            result.node.add().CopyFrom(node)
    return result


def _unoptimized() -> Any:
    """For graphs that run once: TensorFlow would fold their constants itself before."""
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = tf.compat.v1.OptimizerOptions.L0
    return config


def _is_foldable(node: node_def_pb2.NodeDef) -> bool:
    """Whether an op has one output and gives the same one each time."""
    from smconvert.graph.tf_internals import registered_op

    definition = registered_op(node.op)
    if definition is None or definition.is_stateful or len(definition.output_arg) != 1:
        return False
    (output,) = definition.output_arg
    several = output.number_attr or output.type_list_attr
    calls = any(v.HasField("func") or v.list.func for v in node.attr.values())
    return not several and not calls and node.op not in FLOW


def constant(name: str, value: Array, dtype: DType) -> node_def_pb2.NodeDef:
    """A Const node."""
    import tensorflow as tf

    node = node_def_pb2.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = dtype.number
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype.label))
    return node
