"""The coverage page: the table of ops, with what the suite found of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from proof import Verdict as Ended
from smconvert_onnx.support import Support, Verdict, support

HEAD = """# ONNX: op by op

What becomes of each TensorFlow op that has a CPU kernel. The table is the one that the audit and
`smconvert inspect` use (`converters/smconvert_onnx/coverage/`); the counts are from a run of
`python tests/ops --page docs/onnx-ops.md`, in which a graph of the op was run by TensorFlow and,
converted, by ONNX Runtime: over the op's types, ranks, attributes and edge values, with static
shapes, unknown dimensions and unknown rank. Beside it, what plain `tf2onnx.convert` makes of the
same graphs.

*Exact*: every use is written, and equal, within the tolerance of its kind of op. *Limited*: written
and equal, or refused for the uses that the note names; a note that says "may differ" means what it
says. *Missing*: ONNX could say it; smconvert does
not yet. *Impossible*: standard ONNX has nothing that computes it.
"""
GOOD = (Ended.EXACT.value, Ended.CLOSE.value)


def written(rows: Iterable[Sequence[Any]], every: int) -> str:
    """The page, from rows of group, engine, opset, op, type, shapes, verdict and count.

    Args:
        rows: What was found.
        every: Of an op's cases, each Nth was tried.
    """
    rows = [tuple(row) for row in rows if row[6] != Ended.UNDEFINED.value]
    table = support()
    head = HEAD if every == 1 else f"{HEAD}\nOf the cases, each {every}th was tried in this run.\n"
    lines = [head, *_summary(table.values(), rows)]
    names = dict.fromkeys(row.group for row in table.values())
    for group in sorted(names, key=lambda g: -_possible(table.values(), g)):
        lines += _group(group, [r for r in table.values() if r.group == group], rows)
    return "\n".join(lines) + "\n"


def _possible(table: Iterable[Support], group: str) -> int:
    return sum(r.group == group and r.verdict is not Verdict.IMPOSSIBLE for r in table)


def _summary(table: Iterable[Support], rows: Sequence[Sequence[Any]]) -> list[str]:
    verdicts = Counter(row.verdict for row in table)
    said = verdicts[Verdict.EXACT] + verdicts[Verdict.LIMITED]
    possible = said + verdicts[Verdict.MISSING]
    lines = [
        "## In numbers",
        "",
        f"{sum(verdicts.values())} ops: {verdicts[Verdict.EXACT]} exact, "
        f"{verdicts[Verdict.LIMITED]} limited, {verdicts[Verdict.MISSING]} missing, "
        f"{verdicts[Verdict.IMPOSSIBLE]} impossible. Of the {possible} that ONNX can say, "
        f"{said} ({100 * said / max(possible, 1):.0f} %) are said.",
        "",
        "| | opset | exact | within tolerance | refused | wrong | unloadable |",
        "|---|---|---|---|---|---|---|",
    ]
    for engine, opset in sorted({(row[1], row[2]) for row in rows}):
        counts: Counter[str] = Counter()
        for row in rows:
            if (row[1], row[2]) == (engine, opset):
                counts[row[6]] += row[7]
        cells = [counts[v.value] for v in Ended if v is not Ended.UNDEFINED]
        exact, close, refused, wrong, unloadable = cells
        lines.append(
            f"| {engine} | {opset} | {exact} | {close} | {refused} | {wrong} | {unloadable} |"
        )
    return [*lines, ""]


def _group(group: str, own: Sequence[Support], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"## {group.capitalize()}", ""]
    said = [r for r in own if r.verdict in {Verdict.EXACT, Verdict.LIMITED}]
    if said:
        lines += [
            "| op | | types | equal / refused | tf2onnx: equal / refused / wrong / unloadable |",
            "|---|---|---|---|---|",
        ]
    for row in sorted(said, key=lambda r: r.op):
        lines.append(_op(row, [r for r in rows if r[3] == row.op]))
    for verdict in (Verdict.MISSING, Verdict.IMPOSSIBLE):
        by_note: dict[str, list[str]] = {}
        for row in own:
            if row.verdict is verdict:
                by_note.setdefault(row.note, []).append(row.op)
        if by_note:
            lines += ["", f"**{verdict.value.capitalize()}**", ""]
        lines += [f"- {note}: {', '.join(sorted(ops))}" for note, ops in by_note.items()]
    return [*lines, ""]


def _op(row: Support, found: Sequence[Sequence[Any]]) -> str:
    own = [r for r in found if r[1] == "smconvert"]
    plain = Counter[str]()
    for r in found:
        if r[1] == "tf2onnx":
            plain[r[6]] += r[7]
    equal = sum(r[7] for r in own if r[6] in GOOD)
    refused = sum(r[7] for r in own if r[6] == Ended.REFUSED.value)
    types = _types(own)
    theirs = (
        " / ".join(
            str(n)
            for n in (
                sum(plain[v] for v in GOOD),
                plain[Ended.REFUSED.value],
                plain[Ended.WRONG.value],
                plain[Ended.UNLOADABLE.value],
            )
        )
        if plain
        else ""
    )
    verdict = row.verdict.value + (f": {row.note}" if row.note else "")
    cases = f"{equal} / {refused}" if own else "by models"
    return f"| {row.op} | {verdict} | {types} | {cases} | {theirs} |"


def _types(own: Sequence[Sequence[Any]]) -> str:
    """The types that some case of ends well with; and those that differ between opsets."""
    by_type: dict[str, set[int]] = {}
    tried = {r[2] for r in own}
    for r in own:
        if r[6] in GOOD:
            by_type.setdefault(r[4], set()).add(r[2])
    return ", ".join(
        name if opsets == tried else f"{name} (opset {', '.join(map(str, sorted(opsets)))})"
        for name, opsets in sorted(by_type.items())
    )
