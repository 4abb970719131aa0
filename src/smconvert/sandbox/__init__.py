"""Runs a command that may be hostile: no network, one folder to write, bounded resources.

:func:`run` starts the command below a small launcher (``launcher.py``) that takes away what the
system lets it take away, and watches what the command uses until it has ended. Whatever the command
started has ended too when :func:`run` returns, and ends when this process is killed.

What holds on a machine is found by trying, not by its name: :func:`protections`.
"""

from __future__ import annotations

import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from smconvert.errors import RuntimeFailure
from smconvert.sandbox import usage

Exceeded = Literal["memory", "cpu", "file", "time", "tasks", "cancelled"]
"""What ended a command before it ended itself."""

LAYERS = ("namespaces", "landlock", "seccomp")
"""What may confine a command, beside limits. Landlock stands in where there are no namespaces."""

_LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL = 0.05
_FOLDER_POLL = 0.5
_TASKS = 2048
"""Processes and threads of one command; a conversion on 64 cores has some 500."""

_KEPT = ("PATH", "LANG", "TZ", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE")
_KEPT_PREFIXES = ("LC_", "TF_", "OMP_", "MKL_", "OPENBLAS_", "SMCONVERT_")
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "KEY", "CREDENTIAL")


@dataclass(frozen=True)
class Limits:
    """What a command and all that it starts may use; None is without limit.

    Attributes:
        memory_bytes: Resident memory of all its processes together.
        cpu_seconds: CPU time of all its processes together.
        file_bytes: Size of any one file.
        wall_seconds: Time from start to end.
        folder_bytes: Size of everything in its folder.
    """

    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    file_bytes: int | None = None
    wall_seconds: float | None = None
    folder_bytes: int | None = None


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        exit_code: What it returned, 127 where it could not be started; None where a signal ended
            it.
        signal: The signal that ended it, None otherwise.
        exceeded: Which limit did, or that it was cancelled; None where nobody stopped it. A program
            that itself handles a write beyond ``file_bytes`` may end with an exit code alone.
        peak_bytes: The most memory that all its processes were seen to have together.
    """

    exit_code: int | None
    signal: int | None
    exceeded: Exceeded | None
    peak_bytes: int = field(default=0, compare=False)


def run(
    command: Sequence[str],
    folder: Path,
    limits: Limits,
    *,
    stdout: Path,
    stderr: Path,
    readable: Sequence[Path] = (),
    cancelled: threading.Event | None = None,
    layers: Sequence[str] | None = None,
) -> Ending:
    """Runs ``command`` in ``folder``; returns when it and all that it started have ended.

    Args:
        command: Program and arguments; relative paths are relative to ``folder``.
        folder: Where it starts, and the one place where it can write; its HOME and /tmp lie in a
            hidden folder there, which is gone afterwards.
        limits: What it may use.
        stdout: File for its output, replaced; ``limits.file_bytes`` holds for it too.
        stderr: File for its errors, likewise.
        readable: Files and folders that it may read beside ``folder``, the system's programs, and
            the Python that runs this process with its packages.
        cancelled: Ends the command when set.
        layers: Which of :data:`LAYERS` to use; by default all that work here.

    Raises:
        RuntimeFailure: the sandbox could not be set up; the command was not started.
    """
    return _run(_launch, command, folder, limits, stdout, stderr, readable, cancelled, layers)


def _run(
    spawn: Spawn,
    command: Sequence[str],
    folder: Path,
    limits: Limits,
    stdout: Path,
    stderr: Path,
    readable: Sequence[Path],
    cancelled: threading.Event | None,
    layers: Sequence[str] | None,
) -> Ending:
    used = working_layers() if layers is None else layers
    with stdout.open("wb") as out, stderr.open("wb") as err, _scratch(folder) as scratch:
        outputs = out.fileno(), err.fileno()
        child = _start(spawn, command, folder, scratch, limits, readable, used, outputs)
        try:
            exceeded = _watch(child, limits, folder, (stdout, stderr), cancelled)
        finally:
            _end(child)
        failed = child.told.get("failed")
        if failed:
            raise RuntimeFailure(
                f"the sandbox could not be set up: {failed}",
                where=" ".join(used) or "limits alone",
                hint="smconvert doctor says what holds on this machine",
            )
        return _ending(child, exceeded, limits, (folder, stdout, stderr))


@functools.cache
def protections() -> tuple[str, ...]:
    """What :func:`run` holds a command to on this machine, in words, found by trying it."""
    return _tried(working_layers())


@functools.cache
def working_layers() -> tuple[str, ...]:
    """Those of :data:`LAYERS` that are used here: that can be set up, and are not stood in for."""
    found = [layer for layer in LAYERS if works(layer)]
    return tuple(layer for layer in found if layer != "landlock" or "namespaces" not in found)


@functools.cache
def works(layer: str) -> bool:
    """Whether one of :data:`LAYERS` can be set up here."""
    try:
        _tried((layer,))
    except RuntimeFailure:
        return False
    return True


def environment(home: str) -> dict[str, str]:
    """What a command is told of this process's environment: nothing that is named as a secret."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if (name in _KEPT or name.startswith(_KEPT_PREFIXES))
        and not any(word in name for word in _SECRET)
    }
    return {**kept, "HOME": home, "TMPDIR": home, "CUDA_VISIBLE_DEVICES": ""}


