"""One attempt at a job: fetch the model, convert it in the sandbox, read the outcome, publish.

An attempt has a folder of its own. ``job/`` in it is all that the conversion can write; what it
says and writes there is not believed until it has been looked at. The rest is this side's.
"""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smconvert import fingerprint, sandbox, staging
from smconvert.batch import discovery
from smconvert.batch.conversion import IMPORTS, OUTCOME, RESULT, failure
from smconvert.batch.discovery import is_local
from smconvert.batch.plan import Job
from smconvert.batch.settings import FILES, options
from smconvert.converters import Artifact, exporter_for
from smconvert.errors import DestinationError, RuntimeFailure, SmconvertError, SourceError
from smconvert.sandbox.warm import Warm

_LOG_LINES = 30
_OUTCOME_BYTES = 16 << 20

Launch = Callable[[Path, sandbox.Limits, Path, Path, Sequence[Path]], sandbox.Ending]
"""Runs :mod:`smconvert.batch.conversion` on a folder, with limits, files for its output and errors,
and what else it may read."""


@dataclass(frozen=True)
class Launcher:
    """Starts a Python for each conversion.

    Attributes:
        cancelled: Ends it when set.
        layers: Of the sandbox; None for all that work here.
    """

    cancelled: threading.Event
    layers: tuple[str, ...] | None = None

    def __call__(
        self,
        folder: Path,
        limits: sandbox.Limits,
        stdout: Path,
        stderr: Path,
        readable: Sequence[Path],
    ) -> sandbox.Ending:
        """Runs it to its end."""
        return sandbox.run(
            [sys.executable, "-m", "smconvert.batch.conversion", str(folder)],
            folder,
            limits,
            stdout=stdout,
            stderr=stderr,
            readable=readable,
            cancelled=self.cancelled,
            layers=self.layers,
        )


@dataclass(frozen=True)
class WarmLauncher:
    """Forks each conversion from a process that has imported what it needs.

    Attributes:
        warm: The process.
        cancelled: Ends a conversion when set.
        layers: Of the sandbox; None for all that work here.
    """

    warm: Warm
    cancelled: threading.Event
    layers: tuple[str, ...] | None = None

    def __call__(
        self,
        folder: Path,
        limits: sandbox.Limits,
        stdout: Path,
        stderr: Path,
        readable: Sequence[Path],
    ) -> sandbox.Ending:
        """Runs it to its end."""
        return self.warm.run(
            "smconvert.batch.conversion:main_of_fork",
            str(folder),
            folder,
            limits,
            stdout=stdout,
            stderr=stderr,
            readable=readable,
            cancelled=self.cancelled,
            layers=self.layers,
        )


@contextmanager
def launcher(
    warm: bool, cancelled: threading.Event, layers: tuple[str, ...] | None = None
) -> Iterator[Launch]:
    """How conversions are started: warm where it is wanted and works here."""
    if warm:
        with Warm(IMPORTS) as server:
            try:
                server.start()
            except RuntimeFailure:
                pass
            else:
                yield WarmLauncher(server, cancelled, layers)
                return
    yield Launcher(cancelled, layers)


def attempt(
    job: Job, folder: Path, limits: sandbox.Limits, launch: Launch
) -> dict[str, Any] | None:
    """Does a job in the new folder ``folder``; what came of it, None where it was cancelled.

    Whatever goes wrong is an outcome. A good one is in ``folder`` too, for :func:`finished`.
    """
    inside = folder / "job"
    inside.mkdir(parents=True)
    try:
        source, settings, readable = _placed(job, inside)
        described = {"name": job.name, "source": source, "settings": settings}
        (inside / "job.json").write_text(json.dumps(described), encoding="utf-8")
        ending = launch(inside, limits, folder / "stdout", folder / "stderr", readable)
        if ending.exceeded == "cancelled":
            return None
        outcome = finished(job, folder) or _unfinished(ending, limits, folder)
        return {**outcome, "memory": ending.peak_bytes}
    except SmconvertError as error:
        return failure(error)
    except OSError as error:
        where = error.filename or job.source
        return failure(SourceError(f"the model cannot be read: {error}", where=str(where)))


