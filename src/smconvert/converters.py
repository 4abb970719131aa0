"""How formats plug in: the Reader, Importer and Exporter protocols and their look-up.

A format package names its reader, importer or exporter in an entry point of its distribution; the
built-in formats use that same door. The core never imports a format package by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from smconvert.errors import SourceError, UsageError
from smconvert.model import CanonicalModel, SignatureInfo

if TYPE_CHECKING:
    from smconvert.graph.protos import node_def_pb2

READERS = "smconvert.readers"
EXPORTERS = "smconvert.exporters"


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source. Everything has a default; a reader ignores what its format lacks.

    Attributes:
        tags: The exact tag set of the MetaGraph to read; None where there is just one.
        signatures: Names of the signatures to keep; empty keeps all.
        inputs: Input name to tensor name, where the source has no signatures or others are wanted.
        outputs: Output name to tensor name, likewise.
        fixed_inputs: Placeholder to the value it is fixed at (``is_training`` to ``False``).
        checkpoint: Prefix of the checkpoint with the variables, where the graph lies apart from it;
            text, as it may end in ``/``.
        variable_map: Variable name to checkpoint key; one ``*`` on each side makes a pattern.
        cut_examples: Start after the ``tf.Example`` parser: each feature becomes an input.
        op_libraries: Shared libraries with custom ops.
        factory: ``package.module:callable`` that builds the object of a TF2 checkpoint.
        custom_objects: ``package.module:NAME`` of Keras classes the user vouches for.
        allowed_ops: Ops that may reach outside the model: into files or the network.
    """

    tags: frozenset[str] | None = None
    signatures: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    fixed_inputs: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    variable_map: Mapping[str, str] = field(default_factory=dict)
    cut_examples: bool = False
    op_libraries: tuple[Path, ...] = ()
    factory: str | None = None
    custom_objects: tuple[str, ...] = ()
    allowed_ops: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetOptions:
    """How to write a result. An exporter refuses an option that its format has no meaning for.

    Attributes:
        opset: ONNX operator set version.
        external_data: Keep ONNX weights in a file beside the model.
        extensions: Allow ONNX ops of onnxruntime-extensions, where the standard has none.
        compat: ``tf1`` writes a SavedModel that TensorFlow 1.15 loads.
        version: Writes the ``DST/<version>/`` layout that model servers watch.
        warmup: Writes what the check fed into a SavedModel, as requests that TensorFlow Serving
            makes before it serves the model.
    """

    opset: int | None = None
    external_data: bool | None = None
    extensions: bool | None = None
    compat: str | None = None
    version: int | None = None
    warmup: bool | None = None

    def given(self) -> frozenset[str]:
        """The names of the options that were set."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) is not None)


@dataclass(frozen=True)
class Match:
    """A reader's claim on a path.

    Attributes:
        format: The format's name.
        path: The artifact itself: the path asked for, or the one export found inside it.
        reason: What in the bytes says so.
    """

    format: str
    path: Path
    reason: str


@dataclass(frozen=True)
class Executable:
    """One signature of an artifact, in the terms of the runtime that runs it directly.

    Attributes:
        runtime: The runtime's name (``tf1-session``, ``tf``, ``keras``, ``ort``).
        path: The artifact.
        signature: Names, types and order of what is fed and fetched.
        settings: What else the runtime needs; JSON values only.
    """

    runtime: str
    path: Path
    signature: SignatureInfo
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VariableInfo:
    """A variable as found in the source: its name, dtype label, shape, bytes and trainability."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    trainable: bool | None = None


@dataclass(frozen=True)
class Candidate:
    """A tensor that may be an input or output of a graph without signatures, with the reason."""

    tensor: str
    name: str
    score: float
    reason: str


