"""Whatever step a batch is killed at, the next one goes on from there."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from case import DATA
from smconvert.batch import journal, manifest, run, work
from smconvert.batch.conversion import failure
from smconvert.batch.engine import Outcome
from smconvert.batch.journal import State
from smconvert.batch.plan import Job, plan
from smconvert.batch.run import Event
from smconvert.errors import ConversionError, DestinationError
from smconvert.sandbox import Limits

SOURCE = DATA / "tf1" / "savedmodel_builder_ref" / "model"


@dataclass
class Idle:
    """An engine that does nothing but remember what it was asked for."""

    asked: list[str] = field(default_factory=list)

    def run(
        self,
        jobs: Sequence[Job],
        begin: Callable[[Job], Path],
        end: Callable[[Job, Outcome | None], None],
    ) -> None:
        self.asked += [job.name for job in jobs]

    def left(self, job: Job, folder: Path) -> Outcome | None:
        return work.finished(job, folder)

    def cancel(self) -> None:
        pass


@dataclass
class Killed(Exception):
    """Stands where the process would end."""


@pytest.fixture(scope="module")
def jobs() -> tuple[Job, ...]:
    return plan(manifest.read(str(SOURCE), {"to": "onnx"}))


@pytest.fixture(scope="module")
def attempt(jobs: tuple[Job, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an attempt that came to its end."""
    folder = tmp_path_factory.mktemp("attempt") / "1"
    outcome = work.attempt(jobs[0], folder, Limits(), work.Launcher(threading.Event()))
    assert outcome is not None
    assert outcome["verdict"] == "passed", outcome
    return folder


@dataclass
class Kill(Idle):
    """An engine in which an attempt ends, and the process is killed at a step."""

    attempt: Path = Path()
    step: str = ""

    def run(
        self,
        jobs: Sequence[Job],
        begin: Callable[[Job], Path],
        end: Callable[[Job, Outcome | None], None],
    ) -> None:
        for job in jobs:
            folder = begin(job)
            if self.step == "started":
                raise Killed
            shutil.copytree(self.attempt, folder)
            if self.step == "half":
                (folder / "job" / "outcome.json").unlink()
                raise Killed
            if self.step == "finished":
                raise Killed
            end(job, work.finished(job, folder))
            raise Killed


