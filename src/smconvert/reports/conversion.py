"""The check of a conversion as a document of a comparison, so that the same reports show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smconvert.provenance import provenance
from smconvert.reports.document import VERSION

ALL_CALLS = "all inputs"


def document(
    source: Mapping[str, str], result: Mapping[str, str], parity: Mapping[str, Any]
) -> dict[str, Any]:
    """The document of :mod:`smconvert.reports.document` that a conversion's check makes.

    Args:
        source: ``path`` and ``format`` of what was converted.
        result: Likewise of what was written.
        parity: The check as :meth:`smconvert.parity.check.Parity.to_json` gives it.
    """
    return {
        "version": VERSION,
        "verdict": parity["verdict"],
        "artifacts": {"A": dict(source), "B": dict(result)},
        "signatures": [_signature(s) for s in parity["signatures"]],
        "parting": None,
        "provenance": provenance(),
    }


def _signature(signature: Mapping[str, Any]) -> dict[str, Any]:
    outputs = signature["outputs"]
    return {
        "name": signature["name"],
        "verdict": signature["verdict"],
        "reason": None,
        "reference": {"artifact": "A", "place": "its own runtime"},
        "noise": {},
        "placement": {},
        "calls": [ALL_CALLS] if outputs else [],
        "outputs": [{"name": o["name"], "dtype": "", "shape": None} for o in outputs],
        "columns": [
            {
                "artifact": "B",
                "place": "its own runtime",
                "verdict": signature["verdict"],
                "reason": signature["reason"],
                "noise": {},
                "placement": {},
                "cells": [{"call": ALL_CALLS, **output} for output in outputs],
                "distributions": {},
            }
        ],
    }