class Process(Protocol):
    """The launcher's process, which is outside what it sets up."""

    @property
    def pid(self) -> int:
        """Its number."""

    def send_signal(self, number: int) -> None:
        """Sends a signal; nothing where it has ended."""

    def ended_within(self, seconds: float) -> bool:
        """Waits for its end."""


Spawn = Callable[[dict[str, Any], tuple[int, int], dict[str, str]], Process]
"""Starts the launcher with a plan, on file descriptors for output and errors, and an environment;
the plan's ``reports`` is a descriptor that it gets too."""


@dataclass(frozen=True)
class _Launched:
    """A launcher that is a child of this process."""

    popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.popen.pid

    def send_signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended_within(self, seconds: float) -> bool:
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def _launch(plan: dict[str, Any], outputs: tuple[int, int], environment: dict[str, str]) -> Process:
    popen = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps({**plan, "parent": os.getpid()})],
        stdin=subprocess.DEVNULL,
        stdout=outputs[0],
        stderr=outputs[1],
        pass_fds=(plan["reports"],),
        env=environment,
        start_new_session=True,
    )
    return _Launched(popen)


@dataclass
class _Child:
    """The launcher, and what it has told so far.

    Attributes:
        process: Its process.
        reports: Closes when the launcher and the first process of the sandbox have ended.
        told: ``protections``, ``failed`` and ``status``, as far as they have come.
        peak_bytes: The most memory that was seen below it.
    """

    process: Process
    reports: int
    told: dict[str, Any] = field(default_factory=dict)
    pending: bytes = b""
    peak_bytes: int = 0

    def read(self, seconds: float) -> bool:
        """Takes in what the launcher says within this time; False once it has ended."""
        ready, _, _ = select.select([self.reports], [], [], seconds)
        if not ready:
            return True
        block = os.read(self.reports, 1 << 16)
        *lines, self.pending = (self.pending + block).split(b"\n")
        for line in lines:
            self.told.update(json.loads(line))
        return bool(block)


