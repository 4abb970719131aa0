"""Worker processes: one for each runtime and place, so that nothing of one reaches another.

A worker that dies or hangs is an error of the run, never of this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self

from smconvert.converters import Executable
from smconvert.errors import RuntimeFailure, Unavailable
from smconvert.model import Array
from smconvert.runtimes import arrays
from smconvert.runtimes.places import Place, family
from smconvert.runtimes.worker import to_json

TIMEOUT = 600.0
"""Seconds that one run may take, loading included."""

_SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Ran:
    """What a run gave.

    Attributes:
        outputs: By output name, for each call.
        placement: Nodes by device or execution provider, where the runtime reports it.
    """

    outputs: list[dict[str, Array]]
    placement: Mapping[str, int]


class Child(Protocol):
    """As much of :class:`subprocess.Popen` as is used of a worker."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or TimeoutExpired."""


@dataclass
class Process:
    """A worker, the pipes to and from it, and the file that it prints to."""

    popen: Child
    requests: int
    answers: int
    log: IO[bytes]
    pending: bytes = b""


class Workers:
    """Runs executables in worker processes that are kept until the context ends.

    Args:
        start: Starts one for a runtime and a place; by default a Python of its own.
    """

    def __init__(self, start: Callable[[str, Place], Process] | None = None) -> None:
        self._start = start or start_process
        self._processes: dict[tuple[str, Place], Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            _end(process)
        self._processes.clear()

    def run(
        self, executable: Executable, calls: Sequence[Mapping[str, Array]]
    ) -> list[dict[str, Array]]:
        """The outputs of :meth:`measure` on the CPU."""
        return self.measure(executable, calls, Place(family(executable.runtime))).outputs

    def measure(
        self,
        executable: Executable,
        calls: Sequence[Mapping[str, Array]],
        place: Place,
        timeout: float = TIMEOUT,
    ) -> Ran:
        """Opens an executable afresh at a place, and calls it once for each of ``calls``, in order.

        Raises:
            Unavailable: the runtime cannot run at ``place``.
            RuntimeFailure: the runtime refused the artifact or the feeds, died, or took longer
                than ``timeout`` seconds.
        """
        key = executable.runtime, place
        process = self._processes.get(key) or self._processes.setdefault(key, self._start(*key))
        with tempfile.TemporaryDirectory(prefix="smconvert-") as name:
            folder = Path(name)
            request = {
                "executable": to_json(executable),
                "folder": name,
                "calls": [arrays.write(c, folder, f"in-{i}") for i, c in enumerate(calls)],
            }
            try:
                answer = _ask(process, request, timeout, executable.runtime)
            except BaseException:
                self._processes.pop(key, None)
                _end(process)
                raise
            if "error" in answer:
                kind = Unavailable if answer.get("unavailable") else RuntimeFailure
                raise kind(
                    answer["error"],
                    where=answer.get("where") or f"{executable.runtime}, {executable.path}",
                    hint=answer.get("hint"),
                )
            outputs = [arrays.read(result, folder) for result in answer["results"]]
            return Ran(outputs, answer["placement"])


def opened(workers: Workers | None) -> AbstractContextManager[Workers]:
    """These workers, which stay open; or new ones for as long as the context is."""
    return Workers() if workers is None else nullcontext(workers)


def start_process(runtime: str, place: Place) -> Process:
    """A worker in a Python of its own."""
    theirs_in, requests = os.pipe()
    answers, theirs_out = os.pipe()
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    environment = {**os.environ, **_SETTINGS, **settings(place)}
    popen = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "smconvert.runtimes.worker",
            runtime,
            str(place),
            str(theirs_in),
            str(theirs_out),
        ],
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    return Process(popen, requests, answers, log)


def settings(place: Place) -> dict[str, str]:
    """What must be set before a runtime's libraries are loaded."""
    settings = {"NVIDIA_TF32_OVERRIDE": "1" if place.precision == "tf32" else "0"}
    if place.device == "cpu":
        settings["CUDA_VISIBLE_DEVICES"] = ""
    if place.xla:
        settings["TF_XLA_FLAGS"] = "--tf_xla_cpu_global_jit"
    return settings


def _ask(process: Process, request: Mapping[str, Any], timeout: float, runtime: str) -> Any:
    try:
        _write(process.requests, (json.dumps(request) + "\n").encode())
    except OSError as error:
        raise _died(process, runtime) from error
    deadline = time.monotonic() + timeout
    while b"\n" not in process.pending:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([process.answers], [], [], max(left, 0))
        if not ready:
            raise RuntimeFailure(
                f"the runtime {runtime} did not answer within {timeout:g} seconds",
                hint="the model may be too large for this machine, or hang",
            )
        block = os.read(process.answers, 1 << 16)
        if not block:
            raise _died(process, runtime)
        process.pending += block
    line, _, process.pending = process.pending.partition(b"\n")
    return json.loads(line)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _died(process: Process, runtime: str) -> RuntimeFailure:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.popen.wait(5)
    code = process.popen.returncode
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    process.log.seek(0)
    lines = process.log.read().decode(errors="replace").strip().splitlines()
    return RuntimeFailure(
        f"the process of the runtime {runtime} ended {how}",
        where="; ".join(lines[-3:])[:600] or None,
        hint="the system ends a process so when memory runs out"
        if code == -signal.SIGKILL
        else None,
    )


def _end(process: Process) -> None:
    for descriptor in (process.requests, process.answers):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.popen.pid, signal.SIGKILL)
    process.popen.wait()
    process.log.close()
