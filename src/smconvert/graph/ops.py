"""What TensorFlow's op registry says about nodes: their types, and which may not be imported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smconvert.errors import ConversionError, UsageError
from smconvert.graph import outside
from smconvert.graph.names import node_of
from smconvert.graph.protos import graph_pb2, node_def_pb2, op_def_pb2
from smconvert.graph.tf_internals import registered_op
from smconvert.model import DType


@dataclass(frozen=True)
class Registry:
    """Op definitions: TensorFlow's own, and the functions of one graph's library."""

    functions: Mapping[str, op_def_pb2.OpDef]

    @classmethod
    def of(cls, graph: graph_pb2.GraphDef) -> Registry:
        """The registry as one graph sees it."""
        return cls({f.signature.name: f.signature for f in graph.library.function})

    def get(self, op: str) -> op_def_pb2.OpDef | None:
        """The definition of ``op``, or None."""
        return self.functions.get(op) or registered_op(op)

    def output_types(self, node: node_def_pb2.NodeDef) -> list[DType]:
        """The element type of each output of ``node``, in order.

        Raises:
            ConversionError: the op is unknown.
        """
        definition = self.get(node.op)
        if definition is None:
            raise unknown_op(node)
        return [
            DType.from_number(number)
            for arg in definition.output_arg
            for number in arg_types(node, arg)
        ]


def makes_resource(op: str) -> bool:
    """Whether an op makes a variable, a table, or another thing that outlives a run."""
    definition = registered_op(op)
    return definition is not None and any(
        arg.type == DType.RESOURCE.number for arg in definition.output_arg
    )


def arg_types(node: node_def_pb2.NodeDef, arg: Any) -> list[int]:
    """The type numbers of one argument, which may stand for several tensors (op_def.proto)."""
    if arg.type_list_attr:
        return list(node.attr[arg.type_list_attr].list.type)
    count = node.attr[arg.number_attr].i if arg.number_attr else 1
    number = arg.type or node.attr[arg.type_attr].type
    return [number] * count


def input_args(node: node_def_pb2.NodeDef, definition: op_def_pb2.OpDef) -> list[Any]:
    """For each data input of ``node``, the argument of ``definition`` that it belongs to."""
    return [arg for arg in definition.input_arg for _ in arg_types(node, arg)]


def output_args(node: node_def_pb2.NodeDef, definition: op_def_pb2.OpDef) -> list[Any]:
    """For each output of ``node``, the argument of ``definition`` that it belongs to."""
    return [arg for arg in definition.output_arg for _ in arg_types(node, arg)]


def fetched_type(graph: graph_pb2.GraphDef, tensor: str, name: str) -> DType:
    """The type of a tensor that is fed or fetched as ``name``.

    Raises:
        UsageError: the node is not there, has no outputs, or not that many.
    """
    node = next((n for n in graph.node if n.name == node_of(tensor)), None)
    if node is None:
        raise UsageError(f"the graph has no node {node_of(tensor)!r}", where=name)
    types = Registry.of(graph).output_types(node)
    port = tensor.partition(":")[2] or "0"
    if not types:
        raise UsageError(
            f"{node.name!r} is an operation ({node.op}) without outputs, not a tensor", where=name
        )
    if not port.isdigit() or int(port) >= len(types):
        raise UsageError(
            f"{node.name!r} ({node.op}) has no output {port}",
            where=name,
            hint=f"its outputs are {node.name}:0 to {node.name}:{len(types) - 1}"
            if len(types) > 1
            else f"its one output is {node.name}:0",
        )
    return types[int(port)]


def nodes_of(graph: graph_pb2.GraphDef) -> Iterator[node_def_pb2.NodeDef]:
    """All nodes of a graph and of its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def ensure_importable(graph: graph_pb2.GraphDef, allowed: Collection[str] = ()) -> None:
    """Refuses ops that reach outside the model, and unknown ones; the graph is cut before.

    Args:
        graph: With the functions that it calls.
        allowed: Ops that may reach outside.

    Raises:
        ConversionError: naming op and node.
    """
    registry = Registry.of(graph)
    for node in nodes_of(graph):
        outside.ensure_inside([node], allowed)
        if registry.get(node.op) is None:
            raise unknown_op(node)


def unknown_op(node: node_def_pb2.NodeDef) -> ConversionError:
    """The refusal of an op that this TensorFlow does not have."""
    return ConversionError(
        f"this TensorFlow does not know the op {node.op}",
        where=f"node {node.name}",
        hint="load the library that defines it with --op-library FILE.so",
    )


def load_libraries(paths: Iterable[Path]) -> None:
    """Loads shared libraries with custom ops; their code runs in this process.

    Raises:
        UsageError: one cannot be loaded.
    """
    import tensorflow as tf

    for path in paths:
        try:
            tf.load_op_library(str(path))
        except Exception as error:
            raise UsageError(
                f"the op library cannot be loaded: {error}", where=str(path)
            ) from error
