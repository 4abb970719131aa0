"""What a conversion costs beside the peers', as whole processes: ``python -m benchmarks.speed``.

Ours and the peer's run in turn, so that what disturbs the machine disturbs both. A ratio is that of
the medians of CPU seconds, and of the peaks of resident memory; its spread is what single pairs
give. ``--no-check`` is on our side unless a line says otherwise, since no peer checks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.process import Process, run
from benchmarks.speed import page
from smconvert.provenance import provenance

OURS = (sys.executable, "-m", "smconvert.cli.main")
TF2ONNX = (sys.executable, "-m", "tf2onnx.convert")
FREEZE = "from tensorflow.python.tools.freeze_graph import run_main; run_main()"
Command = Callable[[Path, Path], Sequence[str]]
"""Makes a command of the model's folder and of an empty folder to write into."""


@dataclass(frozen=True)
class Race:
    """Two commands that do the same.

    Attributes:
        name: What they do.
        model: What they do it to: a key of ``models.BUILDERS``.
        ours: Our command.
        peer: The other one; None where there is none, or where it dies of memory.
        cpu: Our goal: CPU time over the peer's.
        memory: Our goal: peak memory over the peer's.
        big: Whether it needs gigabytes, and is run with ``--big`` only.
    """

    name: str
    model: str
    ours: Command
    peer: Command | None = None
    cpu: float | None = None
    memory: float | None = None
    big: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a race: ratios of ours to the peer's, with the least and most of any pair."""

    name: str
    cpu: float | None
    cpu_spread: tuple[float, float] | None
    memory: float | None
    ours: tuple[tuple[float, float, int], ...]
    peer: tuple[tuple[float, float, int], ...]
    goal_cpu: float | None
    goal_memory: float | None
    failed: str


def _to_onnx(*flags: str) -> Command:
    given = [*flags, "--signature", "serving_default", "--quiet"]
    return lambda model, out: [*OURS, "convert", str(model), str(out / "m.onnx"), *given]


def _tf2onnx(model: Path, out: Path) -> Sequence[str]:
    flags = ["--saved-model", str(model), "--output", str(out / "m.onnx"), "--opset", "18"]
    return [*TF2ONNX, *flags, "--signature_def", "serving_default", "--tag", "serve"]


def _v1_ours(model: Path, out: Path) -> Sequence[str]:
    flags = ["--inputs", "x=x:0", "--outputs", "y=y:0", "--no-check", "--quiet"]
    return [*OURS, "convert", str(model / "model.meta"), str(out / "m.onnx"), *flags]


def _v1_tf2onnx(model: Path, out: Path) -> Sequence[str]:
    flags = ["--checkpoint", str(model / "model.meta"), "--output", str(out / "m.onnx")]
    return [*TF2ONNX, *flags, "--inputs", "x:0", "--outputs", "y:0", "--opset", "18"]


def _to_frozen(model: Path, out: Path) -> Sequence[str]:
    return [*OURS, "convert", str(model), str(out / "m.pb"), "--no-check", "--quiet"]


def _freeze_graph(model: Path, out: Path) -> Sequence[str]:
    flags = [f"--input_saved_model_dir={model}", f"--output_graph={out / 'm.pb'}"]
    flags += ["--output_node_names=StatefulPartitionedCall", "--saved_model_tags=serve"]
    return [sys.executable, "-c", FREEZE, *flags]