def _tried(layers: Sequence[str]) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="smconvert-") as name:
        folder = Path(name)
        log = folder / "log"
        with log.open("wb") as out, _scratch(folder) as scratch:
            outputs = out.fileno(), out.fileno()
            child = _start(_launch, ("true",), folder, scratch, Limits(), (), layers, outputs)
            try:
                _watch(child, Limits(wall_seconds=30), folder, (), None)
            finally:
                _end(child)
    if child.told.get("failed") or child.told.get("status") != 0:
        raise RuntimeFailure(f"the sandbox cannot be set up: {child.told.get('failed')}")
    watched = (
        ("the memory, CPU time and number of its processes are watched",) if usage.KNOWN else ()
    )
    return (*child.told["protections"], *watched)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A place for temporary files that counts as the folder's, and is gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _start(
    spawn: Spawn,
    command: Sequence[str],
    folder: Path,
    scratch: Path,
    limits: Limits,
    readable: Sequence[Path],
    layers: Sequence[str],
    outputs: tuple[int, int],
) -> _Child:
    reports, theirs = os.pipe()
    plan = {
        "command": [os.fspath(part) for part in command],
        "folder": os.path.realpath(folder),
        "scratch": os.path.realpath(scratch),
        "readable": [
            [os.path.abspath(path), os.path.realpath(path)]
            for path in (*_code(), *map(os.fspath, readable))
        ],
        "limits": {
            "cpu": limits.cpu_seconds,
            "file": limits.file_bytes,
            # Address space that is never touched costs nothing, and TensorFlow's threads have much;
            # what is touched is watched. This stops a bomb between two looks.
            "data": limits.memory_bytes and 2 * limits.memory_bytes,
            # Outside of a user namespace the user's other processes would count too.
            "tasks": _TASKS if "namespaces" in layers else None,
        },
        "layers": list(layers),
        "reports": theirs,
    }
    home = "/tmp" if "namespaces" in layers else str(scratch)
    try:
        return _Child(spawn(plan, outputs, environment(home)), reports)
    except BaseException:
        os.close(reports)
        raise
    finally:
        os.close(theirs)


def _code() -> Iterator[str]:
    """Where this process's Python and its packages lie.

    The folder that a script or ``-m`` puts first is left out: it may be anybody's home.
    """
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    ours = str(Path(__file__).parents[2])
    installed = [p for p in sys.path[1:] if p and os.path.realpath(p) != os.getcwd()]
    for path in (sys.prefix, sys.base_prefix, ours, *named, *installed):
        if path and os.path.exists(path) and os.path.realpath(path) != "/":
            yield path


def _watch(
    child: _Child,
    limits: Limits,
    folder: Path,
    logs: Sequence[Path],
    cancelled: threading.Event | None,
) -> Exceeded | None:
    """Waits for the end, or for the first limit that is exceeded."""
    start = looked = time.monotonic()
    while child.read(_POLL):
        now = time.monotonic()
        if cancelled is not None and cancelled.is_set():
            return "cancelled"
        if limits.wall_seconds is not None and now - start > limits.wall_seconds:
            return "time"
        used = usage.below(child.process.pid)
        child.peak_bytes = max(child.peak_bytes, used.memory_bytes)
        if limits.memory_bytes is not None and used.memory_bytes > limits.memory_bytes:
            return "memory"
        if limits.cpu_seconds is not None and used.cpu_seconds > limits.cpu_seconds:
            return "cpu"
        if used.tasks > _TASKS:
            return "tasks"
        if limits.folder_bytes is not None and now - looked > _FOLDER_POLL:
            if usage.size((folder, *logs)) > limits.folder_bytes:
                return "file"
            looked = time.monotonic()
    return None


def _end(child: _Child) -> None:
    """Ends what still runs; the launcher itself ends after all that is below it."""
    child.process.send_signal(signal.SIGTERM)
    if not child.process.ended_within(10):
        child.process.send_signal(signal.SIGKILL)
        child.process.ended_within(10)
    while child.read(1):
        pass
    os.close(child.reports)


def _ending(
    child: _Child, exceeded: Exceeded | None, limits: Limits, places: Sequence[Path]
) -> Ending:
    status = child.told.get("status")
    number = int(signal.SIGKILL) if status is None else -status if status < 0 else None
    if number == signal.SIGXCPU:
        exceeded = exceeded or "cpu"
    full = (
        limits.file_bytes is not None and status != 0 and usage.largest(places) >= limits.file_bytes
    )
    if number == signal.SIGXFSZ or full:
        exceeded = exceeded or "file"
    return Ending(None if number else status, number, exceeded, child.peak_bytes)
