"""From a manifest to jobs: one for each artifact, with its name, files and need of memory."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from smconvert import pipeline
from smconvert.batch import discovery
from smconvert.batch.discovery import File, Found, is_local
from smconvert.batch.manifest import Manifest, Request
from smconvert.batch.settings import FILES, options
from smconvert.converters import exporter_for
from smconvert.errors import SmconvertError, UsageError

MB = 1 << 20
BASE_MEMORY = 1100 * MB
"""What a conversion of a tiny model takes, as the sandbox counts it: three forks of TensorFlow, and
each counts what it shares with the others."""
PER_WEIGHT = 5
"""Bytes for each byte of weights: in the source's runtime, the importer, the result's runtime, and
copies on the way; measured at 4.8 on ResNet50."""
_WORTH_A_LOOK = 256 * MB


@dataclass(frozen=True)
class Job:
    """One conversion of a batch; all that is needed to do it, on this machine or another.

    Attributes:
        name: Its own within the batch: the path of its result below the folder for results.
        source: Where the artifact is.
        path: The artifact's path among ``files``.
        files: All that is read, with where each lies relative to the others.
        settings: The options (see :mod:`smconvert.batch.settings`); those that name files name
            them as in ``files``.
        memory: An estimate of the bytes that it needs at its peak.
    """

    name: str
    source: str
    path: str
    files: tuple[File, ...]
    settings: Mapping[str, Any]
    memory: int

    @property
    def digest(self) -> str:
        """Equal for the same work: the same files, unchanged, with the same options."""
        content = {**self.to_json(), "memory": 0}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "settings": dict(self.settings)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """What :meth:`to_json` wrote."""
        return cls(**{**data, "files": tuple(File(**file) for file in data["files"])})


def plan(manifest: Manifest) -> tuple[Job, ...]:
    """The jobs of a manifest: those that need most memory first.

    Raises:
        SourceError: nothing is at a place.
        UsageError: the target is not named, or two results would have one name.
    """
    found: dict[str, tuple[Request, Found]] = {}
    for request in manifest.requests:
        for artifact in discovery.find(request.place):
            found[artifact.url] = request, artifact
    jobs = [_job(request, artifact) for request, artifact in found.values()]
    given = {request.name for request, _ in found.values() if request.name is not None}
    return tuple(sorted(_named_apart(jobs, given), key=lambda job: (-job.memory, job.name)))


def _job(request: Request, artifact: Found) -> Job:
    target = request.settings.get("to")
    if target is None:
        raise UsageError(
            "it is not said what to convert to",
            where=request.place,
            hint="--to onnx, --to savedmodel or --to graphdef; or to: in the manifest",
        )
    suffix = next(iter(exporter_for(Path(target), target).suffixes), "")
    files, settings = _with_named_files(artifact.files, request.settings)
    return Job(
        (request.name or artifact.name) + suffix,
        artifact.url,
        artifact.path,
        files,
        settings,
        _memory(artifact, settings),
    )


def _with_named_files(
    files: tuple[File, ...], settings: Mapping[str, Any]
) -> tuple[tuple[File, ...], dict[str, Any]]:
    """Files that settings name, beside the artifact's; and the settings that name them there."""
    found, changed = list(files), dict(settings)
    for key in FILES:
        value = settings.get(key)
        if value is None:
            continue
        several = value if isinstance(value, list) else [value]
        places = []
        for number, url in enumerate(several):
            below = f".{key}-{number}"
            found += discovery.one(url, below)
            places.append(f"{below}/{posixpath.basename(url)}")
        changed[key] = places if isinstance(value, list) else places[0]
    return tuple(found), changed


def _memory(artifact: Found, settings: Mapping[str, Any]) -> int:
    """From the weights, as far as their size can be told without building the graph."""
    weights = sum(file.bytes for file in artifact.files)
    if weights > _WORTH_A_LOOK and is_local(artifact.url):
        try:
            described = pipeline.inspect(artifact.url, options(settings).source)
        except SmconvertError:
            described = None
        if described is not None and described.variables:
            # A checkpoint of a training also holds what the optimizer remembers.
            weights = min(weights, sum(variable.bytes for variable in described.variables))
    return BASE_MEMORY + PER_WEIGHT * weights


def _named_apart(jobs: Sequence[Job], given: Set[str]) -> Iterator[Job]:
    """Artifacts that differ in their suffix only keep it in the result's name, unless it is given.

    Raises:
        UsageError: two still have one name.
    """
    counts = Counter(job.name for job in jobs)
    named = []
    for job in jobs:
        folder, name = posixpath.split(job.name)
        stem, suffix = posixpath.splitext(posixpath.basename(job.path))
        target = name.removeprefix(stem)
        if counts[job.name] > 1 and name.startswith(stem) and not given & {job.name, stem}:
            job = replace(job, name=posixpath.join(folder, stem + suffix + target))
        named.append(job)
    for name, count in Counter(job.name for job in named).items():
        if count > 1:
            raise UsageError(
                f"{count} models would be written to {name}",
                where=", ".join(job.source for job in named if job.name == name),
                hint="give them a name: in the manifest, or take a folder above both",
            )
    yield from named
