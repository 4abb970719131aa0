"""Reads the cases under ``tests/data``: an artifact, and what its own framework computed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smconvert.converters import SourceOptions
from smconvert.model import Array, DType

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Call:
    inputs: dict[str, Array]
    outputs: dict[str, Array]


@dataclass(frozen=True)
class Case:
    name: str
    file: Path
    source: Path
    format: str
    options: SourceOptions
    signatures: dict[str, list[Call]]
    notes: str


def decode(tensor: dict[str, Any]) -> Array:
    """The array of a recorded tensor; strings become bytes."""
    dtype = DType.from_label(tensor["dtype"])
    values = tensor["values"]
    if dtype is DType.STRING:
        array = np.empty(len(values), object)
        array[:] = [base64.b64decode(v) for v in values]
        return array.reshape(tensor["shape"])
    return np.array([float(v) if isinstance(v, str) else v for v in values], dtype.numpy).reshape(
        tensor["shape"]
    )


def load_case(path: Path) -> Case:
    """Reads one ``case*.json``."""
    raw = json.loads(path.read_text())
    load = dict(raw.get("load", {}))
    if "tags" in load:
        load["tags"] = frozenset(load["tags"])
    if "signatures" in load:
        load["signatures"] = tuple(load["signatures"])
    if "custom_objects" in load:
        load["custom_objects"] = tuple(load["custom_objects"])
    if "checkpoint" in load:
        load["checkpoint"] = f"{path.parent}/{load['checkpoint']}"
    if "map_variables" in load:
        load["variable_map"] = dict(m.split("=", 1) for m in load.pop("map_variables"))
    variant = path.stem.removeprefix("case").lstrip("_")
    return Case(
        name="-".join(filter(None, (path.parent.name, variant))),
        file=path,
        source=Path(f"{path.parent}/{raw['source']}"),
        format=raw["format"],
        options=SourceOptions(**load),
        signatures={
            name: [
                Call(
                    {k: decode(v) for k, v in call["inputs"].items()},
                    {k: decode(v) for k, v in call["outputs"].items()},
                )
                for call in signature.get("calls", ())
            ]
            for name, signature in raw.get("signatures", {}).items()
        },
        notes=raw.get("notes", ""),
    )


def cases(*families: str) -> Iterator[Case]:
    """All recorded cases of the families (``tf1``, ``tf2``), in order of name."""
    for family in families or ("tf1", "tf2"):
        for path in sorted((DATA / family).glob("*/case*.json")):
            yield load_case(path)


def close(actual: Array, expected: Array, tolerance: float = 1e-5) -> bool:
    """Whether two arrays are equal: exactly, or within ``tolerance`` of the largest value."""
    if actual.shape != expected.shape or DType.from_numpy(actual.dtype) is not DType.from_numpy(
        expected.dtype
    ):
        return False
    if expected.dtype.kind in "fc" or expected.dtype.name == "bfloat16":
        scale = float(np.max(np.abs(np.nan_to_num(expected)), initial=1.0))
        tolerance = max(tolerance, 1e-3 if expected.dtype.itemsize == 2 else 0.0)
        return np.allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    return bool(np.array_equal(actual, expected))
