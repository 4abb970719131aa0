"""Takes what was asked into the sandbox, and what came of it out again.

A job's attempt has a folder of its own, and nothing is taken from it but ``outcome.json`` and the
files that it names. An attempt whose worker died after the work was done is not repeated: its
outcome is found, and recorded.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row

from smconvert import sandbox
from smconvert.errors import (
    ConversionError,
    DestinationError,
    RuntimeFailure,
    SmconvertError,
    SourceError,
    UsageError,
)
from smconvert.service import inside, uploads
from smconvert.service.jobs import Claim, Jobs, Outcome
from smconvert.service.problems import Failure, NotFound
from smconvert.service.schemas import Result, SourceChoices
from smconvert.service.settings import JobLimits
from smconvert.service.starting import Start, afresh
from smconvert.service.storage import Storage
from smconvert.service.uploads import Uploads

log = logging.getLogger(__name__)

LOG = "log.txt"
LOG_BYTES = 1 << 20
"""Of a job's log that are kept, from its end."""

REPORT_BYTES = 64 << 20
OUTCOME_BYTES = 64 << 20
"""A report, and an outcome, above which it is not looked at: a hostile job writes what it likes."""

INSPECTION = JobLimits(
    memory_bytes=4 << 30, cpu_seconds=120, file_bytes=16 << 30, wall_seconds=120.0
)
"""What one look at a model may take."""

_WATCH = 0.25
_LOOK = "look-"
_KINDS: Mapping[str, type[SmconvertError]] = {
    kind.kind: kind
    for kind in (UsageError, SourceError, ConversionError, DestinationError, RuntimeFailure)
}


