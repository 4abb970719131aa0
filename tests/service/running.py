"""Servers as operators start them: processes, on free ports, with real workers."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import psutil

from case import DATA

IRIS = DATA / "tf1" / "iris_raw" / "export"


class Server:
    """``smconvert serve`` in a folder; started anew in the same folder and on the same port."""

    def __init__(self, folder: Path, *flags: str, workers: int = 1) -> None:
        self.folder = folder
        self.port = 0
        self.popen: subprocess.Popen[str] | None = None
        self._flags = [*flags, "--workers", str(workers)]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("a") as log:
            before = log.tell()
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "smconvert.cli.main", "serve", *self._flags,
                 "--folder", str(self.folder / "state"), "--port", str(self.port)],
                stderr=log, stdout=log, text=True, start_new_session=True,
            )  # fmt: skip
        for _ in range(600):
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.log[before:])
            if found:
                self.port = int(found[1])
                break
            assert self.popen.poll() is None, self.log
            time.sleep(0.1)
        for _ in range(300):
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(self.log)

    def end(self) -> None:
        """As an operator ends it."""
        assert self.popen is not None
        self.popen.terminate()
        self.popen.wait(60)

    def kill(self) -> None:
        """As the system kills it: without a word, and nothing but it."""
        assert self.popen is not None
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def workers(self) -> list[psutil.Process]:
        assert self.popen is not None
        found = psutil.Process(self.popen.pid).children()
        return [p for p in found if "smconvert.service.worker" in " ".join(p.cmdline())]


def packed(source: Path = IRIS) -> bytes:
    """A folder as a client packs it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(source, source.name)
    return buffer.getvalue()


def upload(http: httpx.Client, content: bytes, name: str = "iris.tar.gz") -> str:
    """Announces a file and sends it whole."""
    answer = http.post("/v1/uploads", json={"name": name, "size": len(content)})
    assert answer.status_code == 201, answer.text
    identifier = answer.json()["id"]
    sent = http.patch(f"/v1/uploads/{identifier}", content=content, headers={"Upload-Offset": "0"})
    assert sent.json()["complete"], sent.text
    return str(identifier)


def endless(http: httpx.Client) -> dict[str, Any]:
    """A conversion whose check goes round a loop for hours: it is under way until it is ended."""
    data = io.BytesIO()
    np.savez(data, x=np.zeros((1, 2), np.float32), n=np.int32(2**31 - 1))
    return {
        "upload": upload(http, (DATA / "tf1" / "while_loop" / "graph.pb").read_bytes(), "loop.pb"),
        "target": "graphdef",
        "source_options": {"inputs": {"x": "x", "n": "n"}, "outputs": {"y": "y"}},
        "check_options": {"data": upload(http, data.getvalue(), "data.npz")},
    }


def ask(http: httpx.Client, wanted: dict[str, Any]) -> str:
    """Asks for a job; returns its id."""
    answer = http.post("/v1/jobs", json=wanted)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def wait(http: httpx.Client, job: str, seconds: float = 300) -> dict[str, Any]:
    """The job when it has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = http.get(f"/v1/jobs/{job}").json()
        if found["ended"]:
            return dict(found)
        time.sleep(0.2)
    raise AssertionError(f"the job did not end: {found}")


def wait_for_step(http: httpx.Client, job: str, step: str, seconds: float = 120) -> None:
    """Until a job is at a step."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = http.get(f"/v1/jobs/{job}").json()
        if found["step"] == step:
            return
        assert not found["ended"], found
        time.sleep(0.05)
    raise AssertionError(f"never at {step!r}: {found}")


def running(pid: int) -> bool:
    """Whether a process runs; one that only waits to be noticed has ended."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
