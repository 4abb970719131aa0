"""A comparison as JSON values, in the one form that all reports are made from.

``comparison.schema.json`` beside this file is its schema. ``version`` grows by one whenever a field
changes its meaning or goes; new fields may come without that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smconvert.bisection import Bisection
from smconvert.comparison import Comparison
from smconvert.parity.distribution import DECADES, Distribution
from smconvert.parity.matrix import Column, Matrix
from smconvert.provenance import provenance

VERSION = 1
SCHEMA = Path(__file__).with_name("comparison.schema.json")


def document(comparison: Comparison, bisection: Bisection | None = None) -> dict[str, Any]:
    """The comparison as JSON values, with where the two part if that was looked for."""
    return {
        "version": VERSION,
        "verdict": comparison.verdict.value,
        "artifacts": {
            "A": {"path": str(comparison.first.path), "format": comparison.first.format},
            "B": {"path": str(comparison.second.path), "format": comparison.second.format},
        },
        "signatures": [_matrix(m) for m in comparison.matrices],
        "parting": None if bisection is None else bisection.to_json(),
        "provenance": provenance(),
    }


def _matrix(matrix: Matrix) -> dict[str, Any]:
    return {
        "name": matrix.signature.name,
        "verdict": matrix.verdict.value,
        "reason": matrix.reason,
        "reference": _contender(matrix.reference.label, str(matrix.reference.place)),
        "noise": dict(matrix.noise),
        "placement": dict(matrix.placement),
        "calls": [call.label for call in matrix.calls],
        "outputs": [
            {"name": o.name, "dtype": o.dtype.label, "shape": _shape(o.shape)}
            for o in matrix.signature.outputs
        ],
        "columns": [_column(c) for c in matrix.columns],
    }


def _shape(shape: tuple[int | str | None, ...] | None) -> list[int | str | None] | None:
    return None if shape is None else list(shape)


def _contender(label: str, place: str) -> dict[str, str]:
    return {"artifact": label, "place": place}


def _column(column: Column) -> dict[str, Any]:
    return {
        **_contender(column.contender.label, str(column.contender.place)),
        "verdict": column.verdict.value,
        "reason": column.reason,
        "noise": dict(column.noise),
        "placement": dict(column.placement),
        "cells": [{"call": cell.call, **cell.parity.to_json()} for cell in column.cells],
        "distributions": _distributions(column.distributions),
    }


def _distributions(distributions: Mapping[str, Distribution]) -> dict[str, Any]:
    return {
        name: {
            "exact": d.exact,
            "decades": [
                {"power": power, "count": count}
                for power, count in zip(DECADES, d.counts, strict=True)
                if count
            ],
            "points": [list(point) for point in d.points],
        }
        for name, d in distributions.items()
    }