@dataclass(frozen=True)
class Execution:
    """Does the work of jobs."""

    jobs: Jobs
    uploads: Uploads
    storage: Storage
    start: Start = afresh

    def perform(self, claim: Claim, cancelled: threading.Event) -> Outcome:
        """Converts what a job asks for; what remains of it is in the storage afterwards."""
        found = self._found(claim.job)
        if found is not None:
            log.info("the work was done already", extra={"job": claim.job})
            return self._kept(claim, *found)
        if claim.attempt > self.jobs.settings.attempts:
            return _gave_up(claim.attempt - 1)
        folder = self._work(claim.job) / str(claim.attempt)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            ending = self._convert(claim, folder, cancelled)
        except SmconvertError as error:
            return _failed(error)
        outcome = _outcome(folder)
        if ending.exceeded == "cancelled":
            return Outcome("cancelled", {})
        return self._kept(claim, folder, outcome or _ended_early(ending, self.jobs.settings.limits))

    def forget_work(self, job: str) -> None:
        """Removes the folders of a job's attempts."""
        shutil.rmtree(self._work(job), ignore_errors=True)

    def forget_looks(self, older_than: float) -> None:
        """Removes what a server that was killed left of its looks at models."""
        for folder in (self.jobs.settings.folder / "work").glob(f"{_LOOK}*"):
            with contextlib.suppress(FileNotFoundError):
                if folder.stat().st_mtime < time.time() - older_than:
                    shutil.rmtree(folder, ignore_errors=True)

    def inspect(self, upload: Row[tuple[object, ...]], choices: SourceChoices) -> dict[str, Any]:
        """What ``smconvert inspect`` says of an upload.

        Raises:
            SmconvertError: what it would have ended with.
        """
        with _folder_in(self.jobs.settings.folder / "work") as folder:
            file, readable = self._fetched(upload, folder)
            asked = {"work": "inspect", "upload": str(file), "source_options": _plain(choices)}
            ending = self._run(asked, folder / "inside", INSPECTION, (readable,), None)
            outcome = _outcome(folder)
        if outcome is None:
            outcome = _ended_early(ending, INSPECTION)
        if outcome.error is not None:
            raise _error(outcome.error)
        return outcome.description or {}

    def _convert(self, claim: Claim, folder: Path, cancelled: threading.Event) -> sandbox.Ending:
        request = claim.request
        upload, readable = self._fetched(self._upload(request.upload), folder)
        data = None
        read = [readable]
        if request.check_options.data is not None:
            data, also = self._fetched(self._upload(request.check_options.data), folder)
            read.append(also)
        name = Path(request.name).name if request.name else ""
        asked = {
            "work": "convert",
            "upload": str(upload),
            "data": None if data is None else str(data),
            "name": uploads.safe(name or inside.result_name(upload.name, request.target)),
            "target": request.target,
            "source_options": _plain(request.source_options),
            "target_options": _plain(request.target_options),
            "check_options": _plain(request.check_options),
        }
        watching = threading.Event()
        watcher = threading.Thread(
            target=self._tell_steps, args=(claim, folder / "stdout", watching)
        )
        watcher.start()
        try:
            limits = self.jobs.settings.limits
            return self._run(asked, folder / "inside", limits, read, cancelled)
        finally:
            watching.set()
            watcher.join()

    def _run(
        self,
        asked: Mapping[str, Any],
        folder: Path,
        limits: JobLimits,
        readable: Sequence[Path],
        cancelled: threading.Event | None,
    ) -> sandbox.Ending:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "request.json").write_text(json.dumps(asked))
        return self.start(folder, sandbox.Limits(**asdict(limits)), readable, cancelled)

    def _fetched(self, upload: Row[tuple[object, ...]], folder: Path) -> tuple[Path, Path]:
        """An upload as a file to read, and what the sandbox must let through for it."""
        file = self.storage.local(uploads.key(upload.id, upload.name), folder / upload.id)
        return file, file

    def _upload(self, identifier: str) -> Row[tuple[object, ...]]:
        row = self.uploads.row(identifier)
        if row is None:
            raise NotFound("the upload is gone", where=identifier)
        return row

    def _tell_steps(self, claim: Claim, stdout: Path, ended: threading.Event) -> None:
        """Passes on each step as the job begins it."""
        position = 0
        last = None
        while True:
            over = ended.wait(_WATCH)
            steps, position = _steps(stdout, position)
            # A hostile job may write a million; the page needs the last.
            for step in steps[-20:]:
                if step != last:
                    self.jobs.note_step(claim, step)
                    last = step
            if over:
                return

    def _found(self, job: str) -> tuple[Path, _Told] | None:
        """The attempt whose work was done to its end, if there is one."""
        for folder in sorted(self._work(job).glob("*")):
            outcome = _outcome(folder)
            if outcome is not None:
                return folder, outcome
        return None

    def _kept(self, claim: Claim, folder: Path, told: _Told) -> Outcome:
        """Moves what is kept into the storage."""
        result = self._store_result(claim, folder, told.result)
        stored = result.size if result else 0
        log_file = folder / LOG
        log_file.write_bytes(_tail(folder / "stderr"))
        self.storage.put(log_file, key(claim.job, LOG))
        for name in (inside.REPORT, inside.REPORT_JSON):
            report = _regular(folder / "inside" / name, REPORT_BYTES)
            if report is not None:
                stored += report.stat().st_size
                self.storage.put(report, key(claim.job, name))
        if result is None and told.error is None:
            return _failed(RuntimeFailure("the job ended without a result"))
        document = {
            "exit_code": told.exit_code,
            "conversion": told.conversion,
            "error": told.error.model_dump() if told.error else None,
            "result": result.model_dump() if result else None,
        }
        return Outcome("failed" if told.error else "done", document, stored)

    def _store_result(self, claim: Claim, folder: Path, told: Result | None) -> Result | None:
        if told is None:
            return None
        name = uploads.safe(told.name)
        result = Result(name=name, size=told.size, artifact=uploads.safe(told.artifact))
        file = _regular(folder / "inside" / "result" / name, None)
        if file is not None:
            result = result.model_copy(update={"size": file.stat().st_size})
            self.storage.put(file, key(claim.job, name))
        elif not self.storage.holds(key(claim.job, name)):
            return None
        return result

    def _work(self, job: str) -> Path:
        return self.jobs.settings.folder / "work" / job


