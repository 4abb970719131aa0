"""A batch from its manifest to its last result: plan, go on where it stopped, convert, publish."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smconvert.batch import journal, work
from smconvert.batch.conversion import failure
from smconvert.batch.discovery import is_local
from smconvert.batch.engine import Engine, Outcome
from smconvert.batch.journal import ENDED, Entry, Journal, State
from smconvert.batch.plan import Job
from smconvert.errors import EXIT_DONE, EXIT_NOT_CHECKED, DestinationError, SmconvertError

_GRAVEST = (1, 5, 4, 3, 2, EXIT_NOT_CHECKED)


@dataclass(frozen=True)
class Event:
    """Something that happened, for whoever watches.

    Attributes:
        kind: ``planned``, ``started``, ``ended``, or ``waiting`` again after an attempt that did
            not count.
        name: The job; None for ``planned``.
        facts: What there is to say, as JSON values.
    """

    kind: str
    name: str | None
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        named = {} if self.name is None else {"name": self.name}
        return {"event": self.kind, **named, **self.facts}


@dataclass(frozen=True)
class Cause:
    """Why jobs failed, and which.

    Attributes:
        code: The kind of error, as the command line and the service know it.
        message: What is wrong, without the names and numbers in which the jobs differ.
        hint: What to try.
        names: The jobs.
    """

    code: str
    message: str
    hint: str | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """What came of a batch.

    Attributes:
        entries: All jobs, in the order of the plan.
    """

    entries: tuple[Entry, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by what came of them: ``passed``, ``not_checked``, ``not_run``, ``failed``,
        ``waiting``."""
        found = Counter(word(entry) for entry in self.entries)
        return {
            name: found[name]
            for name in ("passed", "not_checked", "not_run", "failed", "waiting")
            if found[name]
        }

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Why jobs failed, the most frequent first."""
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            if entry.state is State.FAILED and entry.outcome is not None:
                error = entry.outcome["error"]
                key = error["code"], _without_names(error["message"])
                groups.setdefault(key, []).append(entry)
        causes = [
            Cause(
                code,
                message if len(entries) > 1 else _error(entries[0])["message"],
                _error(entries[0])["hint"],
                tuple(entry.job.name for entry in entries),
            )
            for (code, message), entries in groups.items()
        ]
        return tuple(sorted(causes, key=lambda cause: (-len(cause.names), cause.code)))

    @property
    def exit_code(self) -> int:
        """0 when all is done and checked, else that of the gravest thing that happened."""
        codes = {entry.outcome["exit_code"] for entry in self.entries if entry.outcome is not None}
        return next((code for code in _GRAVEST if code in codes), EXIT_DONE)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "counts": self.counts,
            "causes": [
                {
                    "code": cause.code,
                    "message": cause.message,
                    "hint": cause.hint,
                    "count": len(cause.names),
                    "names": list(cause.names),
                }
                for cause in self.causes
            ],
            "exit_code": self.exit_code,
        }


def run(
    jobs: tuple[Job, ...],
    into: str,
    state: Path,
    engine: Engine,
    *,
    force: bool = False,
    retry_failed: bool = False,
    tell: Callable[[Event], None] = lambda event: None,
) -> Summary:
    """Does what of a plan is not done yet, and returns how all of it stands.

    Args:
        jobs: The plan.
        into: Folder or URL below which the results appear.
        state: Folder of the journal and of what is under way.
        engine: Where the conversions run.
        force: Replaces what is at a destination and is not this batch's own.
        retry_failed: Tries again what failed before.
        tell: Told what happens.

    Raises:
        UsageError: another process works on this batch.
    """
    # A job runs in a folder of its own, where a relative path is another one.
    state = state.absolute()
    into = str(Path(into).absolute()) if is_local(into) else into
    with journal.opened(state) as book:
        book.plan(jobs, retry_failed=retry_failed)
        batch = _Batch(book, into, state / "work", force, tell)
        batch.recover(engine)
        entries = book.entries()
        tell(
            Event(
                "planned",
                None,
                {"total": len(entries), "ended": sum(e.state in ENDED for e in entries)},
            )
        )
        waiting = [entry.job for entry in entries if batch.may_start(entry)]
        engine.run(waiting, batch.begin, batch.end)
        return Summary(tuple(book.entries()))


class _Batch:
    """The steps of jobs, each in the journal before the next."""

    def __init__(
        self, book: Journal, into: str, work: Path, force: bool, tell: Callable[[Event], None]
    ) -> None:
        self._journal = book
        self._into = into
        self._work = work
        self._force = force
        self._tell = tell
        self._attempts: dict[str, int] = {}
        self._owned: set[str] = set()

    def recover(self, engine: Engine) -> None:
        """Takes up what was under way when the last process ended."""
        for entry in self._journal.entries():
            name = entry.job.name
            if entry.published:
                self._owned.add(name)
            if entry.state not in {State.RUNNING, State.CONVERTED}:
                continue
            folder = self._folder(name, entry.attempt)
            outcome = engine.left(entry.job, folder)
            if outcome is None:
                self._journal.returned(name)
                continue
            self._attempts[name] = entry.attempt
            if entry.state is State.CONVERTED:
                # It may be at its destination already.
                self._owned.add(name)
            self._finish(entry.job, outcome)
        shutil.rmtree(self._work, ignore_errors=True)

    def may_start(self, entry: Entry) -> bool:
        """Whether the job waits, and its destination is free or may be replaced."""
        if entry.state is not State.WAITING:
            return False
        if not self._force and entry.job.name not in self._owned:
            try:
                work.ensure_vacant(entry.job, self._into)
            except SmconvertError as error:
                outcome = failure(error)
                self._journal.failed(entry.job.name, outcome)
                self._tell(Event("ended", entry.job.name, {"state": "failed", **outcome}))
                return False
        return True

    def begin(self, job: Job) -> Path:
        """A new attempt, and its folder."""
        number = self._journal.started(job.name)
        self._attempts[job.name] = number
        self._tell(Event("started", job.name, {"attempt": number}))
        return self._folder(job.name, number)

    def end(self, job: Job, outcome: Outcome | None) -> None:
        """What came of the attempt."""
        if outcome is None:
            self._journal.returned(job.name)
            self._tell(Event("waiting", job.name, {}))
        else:
            self._finish(job, outcome)
        shutil.rmtree(self._folder(job.name, self._attempts[job.name]), ignore_errors=True)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        if outcome["error"] is None:
            self._journal.converted(job.name, outcome)
            try:
                if not outcome.get("published"):
                    work.publish(
                        outcome,
                        self._folder(job.name, self._attempts[job.name]),
                        self._into,
                        replace=self._force or job.name in self._owned,
                    )
            except SmconvertError as error:
                outcome = failure(error)
            except OSError as error:
                outcome = failure(DestinationError(f"the result cannot be written: {error}"))
        if outcome["error"] is None:
            self._journal.done(job.name)
            self._owned.add(job.name)
        else:
            self._journal.failed(job.name, outcome)
        state = "failed" if outcome["error"] else outcome["verdict"] or "not_checked"
        self._tell(Event("ended", job.name, {"state": state, **outcome}))

    def _folder(self, name: str, attempt: int) -> Path:
        return self._work / f"{re.sub(r'[^A-Za-z0-9.-]', '_', name)[:100]}.{_short(name)}.{attempt}"


def word(entry: Entry) -> str:
    """How a job stands, in the words of the summary."""
    if entry.state is State.FAILED:
        return "failed"
    if entry.state is not State.DONE or entry.outcome is None:
        return "waiting"
    return entry.outcome["verdict"] or "not_checked"


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _error(entry: Entry) -> Mapping[str, Any]:
    assert entry.outcome is not None
    error: Mapping[str, Any] = entry.outcome["error"]
    return error


def _without_names(message: str) -> str:
    """A message without what is quoted in it, numbers and paths: what two models share."""
    message = re.sub(r"'[^']*'|\"[^\"]*\"", "…", message)
    return re.sub(r"\S*/\S*|\b\d[\d.,]*", "…", message)
