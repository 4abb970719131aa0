"""From an artifact to an artifact, with a proof: detect, load, save, check, publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smconvert import fingerprint, staging
from smconvert.converters import (
    Artifact,
    Description,
    Executable,
    Exporter,
    Importer,
    Match,
    SourceOptions,
    TargetOptions,
    exporter_for,
    importer_for,
    reader_for,
)
from smconvert.errors import EXIT_DONE, EXIT_NOT_CHECKED, ParityError, UsageError
from smconvert.graph.writes import changes_variables
from smconvert.model import Array, CanonicalModel, SignatureInfo
from smconvert.parity import warmup
from smconvert.parity.check import CheckOptions, Parity, Verdict, check
from smconvert.runtimes.workers import Workers, opened

Progress = Callable[[str], None]
"""Called with a few words at the start of each step."""


@dataclass(frozen=True)
class Conversion:
    """The outcome of a conversion.

    Attributes:
        source: What was converted, and how it was recognised.
        artifact: What was written, in its final place.
        parity: What the check found; None where it was switched off.
        changes: One sentence for each thing that differs from the source by design.
    """

    source: Match
    artifact: Artifact
    parity: Parity | None
    changes: tuple[str, ...]

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What was done, as JSON values."""
        return self.artifact.manifest

    @property
    def exit_code(self) -> int:
        """0 when done and checked (or not to be checked), 6 when the check could not be run."""
        unchecked = self.parity is not None and self.parity.verdict is Verdict.NOT_RUN
        return EXIT_NOT_CHECKED if unchecked else EXIT_DONE


def detect(path: str | Path, *, source_format: str | None = None) -> Match:
    """Recognises an artifact from its bytes, without TensorFlow.

    Raises:
        SourceError: nothing is there, it is damaged, or of no known format.
    """
    return reader_for(Path(path), source_format)[1]


def inspect(
    path: str | Path,
    options: SourceOptions | None = None,
    *,
    source_format: str | None = None,
) -> Description:
    """Describes an artifact, without TensorFlow.

    Raises:
        SourceError: it cannot be read.
        UsageError: the options do not fit it.
    """
    reader, match = reader_for(Path(path), source_format)
    return reader.describe(match.path, options or SourceOptions())


def load(
    path: str | Path,
    options: SourceOptions | None = None,
    *,
    source_format: str | None = None,
) -> CanonicalModel:
    """Builds the canonical model of an artifact.

    Raises:
        SourceError: it cannot be read.
        UsageError: the options do not fit it.
        ConversionError: it needs what cannot be had (Python code, unknown ops).
    """
    importer, match = importer_for(Path(path), source_format)
    options = options or SourceOptions()
    before = fingerprint.take(match.path, options.checkpoint)
    return _load(importer, match, options, before)


