"""Which signatures a graph has, as data: from SignatureDefs, from the user, or inferred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from smconvert.converters import Candidate, SourceOptions
from smconvert.errors import SourceError, UsageError
from smconvert.graph import candidates
from smconvert.graph.cut import ensure_no_circle
from smconvert.graph.names import full, is_control, nearest, node_of, port_of
from smconvert.graph.tensors import array_of, default_of, shape_of
from smconvert.model import (
    DEFAULT_SIGNATURE,
    DType,
    Method,
    Shape,
    SignatureInfo,
    TensorInfo,
)

if TYPE_CHECKING:
    from smconvert.graph.protos import graph_pb2, meta_graph_pb2

INIT_OP_SIGNATURES = frozenset({"__saved_model_init_op", "__saved_model_train_op"})
PARSERS = frozenset({"ParseExample", "ParseExampleV2", "ParseSingleExample"})
SPARSE_PARTS = ("indices", "values", "dense_shape")


def resolve(
    meta_graph: meta_graph_pb2.MetaGraphDef, options: SourceOptions
) -> tuple[SignatureInfo, ...]:
    """The signatures to convert, in order of name.

    ``options.inputs`` and ``options.outputs`` decide where they are given; then the file's own
    signatures; then what can be inferred, if there is one sensible answer.

    Raises:
        SourceError: the graph is damaged.
        UsageError: a name is not there, or there are several sensible answers.
    """
    graph = meta_graph.graph_def
    _ensure_named(graph)
    ensure_no_circle(graph.node)
    if options.inputs or options.outputs:
        found: tuple[SignatureInfo, ...] = (_named(meta_graph, options),)
    else:
        found = own(meta_graph) or (_inferred(graph),)
    chosen = _chosen(found, options.signatures)
    if options.cut_examples:
        return tuple(_cut(graph, signature) for signature in chosen)
    return chosen


def _ensure_named(graph: graph_pb2.GraphDef) -> None:
    for node in graph.node:
        if ":" in node.name or is_control(node.name):
            raise SourceError(f"the graph is damaged: a node is named {node.name[:80]!r}")


def own(meta_graph: meta_graph_pb2.MetaGraphDef) -> tuple[SignatureInfo, ...]:
    """The signatures that the file itself declares, in order of name."""
    graph = meta_graph.graph_def
    nodes = {node.name: node for node in graph.node}
    return tuple(
        SignatureInfo(
            name=name,
            inputs=tuple(_declared(definition.inputs, nodes, definition.defaults)),
            outputs=tuple(_declared(definition.outputs, nodes, {})),
            method=definition.method_name or Method.PREDICT.value,
        )
        for name, definition in sorted(meta_graph.signature_def.items())
        if name not in INIT_OP_SIGNATURES and definition.outputs
    )


def _declared(
    infos: Mapping[str, meta_graph_pb2.TensorInfo],
    nodes: Mapping[str, graph_pb2.NodeDef],
    defaults: Mapping[str, object],
) -> Iterator[TensorInfo]:
    for name, info in sorted(infos.items()):
        kind = info.WhichOneof("encoding")
        if kind == "coo_sparse":
            yield from _sparse(name, info)
            continue
        if kind == "composite_tensor":
            parts = list(info.composite_tensor.components)
            for number, part in enumerate(parts):
                yield TensorInfo(
                    f"{name}/{number}",
                    DType.from_number(part.dtype),
                    shape_of(part.tensor_shape),
                    full(part.name),
                )
            continue
        tensor = full(info.name)
        value = array_of(defaults[name]) if name in defaults else default_of(tensor, nodes)
        yield TensorInfo(
            name, DType.from_number(info.dtype), shape_of(info.tensor_shape), tensor, value
        )


def _sparse(name: str, info: meta_graph_pb2.TensorInfo) -> Iterator[TensorInfo]:
    sparse = info.coo_sparse
    shape = shape_of(info.tensor_shape)
    rank = None if shape is None else len(shape)
    parts: tuple[tuple[str, DType, Shape, str], ...] = (
        ("indices", DType.INT64, (None, rank), sparse.indices_tensor_name),
        ("values", DType.from_number(info.dtype), (None,), sparse.values_tensor_name),
        ("dense_shape", DType.INT64, (rank,), sparse.dense_shape_tensor_name),
    )
    for part, dtype, dims, tensor in parts:
        yield TensorInfo(f"{name}/{part}", dtype, dims, full(tensor), sparse=shape)


def _named(meta_graph: meta_graph_pb2.MetaGraphDef, options: SourceOptions) -> SignatureInfo:
    graph = meta_graph.graph_def
    outputs = _tensors(graph, options.outputs, "--outputs")
    inputs = _tensors(graph, options.inputs, "--inputs")
    if not outputs:
        outputs = tuple(_guess(candidates.outputs(graph), graph, "output", "--outputs"))
    if not inputs:
        nodes = {node.name: node for node in graph.node}
        tensors = [info.tensor for info in outputs if info.tensor]
        inputs = tuple(
            _as_info(nodes, c.name, c.tensor) for c in candidates.needed_inputs(graph, tensors)
        )
    return SignatureInfo(DEFAULT_SIGNATURE, inputs, outputs)


def _inferred(graph: graph_pb2.GraphDef) -> SignatureInfo:
    outputs = tuple(_guess(candidates.outputs(graph), graph, "output", "--outputs"))
    tensors = [info.tensor for info in outputs if info.tensor]
    inputs = candidates.needed_inputs(graph, tensors)
    nodes = {node.name: node for node in graph.node}
    return SignatureInfo(
        DEFAULT_SIGNATURE, tuple(_as_info(nodes, c.name, c.tensor) for c in inputs), outputs
    )


def _guess(
    ranked: tuple[Candidate, ...],
    graph: graph_pb2.GraphDef,
    kind: str,
    flag: str,
) -> Iterator[TensorInfo]:
    chosen = candidates.sensible(ranked)
    if not chosen:
        listed = "; ".join(f"{c.tensor} ({c.reason})" for c in ranked[:8])
        raise UsageError(
            f"the graph has no signature, and {len(ranked)} tensors could be its {kind}"
            if ranked
            else f"the graph has no signature, and nothing in it looks like an {kind}",
            where=listed or None,
            hint=f"name it: {flag} NAME={ranked[0].tensor}" if ranked else f"name it with {flag}",
        )
    nodes = {node.name: node for node in graph.node}
    for candidate in chosen:
        yield _as_info(nodes, candidate.name, candidate.tensor)


def _tensors(
    graph: graph_pb2.GraphDef, wanted: Mapping[str, str], flag: str
) -> tuple[TensorInfo, ...]:
    nodes = {node.name: node for node in graph.node}
    for tensor in wanted.values():
        if node_of(tensor) not in nodes:
            close = nearest(node_of(tensor), nodes)
            raise UsageError(
                f"the graph has no node {node_of(tensor)!r}",
                where=flag,
                hint=f"did you mean {', '.join(close)}?" if close else "smconvert inspect lists it",
            )
        port = tensor.partition(":")[2]
        if port and not port.isdigit():
            raise UsageError(f"{tensor!r} is not NODE or NODE:PORT", where=flag)
    return tuple(_as_info(nodes, name, tensor) for name, tensor in wanted.items())


def _as_info(nodes: Mapping[str, graph_pb2.NodeDef], name: str, tensor: str) -> TensorInfo:
    node = nodes[node_of(tensor)]
    known = candidates.dtype_of(node, port_of(tensor))
    shape = shape_of(node.attr["shape"].shape) if "shape" in node.attr else None
    return TensorInfo(
        name, known or DType.VARIANT, shape, full(tensor), default_of(full(tensor), nodes)
    )


def _chosen(found: tuple[SignatureInfo, ...], wanted: tuple[str, ...]) -> tuple[SignatureInfo, ...]:
    names = [signature.name for signature in found]
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"there is no signature {name!r}",
                where="--signature",
                hint=f"the signatures are {', '.join(names)}",
            )
    return tuple(s for s in found if not wanted or s.name in wanted)


def _cut(graph: graph_pb2.GraphDef, signature: SignatureInfo) -> SignatureInfo:
    """The signature with each feature behind the parser as an input of its own."""
    nodes = {node.name: node for node in graph.node}
    kept, features = [], []
    for info in signature.inputs:
        parsers = [
            node
            for node in graph.node
            if node.op in PARSERS
            and any(_leads_to(nodes, i, node_of(info.tensor or "")) for i in node.input[:1])
        ]
        if parsers:
            features += [f for parser in parsers for f in parsed_features(parser, nodes)]
        else:
            kept.append(info)
    if not features:
        raise UsageError(
            "no input of the signature is parsed as tf.Example",
            where=f"signature {signature.name}",
            hint="leave --cut-examples away",
        )
    return replace(signature, inputs=(*kept, *features))


def _leads_to(nodes: Mapping[str, graph_pb2.NodeDef], tensor: str, target: str) -> bool:
    """Whether ``tensor`` is ``target``, through nodes that pass it on."""
    seen = set()
    while (name := node_of(tensor)) not in seen:
        if name == target:
            return True
        seen.add(name)
        node = nodes.get(name)
        if node is None or not node.input or node.op not in {"Identity", "Reshape", "Squeeze"}:
            return False
        tensor = node.input[0]
    return False


def parsed_features(
    parser: graph_pb2.NodeDef, nodes: Mapping[str, graph_pb2.NodeDef]
) -> tuple[TensorInfo, ...]:
    """The features a ParseExample node makes, as inputs: sparse ones as their three parts.

    Output order follows tensorflow/core/ops/parsing_ops.cc: sparse indices, values and shapes,
    then dense values.
    """
    sparse_keys, dense_keys = _feature_keys(parser, nodes)
    sparse_types = list(parser.attr["sparse_types"].list.type)
    dense_types = list(parser.attr["Tdense"].list.type)
    dense_shapes = list(parser.attr["dense_shapes"].list.shape)
    single = parser.op == "ParseSingleExample"
    batch: Shape = () if single else (None,)
    count = len(sparse_types)
    infos = []
    for i, key in enumerate(sparse_keys):
        kinds = (
            (DType.INT64, (None, 1 if single else 2)),
            (DType.from_number(sparse_types[i]), (None,)),
            (DType.INT64, (1 if single else 2,)),
        )
        for part, (dtype, dims) in enumerate(kinds):
            infos.append(
                TensorInfo(
                    f"{key}/{SPARSE_PARTS[part]}", dtype, dims, f"{parser.name}:{part * count + i}"
                )
            )
    for i, key in enumerate(dense_keys):
        shape = shape_of(dense_shapes[i])
        infos.append(
            TensorInfo(
                key,
                DType.from_number(dense_types[i]),
                None if shape is None else batch + shape,
                f"{parser.name}:{3 * count + i}",
            )
        )
    return tuple(infos)


def _feature_keys(
    parser: graph_pb2.NodeDef, nodes: Mapping[str, graph_pb2.NodeDef]
) -> tuple[list[str], list[str]]:
    if parser.op == "ParseSingleExample":
        attr = parser.attr
        return (
            [key.decode() for key in attr["sparse_keys"].list.s],
            [key.decode() for key in attr["dense_keys"].list.s],
        )
    data = [i for i in parser.input if not i.startswith("^")]
    if parser.op == "ParseExampleV2":
        return tuple(_strings(nodes, data[i]) for i in (2, 3))  # type: ignore[return-value]
    sparse, dense = parser.attr["Nsparse"].i, parser.attr["Ndense"].i
    return (
        [_strings(nodes, name)[0] for name in data[2 : 2 + sparse]],
        [_strings(nodes, name)[0] for name in data[2 + sparse : 2 + sparse + dense]],
    )


def _strings(nodes: Mapping[str, graph_pb2.NodeDef], tensor: str) -> list[str]:
    node = nodes[node_of(tensor)]
    while node.op == "Identity":
        node = nodes[node_of(node.input[0])]
    return [value.decode() for value in array_of(node.attr["value"].tensor).ravel().tolist()]
