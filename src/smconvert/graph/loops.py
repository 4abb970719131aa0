"""While loops: how deep they lie in each other, and one iteration on its own.

TensorFlow's executor gives each node a frame, which its inputs and control inputs hand down,
``Enter`` opens and ``Exit`` leaves (tensorflow/core/graph/control_flow.cc, BuildControlFlowInfo).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from smconvert.graph import tf_internals
from smconvert.graph.cut import placeholder
from smconvert.graph.names import full, node_of
from smconvert.graph.protos import graph_pb2
from smconvert.model import DType, TensorInfo

_WHILES = frozenset({"While", "StatelessWhile"})


@dataclass(frozen=True)
class Iteration:
    """One iteration of a loop, as a graph without that loop.

    Attributes:
        graph: Of which the body is a part.
        inputs: What is fed.
        following: Name of a loop's variable to the tensor that it becomes, where it has another
            name than the variable that it leaves the loop by.
    """

    graph: graph_pb2.GraphDef
    inputs: tuple[TensorInfo, ...]
    following: Mapping[str, str]


def frames(graph: graph_pb2.GraphDef) -> Mapping[str, tuple[str, ...]]:
    """Each node's frame: the names of the loops that it lies in, the outermost first."""
    nodes: dict[str, Any] = {node.name: node for node in graph.node}
    consumers: dict[str, list[str]] = {name: [] for name in nodes}
    for node in graph.node:
        for tensor in node.input:
            consumers[node_of(tensor)].append(node.name)
    found: dict[str, tuple[str, ...]] = {n: () for n in nodes if not nodes[n].input}
    waiting = deque(found)
    while waiting:
        name = waiting.popleft()
        left = found[name][:-1] if nodes[name].op == "Exit" else found[name]
        for consumer in consumers[name]:
            if consumer not in found:
                node = nodes[consumer]
                opened = (node.attr["frame_name"].s.decode(),) if node.op == "Enter" else ()
                found[consumer] = left + opened
                waiting.append(consumer)
    return found


def iteration(graph: graph_pb2.GraphDef, tensor: str, fed: Iterable[str]) -> Iteration | None:
    """One iteration of the loop that gives a tensor.

    Args:
        graph: With V1 loops, or with loops as functions.
        tensor: What is computed from the loop; of several loops, from the nearest.
        fed: Tensors that are fed; those that the iteration has become its inputs.

    Returns:
        None if no loop gives the tensor.
    """
    nodes = {node.name: node for node in graph.node}
    name = _loop_before(node_of(tensor), nodes)
    if name is None:
        return None
    by_node = {node_of(tensor): tensor for tensor in fed}
    becomes: dict[str, str | None] = {}
    if nodes[name].op in _WHILES:
        opened = _body(graph, nodes[name])
    else:
        frame = frames(graph)[name]
        merges = [n for n, inside in frames(graph).items() if inside == frame]
        by_node |= {n: by_node[a] for n in merges if (a := argument_name(n)) in by_node}
        opened = _opened(graph, frame)
        becomes = {tensor: _following(node, nodes) for node, tensor in by_node.items()}
    following = {name: after for name, after in becomes.items() if after is not None}
    return Iteration(*_fed(opened, by_node), following)


def argument_name(node: str) -> str:
    """What the argument is called that stands for a V1 loop's variable in a function.

    Names of arguments are words in lower case (op_def_builder.cc).
    """
    word = re.sub(r"[^a-z0-9]+", "_", node.lower()).strip("_")
    return word if word[:1].isalpha() else f"arg_{word}"


