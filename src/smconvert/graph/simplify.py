"""What a graph can lose without computing anything else."""

from __future__ import annotations

from collections.abc import Collection

from smconvert.graph.names import is_control, node_of
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.tf_internals import registered_op

FLOW = frozenset({"Enter", "Exit", "Switch", "Merge", "NextIteration", "LoopCond"})
"""V1 control flow, where a control edge says which frame or branch a node belongs to."""


def without_idle_edges(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """The graph without the control edges that order nothing, and the NoOps that they came from.

    Such an edge comes from a node which has no effect, as have all that it waits for. Inlining a
    call leaves one on each constant of the function.

    Args:
        graph: In any order, without circles but those of V1 loops.
    """
    idle = _idle(graph)
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.op == "NoOp" and node.name in idle:
            continue
        copy = result.node.add()
        copy.CopyFrom(node)
        kept = [i for i in node.input if not (is_control(i) and node_of(i) in idle)]
        if len(kept) < len(node.input):
            del copy.input[:]
            copy.input.extend(kept)
    return result


def without_identities(graph: graph_pb2.GraphDef, ends: Collection[str]) -> graph_pb2.GraphDef:
    """The graph whose nodes read what an Identity reads, but for the Identities named in ``ends``.

    Args:
        graph: In topological order, without V1 control flow, whose Identities end a frame.
        ends: Nodes that stay.
    """
    source: dict[str, str] = {}
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        inputs = [_passed(i, source) for i in node.input]
        if node.op == "Identity" and node.name not in ends and len(inputs) == 1:
            source[node.name] = inputs[0]
            continue
        copy = result.node.add()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(i for i in inputs if not is_control(i))
        copy.input.extend(dict.fromkeys(i for i in inputs if is_control(i)))
        # It may name a node that is gone: what is placed beside it means nothing elsewhere.
        copy.attr.pop("_class", None)
    return result


def _passed(tensor: str, source: dict[str, str]) -> str:
    name = node_of(tensor)
    if name not in source:
        return tensor
    return f"^{node_of(source[name])}" if is_control(tensor) else source[name]


def _idle(graph: graph_pb2.GraphDef) -> set[str]:
    """The nodes that have no effect and wait for none."""
    nodes = {node.name: node for node in graph.node}
    busy = [node.name for node in graph.node if _has_effect(node)]
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for i in node.input:
            readers.setdefault(node_of(i), []).append(node.name)
    seen: set[str] = set()
    while busy:
        name = busy.pop()
        if name not in seen:
            seen.add(name)
            busy += readers.get(name, ())
    return nodes.keys() - seen


def _has_effect(node: node_def_pb2.NodeDef) -> bool:
    if node.op in FLOW:
        return True
    definition = registered_op(node.op)
    return definition is None or definition.is_stateful
