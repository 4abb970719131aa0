"""GraphDef in: binary or text, frozen or with a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smconvert.converters import Description, Executable, Match, SourceOptions
from smconvert.graph.inspection import describe
from smconvert.graph.loading import ensure_harmless
from smconvert.graph.messages import parsed_or_none
from smconvert.graph.protos import graph_pb2, meta_graph_pb2
from smconvert.model import CanonicalModel, SignatureInfo
from smconvert_graphdef.source import graph_def, read

SUFFIXES = frozenset({".pb", ".pbtxt", ".graphdef", ".prototxt"})


class GraphDefImporter:
    """Reads GraphDef files."""

    format = "graphdef"

    def detect(self, path: Path) -> Match | None:
        """Claims a file that parses as a GraphDef with named nodes; any ``.pb`` by its name."""
        if not path.is_file():
            return None
        graph = parsed_or_none(path, graph_pb2.GraphDef)
        if graph is not None and graph.node and all(n.op and n.name for n in graph.node[:50]):
            return Match(self.format, path, f"{len(graph.node)} nodes")
        if path.suffix in SUFFIXES:
            return Match(self.format, path, f"the suffix {path.suffix}")
        return None

    def describe(self, path: Path, options: SourceOptions) -> Description:
        """What the graph holds."""
        meta_graph = meta_graph_pb2.MetaGraphDef(graph_def=graph_def(path))
        return describe(self.format, path, meta_graph, lambda: read(path, options))

    def executable(
        self, path: Path, options: SourceOptions, signature: SignatureInfo
    ) -> Executable:
        """In a TF1 session, with the checkpoint's values assigned."""
        source = replace(read(path, options), signatures=(signature,))
        ensure_harmless(source, options.allowed_ops)
        return Executable(
            "tf1-session",
            path,
            signature,
            {
                "graph": "graphdef",
                "checkpoint": options.checkpoint,
                "variable_map": dict(options.variable_map),
                "init_op": source.init_op,
                "fixed": dict(options.fixed_inputs),
                "op_libraries": [str(p) for p in options.op_libraries],
            },
        )

    def load(self, path: Path, options: SourceOptions, *, live: bool = True) -> CanonicalModel:
        """Builds the canonical model."""
        from smconvert.graph.lift import lift

        return lift(read(path, options), options, live=live)
