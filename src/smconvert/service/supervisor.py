"""Keeps a service's workers alive, and clears away what is past its time."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Self

from sqlalchemy import delete, select

from smconvert.service.database import jobs, uploads
from smconvert.service.execution import Execution
from smconvert.service.jobs import Jobs
from smconvert.service.schemas import ENDED
from smconvert.service.settings import HOUR
from smconvert.service.uploads import needed

log = logging.getLogger(__name__)

POLL = 0.2
SWEEP = 60.0
"""Seconds between two times that what is past its time is cleared away."""

RESTART = 1.0
"""Seconds before a worker that died is replaced: one that dies at once must not burn the CPU."""

LAST_WORDS = 20.0
"""Seconds that workers have to give their jobs back."""


@dataclass
class _Worker:
    name: str
    popen: subprocess.Popen[str]


class Supervisor:
    """Workers, for as long as the context is."""

    def __init__(self, service_jobs: Jobs, execution: Execution) -> None:
        self._jobs = service_jobs
        self._execution = execution
        self._workers: list[_Worker] = []
        self._restarts = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="supervisor")

    def __enter__(self) -> Self:
        for _ in range(self._jobs.settings.workers):
            self._workers.append(self._start())
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join()
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.popen.stdin.close()  # type: ignore[union-attr]
        deadline = time.monotonic() + LAST_WORDS
        for worker in self._workers:
            try:
                worker.popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.popen.kill()
                worker.popen.wait()
                self._jobs.release(worker.name)

    @property
    def alive(self) -> int:
        """Workers that run."""
        return sum(worker.popen.poll() is None for worker in self._workers)

    @property
    def restarts(self) -> int:
        """Workers that died and were replaced."""
        return self._restarts

    def _start(self) -> _Worker:
        name = f"worker-{uuid.uuid4().hex[:12]}"
        popen = subprocess.Popen(
            [sys.executable, "-m", "smconvert.service.worker", name],
            stdin=subprocess.PIPE,
            text=True,
        )
        assert popen.stdin is not None
        popen.stdin.write(self._jobs.settings.to_json() + "\n")
        popen.stdin.flush()
        return _Worker(name, popen)

    def _keep(self) -> None:
        swept = 0.0
        while not self._ending.wait(POLL):
            for number, worker in enumerate(self._workers):
                code = worker.popen.poll()
                if code is not None:
                    log.error("a worker died", extra={"worker": worker.name, "code": code})
                    self._jobs.release(worker.name)
                    if self._ending.wait(RESTART):
                        return
                    self._workers[number] = self._start()
                    self._restarts += 1
            if time.monotonic() - swept > SWEEP:
                swept = time.monotonic()
                try:
                    sweep(self._jobs, self._execution)
                except Exception:
                    log.exception("what is past its time could not be cleared away")


def sweep(service_jobs: Jobs, execution: Execution) -> int:
    """Deletes jobs that ended long ago, and uploads that nobody has used for long.

    Returns:
        How many were deleted.
    """
    now, settings, database = time.time(), service_jobs.settings, service_jobs.database
    deleted = 0
    ended = select(jobs.c.id).where(
        jobs.c.state.in_(ENDED), jobs.c.ended < now - settings.keep_jobs
    )
    unused = select(uploads.c.id).where(uploads.c.used < now - settings.keep_uploads)
    with database.reading() as connection:
        old_jobs = connection.execute(ended).scalars().all()
        old_uploads = connection.execute(unused).scalars().all()
    for identifier in old_jobs:
        execution.forget_work(identifier)
        execution.storage.delete(f"jobs/{identifier}")
        with database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.id == identifier))
        deleted += 1
    for identifier in old_uploads:
        with database.writing() as connection:
            if needed(connection, identifier):
                continue
            connection.execute(delete(uploads).where(uploads.c.id == identifier))
        execution.uploads.remove_files(identifier)
        deleted += 1
    execution.forget_looks(older_than=HOUR)
    return deleted
