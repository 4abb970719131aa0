"""What is known of each TensorFlow op: whether ONNX can say it, and whether smconvert does.

The rows lie in ``coverage/*.toml``, one file for a group of ops; the audit, ``inspect`` and the
coverage page of the documentation read them here. Nothing here needs TensorFlow or onnx.
"""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from smconvert.converters import Obstacle

if TYPE_CHECKING:
    from smconvert.graph.protos import node_def_pb2

FALLBACK = "choose --outputs before it; or convert to a SavedModel or a frozen graph"
_UNLISTED = "it is none of TensorFlow's own ops that run on a CPU"


class Verdict(enum.Enum):
    """What becomes of an op."""

    EXACT = "exact"
    """Written, whatever its attributes, types and shapes."""
    LIMITED = "limited"
    """Written, or refused for the uses that the note names."""
    MISSING = "missing"
    """ONNX could say it; smconvert does not yet."""
    IMPOSSIBLE = "impossible"
    """Standard ONNX has nothing that computes it."""


@dataclass(frozen=True)
class Support:
    """One row of the table.

    Attributes:
        op: The TensorFlow op.
        group: The group it belongs to.
        verdict: What becomes of it.
        note: For LIMITED, what is refused; for MISSING and IMPOSSIBLE, why.
        hint: What the user can do instead.
        extensions: Whether onnxruntime-extensions has it, with equal values.
    """

    op: str
    group: str
    verdict: Verdict
    note: str = ""
    hint: str = ""
    extensions: bool = False

    def is_written(self, *, extensions: bool) -> bool:
        """Whether the op becomes ONNX, with or without onnxruntime-extensions."""
        written = self.verdict in {Verdict.EXACT, Verdict.LIMITED}
        return written or (extensions and self.extensions)


@cache
def support() -> Mapping[str, Support]:
    """Each op's row.

    Raises:
        ValueError: an op stands in two rows.
    """
    found: dict[str, Support] = {}
    for row in _rows():
        if row.op in found:
            raise ValueError(f"{row.op} is in {found[row.op].group} and in {row.group}")
        found[row.op] = row
    return found


def obstacles(nodes: Iterable[node_def_pb2.NodeDef], *, extensions: bool = False) -> list[Obstacle]:
    """What of these nodes cannot be written, op by op, in the order of their first nodes.

    Args:
        nodes: Of a graph and its functions.
        extensions: Whether ops of onnxruntime-extensions may be used.
    """
    table = support()
    found: dict[str, list[str]] = {}
    for node in nodes:
        row = table.get(node.op)
        if row is None or not row.is_written(extensions=extensions):
            found.setdefault(node.op, []).append(node.name)
    return [
        Obstacle(op, tuple(names), row.note, row.hint or FALLBACK)
        if (row := table.get(op))
        else Obstacle(op, tuple(names), _UNLISTED, FALLBACK)
        for op, names in found.items()
    ]


def _rows() -> Iterator[Support]:
    folder = resources.files("smconvert_onnx").joinpath("coverage")
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            group = file.name.removesuffix(".toml").replace("_", " ")
            table = tomllib.loads(file.read_text("utf-8"))
            for verdict in Verdict:
                for entry in table.get(verdict.value, ()):
                    for op in entry["ops"].split():
                        yield Support(
                            op,
                            group,
                            verdict,
                            entry.get("note", ""),
                            entry.get("hint", ""),
                            entry.get("extensions", False),
                        )