def finished(job: Job, folder: Path) -> dict[str, Any] | None:
    """The outcome of the attempt in ``folder`` if it came to its end; its result is then whole."""
    inside = folder / "job"
    try:
        outcome = _read(inside / OUTCOME)
        _ensure_outcome(job, outcome)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return failure(RuntimeFailure(f"what the conversion wrote cannot be read: {error}"))
    if outcome.get("error") is None:
        result = inside / RESULT
        try:
            for path in (outcome["artifact"], *outcome["companions"]):
                _ensure_plain(result, path)
        except (OSError, ValueError) as error:
            return failure(RuntimeFailure(f"the conversion wrote what is no result: {error}"))
        outcome["sha256"] = fingerprint.take(result / outcome["artifact"]).sha256
    return outcome


def publish(outcome: Mapping[str, Any], folder: Path, into: str, *, replace: bool) -> None:
    """Puts the result of the attempt in ``folder`` at its place below ``into``.

    It stays in ``folder`` too, so that this can be done again if it is interrupted. Below a folder
    of this machine it appears by one rename; in an object store each file does.

    Raises:
        DestinationError: something is there and ``replace`` is false, or it cannot be written.
    """
    result = folder / "job" / RESULT
    paths = [*outcome["companions"], outcome["artifact"]]
    if not is_local(into):
        for path in paths:
            upload(result / path, posixpath.join(into, path))
        return
    destination = Path(into, outcome["artifact"])
    staging.ensure_free(destination, replace)
    with staging.staging_for(destination) as stage:
        at = result / outcome["artifact"]
        for path in paths:
            _link(result / path, stage / os.path.relpath(result / path, at.parent))
        companions = tuple(
            stage / os.path.relpath(result / path, at.parent) for path in outcome["companions"]
        )
        staged = Artifact(outcome["format"], stage / at.name, companions, {})
        staging.publish(staged, destination, stage)


def upload(path: Path, url: str) -> None:
    """Copies a file or a folder to a URL, over what is there."""
    system, place = discovery.opened(url)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        target = posixpath.normpath(posixpath.join(place, file.relative_to(path).as_posix()))
        system.makedirs(posixpath.dirname(target), exist_ok=True)
        system.put_file(str(file), target)


def ensure_vacant(job: Job, into: str) -> None:
    """Refuses a destination where something is.

    Raises:
        DestinationError: something is.
    """
    below = _destination(job)
    if is_local(into):
        staging.ensure_free(into / below, force=False)
        return
    system, place = discovery.opened(posixpath.join(into, below.as_posix()))
    if system.exists(place):
        raise DestinationError(
            f"{below.name} exists already",
            where=posixpath.join(into, below.as_posix()),
            hint="--force replaces it, or name another folder with --into",
        )


def _destination(job: Job) -> Path:
    """Where the result appears, below the folder for results."""
    exporter = exporter_for(Path(job.name), job.settings["to"])
    return exporter.destination(Path(job.name), options(job.settings).target)


def _placed(job: Job, inside: Path) -> tuple[str, dict[str, Any], list[Path]]:
    """Where the conversion finds its model: where it lies on this machine, else in a copy.

    A copy is named as seen from the conversion's folder: results say what they were made from, and
    are to be the same wherever and however often it is tried.

    Returns:
        The artifact's path, the settings with the paths of other files, what must be readable.
    """
    local = all(is_local(file.url) for file in job.files)
    if local:
        at = {file.path: file.url for file in job.files}
    else:
        at = {file.path: f"source/{file.path}" for file in job.files}
        for file in job.files:
            _fetch(file.url, inside / at[file.path])

    def found(path: str) -> str:
        """An artifact, or a prefix of files."""
        for inner, outer in at.items():
            if inner.startswith(path):
                return outer.removesuffix(inner[len(path) :])
        return path

    settings = dict(job.settings)
    for key in FILES:
        value = settings.get(key)
        if isinstance(value, list):
            settings[key] = [found(path) for path in value]
        elif value is not None:
            settings[key] = found(value)
    source = found(job.path)
    alone = [Path(url) for path, url in at.items() if not path.startswith(f"{job.path}/")]
    whole = [Path(source)] if os.path.isdir(source) else []
    return source, settings, [*whole, *alone] if local else []


