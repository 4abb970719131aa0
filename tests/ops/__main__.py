"""What every op does, against its own kernel.

``python tests/ops GROUP [--op OP] [-v]`` tries a group; ``python tests/ops --page FILE`` tries all
groups, in the oldest, the usual and the newest operator sets, and plain tf2onnx beside, and writes
the coverage page. It ends with 1 where a result is wrong or cannot be loaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from proof import FAULTS, GOOD, Outcome, Shapes, ours, outcomes, theirs
from smconvert_onnx.exporter import MAX_OPSET, MIN_OPSET
from smconvert_onnx.writing import DEFAULT_OPSET
from suite import cases, groups

HERE = Path(__file__).parent
ENGINES = {"smconvert": ours, "tf2onnx": theirs}
TF2ONNX_OPSET = 18


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*")
    parser.add_argument("--op", action="append", default=[])
    parser.add_argument("--opset", type=int, default=DEFAULT_OPSET)
    parser.add_argument("--engine", choices=ENGINES, default="smconvert")
    parser.add_argument("--lines", type=Path, help="append each outcome, as JSON, to this file")
    parser.add_argument("--page", type=Path, help="try everything, and write the coverage page")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="of an op's cases, try each Nth")
    parser.add_argument("-v", action="store_true", help="show every case that did not end well")
    options = parser.parse_args()
    if options.page is not None:
        return everything(options.page, options.jobs, options.every)
    faults = 0
    for group in options.groups or groups():
        for op, own in cases(group).items():
            if options.op and op not in options.op:
                continue
            found = [
                outcome
                for shapes in Shapes
                for outcome in outcomes(
                    own[:: options.every], shapes, options.opset, ENGINES[options.engine]
                )
            ]
            faults += sum(o.verdict in FAULTS for o in found)
            print_op(op, found, every=options.v)
            if options.lines is not None:
                record(options.lines, group, options.engine, options.opset, found)
    print(f"{faults} faults")
    return int(faults > 0 and options.engine == "smconvert")


def print_op(op: str, found: list[Outcome], *, every: bool) -> None:
    counts = Counter(o.verdict for o in found)
    print(f"{op:32}", ", ".join(f"{n} {v.value}" for v, n in counts.items()), flush=True)
    shown = [o for o in found if o.verdict not in GOOD]
    lines = dict.fromkeys(
        f"    {o.verdict.value}: {o.case.dtype}, {o.shapes.value}: {o.reason}" for o in shown
    )
    for line in list(lines)[: None if every else 3]:
        print(line)


def record(file: Path, group: str, engine: str, opset: int, found: list[Outcome]) -> None:
    counts = Counter((o.case.op, o.case.dtype, o.shapes.value, o.verdict.value) for o in found)
    with file.open("a") as lines:
        for (op, dtype, shapes, verdict), count in counts.items():
            row = [group, engine, opset, op, dtype, shapes, verdict, count]
            lines.write(json.dumps(row) + "\n")


def everything(page: Path, jobs: int, every: int) -> int:
    from page import written

    with tempfile.TemporaryDirectory() as folder:
        runs = [
            (group, engine, opset, Path(folder) / f"{group}-{engine}-{opset}.jsonl")
            for group in groups()
            for engine, opset in (
                *(("smconvert", o) for o in sorted({MIN_OPSET, DEFAULT_OPSET, MAX_OPSET})),
                ("tf2onnx", TF2ONNX_OPSET),
            )
        ]
        with ThreadPoolExecutor(jobs) as pool:
            ended = list(pool.map(lambda run: tried(*run, every), runs))
        rows = [
            json.loads(line)
            for *_, file in runs
            if file.exists()
            for line in file.read_text().splitlines()
        ]
    page.write_text(written(rows, every))
    failed = [run[:3] for run, code in zip(runs, ended, strict=True) if code]
    for run in failed:
        print("faults in", *run)
    return int(bool(failed))


def tried(group: str, engine: str, opset: int, lines: Path, every: int) -> int:
    """One group in a process of its own: a runtime that crashes takes no more than that with it."""
    command = [sys.executable, str(HERE), group, "--engine", engine, "--opset", str(opset)]
    command += ["--lines", str(lines), "--every", str(every)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        print(ended.stdout[-20000:], ended.stderr[-2000:], flush=True)
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