@pytest.mark.parametrize(
    ("step", "again"),
    [
        ("started", True),
        ("half", True),
        ("finished", False),
        ("converted", False),
        ("published", False),
        ("done", False),
    ],
)
def test_each_step(
    step: str,
    again: bool,
    jobs: tuple[Job, ...],
    attempt: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    into, state = tmp_path / "into", tmp_path / "into" / "state"
    publish = work.publish

    def killed(*arguments: object, **options: object) -> None:
        if step == "published":
            publish(*arguments, **options)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patch:
        if step in {"converted", "published"}:
            patch.setattr(work, "publish", killed)
        with pytest.raises(Killed):
            run.run(jobs, str(into), state, Kill(attempt=attempt, step=step))
    assert (into / "model.onnx").exists() == (step in {"published", "done"})
    engine, events = Idle(), list[Event]()
    summary = run.run(jobs, str(into), state, engine, tell=events.append)
    assert engine.asked == (["model.onnx"] if again else [])
    if not again:
        assert summary.counts == {"passed": 1}
        assert (into / "model.onnx").exists()
        with journal.opened(state) as book:
            states = [state for _, _, state in book.history()]
        assert states[-1] is State.DONE
    assert not list((state / "work").glob("*")) or again


def test_a_source_that_changed_is_done_again(
    attempt: Path, tmp_path: Path, jobs: tuple[Job, ...]
) -> None:
    model = tmp_path / "source" / "model"
    shutil.copytree(SOURCE, model)
    into = str(tmp_path / "into")
    with pytest.raises(Killed):
        run.run(
            plan(manifest.read(str(model), {"to": "onnx"})), into, tmp_path / "state",
            Kill(attempt=attempt, step="done"),
        )  # fmt: skip
    engine = Idle()
    run.run(plan(manifest.read(str(model), {"to": "onnx"})), into, tmp_path / "state", engine)
    assert engine.asked == []
    (model / "saved_model.pb").touch()
    run.run(plan(manifest.read(str(model), {"to": "onnx"})), into, tmp_path / "state", engine)
    assert engine.asked == ["model.onnx"]


@pytest.mark.parametrize(
    "trick", ["link", "outcome link", "leads out", "elsewhere", "no outcome", "fifo", "huge"]
)
def test_what_a_conversion_leaves_is_not_believed(
    trick: str, attempt: Path, jobs: tuple[Job, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "1"
    shutil.copytree(attempt, folder)
    outcome, result = folder / "job" / "outcome.json", folder / "job" / "result" / "model.onnx"
    if trick == "link":
        result.unlink()
        result.symlink_to("/etc/passwd")
    elif trick == "outcome link":
        outcome.rename(tmp_path / "elsewhere")
        outcome.symlink_to(tmp_path / "elsewhere")
    elif trick == "leads out":
        text = outcome.read_text().replace('"model.onnx"', '"../job.json"')
        outcome.write_text(text)
    elif trick == "elsewhere":
        result.rename(result.with_name("other.onnx"))
        outcome.write_text(outcome.read_text().replace('"model.onnx"', '"other.onnx"'))
    elif trick == "no outcome":
        outcome.write_text('{"error": null, "exit_code": []}')
    elif trick == "fifo":
        outcome.unlink()
        os.mkfifo(outcome)
    else:
        with outcome.open("ab") as stream:
            stream.truncate(100 << 20)
    found = work.finished(jobs[0], folder)
    assert found is not None
    assert found["error"]["code"] == "runtime"


@pytest.mark.parametrize("into", ["into", "file://{}/into"])
def test_what_a_result_refers_to_comes_with_it(into: str, tmp_path: Path) -> None:
    result = tmp_path / "1" / "job" / "result" / "deep"
    result.mkdir(parents=True)
    for name in ("m.onnx", "m.onnx.data"):
        (result / name).write_text(name)
    outcome = {
        "format": "onnx",
        "artifact": "deep/m.onnx",
        "companions": ["deep/m.onnx.data"],
        "error": None,
    }
    target = into.format(tmp_path) if "{" in into else str(tmp_path / into)
    for _ in range(2):
        work.publish(outcome, tmp_path / "1", target, replace=True)
    found = {path.name: path.read_text() for path in (tmp_path / "into" / "deep").iterdir()}
    assert found == {"m.onnx": "m.onnx", "m.onnx.data": "m.onnx.data"}
    if "://" not in target:
        with pytest.raises(DestinationError, match=r"m\.onnx exists already"):
            work.publish(outcome, tmp_path / "1", target, replace=False)


@dataclass
class Fails(Idle):
    """An engine in which everything fails."""

    def run(
        self,
        jobs: Sequence[Job],
        begin: Callable[[Job], Path],
        end: Callable[[Job, Outcome | None], None],
    ) -> None:
        super().run(jobs, begin, end)
        for job in jobs:
            begin(job)
            end(job, failure(ConversionError("it has 3 nodes 'a/b'", hint="none")))


def test_failures_are_tried_again_when_asked(jobs: tuple[Job, ...], tmp_path: Path) -> None:
    engine = Fails()
    for _ in range(2):
        summary = run.run(jobs, str(tmp_path), tmp_path / "state", engine)
        assert summary.exit_code == 4
    assert len(engine.asked) == 1
    run.run(jobs, str(tmp_path), tmp_path / "state", engine, retry_failed=True)
    assert len(engine.asked) == 2


def test_causes_are_counted_whatever_the_names_in_them(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "models" / "a")
    shutil.copytree(SOURCE, tmp_path / "models" / "b")
    found = plan(manifest.read(str(tmp_path / "models"), {"to": "savedmodel"}))
    (cause,) = run.run(found, str(tmp_path), tmp_path / "state", Fails()).causes
    assert (cause.code, cause.names) == ("conversion", ("a", "b"))
    assert cause.message == "it has … nodes …"


def test_other_versions_do_not_stand_in_the_way(tmp_path: Path) -> None:
    (job,) = plan(manifest.read(str(SOURCE), {"to": "savedmodel", "version": 2}))
    (tmp_path / "model" / "1").mkdir(parents=True)
    work.ensure_vacant(job, str(tmp_path))
    (tmp_path / "model" / "2").mkdir(parents=True)
    with pytest.raises(DestinationError, match="2 exists already"):
        work.ensure_vacant(job, str(tmp_path))
