"""Our ONNX beside tf2onnx's, in ONNX Runtime on the CPU: ``python -m benchmarks.latency``.

Each model is converted by both tools; then both files run in one process, one after the other in
turn, on one thread, so that what disturbs the machine disturbs both. The ratio is that of the
medians; its spread is what the ratios of single rounds give between their quartiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parity import zoo
from smconvert.model import Array
from smconvert.provenance import provenance

BATCH = 4
LENGTH = 48
ROUNDS = 30
WARM_UP = 3
OPSET_OF_TF2ONNX = 18


@dataclass(frozen=True)
class Pair:
    """One model by both tools.

    Attributes:
        model: Its name.
        nodes: Of our graph.
        nodes_tf2onnx: Of tf2onnx's; None where there is none that loads.
        latency: Ours over tf2onnx's.
        spread: The quartiles of that ratio over the rounds.
        reason: Why there is no ratio.
    """

    model: str
    nodes: int | None
    nodes_tf2onnx: int | None
    latency: float | None
    spread: tuple[float, float] | None
    reason: str


def main() -> None:
    """Runs the benchmark and writes ``results/latency.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("--only", help="models whose name holds this")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latency.json"))
    options = parser.parse_args()
    pairs = []
    for name, build in zoo.builders().items():
        if options.only is None or options.only in name:
            with tempfile.TemporaryDirectory(prefix="latency-") as folder:
                pairs.append(_pair(name, build, Path(folder)))
            print(_line(pairs[-1]), flush=True)
    result = {"provenance": provenance(), "pairs": [asdict(p) for p in pairs]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def _pair(name: str, build: Any, folder: Path) -> Pair:
    import onnx

    source, ours, theirs = folder / "source", folder / "ours.onnx", folder / "theirs.onnx"
    source.mkdir()
    build(source)
    python = [sys.executable, "-m"]
    _run([*python, "smconvert.cli.main", "convert", str(source), str(ours), "--no-check"])
    flags = ["--saved-model", str(source), "--output", str(theirs)]
    _run([*python, "tf2onnx.convert", *flags, "--opset", str(OPSET_OF_TF2ONNX)])
    if not ours.exists():
        return Pair(name, None, None, None, None, "smconvert refuses it")
    nodes = len(onnx.load(ours).graph.node)
    try:
        sessions = [_session(path) for path in (ours, theirs)]
    except Exception as error:
        return Pair(name, nodes, None, None, None, f"tf2onnx: {str(error).splitlines()[0][:120]}")
    ratios = list(_ratios(*sessions))
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Pair(name, nodes, len(onnx.load(theirs).graph.node), middle, (low, high), "")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=False, capture_output=True)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _ratios(ours: Any, theirs: Any) -> Iterator[float]:
    """Our time over theirs, round by round; who goes first changes."""
    feeds = dict(_feeds(ours))
    for number in range(WARM_UP + ROUNDS):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        seconds = {id(session): _seconds(session, feeds) for session in order}
        if number >= WARM_UP:
            yield seconds[id(ours)] / seconds[id(theirs)]


def _seconds(session: Any, feeds: dict[str, Array]) -> float:
    """Of enough runs to be measured."""
    count, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < 0.02 or not count:
        session.run(None, feeds)
        count += 1
    return spent / count


def _feeds(session: Any) -> Iterator[tuple[str, Array]]:
    random = np.random.default_rng(5)
    types = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}
    for given in session.get_inputs():
        shape = [
            size if isinstance(size, int) else BATCH if axis == 0 else LENGTH
            for axis, size in enumerate(given.shape)
        ]
        dtype = types[given.type]
        whole = dtype is not np.float32
        values = random.integers(0, 2, shape) if whole else random.uniform(0, 1, shape)
        yield given.name, values.astype(dtype)


def _line(pair: Pair) -> str:
    if pair.latency is None or pair.spread is None or not pair.nodes or not pair.nodes_tf2onnx:
        return f"{pair.model:32} {pair.nodes or '-':>6} nodes, {pair.reason}"
    low, high = pair.spread
    nodes = pair.nodes / pair.nodes_tf2onnx
    latency = f"latency {pair.latency:.3f} ({low:.3f} to {high:.3f})"
    return f"{pair.model:32} {pair.nodes:6} nodes, {nodes:.2f} of tf2onnx's; {latency}"


if __name__ == "__main__":
    main()