def save(
    model: CanonicalModel,
    path: str | Path,
    options: TargetOptions | None = None,
    *,
    target_format: str | None = None,
    force: bool = False,
) -> Artifact:
    """Writes a model; it appears at ``path`` whole, by one rename. Nothing is checked.

    Raises:
        UsageError: the suffix or an option fits no exporter.
        ConversionError: the format cannot express the model.
        DestinationError: ``path`` exists without ``force``, or cannot be written.
    """
    options = options or TargetOptions()
    exporter, destination = _target(Path(path), options, target_format, force)
    with staging.staging_for(destination) as folder:
        artifact = exporter.save(model, folder / destination.name, options)
        return staging.publish(artifact, destination, folder)


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    source_options: SourceOptions | None = None,
    target_options: TargetOptions | None = None,
    check_options: CheckOptions | None = None,
    checked: bool = True,
    source_format: str | None = None,
    target_format: str | None = None,
    force: bool = False,
    keep_failed: str | Path | None = None,
    workers: Workers | None = None,
    progress: Progress = lambda step: None,
) -> Conversion:
    """Converts an artifact and proves that the result computes what the source computes.

    Args:
        source: A SavedModel, GraphDef, MetaGraph, checkpoint or Keras file.
        destination: Its suffix decides the format, unless ``target_format`` does.
        source_options: How to read the source.
        target_options: How to write the result.
        check_options: Inputs and tolerances of the check.
        checked: False writes the result unproven, and says so in its manifest.
        source_format: Overrides what the source's bytes say.
        target_format: Overrides the destination's suffix.
        force: Replaces what is at ``destination``.
        keep_failed: New folder for a result that fails the check; without it, it is deleted.
        workers: Runtimes to use again over several conversions; by default they start and end here.
        progress: Told the start of each step.

    Raises:
        ParityError: the result differs from the source; nothing is at ``destination``.
        SmconvertError: of the other kinds in :mod:`smconvert.errors`.
    """
    source_options = source_options or SourceOptions()
    target_options = target_options or TargetOptions()
    importer, match = importer_for(Path(source), source_format)
    exporter, place = _target(Path(destination), target_options, target_format, force)
    if _overlap(match.path, place):
        raise UsageError("the destination lies inside the source, or the other way round")

    if target_options.warmup and not checked:
        raise UsageError(
            "warm-up requests are those that the check has proven",
            where="--warmup",
            hint="leave --no-check away",
        )

    progress(f"reading {match.format}")
    before = fingerprint.take(match.path, source_options.checkpoint)
    model = _load(importer, match, source_options, before, live=exporter.live)
    if not checked:
        model = _with_change(model, "written without a check (--no-check)")

    with staging.staging_for(place) as folder:
        progress(f"writing {exporter.format}")
        artifact = exporter.save(model, folder / place.name, target_options)
        artifact = _with_libraries(artifact, source_options)
        parity = None
        if checked:
            progress("comparing with the source")
            parity = _check(
                importer, match, source_options, model, artifact, check_options, workers
            )
            if parity.verdict is Verdict.FAILED:
                kept = staging.keep_aside(artifact, Path(keep_failed)) if keep_failed else None
                raise _parity_error(parity, kept)
            if parity.verdict is Verdict.NOT_RUN:
                model = _with_change(model, f"the check could not be run: {parity.reason}")
                (folder / "unproven").mkdir()
                artifact = exporter.save(model, folder / "unproven" / place.name, target_options)
                artifact = _with_libraries(artifact, source_options)
            elif target_options.warmup:
                artifact = _with_warmup(model, artifact, parity)
        fingerprint.ensure_unchanged(before, match.path, source_options.checkpoint)
        published = staging.publish(artifact, place, folder)
    changes = tuple(published.manifest.get("changes", model.provenance.changes))
    return Conversion(match, published, parity, changes)


def run(
    path: str | Path,
    feeds: Mapping[str, Array] | Callable[[SignatureInfo], Mapping[str, Array]],
    options: SourceOptions | None = None,
    *,
    source_format: str | None = None,
    workers: Workers | None = None,
) -> dict[str, Array]:
    """Runs one signature of an artifact in its own runtime, in a process of its own.

    Args:
        path: Any format that can be recognised, ONNX included.
        feeds: Arrays by input name (strings as object arrays of bytes), or a function that makes
            them for the signature that was chosen.
        options: ``options.signatures`` chooses where there are several.
        source_format: Overrides what the bytes say.
        workers: Runtimes to use again over several runs.

    Raises:
        UsageError: several signatures and none chosen, or feeds that do not fit.
        RuntimeFailure: the runtime could not load or run it.
    """
    options = options or SourceOptions()
    reader, match = reader_for(Path(path), source_format)
    signature = _only(reader.describe(match.path, options).signatures)
    given = feeds(signature) if callable(feeds) else feeds
    _ensure_fed(signature, given)
    defaults = {i.name: i.default for i in signature.inputs if i.default is not None}
    executable = reader.executable(match.path, options, signature)
    with opened(workers) as running:
        return running.run(executable, [{**defaults, **given}])[0]


def _load(
    importer: Importer,
    match: Match,
    options: SourceOptions,
    before: fingerprint.Fingerprint,
    *,
    live: bool = True,
) -> CanonicalModel:
    model = importer.load(match.path, options, live=live)
    return replace(model, provenance=replace(model.provenance, sha256=before.sha256))