def key(job: str, name: str) -> str:
    """Under which a file of a job is stored."""
    return f"jobs/{job}/{name}"


class _Told(BaseModel):
    """The form of ``outcome.json``, which a hostile job may have written."""

    exit_code: int
    error: Failure | None = None
    conversion: dict[str, Any] | None = None
    result: Result | None = None
    description: dict[str, Any] | None = None


def _outcome(attempt: Path) -> _Told | None:
    """What an attempt ended with; None if it did not come to its end."""
    file = _regular(attempt / "inside" / inside.OUTCOME, OUTCOME_BYTES)
    if file is None:
        return None
    try:
        return _Told.model_validate_json(file.read_bytes())
    except ValueError:
        return None


def _regular(path: Path, at_most: int | None) -> Path | None:
    """A plain file that is no link to somewhere else, and not too large; None for the rest."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    plain = os.path.isfile(path) and not os.path.islink(path) and not path.parent.is_symlink()
    return path if plain and (at_most is None or found.st_size <= at_most) else None


def _ended_early(ending: sandbox.Ending, limits: JobLimits) -> _Told:
    """What is told of a job whose process ended before its work."""
    hint = "the model may be too large for this service, or hostile"
    words = {
        "memory": f"it needs more memory than a job may have ({limits.memory_bytes or 0:,} bytes)",
        "cpu": f"it needs more CPU time than a job may have ({limits.cpu_seconds} s)",
        "file": f"it writes more than a job may ({limits.file_bytes or 0:,} bytes in one file, "
        f"{limits.folder_bytes or 0:,} in all)",
        "time": f"it takes longer than a job may ({limits.wall_seconds} s)",
    }
    if ending.exceeded in words:
        error = RuntimeFailure(words[ending.exceeded], hint=hint)
    else:
        how = f"signal {ending.signal}" if ending.signal else f"exit code {ending.exit_code}"
        error = RuntimeFailure(
            f"the job's process ended by {how} before its work was done",
            hint="the job's log may say more",
        )
    return _Told(exit_code=error.exit_code, error=Failure.model_validate(error.to_json()))


def _gave_up(attempts: int) -> Outcome:
    return _failed(
        RuntimeFailure(
            f"the worker died under this job {attempts} times",
            hint="the model may be too large for the machine; try it with smconvert convert",
        )
    )


def _failed(error: SmconvertError) -> Outcome:
    told = error.to_json()
    if told["code"] not in {"usage", "source", "conversion", "parity", "destination", "runtime"}:
        told["code"] = "unavailable" if error.exit_code == 6 else "internal"
    return Outcome("failed", {"exit_code": error.exit_code, "error": told})


def _error(told: Failure) -> SmconvertError:
    """The error of an outcome, of its own kind."""
    kind = _KINDS.get(told.code, SmconvertError)
    return kind(told.message, where=told.where, hint=told.hint)


def _steps(stdout: Path, position: int) -> tuple[list[str], int]:
    """The steps in whole lines of a file from a position on, and where they end."""
    try:
        with stdout.open("rb") as file:
            file.seek(position)
            block = file.read(1 << 16)
    except FileNotFoundError:
        return [], position
    whole = block.rpartition(b"\n")[0]
    if not whole and len(block) == 1 << 16:
        return [], position + len(block)
    steps = []
    for line in whole.splitlines():
        try:
            steps.append(str(json.loads(line)["step"])[:200])
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return steps, position + (len(whole) + 1 if whole else 0)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""


def _plain(choices: Any) -> dict[str, Any]:
    return dict(choices.model_dump(mode="json"))


@contextmanager
def _folder_in(parent: Path) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = parent / f"{_LOOK}{time.time_ns():x}-{threading.get_ident():x}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
