"""Converts and compares a zoo, ours beside the peers: ``python -m benchmarks.parity``.

Each conversion is a process of its own; its CPU time and peak memory are the kernel's figures. A
result counts as right when ``smconvert.comparison`` passes it against the source.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.parity import page, zoo
from benchmarks.process import run
from smconvert.comparison import CompareOptions, compare
from smconvert.converters import SourceOptions
from smconvert.errors import SmconvertError
from smconvert.parity.comparison import Verdict
from smconvert.provenance import provenance
from smconvert.runtimes.workers import Workers


@dataclass(frozen=True)
class Outcome:
    """What a tool made of a model.

    Attributes:
        model: Its name.
        tool: ``smconvert``, ``tf2onnx`` or ``freeze_graph``, with the target.
        state: ``right``, ``wrong``, ``not run``, ``does not load``, ``refused`` or
            ``not converted``.
        detail: Why, or the largest difference.
        max_abs: Largest absolute difference of any output.
        seconds: Wall time of the conversion's process.
        cpu: Its CPU time, seconds.
        memory: Its peak resident memory, bytes.
        places: Place to verdict, for each runtime that was asked for.
    """

    model: str
    tool: str
    state: str
    detail: str
    max_abs: float | None
    seconds: float
    cpu: float
    memory: int
    places: dict[str, str]


def main() -> None:
    """Runs the suite and writes ``results/parity.json`` and ``.html``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity")
    parser.add_argument("--on", default="ort:cpu,ort:cuda", help="places for the ONNX models")
    parser.add_argument("--only", help="models whose name holds this")
    parser.add_argument("--no-peers", action="store_true", help="run smconvert alone")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--against", type=Path, help="an older parity.json")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="parity-") as name, Workers() as workers:
        for model, source, signature in _models(Path(name), options.only):
            for tool, command in _tools(source, signature, options.no_peers).items():
                outcome = _outcome(model, tool, command, source, signature, options.on, workers)
                outcomes.append(outcome)
                print(_line(outcome), flush=True)
            if source.is_relative_to(name):
                shutil.rmtree(source)
    result = {"provenance": provenance(), "outcomes": [asdict(o) for o in outcomes]}
    (options.out / "parity.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "parity.html").write_text(page.render(result))
    print(page.summary(result))
    if options.against:
        print(page.changes(json.loads(options.against.read_text()), result))


def _models(folder: Path, only: str | None) -> Any:
    for name, build in zoo.builders().items():
        if only is None or only in name:
            path = folder / "source"
            path.mkdir()
            build(path)
            yield name, path, "serving_default"
    for name, (path, signature) in zoo.FIXTURES.items():
        if only is None or only in name:
            found = zoo.DATA / path
            versions = sorted(p for p in found.iterdir() if p.name.isdigit())
            yield name, versions[-1] if versions else found, signature


def _tools(
    source: Path, signature: str, alone: bool
) -> dict[str, Callable[[Path], tuple[list[str], Path]]]:
    python = sys.executable

    def ours(suffix: str) -> Callable[[Path], tuple[list[str], Path]]:
        def command(folder: Path) -> tuple[list[str], Path]:
            out = folder / f"out{suffix}"
            flags = ["--signature", signature, "--no-check", "--quiet"]
            return [
                python,
                "-m",
                "smconvert.cli.main",
                "convert",
                str(source),
                str(out),
                *flags,
            ], out

        return command

    def tf2onnx(folder: Path) -> tuple[list[str], Path]:
        out = folder / "out.onnx"
        flags = ["--signature_def", signature, "--tag", "serve", "--opset", "18"]
        flags += ["--saved-model", str(source), "--output", str(out)]
        return [python, "-m", "tf2onnx.convert", *flags], out

    def freeze_graph(folder: Path) -> tuple[list[str], Path]:
        out = folder / "out.pb"
        script = "from tensorflow.python.tools.freeze_graph import run_main; run_main()"
        outputs = ",".join(_output_nodes(source, signature))
        flags = [f"--input_saved_model_dir={source}", f"--output_graph={out}"]
        flags += [f"--output_node_names={outputs}", "--saved_model_tags=serve"]
        return [python, "-c", script, *flags], out

    tools = {"smconvert to ONNX": ours(".onnx"), "smconvert to frozen": ours(".pb")}
    if not alone:
        tools |= {"tf2onnx": tf2onnx, "freeze_graph": freeze_graph}
    return tools


def _output_nodes(source: Path, signature: str) -> Sequence[str]:
    """What a user of freeze_graph must know: the nodes behind the outputs."""
    import smconvert as sm

    described = sm.inspect(source, SourceOptions(signatures=(signature,)))
    tensors = [o.tensor or o.name for s in described.signatures for o in s.outputs]
    return sorted({tensor.partition(":")[0] for tensor in tensors})


def _outcome(
    model: str,
    tool: str,
    command: Callable[[Path], tuple[list[str], Path]],
    source: Path,
    signature: str,
    on: str,
    workers: Workers,
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="parity-out-") as name:
        line, out = command(Path(name))
        ran = run(line)
        figures = (ran.seconds, ran.cpu, ran.memory)
        if ran.code or not out.exists():
            state = "refused" if tool.startswith("smconvert") and ran.code > 1 else "not converted"
            return Outcome(model, tool, state, _reason(ran.output), None, *figures, {})
        return _judged(model, tool, source, signature, out, on, workers, figures)


def _judged(
    model: str,
    tool: str,
    source: Path,
    signature: str,
    out: Path,
    on: str,
    workers: Workers,
    figures: tuple[float, float, int],
) -> Outcome:
    options = SourceOptions(signatures=(signature,))
    theirs = SourceOptions()
    try:
        if tool == "freeze_graph":
            theirs = _graph_options(source, options)
        found = compare(
            source,
            out,
            CompareOptions(on=on if out.suffix == ".onnx" else "", quick=True),
            first_options=options,
            second_options=theirs,
            workers=workers,
        )
    except SmconvertError as error:
        return Outcome(model, tool, "wrong", error.message, None, *figures, {})
    (matrix,) = found.matrices
    places = {
        str(c.contender): f"{c.verdict.value} {c.reason or ''}".strip() for c in matrix.columns
    }
    failed = [c for c in matrix.columns if c.verdict is Verdict.FAILED]
    cells = [cell.parity.max_abs for c in matrix.columns for cell in c.cells]
    if failed and not failed[0].cells:
        state = "does not load"
    else:
        state = {"passed": "right", "failed": "wrong", "not_run": "not run"}[found.verdict.value]
    detail = (failed[0].reason if failed else matrix.reason) or ""
    return Outcome(model, tool, state, detail, max(cells, default=None), *figures, places)


def _graph_options(source: Path, options: SourceOptions) -> SourceOptions:
    """A bare graph says nothing of its signature: names as the source has them."""
    import smconvert as sm

    (described,) = sm.inspect(source, options).signatures
    return SourceOptions(
        inputs={i.name: i.tensor or i.name for i in described.inputs},
        outputs={o.name: o.tensor or o.name for o in described.outputs},
    )


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("error:")] or lines[-1:]
    return told[0][:200] if told else "it said nothing"


def _line(outcome: Outcome) -> str:
    difference = "" if outcome.max_abs is None else f", largest difference {outcome.max_abs:.2g}"
    return (
        f"{outcome.model:32} {outcome.tool:20} {outcome.state:14} {outcome.seconds:6.1f} s "
        f"{outcome.cpu:6.1f} s CPU {outcome.memory / 1e9:5.2f} GB{difference} {outcome.detail[:60]}"
    )


if __name__ == "__main__":
    main()
