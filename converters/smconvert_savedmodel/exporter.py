"""SavedModel out: every signature, over shared variables, tables and assets."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smconvert.converters import Artifact, Executable, Obstacle, TargetOptions
from smconvert.errors import ConversionError, UsageError
from smconvert.graph.names import keywords
from smconvert.graph.protos import node_def_pb2
from smconvert.model import CanonicalModel, Signature, SignatureInfo
from smconvert_savedmodel import manifest, rewrite

TAGS = ("serve",)


class SavedModelExporter:
    """Writes TF2 SavedModel folders."""

    format = "savedmodel"
    suffixes = ("",)
    accepts = frozenset({"compat", "version", "warmup"})
    live = True

    def destination(self, path: Path, options: TargetOptions) -> Path:
        """The folder itself, or the version's folder in it."""
        if options.version is None:
            return path
        if options.version < 0:
            raise UsageError("a version is a number from 0", where="--version")
        return path / str(options.version)

    def obstacles(self, nodes: Iterable[node_def_pb2.NodeDef]) -> tuple[Obstacle, ...]:
        """A SavedModel holds any op."""
        return ()

    def save(self, model: CanonicalModel, path: Path, options: TargetOptions) -> Artifact:
        """Writes all signatures.

        Raises:
            UsageError: ``compat`` names nothing known.
            ConversionError: TensorFlow cannot save the model, or TF1 could not load the result.
        """
        if options.compat not in {None, "tf1"}:
            raise UsageError(
                f"{options.compat!r} is no compatibility that can be written",
                where="--compat",
                hint="--compat tf1 writes for TensorFlow 1.15",
            )
        safe = keywords(list(model.signatures))
        _save(model, safe, path)
        renames = {
            safe[name]: rewrite.Renames(
                name,
                signature.method,
                {signature.keyword(i.name): i for i in signature.inputs},
            )
            for name, signature in model.signatures.items()
        }
        changes = rewrite.rewrite(path, renames, for_tf1=options.compat == "tf1")
        facts = {
            "smconvert": manifest.VERSION,
            "format": self.format,
            "provenance": asdict(model.provenance),
            "keywords": _moved_names(model, safe),
            "changes": [*model.provenance.changes, *changes],
        }
        manifest.write(facts, path)
        executables = {
            name: Executable(
                "tf",
                path,
                _info(signature),
                {
                    "tags": list(TAGS),
                    "signature": safe[name],
                    "input_names": {i.name: signature.keyword(i.name) for i in signature.inputs},
                },
            )
            for name, signature in model.signatures.items()
        }
        return Artifact(self.format, path, (), executables, facts)


def _save(model: CanonicalModel, safe: Mapping[str, str], path: Path) -> None:
    import tensorflow as tf

    functions = {safe[name]: s.function for name, s in model.signatures.items()}
    with _quiet():
        try:
            tf.saved_model.save(model.module, str(path), signatures=functions)
        except (ValueError, TypeError, KeyError, AssertionError) as error:
            raise ConversionError(
                f"TensorFlow cannot save the model: {str(error).splitlines()[0][:300]}",
                where=", ".join(model.signatures),
            ) from error


def _info(signature: Signature) -> SignatureInfo:
    return SignatureInfo(signature.name, signature.inputs, signature.outputs, signature.method)


def _moved_names(model: CanonicalModel, safe: Mapping[str, str]) -> dict[str, Any]:
    """The names that a TF2 program must use, where they are not the signature's own."""
    moved: dict[str, Any] = {}
    for name, signature in model.signatures.items():
        inputs = {
            i.name: signature.keyword(i.name)
            for i in signature.inputs
            if signature.keyword(i.name) != i.name
        }
        if inputs or safe[name] != name:
            moved[name] = {"signature": safe[name], "inputs": inputs}
    return moved


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TensorFlow's advice for training programs out of the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
