"""Tolerances of arithmetics that round more than their type does."""

from __future__ import annotations

from collections.abc import Mapping

from smconvert.parity.comparison import Tolerance

ROUNDING: Mapping[str, Tolerance] = {
    "tf32": Tolerance(1e-2, 1e-3),
    "fp16": Tolerance(2e-2, 5e-3),
    "bf16": Tolerance(8e-2, 2e-2),
}
"""By precision: some units in the last of their 10, 10 and 7 bits."""
