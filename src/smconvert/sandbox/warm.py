"""Sandboxes that start with the imports done: a process that has imported forks each of them.

Importing TensorFlow is most of what a conversion of a small model costs. So a server process
imports it once, and forks a launcher for each call; the launcher sets up the sandbox as for a
command, and calls a function where it would have started one.

It is safe to fork because the server has done nothing but import: it has one thread, which is
ensured before the first fork, it has run no TensorFlow and read no model, and it is started with
the environment that sandboxes get. What its children share that separate processes would not is the
layout of their address space.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from smconvert.errors import RuntimeFailure
from smconvert.sandbox import Ending, Limits, Process, _run, environment, launcher

_START_SECONDS = 120.0
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Libraries of arrays start threads when they are imported. TensorFlow and ONNX Runtime, which do
the work, have their own way."""


class Warm:
    """A server for sandboxed calls; a context manager, for use from several threads.

    Args:
        modules: What it imports.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = tuple(modules)
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def start(self) -> None:
        """Starts the server now and waits until it has imported; else the first call does.

        Raises:
            RuntimeFailure: it cannot be started, or would have several threads.
        """
        with self._lock:
            try:
                self._socket = self._socket or self._start()
            except OSError as error:
                self._stop()
                raise RuntimeFailure(f"the warm process cannot be started: {error}") from error

    def run(
        self,
        function: str,
        argument: str,
        folder: Path,
        limits: Limits,
        *,
        stdout: Path,
        stderr: Path,
        readable: Sequence[Path] = (),
        cancelled: threading.Event | None = None,
        layers: Sequence[str] | None = None,
    ) -> Ending:
        """As :func:`smconvert.sandbox.run`, for ``module:function`` with one text as argument.

        What the function returns is the exit code, None for 0.

        Raises:
            RuntimeFailure: the server or the sandbox could not be set up.
        """
        return _run(
            self._spawn,
            (function, argument),
            folder,
            limits,
            stdout,
            stderr,
            readable,
            cancelled,
            layers,
        )

    def _spawn(
        self, plan: dict[str, Any], outputs: tuple[int, int], environment: dict[str, str]
    ) -> Process:
        request = json.dumps({"plan": plan, "environment": environment}).encode()
        with self._lock:
            for last in (False, True):
                try:
                    return self._ask(request, (*outputs, plan["reports"]))
                except OSError as error:
                    self._stop()
                    if last:
                        raise RuntimeFailure(f"the warm process ended: {error}") from error
        raise AssertionError

    def _ask(self, request: bytes, descriptors: Sequence[int]) -> Process:
        if self._socket is None:
            self._socket = self._start()
        socket.send_fds(self._socket, [len(request).to_bytes(4, "big")], descriptors)
        self._socket.sendall(request)
        answer, handles, _, _ = socket.recv_fds(self._socket, 64, 1)
        if not answer:
            raise OSError("it closed its socket")
        return _Forked(int(answer), handles[0])

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "smconvert.sandbox.warm",
                    str(theirs.fileno()),
                    *self._modules,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={
                    **environment(tempfile.gettempdir()),
                    **_ONE_THREAD,
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                },
                start_new_session=True,
            )
        ours.settimeout(_START_SECONDS)
        if ours.recv(64) != b"ready":
            ours.close()
            raise OSError("it could not import, or has several threads")
        return ours

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None


@dataclass(frozen=True)
class _Forked:
    """A launcher that is a child of the server; a handle holds it, as its number may be reused."""

    pid: int
    handle: int

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)

    def ended_within(self, seconds: float) -> bool:
        return bool(select.select([self.handle], [], [], seconds)[0])

    def __del__(self) -> None:
        os.close(self.handle)


def serve(descriptor: int, modules: Sequence[str]) -> None:
    """Imports, then forks a launcher for each request until the other end closes."""
    for name in modules:
        importlib.import_module(name)
    launcher.end_with_parent()
    with socket.socket(fileno=descriptor) as requests:
        if _threads() != 1:
            return
        requests.sendall(b"ready")
        signal.signal(signal.SIGCHLD, _reap)
        while True:
            head, descriptors, _, _ = socket.recv_fds(requests, 4, 3)
            if not head:
                return
            request = json.loads(_exactly(requests, int.from_bytes(head, "big")))
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            pid = os.fork()
            if pid == 0:
                _become(requests, request, descriptors)
            handle = os.pidfd_open(pid)
            socket.send_fds(requests, [str(pid).encode()], [handle])
            for number in (handle, *descriptors):
                os.close(number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _become(requests: socket.socket, request: Any, descriptors: Sequence[int]) -> NoReturn:
    """The fork: a launcher, on its own descriptors and with its own environment."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        requests.close()
        os.setsid()
        stdout, stderr, reports = descriptors
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.close(stdout)
        os.close(stderr)
        os.environ.update(request["environment"])
        tempfile.tempdir = None
        plan = {**request["plan"], "reports": reports, "parent": os.getppid()}
        function, argument = plan["command"]
        module, _, name = function.partition(":")

        def program() -> int:
            return int(getattr(importlib.import_module(module), name)(argument) or 0)

        launcher.main(plan, program)
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _reap(number: int, frame: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _exactly(stream: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        block = stream.recv(count - len(found))
        if not block:
            raise EOFError
        found += block
    return found


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
