"""``smconvert batch`` as a user meets it: words, files, exit codes, and going on where it ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from case import DATA
from smconvert.batch import journal, manifest, run
from smconvert.batch.journal import State
from smconvert.batch.local import Capacity, LocalEngine
from smconvert.batch.plan import plan

TF1 = DATA / "tf1"


def smconvert(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "smconvert.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def done(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a batch that came to its end, with what it printed as lines of JSON."""
    into = tmp_path_factory.mktemp("batch") / "converted"
    ran = smconvert("batch", models, "--into", into, "--to", "onnx", "--json")
    assert ran.returncode == 4, ran.stderr
    (into / "events").write_text(ran.stdout)
    return into


def test_every_model_is_found_and_what_can_be_is_converted(done: Path) -> None:
    results = sorted(str(path.relative_to(done)) for path in done.rglob("*.onnx"))
    assert results == ["deep/down/model.onnx", "frozen_mlp/graph.onnx", "unknown_rank/graph.onnx"]


def test_lines_of_json_tell_all(done: Path) -> None:
    events = [json.loads(line) for line in (done / "events").read_text().splitlines()]
    assert events[0] == {"event": "planned", "total": 5, "ended": 0}
    ended = {e["name"]: e for e in events if e["event"] == "ended"}
    assert {name: e["state"] for name, e in ended.items()} == {
        "broken.onnx": "failed",
        "deep/down/model.onnx": "passed",
        "frozen_mlp/graph.onnx": "passed",
        "py_func/model.onnx": "failed",
        "unknown_rank/graph.onnx": "passed",
    }
    assert ended["py_func/model.onnx"]["error"]["code"] == "conversion"
    assert ended["frozen_mlp/graph.onnx"]["sha256"]
    summary = events[-1]
    assert summary["counts"] == {"passed": 3, "failed": 2}
    assert {(c["code"], c["count"]) for c in summary["causes"]} == {
        ("conversion", 1),
        ("source", 1),
    }


def test_the_page_has_all_and_needs_nothing(done: Path) -> None:
    page = (done / "batch.html").read_text()
    assert "3 passed, 2 failed" in page
    assert "Failures by cause" in page
    assert "calls a Python function" in page
    assert "<script" not in page
    assert "http" not in page


def test_nothing_is_done_twice(done: Path, models: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.onnx")}
    again = smconvert("batch", models, "--into", done, "--to", "onnx")
    assert again.returncode == 4
    assert "5 models: 3 passed, 2 failed" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*.onnx")} == before
    assert list((done / ".smconvert-batch").glob("work/*")) == []
    with journal.opened(done / ".smconvert-batch") as book:
        starts = [name for name, _, state in book.history() if state is State.RUNNING]
    assert len(starts) == len(set(starts)) == 5


def test_from_a_bucket_to_a_bucket(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(TF1 / "savedmodel_builder_ref" / "model"), "/in/ref", recursive=True)
    jobs = plan(manifest.read("memory://in", {"to": "onnx"}))
    engine = LocalEngine(Capacity(1, 8 << 30, 300))
    summary = run.run(jobs, "memory://out/here", tmp_path, engine)
    assert summary.counts == {"passed": 1}, summary.causes
    assert memory.ls("/out/here", detail=False) == ["/out/here/ref.onnx"]
    result = memory.cat_file("/out/here/ref.onnx")
    assert b"source/ref" in result
    assert str(tmp_path).encode() not in result
    memory.rm("/in", recursive=True)
    memory.rm("/out", recursive=True)


def test_what_is_there_already_is_not_touched(models: Path, tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_text("mine")
    done = smconvert("batch", models / "frozen_mlp", "--into", tmp_path, "--to", "onnx")
    assert done.returncode == 4
    assert "graph.onnx exists already" in done.stdout
    assert (tmp_path / "graph.onnx").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere", "--into", "o", "--to", "onnx"), 3, "no model is there"),
        ((".", "--to", "onnx"), 2, "it is not said where the results go"),
        (("model.pb", "--into", "o"), 2, "it is not said what to convert to"),
        (("model.pb", "--into", "o", "--to", "tflite"), 2, "'tflite' is not an installed format"),
        (("model.pb", "--into", "o", "--to", "onnx", "--memory", "much"), 2, "'much' is no size"),
        (("model.pb", "--into", "o", "--to", "onnx", "--engine", "x"), 2, "'x' is no engine"),
        (("zz://b/m", "--into", "o", "--to", "onnx"), 2, "no file system for this URL"),
    ],
)
def test_errors_are_for_the_person(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path
) -> None:
    (tmp_path / "model.pb").write_bytes(b"")
    done = smconvert("batch", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_two_at_once_are_refused(done: Path, models: Path) -> None:
    with journal.opened(done / ".smconvert-batch"):
        second = smconvert("batch", models, "--into", done, "--to", "onnx")
    assert second.returncode == 2
    assert "another process works on this batch" in second.stderr


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--memory", "200M", "it needs more memory than 0.2 GB"),
        ("--timeout", "1", "it takes longer than 1 seconds"),
    ],
)
def test_limits_are_a_cause_of_their_own(
    flag: str, value: str, words: str, models: Path, tmp_path: Path
) -> None:
    done = smconvert(
        "batch", models / "frozen_mlp", "--into", tmp_path, "--to", "onnx", "--json", flag, value
    )
    assert done.returncode == 4
    (cause,) = json.loads(done.stdout.splitlines()[-1])["causes"]
    assert cause["code"] == "limit"
    assert cause["message"] == words
    assert cause["hint"] == f"{flag} allows {'a batch ' if flag == '--memory' else ''}more"


def test_paths_may_be_relative(tmp_path: Path) -> None:
    shutil.copytree(TF1 / "iris_raw" / "export", tmp_path / "models" / "iris")
    ran = smconvert("batch", "models", "--into", "converted", "--to", "onnx", cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [p.suffix for p in (tmp_path / "converted").rglob("*.onnx")] == [".onnx"]
