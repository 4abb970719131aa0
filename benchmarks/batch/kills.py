"""A batch that is killed at random moments, beside one that is not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smconvert.batch import journal
from smconvert.batch.journal import State

STATE = ".smconvert-batch"


@dataclass(frozen=True)
class Ran:
    """What a batch left.

    Attributes:
        results: Digest by path of each file below the folder for results.
        conversions: How many results each job was said to have, by job.
        attempts: Attempts that were started, killed ones among them.
        kills: How often it was killed.
        seconds: Wall time of all together.
    """

    results: dict[str, str]
    conversions: dict[str, int]
    attempts: int
    kills: int
    seconds: float


def run(models: Path, into: Path, *, kills: int, seed: int, options: Sequence[str] = ()) -> Ran:
    """Converts all of ``models`` to ONNX, killed ``kills`` times on the way.

    Each kill comes after a random number of further results, at a random moment, and takes the
    process alone: what it had started must end by itself.
    """
    chance = random.Random(seed)
    total = sum(1 for _ in models.rglob("*.pb"))
    start = time.monotonic()
    for _ in range(kills):
        _killed(models, into, chance.randint(0, max(1, total // (kills + 1))), chance, options)
    with started(models, into, options) as process:
        _, errors = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"it ended with {process.returncode}: {errors}")
    with journal.opened(into / STATE) as book:
        history = book.history()
    conversions = Counter(name for name, _, state in history if state is State.CONVERTED)
    attempts = sum(state is State.RUNNING for _, _, state in history)
    seconds = time.monotonic() - start
    return Ran(dict(digests(into)), dict(conversions), attempts, kills, seconds)


def _killed(
    models: Path, into: Path, results: int, chance: random.Random, options: Sequence[str]
) -> None:
    with started(models, into, options) as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            seen += json.loads(line)["event"] == "ended"
            if seen >= results:
                break
        time.sleep(chance.uniform(0, 3))
        process.kill()
        process.communicate()


def started(models: Path, into: Path, options: Sequence[str]) -> subprocess.Popen[str]:
    """A batch under way, which prints lines of JSON."""
    command = ("batch", str(models), "--into", str(into), "--to", "onnx", "--json", *options)
    return subprocess.Popen(
        [sys.executable, "-m", "smconvert.cli.main", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def digests(into: Path) -> Iterator[tuple[str, str]]:
    """Path and SHA-256 of each result."""
    for path in sorted(into.rglob("*")):
        inside = path.relative_to(into)
        if path.is_file() and STATE not in inside.parts and inside.name != "batch.html":
            yield str(inside), hashlib.sha256(path.read_bytes()).hexdigest()
