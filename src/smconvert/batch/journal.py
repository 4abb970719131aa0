"""What was done, on disk before it counts: a batch that is killed goes on from here.

A job is ``waiting``, then ``running`` (an attempt has a folder of its own), then ``converted`` (its
result lies in that folder, and what came of it is in the journal), then ``done`` or ``failed``.
Each step is one committed transaction of SQLite. Whatever was under way when the process died is
found by its state, and goes on where the last one left off:

- ``running`` with a finished attempt in its folder becomes ``converted``; without, ``waiting``;
- ``converted`` is published again, which changes nothing where that was done.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from smconvert.batch.plan import Job
from smconvert.errors import UsageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    job TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    published INTEGER NOT NULL,
    outcome TEXT
);
CREATE TABLE IF NOT EXISTS history (
    number INTEGER PRIMARY KEY,
    time TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    name TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL
);
"""
VERSION = 1


class State(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    CONVERTED = "converted"
    DONE = "done"
    FAILED = "failed"


ENDED = frozenset({State.DONE, State.FAILED})


@dataclass(frozen=True)
class Entry:
    """A job and what has become of it.

    Attributes:
        job: What is to be done.
        state: Where it is.
        attempt: The number of the last attempt, 0 before the first.
        published: Whether what is at its destination is a result of this batch.
        outcome: What came of it, as JSON values; None before.
    """

    job: Job
    state: State
    attempt: int
    published: bool
    outcome: Mapping[str, Any] | None


class Journal:
    """The journal of one batch; one process writes it at a time, from one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def plan(self, jobs: Sequence[Job], *, retry_failed: bool) -> None:
        """Takes on a plan. What ended and has not changed stays as it is.

        Jobs that the plan no longer has are forgotten; their results stay where they are.
        """
        known = {entry.job.name: entry for entry in self.entries()}
        with self._connection as transaction:
            transaction.execute("UPDATE jobs SET position = -1")
            for position, job in enumerate(jobs):
                old = known.get(job.name)
                again = (
                    old is None
                    or old.job.digest != job.digest
                    or (retry_failed and old.state is State.FAILED)
                )
                if old is None:
                    transaction.execute(
                        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, 0, 0, NULL)",
                        (job.name, position, job.digest, _text(job.to_json()), State.WAITING),
                    )
                elif again:
                    transaction.execute(
                        "UPDATE jobs SET position = ?, digest = ?, job = ?, state = ?, "
                        "outcome = NULL WHERE name = ?",
                        (position, job.digest, _text(job.to_json()), State.WAITING, job.name),
                    )
                else:
                    transaction.execute(
                        "UPDATE jobs SET position = ? WHERE name = ?", (position, job.name)
                    )
            transaction.execute("DELETE FROM jobs WHERE position = -1")

    def entries(self) -> list[Entry]:
        """All jobs, in the order of the plan."""
        rows = self._connection.execute(
            "SELECT job, state, attempt, published, outcome FROM jobs ORDER BY position"
        )
        return [
            Entry(
                Job.from_json(json.loads(job)),
                State(state),
                attempt,
                bool(published),
                None if outcome is None else json.loads(outcome),
            )
            for job, state, attempt, published, outcome in rows
        ]

    def started(self, name: str) -> int:
        """A new attempt; its number."""
        with self._connection as transaction:
            transaction.execute(
                "UPDATE jobs SET state = ?, attempt = attempt + 1 WHERE name = ?",
                (State.RUNNING, name),
            )
            return self._note(name, State.RUNNING)

    def returned(self, name: str) -> None:
        """The attempt came to nothing that counts; the job waits again."""
        self._set(name, State.WAITING)

    def converted(self, name: str, outcome: Mapping[str, Any]) -> None:
        """The attempt has a result, which lies in its folder."""
        self._set(name, State.CONVERTED, outcome)

    def done(self, name: str) -> None:
        """The result is at its destination."""
        with self._connection as transaction:
            transaction.execute(
                "UPDATE jobs SET state = ?, published = 1 WHERE name = ?", (State.DONE, name)
            )
            self._note(name, State.DONE)

    def failed(self, name: str, outcome: Mapping[str, Any]) -> None:
        """There is no result, and the outcome says why."""
        self._set(name, State.FAILED, outcome)

    def history(self) -> list[tuple[str, int, State]]:
        """Every change of state that counted: job, attempt, state, in order."""
        rows = self._connection.execute("SELECT name, attempt, state FROM history ORDER BY number")
        return [(name, attempt, State(state)) for name, attempt, state in rows]

    def _set(self, name: str, state: State, outcome: Mapping[str, Any] | None = None) -> None:
        with self._connection as transaction:
            transaction.execute(
                "UPDATE jobs SET state = ?, outcome = ? WHERE name = ?",
                (state, None if outcome is None else _text(outcome), name),
            )
            self._note(name, state)

    def _note(self, name: str, state: State) -> int:
        (attempt,) = self._connection.execute(
            "SELECT attempt FROM jobs WHERE name = ?", (name,)
        ).fetchone()
        self._connection.execute(
            "INSERT INTO history (name, attempt, state) VALUES (?, ?, ?)", (name, attempt, state)
        )
        return int(attempt)


@contextmanager
def opened(folder: Path) -> Iterator[Journal]:
    """The journal in ``folder``, for this process alone.

    Raises:
        UsageError: another process works on this batch, or a newer smconvert wrote the journal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                "another process works on this batch", where=str(folder), hint="wait for its end"
            ) from error
        connection = sqlite3.connect(folder / "journal.sqlite", isolation_level="IMMEDIATE")
        try:
            connection.execute("PRAGMA synchronous = FULL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in {0, VERSION}:
                raise UsageError(
                    f"the journal is of version {version}, and this smconvert reads {VERSION}",
                    where=str(folder),
                    hint="name another folder with --state, or use the smconvert that wrote it",
                )
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            yield Journal(connection)
        finally:
            connection.close()


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
