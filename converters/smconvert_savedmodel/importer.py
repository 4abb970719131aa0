"""SavedModel in: written by TF1, TF2 or Keras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smconvert.converters import Description, Executable, Match, SourceOptions
from smconvert.graph.inspection import describe
from smconvert.graph.loading import ensure_harmless
from smconvert.model import CanonicalModel, SignatureInfo
from smconvert_savedmodel import detect as detection
from smconvert_savedmodel import manifest
from smconvert_savedmodel.source import (
    asset_definitions,
    chosen,
    is_object_based,
    read,
    saved_model,
    tag_sets,
)


class SavedModelImporter:
    """Reads SavedModel folders."""

    format = "savedmodel"

    def detect(self, path: Path) -> Match | None:
        """Claims a folder with ``saved_model.pb`` or ``.pbtxt``, or with one such export in it."""
        return detection.detect(path)

    def describe(self, path: Path, options: SourceOptions) -> Description:
        """What the chosen MetaGraph holds."""
        saved = saved_model(path)
        if options.tags is None and len(saved.meta_graphs) > 1:
            return Description(
                self.format,
                path,
                tag_sets=tag_sets(saved),
                notes=("it holds several graphs: choose one with --tag",),
            )
        meta_graph = chosen(saved, options.tags, path)
        description = describe(self.format, path, meta_graph, lambda: read(path, options))
        notes = description.notes
        if (path / "keras_metadata.pb").is_file():
            notes += ("keras_metadata.pb is ignored: the graph alone is read",)
        return replace(
            description,
            tag_sets=tag_sets(saved),
            assets=tuple(d.filename for d in asset_definitions(meta_graph)),
            notes=notes,
        )

    def executable(
        self, path: Path, options: SourceOptions, signature: SignatureInfo
    ) -> Executable:
        """TF2 models run by their signatures, all others in a TF1 session."""
        source = replace(read(path, options), signatures=(signature,))
        ensure_harmless(source, options.allowed_ops)
        meta_graph = source.meta_graph
        tags = sorted(meta_graph.meta_info_def.tags)
        declared = signature.name in meta_graph.signature_def
        changed = options.inputs or options.outputs or options.cut_examples or options.fixed_inputs
        if is_object_based(meta_graph) and declared and not changed:
            moved = manifest.keywords(path).get(signature.name, {})
            return Executable(
                "tf",
                path,
                signature,
                {
                    "tags": tags,
                    "signature": moved.get("signature", signature.name),
                    "input_names": moved.get("inputs", {}),
                },
            )
        return Executable(
            "tf1-session",
            path,
            signature,
            {
                "graph": "savedmodel",
                "tags": tags,
                "fixed": dict(options.fixed_inputs),
                "op_libraries": [str(p) for p in options.op_libraries],
            },
        )

    def load(self, path: Path, options: SourceOptions, *, live: bool = True) -> CanonicalModel:
        """Builds the canonical model."""
        from smconvert_savedmodel.load import load

        return load(path, options, live=live)