@dataclass(frozen=True)
class Description:
    """What ``inspect`` shows: all that can be known without building the graph.

    Attributes:
        format: The format's name.
        path: The artifact.
        producer: The TensorFlow version that wrote it, if it says.
        tag_sets: All tag sets of the file.
        signatures: The signatures that would be converted with the options given.
        variables: Variables, where they are known.
        checkpoint: Kind of checkpoint (``V1``, ``V2``, ``object-based``), None without one.
        assets: Asset file names.
        tables: Names of look-up table nodes.
        ops: Number of nodes by op, function bodies included.
        blockers: Target format to the reasons that would stop it.
        input_candidates: Ranked guesses, where there are no signatures.
        output_candidates: Likewise.
        notes: Anything else worth a line.
    """

    format: str
    path: Path
    producer: str | None = None
    tag_sets: tuple[tuple[str, ...], ...] = ()
    signatures: tuple[SignatureInfo, ...] = ()
    variables: tuple[VariableInfo, ...] = ()
    checkpoint: str | None = None
    assets: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    ops: Mapping[str, int] = field(default_factory=dict)
    blockers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    input_candidates: tuple[Candidate, ...] = ()
    output_candidates: tuple[Candidate, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Obstacle:
    """An op that a format cannot say.

    Attributes:
        op: The TensorFlow op.
        nodes: The nodes with it.
        why: A clause that follows the op: ``it hashes strings``.
        hint: What the user can do.
    """

    op: str
    nodes: tuple[str, ...]
    why: str
    hint: str


@dataclass(frozen=True)
class Artifact:
    """What an exporter wrote.

    Attributes:
        format: The format's name.
        path: The file or folder that the user named.
        companions: Files beside it that it refers to; they must be in place before it.
        executables: By signature name, how the artifact's own runtime runs it.
        manifest: What was done, as JSON values.
    """

    format: str
    path: Path
    companions: tuple[Path, ...]
    executables: Mapping[str, Executable]
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def moved(self, path: Path) -> Artifact:
        """The same artifact at ``path``, its companions beside it."""

        def relocate(old: Path) -> Path:
            if old == self.path:
                return path
            if self.path in old.parents:
                return path / old.relative_to(self.path)
            return path.parent / old.relative_to(self.path.parent)

        return replace(
            self,
            path=path,
            companions=tuple(relocate(c) for c in self.companions),
            executables={
                name: replace(e, path=relocate(e.path)) for name, e in self.executables.items()
            },
        )


class Reader(Protocol):
    """Recognises and describes a format, without TensorFlow, and says how its runtime runs it."""

    format: str

    def detect(self, path: Path) -> Match | None:
        """Claims ``path`` from its bytes, or returns None.

        Raises SourceError where the format is certain and the file is damaged or ambiguous.
        """

    def describe(self, path: Path, options: SourceOptions) -> Description:
        """Reads what ``inspect`` shows. Raises SourceError or UsageError."""

    def executable(
        self, path: Path, options: SourceOptions, signature: SignatureInfo
    ) -> Executable:
        """How the artifact's own framework runs ``signature`` in the most direct way."""


class Importer(Reader, Protocol):
    """A reader that can also build the canonical model."""

    def load(self, path: Path, options: SourceOptions, *, live: bool = True) -> CanonicalModel:
        """Builds the model.

        Without ``live``, nobody will call it or save its objects: values may stay in the checkpoint
        until they are asked for.

        Raises SourceError, UsageError or ConversionError.
        """


class Exporter(Protocol):
    """Writes a canonical model in one format.

    Attributes:
        format: Its name.
        suffixes: Those of the files it writes.
        accepts: The options that mean something to it.
        live: Whether it saves the model's own objects, and not only what its signatures compute.
    """

    format: str
    suffixes: tuple[str, ...]
    accepts: frozenset[str]
    live: bool

    def destination(self, path: Path, options: TargetOptions) -> Path:
        """The file or folder that appears last, by one rename, when the user names ``path``."""

    def obstacles(self, nodes: Iterable[node_def_pb2.NodeDef]) -> Sequence[Obstacle]:
        """What of these nodes the format cannot say, as far as the ops alone tell."""

    def save(self, model: CanonicalModel, path: Path, options: TargetOptions) -> Artifact:
        """Writes ``model`` at ``path``, whose folder is private to this call.

        Raises ConversionError where the format cannot express the model.
        """


P = TypeVar("P")


@cache
def _plugins(group: str) -> Mapping[str, Any]:
    return {point.name: point.load()() for point in entry_points(group=group)}


def readers() -> Mapping[str, Reader]:
    """All installed readers by format name."""
    return _plugins(READERS)


def exporters() -> Mapping[str, Exporter]:
    """All installed exporters by format name."""
    return _plugins(EXPORTERS)


def reader_for(path: Path, format: str | None = None) -> tuple[Reader, Match]:
    """The reader that recognises ``path``; ``format`` overrides what the bytes say.

    Raises:
        SourceError: nothing is there, or no reader claims it.
        UsageError: ``format`` is not installed.
    """
    if format is not None:
        reader = _chosen(readers(), format, "--from")
        return reader, reader.detect(path) or Match(format, path, "--from")
    for reader in readers().values():
        match = reader.detect(path)
        if match is not None:
            return reader, match
    raise SourceError(
        f"{path.name or path} is not a model of any format known here",
        where=str(path),
        hint="a SavedModel folder, GraphDef (.pb, .pbtxt), MetaGraph (.meta), checkpoint or Keras "
        "file is expected; --from names the format where the bytes do not tell",
    )


def importer_for(path: Path, format: str | None = None) -> tuple[Importer, Match]:
    """As :func:`reader_for`, for formats that can be converted from."""
    reader, match = reader_for(path, format)
    if not hasattr(reader, "load"):
        raise UsageError(
            f"{match.format} can be inspected, run and written, but not converted from",
            where=str(path),
        )
    return reader, match  # type: ignore[return-value]


def exporter_for(path: Path, format: str | None = None) -> Exporter:
    """The exporter for a destination: by ``format``, else by suffix, else a SavedModel folder.

    Raises UsageError.
    """
    if format is not None:
        return _chosen(exporters(), format, "--to")
    for exporter in exporters().values():
        if path.suffix.lower() in exporter.suffixes:
            return exporter
    known = sorted(s for e in exporters().values() for s in e.suffixes if s)
    raise UsageError(
        f"the suffix {path.suffix!r} names no format that can be written",
        where=str(path),
        hint=f"use one of {', '.join(known)}, a folder name without suffix for a SavedModel, "
        "or --to",
    )


def _chosen(plugins: Mapping[str, P], format: str, flag: str) -> P:
    if format not in plugins:
        raise UsageError(
            f"{format!r} is not an installed format",
            where=flag,
            hint=f"one of {', '.join(plugins)}",
        )
    return plugins[format]
