"""Conversions as processes of this machine, as many as its memory holds."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from smconvert.batch import work
from smconvert.batch.conversion import failure
from smconvert.batch.engine import Outcome
from smconvert.batch.plan import Job
from smconvert.errors import SmconvertError
from smconvert.sandbox import Limits

_SHARE = 0.8
_SPARE = 2
"""A job may use this many times its estimate, before it is run again with the machine alone."""


@dataclass(frozen=True)
class Capacity:
    """What conversions may use together.

    Attributes:
        jobs: How many run at a time.
        memory: Bytes.
        wall_seconds: For each; CPU time follows from it and the number of cores.
        file_bytes: Size of one file.
        folder_bytes: Size of all that one conversion writes.
    """

    jobs: int
    memory: int
    wall_seconds: float
    file_bytes: int | None = None
    folder_bytes: int | None = None

    def limits(self, memory: int) -> Limits:
        """Those of one conversion that may have ``memory`` bytes."""
        cores = os.cpu_count() or 1
        return Limits(
            memory,
            int(self.wall_seconds * cores),
            self.file_bytes,
            self.wall_seconds,
            self.folder_bytes,
        )


@dataclass
class LocalEngine:
    """Runs a job as soon as it fits beside those that run; one that never fits, alone.

    Attributes:
        capacity: What there is.
        cancelled: Ends all.
        layers: Of the sandbox; None for all that work here.
        warm: Forks conversions from a process that has imported TensorFlow.
    """

    capacity: Capacity
    cancelled: threading.Event = field(default_factory=threading.Event)
    layers: tuple[str, ...] | None = None
    warm: bool = True

    def run(
        self,
        jobs: Sequence[Job],
        begin: Callable[[Job], Path],
        end: Callable[[Job, Outcome | None], None],
    ) -> None:
        """See :class:`smconvert.batch.engine.Engine`."""
        if not jobs:
            return
        with work.launcher(self.warm and len(jobs) > 1, self.cancelled, self.layers) as launch:
            self._run(list(jobs), begin, end, launch)

    def _run(
        self,
        waiting: list[Job],
        begin: Callable[[Job], Path],
        end: Callable[[Job, Outcome | None], None],
        launch: work.Launch,
    ) -> None:
        running: dict[str, int] = {}
        ended: queue.SimpleQueue[tuple[Job, Outcome | None, int]] = queue.SimpleQueue()

        def do(job: Job, folder: Path, allowed: int) -> None:
            limits = self.capacity.limits(allowed)
            try:
                ended.put((job, work.attempt(job, folder, limits, launch), allowed))
            except Exception as error:
                inside = SmconvertError(f"something went wrong inside smconvert: {error!r}")
                ended.put((job, failure(inside), allowed))

        with ThreadPoolExecutor(self.capacity.jobs) as threads:
            try:
                while running or (waiting and not self.cancelled.is_set()):
                    for job in self._fitting(waiting, running):
                        waiting.remove(job)
                        running[job.name] = min(job.memory, self.capacity.memory)
                        threads.submit(do, job, begin(job), self._allowed(job))
                    job, outcome, allowed = ended.get()
                    del running[job.name]
                    if outcome and self._deserves_more(outcome, allowed):
                        end(job, None)
                        waiting.insert(0, replace(job, memory=self.capacity.memory))
                    else:
                        end(job, outcome)
            except BaseException:
                self.cancel()
                raise

    def left(self, job: Job, folder: Path) -> Outcome | None:
        """See :class:`smconvert.batch.engine.Engine`."""
        return work.finished(job, folder)

    def cancel(self) -> None:
        """See :class:`smconvert.batch.engine.Engine`."""
        self.cancelled.set()

    def _fitting(self, waiting: Sequence[Job], running: dict[str, int]) -> list[Job]:
        """Those to start now: in order, each that fits into what the others leave."""
        if self.cancelled.is_set():
            return []
        left = self.capacity.memory - sum(running.values())
        places = self.capacity.jobs - len(running)
        found: list[Job] = []
        for job in waiting:
            if len(found) == places:
                break
            alone = not running and not found
            if job.memory <= left or alone:
                found.append(job)
                left -= job.memory
        return found

    def _allowed(self, job: Job) -> int:
        return min(_SPARE * job.memory, self.capacity.memory)

    def _deserves_more(self, outcome: Outcome, allowed: int) -> bool:
        return outcome.get("exceeded") == "memory" and allowed < self.capacity.memory


def available_memory() -> int:
    """Bytes that conversions may take of what this machine or container has left."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            fields = dict(line.split(":", 1) for line in stream)
        found.append(1024 * int(fields["MemAvailable"].split()[0]))
    except (OSError, KeyError):
        pass
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            found.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):
            continue
    return int(_SHARE * min(found))
