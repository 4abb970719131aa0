"""``assets.extra/smconvert.json``: where a SavedModel comes from and what its names became."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smconvert.errors import SourceError

VERSION = 1
MAX_BYTES = 16 << 20
_FILE = Path("assets.extra") / "smconvert.json"


def write(facts: Mapping[str, Any], folder: Path) -> None:
    """Writes the manifest of a SavedModel folder."""
    path = folder / _FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def keywords(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Signature name to the names that TF2 knows it by; empty where they are its own.

    Raises:
        SourceError: the manifest cannot be understood.
    """
    path = folder / _FILE
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("it is too large")
        found = json.loads(path.read_text())["keywords"]
        return {
            str(name): {
                "signature": str(names["signature"]),
                "inputs": {str(k): str(v) for k, v in names["inputs"].items()},
            }
            for name, names in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise SourceError(
            f"{path.name} is not a manifest of smconvert: {error}",
            where=str(path),
            hint="mend or remove it",
        ) from error
