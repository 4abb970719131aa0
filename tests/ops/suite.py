"""All cases, by group and op."""

from __future__ import annotations

import importlib
from pathlib import Path

from proof import Case

CASES = Path(__file__).parent / "cases"


def groups() -> list[str]:
    """The modules with cases."""
    return sorted(p.stem for p in CASES.glob("*.py") if p.stem != "__init__")


def cases(group: str) -> dict[str, list[Case]]:
    """Op to its cases."""
    found: dict[str, list[Case]] = {}
    for case in importlib.import_module(f"cases.{group}").cases():
        found.setdefault(case.op, []).append(case)
    return found
