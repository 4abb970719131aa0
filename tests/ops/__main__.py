"""``python tests/ops [GROUP ...] [--op OP] [--opset N]``: what every op does, and how it ends."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from proof import FAULTS, Case, Shapes, Verdict, outcomes

CASES = Path(__file__).parent / "cases"


def groups() -> list[str]:
    """The modules with cases."""
    return sorted(p.stem for p in CASES.glob("*.py") if p.stem != "__init__")


def cases(group: str) -> Iterator[Case]:
    """The cases of one group."""
    yield from importlib.import_module(f"cases.{group}").cases()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("groups", nargs="*", default=groups())
    parser.add_argument("--op", action="append")
    parser.add_argument("--opset", type=int, default=18)
    parser.add_argument("-v", action="store_true", help="all that did not end well, by itself")
    options = parser.parse_args()
    faults = 0
    for group in options.groups:
        by_op: dict[str, list[Case]] = {}
        for case in cases(group):
            if not options.op or case.op in options.op:
                by_op.setdefault(case.op, []).append(case)
        for op, own in by_op.items():
            found = [o for s in Shapes for o in outcomes(own, s, options.opset)]
            counts = Counter(o.verdict for o in found)
            print(f"{op:32}", ", ".join(f"{n} {v.value}" for v, n in counts.items()))
            bad = [o for o in found if o.verdict in FAULTS]
            faults += len(bad)
            shown = [o for o in found if o.verdict not in {Verdict.EXACT, Verdict.CLOSE}]
            lines = dict.fromkeys(
                f"    {o.verdict.value}: {o.case.dtype}, {o.shapes.value}: {o.reason}"
                for o in shown
            )
            for line in list(lines)[: None if options.v else 3]:
                print(line)
    print(f"{faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