ONNX = _to_onnx("--no-check")
RACES = (
    Race("ResNet50 to ONNX", "ResNet50", ONNX, _tf2onnx, 1 / 6, 1 / 10),
    Race("NASNetMobile to ONNX", "NASNetMobile", ONNX, _tf2onnx, 1 / 4),
    Race("EfficientNetB7 to ONNX", "EfficientNetB7", ONNX, _tf2onnx, 1 / 10, 1 / 11),
    Race("BERT-like, 12 layers, to ONNX", "bert", ONNX, _tf2onnx, 1 / 12),
    Race("ResNet50 to ONNX, checked", "ResNet50", _to_onnx(), _tf2onnx, 1 / 3),
    Race("EfficientNetB7 to ONNX, checked", "EfficientNetB7", _to_onnx(), _tf2onnx, 1 / 3),
    Race("LSTM to ONNX", "lstm", ONNX, _tf2onnx, 1 / 2, 1 / 4),
    Race("a table to ONNX", "tables", ONNX, _tf2onnx, 1 / 2, 1 / 4),
    Race("V1 loop, 0.5 GB, to ONNX", "v1_loops", _v1_ours, _v1_tf2onnx, 1 / 2, 1 / 4),
    Race("10,000 nodes to ONNX", "nodes_10000", ONNX, _tf2onnx),
    Race("20,000 nodes to ONNX", "nodes_20000", ONNX, _tf2onnx, 1 / 4),
    Race("0.5 GB to a frozen graph", "dense_0.5", _to_frozen, _freeze_graph, memory=1 / 3),
    Race("1.5 GB to ONNX", "dense_1.5", ONNX, big=True),
    Race("4 GB to ONNX", "dense_4", ONNX, big=True),
    Race(
        "--help",
        "lstm",
        lambda model, out: [*OURS, "--help"],
        lambda model, out: [*TF2ONNX, "--help"],
        1 / 10,
    ),
    Race(
        "inspect ResNet50",
        "ResNet50",
        lambda model, out: [*OURS, "inspect", str(model)],
        lambda model, out: [
            str(Path(sys.executable).with_name("saved_model_cli")),
            *("show", "--all", "--dir", str(model)),
        ],
        1 / 10,
    ),
)


def main() -> None:
    """Runs the races and writes ``results/speed.json`` and ``.html``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--only", help="lines whose name holds this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--big", action="store_true", help="models of gigabytes as well")
    parser.add_argument("--models", type=Path, help="folder that keeps the models for the next run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        models = options.models or Path(name)
        for race in RACES:
            if (options.only is None or options.only in race.name) and (
                options.big or not race.big
            ):
                result = _result(race, _model(race.model, models), options.rounds)
                results.append(result)
                print(page.line(asdict(result)), flush=True)
                _write(results, options.out)


def _write(results: Sequence[Result], folder: Path) -> None:
    found = {"provenance": provenance(), "results": [asdict(r) for r in results]}
    (folder / "speed.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "speed.html").write_text(page.render(found))


def _model(name: str, folder: Path) -> Path:
    path = folder / name
    if not path.exists():
        path.mkdir(parents=True)
        command = [sys.executable, "-m", "benchmarks.speed.models", name, str(path)]
        subprocess.run(command, check=True, capture_output=True)
    return path


def _result(race: Race, model: Path, rounds: int) -> Result:
    pairs = list(_rounds(race, model, rounds))
    ours = [a for a, _ in pairs]
    peers = [b for _, b in pairs if b is not None]
    failed = next((p.output[-300:] for p in ours if p.code), "")
    if not failed and any(p.code for p in peers):
        failed = f"the peer ended with {next(p.code for p in peers if p.code)}"
    whole = not failed and bool(peers)
    ratios = [a.cpu / b.cpu for a, b in zip(ours, peers, strict=True)] if whole else []
    return Result(
        race.name,
        statistics.median(a.cpu for a in ours) / statistics.median(b.cpu for b in peers)
        if whole
        else None,
        (min(ratios), max(ratios)) if whole else None,
        max(a.memory for a in ours) / max(b.memory for b in peers) if whole else None,
        tuple((p.seconds, p.cpu, p.memory) for p in ours),
        tuple((p.seconds, p.cpu, p.memory) for p in peers),
        race.cpu,
        race.memory,
        failed,
    )


def _rounds(race: Race, model: Path, rounds: int) -> Iterator[tuple[Process, Process | None]]:
    for _ in range(rounds):
        yield _run(race.ours, model), None if race.peer is None else _run(race.peer, model)


def _run(command: Command, model: Path) -> Process:
    out = Path(tempfile.mkdtemp(prefix="speed-out-"))
    try:
        return run(command(model, out))
    finally:
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
