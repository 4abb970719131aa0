"""Killed workers and servers: no accepted job is lost, none that was finished is repeated."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from running import Server, ask, endless, packed, running, upload, wait, wait_for_step

UNCHECKED = {"target": "graphdef", "check_options": {"checked": False}}
"""A conversion that is short; what is tested is who does it."""


UNDER_WAY = "comparing with the source"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, "--open", "--json-log", workers=1) as started:
        yield started


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def wait_for_attempt(http: httpx.Client, job: str, attempt: int) -> None:
    """Until a worker has begun a job so many times."""
    while http.get(f"/v1/jobs/{job}").json()["attempt"] < attempt:
        time.sleep(0.02)


def begun(server: Server, job: str) -> int:
    """How often a worker began a job."""
    return sum(job in line and '"begun"' in line for line in server.log.splitlines())


@pytest.mark.slow
def test_the_job_of_a_killed_worker_is_done_by_another(server: Server, http: httpx.Client) -> None:
    job = ask(http, endless(http))
    wait_for_step(http, job, UNDER_WAY)
    (worker,) = server.workers()
    below = worker.children(recursive=True)
    assert below
    worker.send_signal(signal.SIGKILL)
    wait_for_attempt(http, job, 2)
    wait_for_step(http, job, UNDER_WAY)
    assert not any(running(process.pid) for process in below)
    assert "smconvert_worker_restarts_total 1.0" in http.get("/metrics").text
    http.post(f"/v1/jobs/{job}/cancel")
    assert wait(http, job)["state"] == "cancelled"


def test_a_killed_server_loses_no_job_and_repeats_none(server: Server, http: httpx.Client) -> None:
    model = upload(http, packed())
    done = ask(http, {"upload": model, **UNCHECKED})
    assert wait(http, done)["state"] == "done"
    under_way = ask(http, endless(http))
    waits = ask(http, {"upload": model, **UNCHECKED})
    half = http.post("/v1/uploads", json={"name": "m.pb", "size": 6}).json()["id"]
    http.patch(f"/v1/uploads/{half}", content=b"abc", headers={"Upload-Offset": "0"})
    wait_for_step(http, under_way, UNDER_WAY)
    (worker,) = server.workers()
    all_of_them = [worker, *worker.children(recursive=True)]
    server.kill()
    _, alive = psutil.wait_procs(all_of_them, timeout=30)
    assert not alive, "the workers of a dead server go on"
    server.start()
    assert http.get(f"/v1/uploads/{half}").json()["offset"] == 3
    wait_for_step(http, under_way, UNDER_WAY)
    while begun(server, under_way) < 2:
        time.sleep(0.1)
    http.post(f"/v1/jobs/{under_way}/cancel")
    assert wait(http, under_way)["state"] == "cancelled"
    assert wait(http, waits)["state"] == "done"
    assert http.get(f"/v1/jobs/{done}/result").status_code == 200
    assert begun(server, done) == begun(server, waits) == 1
    assert begun(server, under_way) == 2
    assert http.get("/v1/jobs", params={"state": "done"}).json()["next"] is None
    assert 'smconvert_jobs_ended_total{state="done"} 2.0' in http.get("/metrics").text


@pytest.mark.slow
def test_work_that_was_done_is_not_done_again(server: Server, http: httpx.Client) -> None:
    """The worker dies after the conversion has ended, and before that is recorded."""
    job = ask(http, {"upload": upload(http, packed()), **UNCHECKED})
    outcome = server.folder / "state" / "work" / job / "1" / "inside" / "outcome.json"
    (worker,) = server.workers()
    while not outcome.exists():
        time.sleep(0.001)
    worker.send_signal(signal.SIGKILL)
    found = wait(http, job)
    assert found["state"] == "done"
    if found["attempt"] == 2:
        assert "the work was done already" in server.log
    assert http.get(f"/v1/jobs/{job}/result").status_code == 200
    assert not (server.folder / "state" / "work" / job).exists()


@pytest.mark.slow
def test_a_job_that_kills_its_workers_is_given_up(server: Server, http: httpx.Client) -> None:
    job = ask(http, endless(http))
    for attempt in (1, 2, 3):
        wait_for_attempt(http, job, attempt)
        (worker,) = server.workers()
        worker.send_signal(signal.SIGKILL)
    found = wait(http, job)
    assert found["state"] == "failed"
    assert found["error"]["code"] == "runtime"
    assert found["error"]["message"] == "the worker died under this job 3 times"


def test_a_job_is_cancelled_while_it_runs(server: Server, http: httpx.Client) -> None:
    job = ask(http, endless(http))
    wait_for_step(http, job, UNDER_WAY)
    start = time.monotonic()
    http.post(f"/v1/jobs/{job}/cancel")
    assert wait(http, job)["state"] == "cancelled"
    assert time.monotonic() - start < 10
    (worker,) = server.workers()
    (warm,) = worker.children()
    assert warm.children() == []


@pytest.mark.slow
def test_a_server_that_is_told_to_end_gives_its_jobs_back(
    server: Server, http: httpx.Client
) -> None:
    job = ask(http, endless(http))
    wait_for_step(http, job, UNDER_WAY)
    server.end()
    assert '"given back"' in server.log
    server.start()
    while begun(server, job) < 2:
        time.sleep(0.1)
    http.post(f"/v1/jobs/{job}/cancel")
    found = wait(http, job)
    assert (found["state"], found["attempt"]) == ("cancelled", 1)
