"""The part of a graph between feeds and fetches.

Old files carry whatever surrounded the model: input pipelines, losses, optimizers, savers, ops
that no longer exist. All of it goes before TensorFlow sees the graph.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from smconvert.errors import ConversionError, SourceError
from smconvert.graph.candidates import INPUT_OPS, PIPELINE_OPS
from smconvert.graph.library import called
from smconvert.graph.names import full, is_control, legal_names, node_of, short
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.tensors import array_of, shape_of
from smconvert.model import DType, Shape, SignatureInfo, TensorInfo

_CLOSES_LOOPS = frozenset({"NextIteration", "RefNextIteration"})
NOTES = ("_output_shapes", "_class")
"""Attributes that TensorFlow leaves on nodes: stale shapes, and colocation with nodes now gone."""


@dataclass(frozen=True)
class CutGraph:
    """A graph that starts at its placeholders and ends at its fetches.

    Attributes:
        graph: Nodes that are needed, in the source's order, then placeholders and fetches.
        inputs: Input name to the name of its placeholder node.
        outputs: Output name to the name of its Identity node.
    """

    graph: graph_pb2.GraphDef
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def cut(
    graph: graph_pb2.GraphDef,
    signature: SignatureInfo,
    fixed: Mapping[str, graph_pb2.NodeDef] | None = None,
) -> CutGraph:
    """Cuts ``graph`` at a signature's inputs and outputs.

    Each input becomes a placeholder of its own, whatever its tensor came from; each output an
    Identity, so that an output may be an input, or the same tensor as another.

    Args:
        graph: The whole graph.
        signature: What is fed and fetched; each TensorInfo names its tensor and its type.
        fixed: Name of a node to the Const that takes its place.

    Raises:
        ConversionError: a placeholder is needed that nothing feeds, or a node is missing.
    """
    nodes = {node.name: node for node in graph.node} | dict(fixed or {})
    input_names = legal_names([info.name for info in signature.inputs], nodes)
    output_names = legal_names(
        [info.name for info in signature.outputs], [*nodes, *input_names.values()]
    )
    fed = {full(_tensor(info)): input_names[info.name] for info in signature.inputs}
    fetched = [full(_tensor(info)) for info in signature.outputs]
    fed_nodes = {node_of(tensor) for tensor in fed}
    kept = _reachable(nodes, fetched, fed, fed_nodes, signature.name)

    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    for name, node in nodes.items():
        if name in kept:
            _add(result, node, fed, fed_nodes - kept)
    for info in signature.inputs:
        result.node.append(
            placeholder(input_names[info.name], info.dtype, _placeholder_shape(info, nodes))
        )
    for info in signature.outputs:
        tensor = full(_tensor(info))
        identity = result.node.add(name=output_names[info.name], op="Identity")
        identity.input.append(fed.get(tensor, short(tensor)))
        identity.attr["T"].type = info.dtype.number
    _add_functions(result, graph)
    return CutGraph(result, input_names, output_names)


def reached_from(
    graph: graph_pb2.GraphDef, fetches: Iterable[str]
) -> tuple[node_def_pb2.NodeDef, ...]:
    """All nodes that ``fetches`` (node or tensor names) need, in the graph's order."""
    nodes = {node.name: node for node in graph.node}
    seen: set[str] = set()
    pending = [node_of(f) for f in fetches]
    while pending:
        name = pending.pop()
        if name not in seen and name in nodes:
            seen.add(name)
            pending += [node_of(i) for i in nodes[name].input]
    return tuple(node for node in graph.node if node.name in seen)


def ensure_no_circle(
    nodes: Iterable[node_def_pb2.NodeDef], arguments: Container[str] = (), where: str = ""
) -> None:
    """Refuses nodes that need themselves, by other ways than a loop's (control_flow_ops.cc).

    TensorFlow would refuse them too; but walks that follow a value to its origin come first.

    Args:
        nodes: Of a graph, or of a function.
        arguments: Of the function; a node may have the name of one.
        where: What they are nodes of.

    Raises:
        SourceError: naming one of them.
    """
    known = {node.name: node for node in nodes}
    needs = {
        name: set()
        if node.op in _CLOSES_LOOPS
        else {node_of(i) for i in node.input if i not in arguments} & known.keys()
        for name, node in known.items()
    }
    consumers: dict[str, list[str]] = {}
    for name, needed in needs.items():
        for other in needed:
            consumers.setdefault(other, []).append(name)
    left = {name: len(needed) for name, needed in needs.items()}
    ready = [name for name, count in left.items() if not count]
    while ready:
        name = ready.pop()
        del left[name]
        for consumer in consumers.get(name, ()):
            left[consumer] -= 1
            if not left[consumer]:
                ready.append(consumer)
    if left:
        raise SourceError(
            f"the graph is damaged: the node {min(left)!r} needs itself", where=where or None
        )


