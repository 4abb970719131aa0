"""A batch that is killed again and again ends as one that was left alone, and repeats nothing."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.batch import kills, tiny

from smconvert.batch import journal
from smconvert.batch.journal import State


@pytest.mark.parametrize(
    ("count", "times"), [(4, 1), pytest.param(60, 10, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_killed_at_random(tmp_path: Path, count: int, times: int) -> None:
    tiny.write(tmp_path / "models", count)
    left_alone = kills.run(tmp_path / "models", tmp_path / "a", kills=0, seed=0)
    killed = kills.run(tmp_path / "models", tmp_path / "b", kills=times, seed=1)
    assert len(left_alone.results) == count
    assert killed.results == left_alone.results
    assert set(killed.conversions.values()) == {1}
    assert len(killed.conversions) == count
    assert not [path for path in (tmp_path / "b").rglob("*") if ".smconvert-" in path.name
                and path.name != kills.STATE]  # fmt: skip


def test_interrupted(tmp_path: Path) -> None:
    tiny.write(tmp_path / "models", 3)
    with kills.started(tmp_path / "models", tmp_path / "into", ("--no-warm",)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "started":
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted; the same command goes on from here\n"
    assert not list((tmp_path / "into").rglob("*.onnx"))
    with journal.opened(tmp_path / "into" / kills.STATE) as book:
        assert {entry.state for entry in book.entries()} <= {State.WAITING, State.RUNNING}
