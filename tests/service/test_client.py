"""``sm.Client(url).convert``: what the local API gives, over a service that may be killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema
import pytest
from running import IRIS, Server

import smconvert as sm
from case import DATA
from smconvert.client import Refused
from smconvert.errors import Unavailable
from smconvert.reports.document import SCHEMA

TF1 = DATA / "tf1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("service"), "--open", workers=2) as started:
        yield started


def test_the_result_is_that_of_the_local_api(server: Server, tmp_path: Path) -> None:
    local = sm.convert(IRIS, tmp_path / "local.onnx")
    steps: list[str] = []
    with sm.Client(server.url) as client:
        remote = client.convert(IRIS, tmp_path / "remote.onnx", progress=steps.append)
    assert remote.parity is not None
    assert local.parity is not None
    assert remote.parity.to_json() == local.parity.to_json()
    assert remote.exit_code == 0
    assert remote.source == local.source
    assert remote.artifact.path == tmp_path / "remote.onnx"
    assert remote.changes == local.changes
    assert steps[:2] == ["packing", "uploading"]
    assert "comparing with the source" in steps
    assert sorted(p.name for p in tmp_path.iterdir()) == ["local.onnx", "remote.onnx"]
    assert sm.inspect(tmp_path / "remote.onnx").signatures == (
        sm.inspect(tmp_path / "local.onnx").signatures
    )


@pytest.mark.slow
def test_graph_and_checkpoint_travel_together(server: Server, tmp_path: Path) -> None:
    case = TF1 / "graphdef_checkpoint"
    graph = next(p for p in case.iterdir() if p.suffix in {".pb", ".pbtxt"})
    index = next(case.rglob("*.index"))
    with sm.Client(server.url) as client:
        done = client.convert(
            graph,
            tmp_path / "served",
            source_options=sm.SourceOptions(
                checkpoint=str(index.with_suffix("")), inputs={"x": "x:0"}, outputs={"y": "y:0"}
            ),
            target_options=sm.TargetOptions(version=3),
        )
    assert done.artifact.path == tmp_path / "served" / "3"
    assert (tmp_path / "served" / "3" / "saved_model.pb").exists()
    assert done.parity is not None
    assert done.parity.verdict is sm.Verdict.PASSED


def test_errors_are_those_of_the_local_api(server: Server, tmp_path: Path) -> None:
    def words(convert: object) -> tuple[type, str]:
        with pytest.raises(sm.SmconvertError) as raised:
            convert(TF1 / "py_func" / "model", tmp_path / "o.pb")  # type: ignore[operator]
        return type(raised.value), raised.value.message

    with sm.Client(server.url) as client:
        assert words(client.convert) == words(sm.convert)
        with pytest.raises(sm.SourceError, match="is not a model of any format known here"):
            client.convert(DATA / "nowhere", tmp_path / "o.pb")
        with pytest.raises(sm.UsageError, match="a service takes no factory"):
            client.convert(
                IRIS, tmp_path / "o.pb", source_options=sm.SourceOptions(factory="a.b:c")
            )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_result_that_differs_is_not_handed_over(server: Server, tmp_path: Path) -> None:
    exact = sm.CheckOptions(rtol=0, atol=0)
    with sm.Client(server.url) as client, pytest.raises(sm.ParityError) as raised:
        client.convert(IRIS, tmp_path / "o.onnx", check_options=exact)
    assert "the result does not compute what the source computes" in raised.value.message
    assert list(tmp_path.iterdir()) == []
    (job,) = httpx.get(f"{server.url}/v1/jobs", params={"limit": 1}).json()["jobs"]
    assert (job["state"], job["exit_code"], job["error"]["code"]) == ("failed", 5, "parity")
    report = httpx.get(f"{server.url}/v1/jobs/{job['id']}/report", params={"format": "json"})
    assert report.json()["verdict"] == "failed"
    jsonschema.validate(report.json(), json.loads(SCHEMA.read_text()))


@pytest.mark.slow
def test_a_client_outlives_its_server(tmp_path: Path) -> None:
    with Server(tmp_path / "service", "--open") as server:
        found: list[sm.Conversion] = []
        at_work = threading.Event()

        def progress(step: str) -> None:
            if step == "starting TensorFlow":
                at_work.set()

        def convert() -> None:
            with sm.Client(server.url) as client:
                found.append(
                    client.convert(IRIS, tmp_path / "o.pb", checked=False, progress=progress)
                )

        thread = threading.Thread(target=convert)
        thread.start()
        assert at_work.wait(60)
        server.kill()
        server.start()
        thread.join(120)
    assert [c.artifact.path.name for c in found] == ["o.pb"]
    assert (tmp_path / "o.pb").exists()


def test_who_is_not_let_in_is_told_why(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the service does not answer"):
        sm.Client("http://127.0.0.1:1", patience=0.5).convert(IRIS, tmp_path / "o.pb")
    assert issubclass(Refused, sm.SmconvertError)
