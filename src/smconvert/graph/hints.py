"""What a signature's graph says about sensible inputs: index bounds, vocabularies, tf.Examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from smconvert.errors import SmconvertError
from smconvert.graph.freeze import FrozenGraph, freeze
from smconvert.graph.names import is_control, node_of, port_of
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.signatures import PARSERS, parsed_features
from smconvert.graph.tensors import array_of, shape_of
from smconvert.model import Signature, TensorInfo

_PASS = frozenset(
    {
        "Identity",
        "Cast",
        "Reshape",
        "ExpandDims",
        "Squeeze",
        "StopGradient",
        "StridedSlice",
        "Transpose",
        "Pack",
        "ConcatV2",
        "Tile",
        "Enter",
        "Unique",
    }
)
_GATHERS = frozenset({"Gather", "GatherV2"})
_MAX_WORDS = 64


@dataclass(frozen=True)
class Hint:
    """What one input may hold.

    Attributes:
        bound: Indices go from 0 to below this; of a sparse shape, the size of the last dimension.
        words: Strings (or numbers) that a table knows.
        features: The features that a tf.Example must have.
    """

    bound: int | None = None
    words: tuple[bytes | int, ...] = ()
    features: tuple[TensorInfo, ...] = ()


def hints(signature: Signature) -> Mapping[str, Hint]:
    """Hints by input name; empty where the signature cannot be frozen."""
    try:
        frozen = freeze(signature)
    except SmconvertError:
        return {}
    return {info.name: _hint(frozen, node_of(info.tensor or "")) for info in frozen.inputs}


def _hint(frozen: FrozenGraph, placeholder: str) -> Hint:
    nodes = {node.name: node for node in frozen.graph.node}
    tables = {table.node: table for table in frozen.tables}
    bounds: list[int] = []
    words: list[bytes | int] = []
    features: list[TensorInfo] = []
    for node, position in _uses(frozen.graph, placeholder):
        if node.op in _GATHERS and position == 1:
            bounds += _rows(nodes, node)
        elif node.op == "LookupTableFindV2" and position == 1:
            table = tables.get(_origin(nodes, node.input[0]))
            words += list(table.keys[:_MAX_WORDS].tolist()) if table else []
        elif node.op == "OneHot" and position == 0:
            depth = nodes[_origin(nodes, node.input[1])]
            bounds += [int(array_of(depth.attr["value"].tensor))] if depth.op == "Const" else []
        elif node.op == "SparseTensorDenseMatMul" and position == 2:
            dense = nodes[_origin(nodes, node.input[3])].attr["value"].tensor.tensor_shape
            bounds += [d for d in (shape_of(dense) or ())[:1] if isinstance(d, int)]
        elif node.op in PARSERS and position == 0:
            features += parsed_features(node, nodes)
    return Hint(min(bounds, default=None), tuple(words), tuple(features))


def _uses(graph: graph_pb2.GraphDef, start: str) -> Iterator[tuple[node_def_pb2.NodeDef, int]]:
    """The nodes that take a tensor's values, and at which input, through ops that pass them on."""
    consumers: dict[str, list[tuple[node_def_pb2.NodeDef, int]]] = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            if not is_control(name) and port_of(name) == 0:
                consumers.setdefault(node_of(name), []).append((node, position))
    pending, seen = [start], {start}
    while pending:
        for node, position in consumers.get(pending.pop(), ()):
            yield node, position
            if node.op in _PASS and node.name not in seen:
                seen.add(node.name)
                pending.append(node.name)


def _rows(nodes: Mapping[str, node_def_pb2.NodeDef], gather: node_def_pb2.NodeDef) -> list[int]:
    params = nodes[_origin(nodes, gather.input[0])]
    if params.op != "Const":
        return []
    shape = shape_of(params.attr["value"].tensor.tensor_shape) or ()
    axis = 0
    if gather.op == "GatherV2":
        source = nodes[_origin(nodes, gather.input[2])]
        axis = int(array_of(source.attr["value"].tensor)) if source.op == "Const" else 0
    size = shape[axis] if -len(shape) <= axis < len(shape) else None
    return [size] if isinstance(size, int) and size > 0 else []


def _origin(nodes: Mapping[str, node_def_pb2.NodeDef], tensor: str) -> str:
    name = node_of(tensor)
    while nodes[name].op in {"Identity", "Enter"}:
        name = node_of(nodes[name].input[0])
    return name
