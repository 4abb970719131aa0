"""How results look in a terminal and as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smconvert.converters import Candidate, Description
from smconvert.model import Array, SignatureInfo, TensorInfo
from smconvert.parity.check import Parity, Verdict
from smconvert.pipeline import Conversion

_SHOWN_OPS = 12


def conversion_text(conversion: Conversion) -> str:
    """A few lines: what was written, how it compares, what was changed."""
    artifact = conversion.artifact
    lines = [f"wrote {escape(str(artifact.path))} ({artifact.format})"]
    lines += [f"  beside it: {escape(str(path))}" for path in artifact.companions]
    if {"nodes_in", "nodes_out"} <= artifact.manifest.keys():
        lines.append(
            f"  nodes: {artifact.manifest['nodes_in']} -> {artifact.manifest['nodes_out']}"
        )
    lines += [f"  note: {escape(change)}" for change in conversion.changes]
    lines += list(_parity_lines(conversion.parity))
    return "\n".join(lines)


def _parity_lines(parity: Parity | None) -> Iterator[str]:
    if parity is None:
        yield "[yellow]not checked[/yellow] (--no-check)"
        return
    colour = {Verdict.PASSED: "green", Verdict.FAILED: "red", Verdict.NOT_RUN: "yellow"}
    words = parity.verdict.value.replace("_", " ")
    reason = f": {escape(parity.reason)}" if parity.reason else ""
    yield f"check [{colour[parity.verdict]}]{words}[/{colour[parity.verdict]}]{reason}"
    for signature in parity.signatures:
        for output in signature.outputs:
            where = escape(f"{signature.name}/{output.name}")
            if output.verdict is Verdict.PASSED:
                yield f"  {where}: largest difference {output.max_abs:.3g}"
            else:
                verdict = output.verdict.value.replace("_", " ")
                yield f"  {where}: {verdict}: {escape(output.reason or '')}"


def conversion_json(conversion: Conversion) -> str:
    """The same as JSON."""
    artifact = conversion.artifact
    return json.dumps(
        {
            "source": {"path": str(conversion.source.path), "format": conversion.source.format},
            "artifact": {
                "path": str(artifact.path),
                "format": artifact.format,
                "companions": [str(path) for path in artifact.companions],
            },
            "parity": conversion.parity.to_json() if conversion.parity else None,
            "changes": list(conversion.changes),
            "manifest": artifact.manifest,
        },
        indent=2,
        default=str,
    )


def print_description(description: Description, console: Console) -> None:
    """What ``inspect`` shows in a terminal."""
    console.print(f"[bold]{description.format}[/bold]  {escape(str(description.path))}")
    facts = {
        "producer": description.producer and f"TensorFlow {description.producer}",
        "tag sets": "  ".join("{" + ", ".join(tags) + "}" for tags in description.tag_sets),
        "checkpoint": description.checkpoint,
        "variables": _variables(description),
        "assets": ", ".join(description.assets),
        "tables": ", ".join(description.tables),
        "ops": _ops(description.ops),
    }
    for name, value in facts.items():
        if value:
            console.print(f"  {name + ':':<12}{escape(str(value))}")
    for signature in description.signatures:
        console.print(_signature_table(signature))
    for title, candidates in (
        ("input candidates", description.input_candidates),
        ("output candidates", description.output_candidates),
    ):
        if candidates:
            console.print(_candidate_table(title, candidates))
    for target, reasons in description.blockers.items():
        for reason in reasons:
            console.print(f"  [yellow]not to {escape(target)}[/yellow]: {escape(reason)}")
    for note in description.notes:
        console.print(f"  note: {escape(note)}")


def description_json(description: Description) -> str:
    """The same as JSON."""
    return json.dumps(
        {
            "format": description.format,
            "path": str(description.path),
            "producer": description.producer,
            "tag_sets": [list(tags) for tags in description.tag_sets],
            "signatures": [_signature_json(s) for s in description.signatures],
            "variables": [
                {
                    "name": v.name,
                    "dtype": v.dtype,
                    "shape": list(v.shape),
                    "bytes": v.bytes,
                    "trainable": v.trainable,
                }
                for v in description.variables
            ],
            "checkpoint": description.checkpoint,
            "assets": list(description.assets),
            "tables": list(description.tables),
            "ops": dict(description.ops),
            "blockers": {target: list(r) for target, r in description.blockers.items()},
            "input_candidates": [_candidate_json(c) for c in description.input_candidates],
            "output_candidates": [_candidate_json(c) for c in description.output_candidates],
            "notes": list(description.notes),
        },
        indent=2,
    )


_STYLES = {"passed": "green", "failed": "bold red", "not_run": "yellow"}


def print_comparison(document: Mapping[str, Any], console: Console) -> None:
    """A comparison: the verdict, then for each signature and place the worst of each output."""
    verdict = document["verdict"]
    console.print(f"[{_STYLES[verdict]}]{_words(verdict)}[/]")
    for signature in document["signatures"]:
        reference = signature["reference"]
        console.print(
            f"signature [bold]{escape(signature['name'])}[/bold], compared with "
            f"{reference['artifact']} on {reference['place']}, on {', '.join(signature['calls'])}"
        )
        for column in signature["columns"]:
            verdict = column["verdict"]
            where = f"{column['artifact']} on {column['place']}"
            reason = f": {escape(column['reason'])}" if column["reason"] else ""
            console.print(f"  {where}: [{_STYLES[verdict]}]{_words(verdict)}[/]{reason}")
            if column["placement"]:
                counts = ", ".join(f"{n} on {p}" for p, n in column["placement"].items())
                console.print(f"    nodes: {counts}")
            if column["cells"]:
                console.print(_output_table(signature, column))


def _output_table(signature: Mapping[str, Any], column: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for title in ("    output", "verdict", "max abs", "max rel", "ULP", "argmax"):
        is_text = title.strip() in {"output", "verdict"}
        table.add_column(title, justify="left" if is_text else "right", overflow="fold")
    for output in signature["outputs"]:
        row = _worst_of(column["cells"], output["name"])
        if row is not None:
            table.add_row(f"    {row[0]}", *row[1:])
    return table


def _worst_of(cells: list[dict[str, Any]], output: str) -> tuple[str, ...] | None:
    mine = [cell for cell in cells if cell["name"] == output]
    if not mine:
        return None
    for verdict in ("failed", "passed", "not_run"):
        named = [cell for cell in mine if cell["verdict"] == verdict]
        if named:
            break
    agreement = [c["argmax_agreement"] for c in named if c["argmax_agreement"] is not None]
    return (
        escape(output),
        f"[{_STYLES[verdict]}]{_words(verdict)}[/]",
        *(f"{max(float(c[key]) for c in named):.3g}" for key in ("max_abs", "max_rel", "max_ulp")),
        f"{min(agreement):.2%}" if agreement else "",
    )


def _words(verdict: str) -> str:
    return verdict.replace("_", " ")


def print_outputs(outputs: Mapping[str, Array], console: Console) -> None:
    """Outputs as ``run`` prints them: name, type, values."""
    for name, array in outputs.items():
        kind = "string" if array.dtype == object else array.dtype.name
        console.print(f"[bold]{escape(name)}[/bold]: {kind}{list(array.shape)}")
        console.print(escape(str(_readable(array))))


def outputs_json(outputs: Mapping[str, Array]) -> str:
    """Outputs as JSON; bytes that are not UTF-8 become ``{"b64": ...}``, as model servers do."""
    return json.dumps({name: _plain(array.tolist()) for name, array in outputs.items()}, indent=2)


def _readable(array: Array) -> Array:
    if array.dtype != object:
        return array
    texts = [v.decode(errors="backslashreplace") for v in array.ravel()]
    return np.array(texts, dtype=str).reshape(array.shape)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {"re": value.real, "im": value.imag}
    return value


def _variables(description: Description) -> str:
    if not description.variables:
        return ""
    size = sum(v.bytes for v in description.variables)
    return f"{len(description.variables)} ({size:,} bytes)"


def _ops(ops: Mapping[str, int]) -> str:
    ranked = sorted(ops.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{op} {count}" for op, count in ranked[:_SHOWN_OPS])
    return text + (f", and {len(ranked) - _SHOWN_OPS} more" if len(ranked) > _SHOWN_OPS else "")


def _signature_table(signature: SignatureInfo) -> Table:
    table = Table(
        title=f"signature {escape(signature.name)}  ({signature.method.rpartition('/')[2]})",
        title_justify="left",
        box=None,
        padding=(0, 2),
    )
    for column in ("", "name", "dtype", "shape", "tensor"):
        table.add_column(column, overflow="fold")
    for kind, infos in (("input", signature.inputs), ("output", signature.outputs)):
        for info in infos:
            table.add_row(
                kind, escape(info.name), info.dtype.label, _shape(info), escape(info.tensor or "")
            )
    return table


def _candidate_table(title: str, candidates: tuple[Candidate, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2))
    for column in ("tensor", "reason"):
        table.add_column(column, overflow="fold")
    for candidate in candidates:
        table.add_row(escape(candidate.tensor), escape(candidate.reason))
    return table


def _shape(info: TensorInfo) -> str:
    if info.shape is None:
        return "unknown rank"
    return "(" + ", ".join("?" if d is None else str(d) for d in info.shape) + ")"


def _signature_json(signature: SignatureInfo) -> dict[str, Any]:
    def tensor(info: TensorInfo) -> dict[str, Any]:
        return {
            "name": info.name,
            "dtype": info.dtype.label,
            "shape": None if info.shape is None else list(info.shape),
            "tensor": info.tensor,
            "optional": info.default is not None,
        }

    return {
        "name": signature.name,
        "method": signature.method,
        "inputs": [tensor(i) for i in signature.inputs],
        "outputs": [tensor(o) for o in signature.outputs],
    }


def _candidate_json(candidate: Candidate) -> dict[str, Any]:
    return {
        "tensor": candidate.tensor,
        "name": candidate.name,
        "score": candidate.score,
        "reason": candidate.reason,
    }
