"""What can be said of a graph without building it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smconvert.converters import Description, VariableInfo, exporters
from smconvert.errors import ConversionError, SmconvertError, SourceError
from smconvert.graph import candidates, outside
from smconvert.graph.checkpoint import CheckpointIndex, read_index
from smconvert.graph.cut import reached_from
from smconvert.graph.library import called
from smconvert.graph.names import node_of
from smconvert.graph.protos import graph_pb2, meta_graph_pb2
from smconvert.graph.signatures import own
from smconvert.graph.source import GraphSource, variable_defs
from smconvert.graph.tensors import shape_of
from smconvert.model import DType, SignatureInfo

if TYPE_CHECKING:
    from smconvert.graph.protos import node_def_pb2

_TABLES = frozenset({"HashTable", "HashTableV2", "MutableHashTableV2", "MutableDenseHashTableV2"})
_VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp"})


def describe(
    format: str,
    path: Path,
    meta_graph: meta_graph_pb2.MetaGraphDef,
    read: Callable[[], GraphSource],
) -> Description:
    """The description of a graph; ``read`` resolves it, and may find that it cannot be resolved."""
    graph = meta_graph.graph_def
    notes: list[str] = []
    signatures: tuple[SignatureInfo, ...] = ()
    checkpoint = None
    try:
        source = read()
        signatures, checkpoint = source.signatures, source.checkpoint
    except SourceError:
        raise
    except SmconvertError as error:
        notes.append(f"{error.message}; {error.hint}" if error.hint else error.message)
    index = _index(checkpoint, notes)
    inferred = not own(meta_graph)
    nodes = _needed(graph, signatures)
    return Description(
        format=format,
        path=path,
        producer=meta_graph.meta_info_def.tensorflow_version or None,
        signatures=signatures,
        variables=tuple(_variables(meta_graph, index)),
        checkpoint=index.kind if index else None,
        tables=tuple(n.name for n in graph.node if n.op in _TABLES),
        ops=dict(Counter(n.op for n in _all(graph))),
        blockers=dict(_blockers(nodes, {f.signature.name for f in graph.library.function})),
        input_candidates=candidates.inputs(graph) if inferred else (),
        output_candidates=candidates.outputs(graph)[:20] if inferred else (),
        notes=tuple(notes),
    )


def _index(checkpoint: str | None, notes: list[str]) -> CheckpointIndex | None:
    if checkpoint is None:
        return None
    try:
        return read_index(checkpoint)
    except SourceError as error:
        notes.append(str(error.message))
        return None


def _all(graph: graph_pb2.GraphDef) -> Iterator[node_def_pb2.NodeDef]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _needed(
    graph: graph_pb2.GraphDef, signatures: tuple[SignatureInfo, ...]
) -> list[node_def_pb2.NodeDef]:
    """The nodes that the signatures need, with everything that stands below their inputs."""
    found: dict[str, node_def_pb2.NodeDef] = {}
    for signature in signatures:
        fed = {node_of(i.tensor or "") for i in signature.inputs}
        pruned = graph_pb2.GraphDef()
        pruned.node.extend(node for node in graph.node if node.name not in fed)
        for node in reached_from(pruned, [o.tensor or "" for o in signature.outputs]):
            found[node.name] = node
    result = list(found.values())
    for function in called(result, graph.library.function).values():
        result += function.node_def
    return result


def _blockers(
    nodes: list[node_def_pb2.NodeDef], functions: Collection[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What stops each target format."""
    outsiders = tuple(f"{e.message}: {e.where}; {e.hint}" for e in _refusals(nodes))
    ops = [n for n in nodes if n.op not in functions and outside.deed(n) is None]
    for format, exporter in exporters().items():
        found = tuple(
            f"node {o.nodes[0]}{_more(o.nodes)} ({o.op}): {o.why}; {o.hint}"
            for o in exporter.obstacles(ops)
        )
        if outsiders or found:
            yield format, outsiders + found


def _refusals(nodes: list[node_def_pb2.NodeDef]) -> Iterator[ConversionError]:
    """One for each op that reaches outside the model."""
    for node in {n.op: n for n in reversed(nodes)}.values():
        if (clause := outside.deed(node)) is not None:
            yield outside.refused(node, clause)


def _more(nodes: Sequence[str]) -> str:
    return f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""


def _variables(
    meta_graph: meta_graph_pb2.MetaGraphDef, index: CheckpointIndex | None
) -> Iterator[VariableInfo]:
    trainable = _trainable(meta_graph)
    if index is not None:
        for name, entry in sorted(index.entries.items()):
            known = name in trainable if trainable is not None else None
            yield VariableInfo(name, entry.dtype.label, entry.shape, entry.bytes, known)
        return
    for node in meta_graph.graph_def.node:
        if node.op in _VARIABLES:
            shape = shape_of(node.attr["shape"].shape)
            dtype = DType.from_number(node.attr["dtype"].type)
            sizes = tuple(d if isinstance(d, int) else 0 for d in shape or ())
            size = math.prod(sizes) * (0 if dtype is DType.STRING else dtype.numpy.itemsize)
            known = node.name in trainable if trainable is not None else None
            yield VariableInfo(node.name, dtype.label, sizes, size, known)


def _trainable(meta_graph: meta_graph_pb2.MetaGraphDef) -> set[str] | None:
    if "trainable_variables" not in meta_graph.collection_def:
        return None
    found = variable_defs(meta_graph, "trainable_variables")
    return {node_of(v.variable_name) for v in found}
