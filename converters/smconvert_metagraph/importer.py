"""MetaGraphDef in, binary or text, with the checkpoint that belongs to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smconvert.converters import Description, Executable, Match, SourceOptions
from smconvert.graph.inspection import describe
from smconvert.graph.loading import ensure_harmless, initializers
from smconvert.graph.messages import parsed_or_none
from smconvert.graph.protos import meta_graph_pb2
from smconvert.model import CanonicalModel, SignatureInfo
from smconvert_metagraph.source import SUFFIXES, meta_graph_def, read


class MetaGraphImporter:
    """Reads MetaGraphDef files."""

    format = "metagraph"

    def detect(self, path: Path) -> Match | None:
        """Claims a file that parses as a MetaGraphDef with a graph; any ``.meta`` by its name."""
        if not path.is_file():
            return None
        if path.name.endswith(SUFFIXES):
            return Match(self.format, path, f"the suffix {path.suffix or path.name}")
        found = parsed_or_none(path, meta_graph_pb2.MetaGraphDef)
        if found is None or not found.graph_def.node or not found.HasField("meta_info_def"):
            return None
        if not all(n.op and n.name for n in found.graph_def.node[:50]):
            return None
        return Match(self.format, path, f"a MetaGraph of {len(found.graph_def.node)} nodes")

    def describe(self, path: Path, options: SourceOptions) -> Description:
        """What the graph and its checkpoint hold."""
        return describe(self.format, path, meta_graph_def(path), lambda: read(path, options))

    def executable(
        self, path: Path, options: SourceOptions, signature: SignatureInfo
    ) -> Executable:
        """In a TF1 session, restored by the graph's own saver."""
        source = replace(read(path, options), signatures=(signature,))
        ensure_harmless(source, options.allowed_ops)
        return Executable(
            "tf1-session",
            path,
            signature,
            {
                "graph": "metagraph",
                "checkpoint": source.checkpoint,
                "initializers": list(initializers(source)),
                "variable_map": dict(options.variable_map),
                "fixed": dict(options.fixed_inputs),
                "op_libraries": [str(p) for p in options.op_libraries],
            },
        )

    def load(self, path: Path, options: SourceOptions, *, live: bool = True) -> CanonicalModel:
        """Builds the canonical model."""
        from smconvert.graph.lift import lift

        return lift(read(path, options), options, live=live)
