"""Loops of TensorFlow 1 as functional ones.

A loop is a frame: each variable comes in by an ``Enter``, a ``Merge`` takes that or what
``NextIteration`` gives, a ``Switch`` sends it on into the body or to an ``Exit``, as the
``LoopCond`` of all of them says (tensorflow/core/common_runtime/functionalize_control_flow).
What enters without a Merge stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smconvert.errors import ConversionError
from smconvert.graph.loops import frames
from smconvert.graph.names import full, node_of, port_of, short
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert_onnx.flow.branches import branches_to_functions
from smconvert_onnx.flow.program import Program, Region, extracted, pass_in


@dataclass(frozen=True)
class _Variable:
    """A variable of a loop.

    Attributes:
        merge: The node that gives its value to the condition.
        switches: The nodes that give it to the body.
        start: The tensor that it starts as.
        following: The tensor that it becomes.
    """

    merge: str
    switches: frozenset[str]
    start: str
    following: str


def loops_to_functions(region: Region, program: Program) -> None:
    """Puts a While in the place of each loop; inner loops come before outer ones.

    Raises:
        ConversionError: a loop is not built as TensorFlow builds them.
    """
    while any(node.op == "Enter" for node in region.nodes.values()):
        where = frames(without_constants(region))
        deepest = max(
            (where[n] for n, node in region.nodes.items() if node.op == "Enter" and n in where),
            key=len,
            default=None,
        )
        if deepest is None:
            raise ConversionError("a loop of the graph has no way in")
        _replace(region, program, deepest, {n for n, f in where.items() if f == deepest})


def without_constants(region: Region) -> graph_pb2.GraphDef:
    """The graph without the edges from constants, which may lead into a loop from outside."""
    graph = region.graph()
    outside = {n.name for n in graph.node if n.op == "Const" and not n.input}
    for node in graph.node:
        if node.op != "Enter":
            read = [i for i in node.input if node_of(i) not in outside]
            del node.input[:]
            node.input.extend(read)
    return graph


def _replace(region: Region, program: Program, frame: tuple[str, ...], inside: set[str]) -> None:
    loop = frame[-1]
    nodes = region.nodes
    conditions = [n for n in inside if nodes[n].op == "LoopCond"]
    if len(conditions) != 1:
        raise ConversionError("a loop of the graph has no condition", where=f"frame {loop}")
    variables = [_variable(region, n, inside) for n in nodes if n in inside and _opens(nodes, n)]
    constants = {
        full(n): full(nodes[n].input[0])
        for n in nodes
        if n in inside and nodes[n].op == "Enter" and _is_constant(region, n, variables)
    }
    starts = {full(v.merge): v for v in variables}
    bodies = {f"{s}:1": v for v in variables for s in v.switches}

    def argument(tensor: str) -> str | None:
        variable = starts.get(tensor) or bodies.get(tensor)
        if variable is not None:
            return full(variable.merge)
        if tensor in constants:
            return tensor
        _ensure_inside(region, tensor, inside, loop)
        return None

    condition, asked = extracted(region, [nodes[conditions[0]].input[0]], argument)
    body, used = extracted(region, [v.following for v in variables], argument)
    given = list(dict.fromkeys([*(full(v.merge) for v in variables), *asked, *used]))
    pass_in(condition, given, asked, region)
    pass_in(body, given, used, region)
    body.outputs += [full(name) for name in body.inputs[len(variables) :]]
    base = loop.rpartition("/")[0] or loop
    whole = region.add("StatelessWhile", base)
    whole.input.extend(short(v.start) for v in variables)
    whole.input.extend(short(constants[t]) for t in given[len(variables) :])
    whole.attr["T"].list.type.extend(region.dtype(t).number for t in given)
    for key, part in (("cond", condition), ("body", body)):
        _without_identities(part)
        _named_constants(part, len(variables))
        branches_to_functions(part, program)
        part.prune()
        whole.attr[key].func.name = program.add(f"{whole.name}/{key}", part)
    numbers = {s: i for i, v in enumerate(variables) for s in v.switches}
    exits = {n for n in inside if nodes[n].op == "Exit"}
    for name in exits:
        node = nodes[name]
        number = numbers[node_of(region.source(node.input[0]))]
        node.op = "Identity"
        node.attr.pop("_output_shapes", None)
        del node.input[:]
        node.input.append(short(f"{whole.name}:{number}"))
    gone = {
        n for n in inside if nodes[n].op != "Identity" or node_of(nodes[n].input[0]) != whole.name
    }
    for name in gone:
        del nodes[name]
    for node in nodes.values():
        read = [i for i in node.input if node_of(i) not in gone]
        if len(read) != len(node.input):
            del node.input[:]
            node.input.extend(read)


def _opens(nodes: Mapping[str, node_def_pb2.NodeDef], name: str) -> bool:
    """Whether a node is where a variable of a loop goes round."""
    before = [nodes[node_of(i)].op for i in nodes[name].input]
    return nodes[name].op == "Merge" and "NextIteration" in before


def _variable(region: Region, merge: str, inside: set[str]) -> _Variable:
    nodes = region.nodes
    before = [node_of(i) for i in nodes[merge].input]
    ends = [n for n in before if nodes[n].op == "NextIteration"]
    enters = [n for n in before if nodes[n].op == "Enter"]
    if len(ends) != 1 or len(enters) != 1:
        raise ConversionError("a variable of a loop is not entered once", where=f"node {merge}")
    switches = frozenset(
        n
        for n in inside
        if nodes[n].op == "Switch"
        and node_of(region.source(nodes[n].input[0])) == merge
        and nodes[node_of(region.source(nodes[n].input[1]))].op == "LoopCond"
    )
    start, following = nodes[enters[0]].input[0], nodes[ends[0]].input[0]
    return _Variable(merge, switches, full(start), full(following))


def _is_constant(region: Region, enter: str, variables: list[_Variable]) -> bool:
    merges = {v.merge for v in variables}
    return not any(
        node.op == "Merge" and node.name in merges and enter in {node_of(i) for i in node.input}
        for node in region.nodes.values()
    )


def _ensure_inside(region: Region, tensor: str, inside: set[str], loop: str) -> None:
    """Refuses a tensor that the loop does not compute."""
    node = region.nodes[node_of(tensor)]
    is_merged = node.op == "Merge" and port_of(tensor) == 1
    if node.op in {"LoopCond", "Exit", "NextIteration", "Enter"} or is_merged:
        raise ConversionError(
            f"a loop reads {tensor} ({node.op}) where TensorFlow never does", where=f"frame {loop}"
        )
    if node.name not in inside and node.op != "Const":
        raise ConversionError(
            f"a loop reads {tensor}, which never enters it", where=f"frame {loop}"
        )


def _without_identities(region: Region) -> None:
    """Has what Identity nodes give read from before them: arguments then look like V2's."""
    tensors = {
        full(n.name): region.source(full(n.name))
        for n in region.nodes.values()
        if n.op == "Identity"
    }
    region.replace(tensors)


def _named_constants(region: Region, variables: int) -> None:
    """Puts an Identity after each floating-point argument that stays the same.

    tf2onnx knows an LSTM or a GRU by the reads of its weights, which these stand for.
    """
    for name in region.inputs[variables:]:
        dtype = region.dtype(name)
        if dtype.label.startswith("float") and any(
            full(i) == full(name) for n in region.nodes.values() for i in n.input
        ):
            outputs = region.outputs
            identity = region.add("Identity", "weight", [])
            identity.attr["T"].type = dtype.number
            region.replace({full(name): full(identity.name)})
            identity.input.append(name)
            region.outputs = outputs
