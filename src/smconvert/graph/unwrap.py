"""The call that is the whole of a TF2 signature, taken out of the way.

TF2 saves a signature as placeholders, handles and one call (signature_serialization.py). The names
inside are those that a program sees which loads the file, and those that other converters keep.
"""

from __future__ import annotations

from dataclasses import replace

from smconvert.graph.cut import CutGraph
from smconvert.graph.library import CALLS
from smconvert.graph.names import full, is_control, node_of, port_of, short, unused_name
from smconvert.graph.ops import Registry, output_args, unknown_op
from smconvert.graph.protos import function_pb2, graph_pb2, node_def_pb2


def unwrapped(part: CutGraph) -> CutGraph:
    """The same graph with the body of the call that all its outputs come from, if there is one."""
    ends = set(part.outputs.values())
    read = {node_of(i) for node in part.graph.node if node.name in ends for i in node.input}
    callers = [node for node in part.graph.node if node.name in read]
    functions = {f.signature.name: f for f in part.graph.library.function}
    if len(callers) != 1 or callers[0].op not in CALLS:
        return part
    call = callers[0]
    function = functions.get(call.attr["f"].func.name)
    if function is None or any(call.name == node_of(i) for n in _rest(part, call, ends) for i in n):
        return part
    return replace(part, graph=_with_body(part.graph, call, function, ends))


def _rest(part: CutGraph, call: node_def_pb2.NodeDef, ends: set[str]) -> list[list[str]]:
    """The inputs of the nodes that are neither the call nor an output."""
    return [list(n.input) for n in part.graph.node if n.name not in ends and n is not call]


def _with_body(
    graph: graph_pb2.GraphDef,
    call: node_def_pb2.NodeDef,
    function: function_pb2.FunctionDef,
    ends: set[str],
) -> graph_pb2.GraphDef:
    body = {node.name: node for node in function.node_def}
    registry = Registry.of(graph)
    given = dict(zip((a.name for a in function.signature.input_arg), call.input, strict=False))
    taken = {node.name for node in graph.node} - {call.name}
    names = {}
    for name in body:
        names[name] = unused_name(name, taken)
        taken.add(names[name])

    def inside(tensor: str) -> str:
        name = node_of(tensor)
        if name in given:
            return f"^{node_of(given[name])}" if is_control(tensor) else given[name]
        if is_control(tensor):
            return f"^{names[name]}"
        return short(f"{names[name]}:{_port(tensor, body[name], registry)}")

    returned = [inside(function.ret[output.name]) for output in function.signature.output_arg]
    effects = [f"^{names[name]}" for name in function.control_ret.values() if name in names]
    effects += [i for i in call.input if is_control(i)]
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.name == call.name:
            for inner in body.values():
                _add(result, inner, names[inner.name], [inside(i) for i in inner.input])
        elif node.name in ends:
            moved = [returned[port_of(full(i))] for i in node.input]
            _add(result, node, node.name, [*moved, *dict.fromkeys(effects)])
        else:
            result.node.add().CopyFrom(node)
    return result


def _port(tensor: str, node: node_def_pb2.NodeDef, registry: Registry) -> int:
    """The output that a function calls ``node:argument:index`` (function.proto)."""
    _, argument, index = tensor.split(":")
    definition = registry.get(node.op)
    if definition is None:
        raise unknown_op(node)
    names = [output.name for output in output_args(node, definition)]
    return names.index(argument) + int(index)


def _add(
    graph: graph_pb2.GraphDef, node: node_def_pb2.NodeDef, name: str, inputs: list[str]
) -> None:
    copy = graph.node.add()
    copy.CopyFrom(node)
    copy.name = name
    del copy.input[:]
    copy.input.extend(inputs)
