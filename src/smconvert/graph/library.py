"""The functions that a graph carries in its library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from smconvert.graph.names import unused_name
from smconvert.graph.protos import attr_value_pb2, function_pb2, graph_pb2, node_def_pb2

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Ops that run the function named by their attribute ``f``."""

_COUNTERS = re.compile(r"(_frozen|_rewritten|_const|_\d+)+$")
_PREFIX = re.compile(r"^__(inference|forward|backward|wrapped)_")


def references(node: node_def_pb2.NodeDef) -> Iterator[attr_value_pb2.NameAttrList]:
    """The function references among a node's attributes, in the order of the attributes' names."""
    for key in sorted(node.attr):
        value = node.attr[key]
        if value.HasField("func"):
            yield value.func
        yield from value.list.func


def called(
    nodes: Iterable[node_def_pb2.NodeDef], library: Iterable[function_pb2.FunctionDef]
) -> Mapping[str, function_pb2.FunctionDef]:
    """The functions that ``nodes`` call, directly or through other functions, first call first."""
    known = {function.signature.name: function for function in library}
    found: dict[str, function_pb2.FunctionDef] = {}
    pending = list(nodes)[::-1]
    while pending:
        node = pending.pop()
        for name in (node.op, *(r.name for r in references(node))):
            if name in known and name not in found:
                found[name] = known[name]
                pending += reversed(known[name].node_def)
    return found


def named_by_use(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """The graph with the functions that it calls, named without TensorFlow's counters.

    The counters differ with what the process did before.
    """
    names: dict[str, str] = {}
    for name in called(graph.node, graph.library.function):
        plain = _COUNTERS.sub("", _PREFIX.sub("", name)) or "function"
        names[name] = unused_name(plain, set(names.values()))
    return _renamed(graph, names)


def numbered(graph: graph_pb2.GraphDef, number: int) -> graph_pb2.GraphDef:
    """The graph with the functions that it calls, their names ended by a number.

    TensorFlow knows one function by a name in a process, and files call theirs the same.
    """
    found = called(graph.node, graph.library.function)
    return _renamed(graph, {name: f"{name}_{number}" for name in found})


def _renamed(graph: graph_pb2.GraphDef, names: Mapping[str, str]) -> graph_pb2.GraphDef:
    """The graph with the functions of ``names`` and no others, by their new names."""
    known = {function.signature.name: function for function in graph.library.function}
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph)
    result.ClearField("library")
    for name in names:
        copy = result.library.function.add()
        copy.CopyFrom(known[name])
        copy.signature.name = names[name]
        _rename(copy.node_def, names)
    for gradient in graph.library.gradient:
        if gradient.function_name in names and gradient.gradient_func in names:
            result.library.gradient.add(
                function_name=names[gradient.function_name],
                gradient_func=names[gradient.gradient_func],
            )
    _rename(result.node, names)
    return result


def _rename(nodes: Iterable[node_def_pb2.NodeDef], names: Mapping[str, str]) -> None:
    for node in nodes:
        node.op = names.get(node.op, node.op)
        for reference in references(node):
            reference.name = names.get(reference.name, reference.name)