def _fetch(url: str, path: Path) -> None:
    system, place = discovery.opened(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    system.get_file(place, str(path))


def _unfinished(ending: sandbox.Ending, limits: sandbox.Limits, folder: Path) -> dict[str, Any]:
    """The outcome of a conversion that did not get to say one."""
    said = {
        "memory": f"it needs more memory than {(limits.memory_bytes or 0) / 1e9:.2g} GB",
        "cpu": f"it takes more CPU time than {limits.cpu_seconds} seconds",
        "file": "it writes more than is allowed",
        "time": f"it takes longer than {limits.wall_seconds or 0:g} seconds",
        "tasks": "it starts too many processes",
    }
    tried = {
        "memory": "--memory allows a batch more",
        "time": "--timeout allows more",
        "cpu": "--timeout allows more",
    }
    if ending.exceeded is not None:
        error = RuntimeFailure(said[ending.exceeded], hint=tried.get(ending.exceeded))
        outcome = failure(error)
        outcome["error"]["code"] = "limit"
        return {**outcome, "exceeded": ending.exceeded}
    how = f"by signal {ending.signal}" if ending.signal else f"with exit code {ending.exit_code}"
    outcome = failure(RuntimeFailure(f"the conversion's process ended {how}", where=_log(folder)))
    outcome["error"]["code"] = "crash"
    return outcome


def _log(folder: Path) -> str | None:
    try:
        with (folder / "stderr").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - (1 << 14)))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return None
    return "; ".join(line.strip() for line in lines[-_LOG_LINES:] if line.strip())[-600:] or None


def _read(path: Path) -> dict[str, Any]:
    """A file that the conversion wrote: a plain one, of a size that can be meant."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as stream:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _OUTCOME_BYTES:
            raise ValueError(f"{path.name} is no plain file of a reasonable size")
        found = json.loads(stream.read())
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no outcome")
    return found


def _ensure_outcome(job: Job, outcome: Mapping[str, Any]) -> None:
    """Raises ValueError, KeyError or TypeError unless the outcome is one, and of this very job."""
    error = outcome["error"]
    texts = [outcome["verdict"], outcome["reason"]]
    if error is not None:
        texts += [error["where"], error["hint"]]
        if not isinstance(error["code"], str) or not isinstance(error["message"], str):
            raise ValueError("its error is none")
    else:
        destination = _destination(job).as_posix()
        beside = outcome["companions"]
        if outcome["artifact"] != destination or not all(
            path.startswith(f"{destination}.") for path in beside
        ):
            raise ValueError("its result is not where this job's belongs")
        texts += [*outcome["changes"], *outcome["differences"], outcome["format"]]
        float(outcome["seconds"])
        for difference in outcome["differences"].values():
            float(difference or 0)
    if not isinstance(outcome["exit_code"], int):
        raise ValueError("its exit code is none")
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ValueError("it says what is no text")
    if outcome["verdict"] not in {None, "passed", "not_run"}:
        raise ValueError("its verdict is none")


def _ensure_plain(result: Path, path: str) -> None:
    """Raises ValueError unless ``path`` is in ``result``, of plain files and folders alone."""
    parts = Path(path).parts
    if not parts or os.path.isabs(path) or ".." in parts:
        raise ValueError(f"{path!r} leads out of its folder")
    above = [result, *(result.joinpath(*parts[:n]) for n in range(1, len(parts)))]
    for folder in above:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise ValueError(f"{folder.name} is no folder")
    waiting = [result / path]
    while waiting:
        at = waiting.pop()
        mode = at.lstat().st_mode
        if stat.S_ISDIR(mode):
            waiting += at.iterdir()
        elif not stat.S_ISREG(mode):
            raise ValueError(f"{at.relative_to(result)} is no plain file")


def _link(source: Path, target: Path) -> None:
    """The same content at ``target``: another name of the file where the file system allows it."""

    def link(old: str, new: str) -> None:
        try:
            os.link(old, new)
        except OSError:
            shutil.copy2(old, new)

    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=link)
    else:
        link(str(source), str(target))
