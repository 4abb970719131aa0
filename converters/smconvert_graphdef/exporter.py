"""Frozen graph out: one file, binary or text, with a manifest beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from google.protobuf import text_format

from smconvert.converters import Artifact, Executable, Obstacle, TargetOptions
from smconvert.errors import ConversionError
from smconvert.graph.constants import constant
from smconvert.graph.freeze import FrozenGraph, FrozenTable, freeze, whole
from smconvert.graph.names import node_of
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.sole import sole_signature
from smconvert.model import Array, CanonicalModel, DType, SignatureInfo
from smconvert_graphdef import manifest

INIT_OP = "init_all_tables"
MAX_BYTES = (1 << 31) - 1


class GraphDefExporter:
    """Writes ``.pb`` and ``.pbtxt`` files."""

    format = "graphdef"
    suffixes = (".pb", ".pbtxt")
    accepts: frozenset[str] = frozenset()
    live = False

    def destination(self, path: Path, options: TargetOptions) -> Path:
        """The file itself."""
        return path

    def obstacles(self, nodes: Iterable[node_def_pb2.NodeDef]) -> tuple[Obstacle, ...]:
        """A frozen graph holds any op."""
        return ()

    def save(self, model: CanonicalModel, path: Path, options: TargetOptions) -> Artifact:
        """Writes the one signature as a frozen graph.

        Raises:
            UsageError: there are several signatures.
            ConversionError: it cannot be frozen, or is larger than a protobuf can be.
        """
        signature = sole_signature(model, "a frozen graph")
        frozen = whole(freeze(signature))
        graph, init_op = _with_tables(_with_defaults(frozen))
        if graph.ByteSize() > MAX_BYTES:
            raise ConversionError(
                "the frozen graph is larger than 2 GB, which its format cannot hold",
                hint="convert to a SavedModel",
            )
        if path.suffix == ".pbtxt":
            path.write_text(text_format.MessageToString(graph))
        else:
            path.write_bytes(graph.SerializeToString(deterministic=True))
        described = SignatureInfo(signature.name, frozen.inputs, frozen.outputs, signature.method)
        facts = {
            "provenance": asdict(replace(model.provenance, changes=())),
            "changes": [*model.provenance.changes, *frozen.changes],
            "nodes_in": frozen.nodes_before,
            "nodes_out": len(graph.node),
        }
        beside = manifest.write(manifest.Manifest(described, init_op, facts), path)
        executable = Executable(
            "tf1-session", path, described, {"graph": "graphdef", "init_op": init_op}
        )
        return Artifact(self.format, path, (beside,), {signature.name: executable}, facts)


def _with_defaults(frozen: FrozenGraph) -> FrozenGraph:
    """The graph with a PlaceholderWithDefault for each input that need not be fed."""
    defaults = {node_of(i.tensor or ""): i for i in frozen.inputs if i.default is not None}
    if not defaults:
        return frozen
    graph = graph_pb2.GraphDef()
    graph.CopyFrom(frozen.graph)
    for node in graph.node:
        info = defaults.get(node.name)
        if info is not None and info.default is not None:
            node.op = "PlaceholderWithDefault"
            constant = _add_constant(graph, f"{node.name}/default", info.default, info.dtype)
            node.input.append(constant)
    return replace(frozen, graph=graph)


def _with_tables(frozen: FrozenGraph) -> tuple[graph_pb2.GraphDef, str | None]:
    """The graph with an op that fills its tables from constants."""
    if not frozen.tables:
        return frozen.graph, None
    graph = graph_pb2.GraphDef()
    graph.CopyFrom(frozen.graph)
    names = {node.name for node in graph.node}
    init_op = INIT_OP
    while init_op in names:
        init_op += "_"
    initializers = [_add_initializer(graph, table) for table in frozen.tables]
    graph.node.add(name=init_op, op="NoOp").input.extend(f"^{name}" for name in initializers)
    return graph, init_op


def _add_initializer(graph: graph_pb2.GraphDef, table: FrozenTable) -> str:
    keys = _add_constant(graph, f"{table.node}/keys", table.keys, table.key_dtype)
    values = _add_constant(graph, f"{table.node}/values", table.values, table.value_dtype)
    node = graph.node.add(name=f"{table.node}/initialize", op="InitializeTableV2")
    node.input.extend([table.node, keys, values])
    node.attr["Tkey"].type = table.key_dtype.number
    node.attr["Tval"].type = table.value_dtype.number
    return node.name


def _add_constant(graph: graph_pb2.GraphDef, name: str, value: Array, dtype: DType) -> str:
    graph.node.append(constant(name, value, dtype))
    return name