def _target(
    path: Path, options: TargetOptions, target_format: str | None, force: bool
) -> tuple[Exporter, Path]:
    exporter = exporter_for(path, target_format)
    foreign = options.given() - exporter.accepts
    if foreign:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(foreign))
        raise UsageError(f"{flags} has no meaning for {exporter.format}", where=str(path))
    place = exporter.destination(path.absolute(), options)
    staging.ensure_free(place, force)
    return exporter, place


def _overlap(source: Path, destination: Path) -> bool:
    here, there = source.resolve(), destination.resolve()
    return here == there or here in there.parents or there in here.parents


def _check(
    importer: Importer,
    match: Match,
    options: SourceOptions,
    model: CanonicalModel,
    artifact: Artifact,
    check_options: CheckOptions | None,
    workers: Workers | None,
) -> Parity:
    references: dict[str, Executable] = {
        name: importer.executable(match.path, options, model.signatures[name])
        for name in artifact.executables
    }
    with opened(workers) as running:
        return check(
            model, references, artifact.executables, check_options or CheckOptions(), running
        )


def _with_libraries(artifact: Artifact, options: SourceOptions) -> Artifact:
    """The artifact, run with the custom ops that its source needed."""
    if not options.op_libraries:
        return artifact
    libraries = {"op_libraries": [str(path) for path in options.op_libraries]}
    executables = {
        name: replace(e, settings={**e.settings, **libraries})
        for name, e in artifact.executables.items()
    }
    return replace(artifact, executables=executables)


def _with_warmup(model: CanonicalModel, artifact: Artifact, parity: Parity) -> Artifact:
    """The artifact with the check's inputs as its warm-up requests.

    A signature that changes a variable has none: they would change it before the first user's call.
    """
    signatures = [(model.signatures[s.name], s.calls) for s in parity.signatures]
    calls = [(s, made) for s, made in signatures if not changes_variables(s)]
    warmup.write(artifact.path, calls)
    told = ", ".join(f"{len(made)} for {s.name}" for s, made in calls) or "none"
    changes = (*artifact.manifest.get("changes", ()), f"warm-up requests are written: {told}")
    return replace(artifact, manifest={**artifact.manifest, "changes": changes})


def _with_change(model: CanonicalModel, change: str) -> CanonicalModel:
    changes = (*model.provenance.changes, change)
    return replace(model, provenance=replace(model.provenance, changes=changes))


def _parity_error(parity: Parity, kept: Artifact | None) -> ParityError:
    aside = f"the failed result is in {kept.path.parent}; " if kept else ""
    more = "" if kept else "--keep-failed DIR keeps the result to look at; "
    error = ParityError(
        f"the result does not compute what the source computes: {parity.reason}",
        hint=f"{aside}{more}--rtol and --atol set the tolerance, --data your own inputs",
    )
    error.parity = parity.to_json()
    return error


def _only(signatures: Sequence[SignatureInfo]) -> SignatureInfo:
    if len(signatures) == 1:
        return signatures[0]
    names = ", ".join(s.name for s in signatures)
    raise UsageError(
        f"the model has {len(signatures)} signatures" if signatures else "it has no signature",
        where=names or None,
        hint="choose one with --signature NAME" if signatures else "name --inputs and --outputs",
    )


def _ensure_fed(signature: SignatureInfo, feeds: Mapping[str, Array]) -> None:
    names = {info.name for info in signature.inputs}
    unknown = sorted(set(feeds) - names)
    missing = sorted(i.name for i in signature.inputs if i.name not in feeds and i.default is None)
    if unknown or missing:
        what = [f"{n!r} is not an input" for n in unknown] + [f"{n!r} is missing" for n in missing]
        raise UsageError(
            "; ".join(what),
            where=f"signature {signature.name}",
            hint=f"its inputs are {', '.join(map(str, signature.inputs)) or '(none)'}",
        )
