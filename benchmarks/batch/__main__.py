"""What a batch costs, and what kills cost it: ``python -m benchmarks.batch``.

    python -m benchmarks.batch speed --models 40      # warm, and a process for each, in turns
    python -m benchmarks.batch kills --models 1000 --kills 10

Each writes ``results/batch-speed.json`` or ``results/batch-kills.json``. Ratios of one run are what
to compare: this machine may be busy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.batch import kills, tiny
from smconvert.provenance import provenance


@dataclass(frozen=True)
class Speed:
    """What a batch of tiny models took.

    Attributes:
        way: ``warm``, or ``a process for each``.
        models: How many.
        seconds: Wall time, with all starting.
        cpu: CPU time of all processes.
        jobs_per_minute: Of wall time.
        jobs_per_cpu_minute: Of CPU time, which a busy machine changes less.
    """

    way: str
    models: int
    seconds: float
    cpu: float
    jobs_per_minute: float
    jobs_per_cpu_minute: float


def main() -> None:
    """Measures and writes what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch")
    parser.add_argument("what", choices=("speed", "kills"))
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smconvert-batch-") as name:
        folder = Path(name)
        tiny.write(folder / "models", chosen.models)
        if chosen.what == "speed":
            found = _speed(folder, chosen.models)
        else:
            found = _kills(folder, chosen.models, chosen.kills, chosen.seed)
    found["provenance"] = {**provenance(), "cores": os.cpu_count()}
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / f"batch-{chosen.what}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def _speed(folder: Path, models: int) -> dict[str, Any]:
    ways = {"warm": ("--warm",), "a process for each": ("--no-warm",)}
    measured = []
    for number, (way, options) in enumerate(ways.items()):
        start, before = time.monotonic(), _cpu()
        kills.run(folder / "models", folder / f"{number}", kills=0, seed=0, options=options)
        seconds, cpu = time.monotonic() - start, _cpu() - before
        measured.append(Speed(way, models, seconds, cpu, 60 * models / seconds, 60 * models / cpu))
    warm, cold = measured
    return {
        "measured": [asdict(speed) for speed in measured],
        "ratio_wall": cold.seconds / warm.seconds,
        "ratio_cpu": cold.cpu / warm.cpu,
    }


def _kills(folder: Path, models: int, times: int, seed: int) -> dict[str, Any]:
    killed = kills.run(folder / "models", folder / "killed", kills=times, seed=seed)
    alone = kills.run(folder / "models", folder / "alone", kills=0, seed=seed)
    return {
        "models": models,
        "kills": times,
        "results": len(killed.results),
        "identical_to_undisturbed": killed.results == alone.results,
        "jobs_converted_once": sum(count == 1 for count in killed.conversions.values()),
        "jobs_converted_more_than_once": sum(c > 1 for c in killed.conversions.values()),
        "attempts": killed.attempts,
        "seconds_killed": killed.seconds,
        "seconds_undisturbed": alone.seconds,
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
