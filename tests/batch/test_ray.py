"""A batch on a Ray cluster of several nodes on this machine, of which one is lost under way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.batch import kills, tiny

from smconvert.batch import journal, manifest, run
from smconvert.batch.journal import State
from smconvert.batch.local import Capacity
from smconvert.batch.plan import plan
from smconvert.batch.ray_engine import RayEngine
from smconvert.batch.run import Event
from smconvert.errors import Unavailable

pytest.importorskip("ray", reason="Ray is not installed (smconvert[ray])")

from ray.cluster_utils import Cluster

MB = 1 << 20
CAPACITY = Capacity(1, 8 << 30, 600)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    import ray

    found = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100 * MB},
    )
    for _ in range(2):
        found.add_node(num_cpus=1, memory=4 << 30, object_store_memory=100 * MB)
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


def batch(folder: Path, into: str, state: Path, tell: Any = lambda event: None) -> run.Summary:
    jobs = plan(manifest.read(str(folder), {"to": "onnx"}))
    return run.run(jobs, into, state, RayEngine(into, CAPACITY), tell=tell)


@pytest.mark.slow
def test_a_lost_nodes_work_goes_elsewhere(tmp_path: Path, cluster: Cluster) -> None:
    tiny.write(tmp_path / "models", 8)
    left_alone = kills.run(tmp_path / "models", tmp_path / "local", kills=0, seed=0)
    lost = threading.Event()

    def tell(event: Event) -> None:
        if event.kind == "ended" and not lost.is_set():
            lost.set()
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    into = tmp_path / "ray"
    summary = batch(tmp_path / "models", str(into), into / kills.STATE, tell)
    assert lost.is_set()
    assert summary.counts == {"passed": 8}
    assert dict(kills.digests(into)) == left_alone.results
    with journal.opened(into / kills.STATE) as book:
        done = [name for name, _, state in book.history() if state is State.DONE]
    assert len(done) == len(set(done)) == 8


@pytest.mark.slow
def test_results_for_a_url_are_written_by_the_nodes(tmp_path: Path, cluster: Cluster) -> None:
    tiny.write(tmp_path / "models", 2)
    into = f"file://{tmp_path / 'out'}"
    summary = batch(tmp_path / "models", into, tmp_path / "state")
    assert summary.counts == {"passed": 2}
    assert len(list((tmp_path / "out").rglob("*.onnx"))) == 2
    # A driver that died before it heard of them finds them done.
    with journal.opened(tmp_path / "state") as book:
        for entry in book.entries():
            book._set(entry.job.name, State.RUNNING)
    events: list[Event] = []
    batch(tmp_path / "models", into, tmp_path / "state", events.append)
    assert [event.kind for event in events] == ["ended", "ended", "planned"]


def test_no_cluster(tmp_path: Path) -> None:
    tiny.write(tmp_path / "models", 1)
    engine = RayEngine(str(tmp_path), CAPACITY, "127.0.0.1:1")
    jobs = plan(manifest.read(str(tmp_path / "models"), {"to": "onnx"}))
    with pytest.raises(Unavailable, match="there is no Ray cluster at 127") as raised:
        run.run(jobs, str(tmp_path / "out"), tmp_path / "state", engine)
    assert "ray start --head" in str(raised.value)