def subgraph(graph: graph_pb2.GraphDef, fetches: Iterable[str]) -> graph_pb2.GraphDef:
    """The graph that ``fetches`` need, with nothing else changed but TensorFlow's notes."""
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    for node in reached_from(graph, fetches):
        _add(result, node, {}, set())
    _add_functions(result, graph)
    return result


def placeholder(name: str, dtype: DType, shape: Shape | None) -> node_def_pb2.NodeDef:
    """A Placeholder node."""
    node = node_def_pb2.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = dtype.number
    proto = node.attr["shape"].shape
    proto.SetInParent()
    if shape is None:
        proto.unknown_rank = True
    for size in shape or ():
        proto.dim.add(size=size if isinstance(size, int) else -1)
    return node


def _tensor(info: TensorInfo) -> str:
    if info.tensor is None:
        raise ConversionError(f"{info.name!r} names no tensor of the graph")
    return info.tensor


def _reachable(
    nodes: Mapping[str, node_def_pb2.NodeDef],
    fetched: Iterable[str],
    fed: Mapping[str, str],
    fed_nodes: set[str],
    signature: str,
) -> set[str]:
    kept: set[str] = set()
    pending = [(tensor, "") for tensor in fetched]
    while pending:
        tensor, consumer = pending.pop()
        name = node_of(tensor)
        if name in kept or (not is_control(tensor) and full(tensor) in fed):
            continue
        if is_control(tensor) and name in fed_nodes:
            continue
        if name not in nodes:
            raise ConversionError(
                f"the graph has no node {name!r}",
                where=f"an input of {consumer}" if consumer else f"signature {signature}",
            )
        node = nodes[name]
        if is_control(tensor) and node.op in {"Placeholder", "PlaceholderV2"}:
            continue
        if node.op in {"Placeholder", "PlaceholderV2"} or node.op in PIPELINE_OPS:
            kind = "placeholder" if node.op in INPUT_OPS else f"{node.op} of an input pipeline"
            raise ConversionError(
                f"the outputs need the {kind} {name!r}, which is not an input of the signature",
                where=f"signature {signature}, consumed by {consumer or 'the outputs'}",
                hint=f"make it an input with --inputs, or fix its value: --set {name}=VALUE",
            )
        kept.add(name)
        pending += [(i, name) for i in node.input]
    return kept


def _add(
    result: graph_pb2.GraphDef,
    node: node_def_pb2.NodeDef,
    fed: Mapping[str, str],
    gone: set[str],
) -> None:
    copy = result.node.add()
    copy.CopyFrom(node)
    copy.device = ""
    for note in NOTES:
        copy.attr.pop(note, None)
    inputs = [
        i if is_control(i) else fed.get(full(i), i)
        for i in node.input
        if not (is_control(i) and node_of(i) in gone)
    ]
    del copy.input[:]
    copy.input.extend(inputs)


def _placeholder_shape(info: TensorInfo, nodes: Mapping[str, node_def_pb2.NodeDef]) -> Shape | None:
    if info.shape is not None:
        return info.shape
    node = nodes[node_of(_tensor(info))]
    port = int(full(_tensor(info)).rpartition(":")[2])
    shapes = node.attr["output_shapes"].list.shape if "output_shapes" in node.attr else ()
    if port < len(shapes):
        return shape_of(shapes[port])
    if node.op.startswith("QueueDequeue"):
        return _dequeued_shape(node, port, nodes)
    if node.op in INPUT_OPS and "shape" in node.attr:
        shape = shape_of(node.attr["shape"].shape)
        # Before GraphDef version 24 an empty shape meant an unknown one (array_ops.cc).
        return shape or None if node.op == "Placeholder" and shape == () else shape
    return None


def _dequeued_shape(
    dequeue: node_def_pb2.NodeDef, port: int, nodes: Mapping[str, node_def_pb2.NodeDef]
) -> Shape | None:
    """A component's shape, behind the number of rows where many are taken (data_flow_ops.cc)."""
    queue = nodes.get(node_of(dequeue.input[0]))
    components = queue.attr["shapes"].list.shape if queue is not None else ()
    shape = shape_of(components[port]) if port < len(components) else None
    if shape is None or dequeue.op in {"QueueDequeue", "QueueDequeueV2"}:
        return shape
    count = nodes.get(node_of(dequeue.input[1]))
    if count is None or count.op != "Const" or "UpTo" in dequeue.op:
        return (None, *shape)
    return (int(array_of(count.attr["value"].tensor)), *shape)


def _add_functions(result: graph_pb2.GraphDef, graph: graph_pb2.GraphDef) -> None:
    """Adds the library functions that the nodes call, directly or through other functions."""
    used = called(result.node, graph.library.function)
    for function in graph.library.function:
        if function.signature.name in used:
            copy = result.library.function.add()
            copy.CopyFrom(function)
            for inner in copy.node_def:
                inner.device = ""
                for note in NOTES:
                    inner.attr.pop(note, None)
    for gradient in graph.library.gradient:
        if gradient.function_name in used and gradient.gradient_func in used:
            result.library.gradient.add().CopyFrom(gradient)
