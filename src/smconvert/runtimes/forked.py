"""Workers that are forks of a process which has imported their runtime, and has run nothing yet.

A process that has run TensorFlow must not fork. So the forks are made first, as blanks, and each
learns later which runtime it is, and where. Their number is fixed; further workers are processes of
their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, Self

from smconvert.runtimes import worker, workers
from smconvert.runtimes.places import Place

_POLL = 0.01


@dataclass
class _Fork:
    """A child of this process, as :class:`smconvert.runtimes.workers.Child`."""

    pid: int
    returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG if timeout is not None else 0)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked worker", timeout or 0)
            else:
                time.sleep(_POLL)
        return self.returncode


class Blanks:
    """Forks in waiting; a context manager that ends those that were not needed."""

    def __init__(self, count: int) -> None:
        self._waiting = [_blank() for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._waiting:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.popen.pid, signal.SIGKILL)
            process.popen.wait()

    def start(self, runtime: str, place: Place) -> workers.Process:
        """A blank that becomes this worker, or a process of its own where none is left."""
        if not self._waiting:
            return workers.start_process(runtime, place)
        process = self._waiting.pop()
        order = {"runtime": runtime, "place": str(place), "environment": workers.settings(place)}
        os.write(process.requests, (json.dumps(order) + "\n").encode())
        return process


def _blank() -> workers.Process:
    theirs_in, requests = os.pipe()
    answers, theirs_out = os.pipe()
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    pid = os.fork()
    if pid == 0:
        _wait_and_become(theirs_in, theirs_out, log, (requests, answers))
    os.close(theirs_in)
    os.close(theirs_out)
    return workers.Process(_Fork(pid), requests, answers, log)


def _wait_and_become(requests: int, answers: int, log: IO[bytes], others: tuple[int, int]) -> None:
    try:
        os.setsid()
        for number in others:
            os.close(number)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        order = json.loads(_line(requests))
        os.environ.update(order["environment"])
        worker.main(order["runtime"], order["place"], requests, answers)
    finally:
        os._exit(1)


def _line(descriptor: int) -> bytes:
    """What comes before the first end of line, and not a byte more."""
    found = b""
    while not found.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            os._exit(0)
        found += byte
    return found
