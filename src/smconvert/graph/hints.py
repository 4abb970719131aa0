"""What a graph says of sensible inputs: index bounds, vocabularies, tf.Examples, pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smconvert.errors import SmconvertError
from smconvert.graph.freeze import FrozenGraph, freeze
from smconvert.graph.names import is_control, node_of, port_of
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.signatures import PARSERS, parsed_features
from smconvert.graph.tensors import array_of, shape_of
from smconvert.model import Shape, Signature, TensorInfo

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
_IMAGES = frozenset(
    {"Conv2D", "DepthwiseConv2dNative", "ResizeBilinear", "ResizeBicubic", "ResizeNearestNeighbor"}
)
_POSITIVE = frozenset({"Log", "Sqrt", "Rsqrt"})
_PIXEL = 64.0
"""What is divided by so much, or more, comes as pixels from 0 to 255."""


@dataclass(frozen=True)
class Hint:
    """What one input may hold.

    Attributes:
        bound: Indices go from 0 to below this; of a sparse shape, the size of the last dimension.
        words: Strings (or numbers) that a table knows.
        features: The features that a tf.Example must have.
        low: Floats are from here, where the graph shows it: pixels, or values that are positive.
        high: Up to here.
    """

    bound: int | None = None
    words: tuple[bytes | int, ...] = ()
    features: tuple[TensorInfo, ...] = ()
    low: float | None = None
    high: float | None = None


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
    weights = {weight.node: weight.shape for weight in frozen.weights}
    ranges: list[tuple[float, float]] = []
    for node, position in _uses(frozen.graph, placeholder):
        if node.op in _GATHERS and position == 1:
            bounds += _rows(nodes, node, weights)
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
        else:
            ranges += _range(nodes, node, position)
    # The widest: pixels that are scaled later are also what an image op takes.
    low, high = max(ranges, key=lambda r: r[1], default=(None, None))
    return Hint(min(bounds, default=None), tuple(words), tuple(features), low, high)


def _range(
    nodes: Mapping[str, node_def_pb2.NodeDef], node: node_def_pb2.NodeDef, position: int
) -> list[tuple[float, float]]:
    """What floats an op is meant for."""
    if node.op in {"Mul", "RealDiv"}:
        other = nodes[_origin(nodes, node.input[1 - position])]
        if other.op != "Const" or (factor := array_of(_tensor(other))).size != 1:
            return []
        value = abs(float(factor.ravel()[0]))
        scaled = value >= _PIXEL if node.op == "RealDiv" else 0 < value <= 1 / _PIXEL
        return [(0.0, 255.0)] if scaled and (position == 0 or node.op == "Mul") else []
    if node.op in _IMAGES and position == 0:
        return [(0.0, 1.0)]
    return [(1e-3, 1.0)] if node.op in _POSITIVE else []


def _tensor(constant: node_def_pb2.NodeDef) -> Any:
    return constant.attr["value"].tensor


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


def _rows(
    nodes: Mapping[str, node_def_pb2.NodeDef],
    gather: node_def_pb2.NodeDef,
    weights: Mapping[str, tuple[int, ...]],
) -> list[int]:
    params = nodes[_origin(nodes, gather.input[0])]
    shape: Shape = weights.get(params.name, ())
    if params.op == "Const":
        shape = shape_of(_tensor(params).tensor_shape) or ()
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
