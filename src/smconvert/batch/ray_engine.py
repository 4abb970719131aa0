"""Conversions on an existing Ray cluster: the same plan, the same sandbox, the same results.

Ray places each job by its estimate of memory and one core, and gives the work of a lost node to
others. smconvert is installed on every node; models are read by their URLs, or by their paths where
all nodes share a file system. A result for a URL is written there by the node that has it, any
other comes back through Ray's object store.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import posixpath
import socket
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from smconvert.batch import discovery, work
from smconvert.batch.conversion import IMPORTS, RESULT, failure
from smconvert.batch.discovery import is_local
from smconvert.batch.engine import Outcome
from smconvert.batch.local import Capacity
from smconvert.batch.plan import Job
from smconvert.errors import RuntimeFailure, Unavailable, UsageError
from smconvert.sandbox import Limits
from smconvert.sandbox.warm import Warm

RETRIES = 3
"""How often a job may lose its node or process."""

_AHEAD = 2
_SPARE = 2
_CONNECT_SECONDS = 10
_DONE = ".smconvert-batch"
"""Folder below the URL of the results where a node says that one of them is whole."""


@dataclass
class RayEngine:
    """Runs jobs as Ray tasks.

    Attributes:
        into: Where the results go.
        capacity: Limits for each job; its number and memory of jobs are the cluster's own.
        address: Of the cluster; by default what ``RAY_ADDRESS`` says, or the one on this machine.
        cancelled: Ends all.
    """

    into: str
    capacity: Capacity
    address: str = "auto"
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(
        self,
        jobs: Sequence[Job],
        begin: Callable[[Job], Path],
        end: Callable[[Job, Outcome | None], None],
    ) -> None:
        """See :class:`smconvert.batch.engine.Engine`.

        Raises:
            UsageError: Ray is not installed.
            Unavailable: there is no cluster.
        """
        if not jobs:
            return
        ray = _connected(self.address)
        task = ray.remote(max_retries=RETRIES, retry_exceptions=False)(convert)
        waiting = list(jobs)
        running: dict[Any, tuple[Job, Path]] = {}
        try:
            while (waiting or running) and not self.cancelled.is_set():
                cores = int(ray.cluster_resources().get("CPU", 1))
                while waiting and len(running) < _AHEAD * cores:
                    job = waiting.pop(0)
                    folder = begin(job)
                    memory = min(job.memory, _largest_node(ray))
                    limits = self.capacity.limits(min(_SPARE * job.memory, _largest_node(ray)))
                    placed = task.options(num_cpus=1, memory=memory, name=job.name)
                    arguments = job.to_json(), asdict(limits), self._target(folder)
                    running[placed.remote(*arguments)] = job, folder
                for reference in ray.wait(list(running), timeout=1)[0]:
                    job, folder = running.pop(reference)
                    end(job, self._received(ray, reference, folder))
        finally:
            for reference in running:
                with contextlib.suppress(Exception):
                    ray.cancel(reference, force=True)

    def left(self, job: Job, folder: Path) -> Outcome | None:
        """See :class:`smconvert.batch.engine.Engine`."""
        if is_local(self.into):
            return work.finished(job, folder)
        system, path = discovery.opened(posixpath.join(self.into, _DONE, f"{folder.name}.json"))
        try:
            with system.open(path, "rb") as stream:
                found: Outcome = json.load(stream)
        except FileNotFoundError:
            return None
        return found

    def cancel(self) -> None:
        """See :class:`smconvert.batch.engine.Engine`."""
        self.cancelled.set()

    def _target(self, folder: Path) -> tuple[str, str] | None:
        """Where a node writes the result, and says that it has; None where it sends it back."""
        if is_local(self.into):
            return None
        return self.into, posixpath.join(self.into, _DONE, f"{folder.name}.json")

    def _received(self, ray: Any, reference: Any, folder: Path) -> Outcome:
        try:
            outcome, packed = ray.get(reference)
        except ray.exceptions.RayError as error:
            lost = failure(
                RuntimeFailure(
                    f"its process or node was lost {RETRIES + 1} times",
                    where=" ".join(str(error).split())[:300],
                    hint="the cluster's logs say why; --retry-failed tries again",
                )
            )
            lost["error"]["code"] = "lost"
            return lost
        if packed is not None:
            inside = folder / "job" / RESULT
            inside.mkdir(parents=True)
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(inside, filter="data")
        found: Outcome = outcome
        return found


def convert(
    job: Mapping[str, Any], limits: Mapping[str, Any], target: tuple[str, str] | None
) -> tuple[dict[str, Any], bytes | None]:
    """One job on a node: its outcome, and its result where that is not written to a URL."""
    with tempfile.TemporaryDirectory(prefix="smconvert-batch-") as name:
        folder = Path(name) / "attempt"
        launch = _launch()
        outcome = work.attempt(Job.from_json(job), folder, Limits(**limits), launch)
        assert outcome is not None  # nothing cancels it but the end of its process
        if outcome["error"] is not None:
            return outcome, None
        if target is None:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as archive:
                for top in sorted((folder / "job" / RESULT).iterdir()):
                    archive.add(top, top.name)
            return outcome, packed.getvalue()
        into, done = target
        work.publish(outcome, folder, into, replace=True)
        outcome["published"] = True
        system, path = discovery.opened(done)
        system.makedirs(posixpath.dirname(path), exist_ok=True)
        system.pipe_file(path, json.dumps(outcome).encode())
        return outcome, None


@functools.cache
def _launch() -> work.Launch:
    """How this process of Ray starts conversions, for as long as it lives."""
    server = Warm(IMPORTS)
    try:
        server.start()
    except RuntimeFailure:
        return work.Launcher(threading.Event())
    return work.WarmLauncher(server, threading.Event())


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--engine ray needs Ray", where="--engine", hint="pip install 'smconvert[ray]'"
        ) from error
    if not ray.is_initialized():
        try:
            _ensure_listening(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except OSError as error:
            raise Unavailable(
                f"there is no Ray cluster at {address}",
                where="--ray-address",
                hint="`ray start --head` starts one on this machine",
            ) from error
    return ray


def _ensure_listening(address: str) -> None:
    """Raises OSError at once where Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()


def _largest_node(ray: Any) -> int:
    """Bytes of memory that the largest living node lends."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return int(max((node.get("memory", 0) for node in nodes), default=0))
