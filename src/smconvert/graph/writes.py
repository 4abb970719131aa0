"""Writes to variables that no output can see.

Old graphs hang updates (batch norm's moving averages, step counters) on their outputs by control
edges. A format without variables can leave such a write out, when nothing that the outputs need
reads the variable; any other write must be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smconvert.errors import ConversionError
from smconvert.graph import function as functions
from smconvert.graph import tf_internals
from smconvert.graph.cut import subgraph
from smconvert.graph.names import node_of
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.model import Signature

_WRITES = ("Assign", "Scatter", "Apply")
_CARRIERS = frozenset({"Identity", "Enter", "Switch", "Merge"})


def without_unseen_writes(signature: Signature) -> tuple[Any, tuple[str, ...]]:
    """The signature's function without its writes, and one sentence for each that was left out.

    Raises:
        ConversionError: an output depends on what a write does.
    """
    function = signature.function
    graph = function.graph.as_graph_def()
    for inner in graph.library.function:
        for node in inner.node_def:
            if is_write(node):
                raise _refused(signature, node)
    writes = [node for node in graph.node if is_write(node)]
    if not writes:
        return function, ()
    gone = {node.name for node in writes}
    ends = [t.name for t in function.outputs]
    kept = functions.without(graph, gone)
    for node in kept.node:
        for name in node.input:
            if node_of(name) in gone:
                raise _refused(signature, next(w for w in writes if w.name == node_of(name)))
    kept = _with_placeholders(subgraph(kept, ends), graph, function)
    nodes = {node.name: node for node in graph.node}
    for write in writes:
        variable = _origin(write.input[0], nodes)
        if any(_origin(i, nodes) == variable for n in kept.node for i in n.input):
            raise _refused(signature, write)
    return _rebuilt(kept, function), tuple(
        f"{write.name} ({write.op}) is left out: no output depends on what it writes"
        for write in writes
    )


def changes_variables(signature: Signature) -> bool:
    """Whether a call of the signature leaves anything different for the next one."""
    graph = signature.function.graph.as_graph_def()
    bodies = (graph.node, *(f.node_def for f in graph.library.function))
    return any(is_write(node) for body in bodies for node in body)


def is_write(node: node_def_pb2.NodeDef) -> bool:
    """Whether a node changes a resource variable."""
    if node.op.startswith("Resource"):
        return any(word in node.op for word in _WRITES)
    return node.op.startswith("Assign") and node.op.endswith("VariableOp")


def _origin(tensor: str, nodes: Mapping[str, node_def_pb2.NodeDef]) -> str:
    name = node_of(tensor)
    while nodes[name].op in _CARRIERS and nodes[name].input:
        name = node_of(nodes[name].input[0])
    return name


def _with_placeholders(
    kept: graph_pb2.GraphDef, graph: graph_pb2.GraphDef, function: Any
) -> graph_pb2.GraphDef:
    """Adds the function's own inputs that nothing needs any more: they stay inputs."""
    present = {node.name for node in kept.node}
    wanted = {t.op.name for t in _own_inputs(function)}
    kept.node.extend(n for n in graph.node if n.name in wanted - present)
    return kept


def _rebuilt(graph: graph_pb2.GraphDef, function: Any) -> Any:
    own = _own_inputs(function)
    captured = zip(function.inputs[len(own) :], function.captured_inputs, strict=True)
    present = {n.name for n in graph.node} | {node_of(i) for n in graph.node for i in n.input}
    handles = {inner.op.name: outer for inner, outer in captured if inner.op.name in present}
    held = {id(handle) for handle in handles.values()}
    keywords = tf_internals.argument_keywords(function)
    names = sorted(function.structured_outputs)
    return functions.build(
        graph,
        {k: t.op.name for k, t in zip(keywords, own, strict=True)},
        {k: t.name for k, t in zip(names, function.outputs, strict=True)},
        handles,
        [v for v in function.graph.variables if id(v.handle) in held],
    )


def _own_inputs(function: Any) -> list[Any]:
    return list(function.inputs[: len(function.inputs) - len(function.captured_inputs)])


def _refused(signature: Signature, node: node_def_pb2.NodeDef) -> ConversionError:
    return ConversionError(
        f"the signature changes a variable while it runs ({node.op}), and its outputs depend on "
        "it; constants cannot change",
        where=f"signature {signature.name}, node {node.name}",
        hint="convert to a SavedModel, which keeps variables; or choose --outputs that do not "
        "need it",
    )