def _body(graph: graph_pb2.GraphDef, loop: Any) -> graph_pb2.GraphDef:
    """The nodes of a functional loop's body, and those before the loop that do not change in it."""
    name = loop.attr["body"].func.name
    (function,) = (f for f in graph.library.function if f.signature.name == name)
    opened = tf_internals.function_nodes(function)
    taken = {node.name for node in opened.node}
    before = [node for node in graph.node if node.name not in taken and node.name != loop.name]
    for number, argument in enumerate(function.signature.input_arg):
        result = function.ret[function.signature.output_arg[number].name]
        if result != argument.name:
            continue
        node = next(n for n in opened.node if n.name == argument.name)
        node.op = "Identity"
        for key in [key for key in node.attr if key != "dtype"]:
            del node.attr[key]
        node.attr["T"].type = node.attr["dtype"].type
        del node.attr["dtype"]
        node.input[:] = [loop.input[number]]
    opened.node.extend(before)
    opened.library.CopyFrom(graph.library)
    return opened


def _following(tensor: str, nodes: Mapping[str, Any]) -> str | None:
    """What a variable of a V1 loop, as its body reads it, is in the next iteration."""
    name = node_of(tensor)
    for op in ("Identity", "Switch", "Merge"):
        if name in nodes and nodes[name].op == op:
            inputs = [node_of(i) for i in nodes[name].input]
            name = next(
                (i for i in inputs if i in nodes and nodes[i].op == "NextIteration"), inputs[0]
            )
    if name not in nodes or nodes[name].op != "NextIteration":
        return None
    return full(nodes[name].input[0])


def _loop_before(name: str, nodes: Mapping[str, Any]) -> str | None:
    """The nearest node before ``name`` that a loop ends with."""
    seen = {name}
    waiting = deque([name])
    while waiting:
        name = waiting.popleft()
        if name not in nodes:
            continue
        if nodes[name].op == "Exit" or nodes[name].op in _WHILES:
            return name
        before = [n for i in nodes[name].input if (n := node_of(i)) not in seen]
        seen.update(before)
        waiting += before
    return None


def _opened(graph: graph_pb2.GraphDef, frame: tuple[str, ...]) -> graph_pb2.GraphDef:
    """The graph with what enters one frame let through, and what goes round in it left out.

    A variable is the loop's Merge, and what the body reads of it comes through the Switch.
    """
    where = frames(graph)
    turned = {n.name for n in graph.node if n.op == "Switch" and where.get(n.name) == frame}
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        inside = where.get(node.name) == frame
        if inside and node.op in {"Exit", "NextIteration", "LoopCond"}:
            continue
        copy = result.node.add()
        copy.CopyFrom(node)
        copy.input[:] = [node_of(i) if node_of(i) in turned else i for i in node.input]
        if inside and node.op in {"Enter", "Switch"}:
            copy.op = "Identity"
            del copy.input[1:]
            for key in ("frame_name", "is_constant", "parallel_iterations"):
                copy.attr.pop(key, None)
    return result


def _fed(
    graph: graph_pb2.GraphDef, names: Mapping[str, str]
) -> tuple[graph_pb2.GraphDef, tuple[TensorInfo, ...]]:
    """The graph with placeholders for what is fed, and without what cannot be computed then.

    Args:
        graph: Of an iteration.
        names: Node to the name that it is fed by.
    """
    inputs = []
    kept = graph_pb2.GraphDef()
    kept.versions.CopyFrom(graph.versions)
    kept.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.name not in names:
            kept.node.add().CopyFrom(node)
            continue
        key = "dtype" if "dtype" in node.attr else "T"
        dtype = DType.from_number(node.attr[key].type)
        kept.node.append(placeholder(node.name, dtype, None))
        inputs.append(TensorInfo(names[node.name], dtype, None, f"{node.name}:0"))
    present = {node.name for node in kept.node}
    while True:
        left = [n for n in kept.node if all(node_of(i) in present for i in n.input)]
        if len(left) == len(kept.node):
            return kept, tuple(inputs)
        whole = graph_pb2.GraphDef()
        whole.versions.CopyFrom(kept.versions)
        whole.library.CopyFrom(kept.library)
        whole.node.extend(left)
        kept, present = whole, {node.name for node in left}
