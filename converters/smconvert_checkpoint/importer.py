"""Checkpoints in: the graph is the ``.meta`` file beside them, or an object that code builds."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from smconvert.converters import Description, Executable, Match, SourceOptions, VariableInfo
from smconvert.errors import SourceError, UsageError
from smconvert.graph.checkpoint import read_index
from smconvert.model import CanonicalModel, SignatureInfo
from smconvert_checkpoint.prefix import prefix_of
from smconvert_metagraph.importer import MetaGraphImporter


class CheckpointImporter:
    """Reads a checkpoint by its prefix, a file of it, or its folder."""

    format = "checkpoint"

    def detect(self, path: Path) -> Match | None:
        """Claims what leads to a checkpoint."""
        prefix = prefix_of(path)
        return None if prefix is None else Match(self.format, path, f"the checkpoint {prefix}")

    def describe(self, path: Path, options: SourceOptions) -> Description:
        """What the graph beside it and its variables are; the variables alone without a graph."""
        prefix = _prefix(path)
        meta = Path(f"{prefix}.meta")
        if meta.is_file() and options.factory is None:
            described = MetaGraphImporter().describe(meta, _with(options, prefix))
            return replace(described, format=self.format, path=path)
        if options.factory is not None:
            factory = _factory()
            return factory.describe(path, prefix, options)
        index = read_index(prefix)
        return Description(
            self.format,
            path,
            checkpoint=index.kind,
            variables=tuple(
                VariableInfo(name, e.dtype.label, e.shape, e.bytes)
                for name, e in sorted(index.entries.items())
            ),
            notes=(_missing_graph(prefix, index.kind).args[0],),
        )

    def executable(
        self, path: Path, options: SourceOptions, signature: SignatureInfo
    ) -> Executable:
        """As the graph beside it runs; or the object that the user's code builds."""
        prefix = _prefix(path)
        if options.factory is not None:
            factory = _factory()
            return factory.executable(path, prefix, options, signature)
        return MetaGraphImporter().executable(_meta(prefix), _with(options, prefix), signature)

    def load(self, path: Path, options: SourceOptions, *, live: bool = True) -> CanonicalModel:
        """Builds the canonical model.

        Raises:
            SourceError: no graph is there.
        """
        prefix = _prefix(path)
        if options.factory is not None:
            factory = _factory()
            return factory.load(path, prefix, options)
        model = MetaGraphImporter().load(_meta(prefix), _with(options, prefix), live=live)
        provenance = replace(model.provenance, format=self.format, source=str(path))
        return replace(model, provenance=provenance)


def _factory() -> ModuleType:
    """The module that runs the user's code, imported only when that is asked for."""
    return importlib.import_module("smconvert_checkpoint.factory")


def _prefix(path: Path) -> str:
    prefix = prefix_of(path)
    if prefix is None:
        raise SourceError("there is no checkpoint", where=str(path))
    return prefix


def _with(options: SourceOptions, prefix: str) -> SourceOptions:
    if options.checkpoint is not None:
        raise UsageError(
            "--checkpoint is for a graph file, and the source is a checkpoint itself",
            hint="name the graph as the source",
        )
    return replace(options, checkpoint=prefix)


def _meta(prefix: str) -> Path:
    meta = Path(f"{prefix}.meta")
    if not meta.is_file():
        raise _missing_graph(prefix, read_index(prefix).kind)
    return meta


def _missing_graph(prefix: str, kind: str) -> SourceError:
    if kind == "object-based":
        return SourceError(
            "a TF2 checkpoint holds the variables of an object, and the object itself is missing",
            where=prefix,
            hint="name the code that builds it: --model package.module:factory",
        )
    return SourceError(
        f"the checkpoint holds variables only; its graph {Path(prefix).name}.meta is missing",
        where=prefix,
        hint=f"name its graph: smconvert convert graph.pb DST --checkpoint {prefix}",
    )
