"""How far two values of one output are apart, and whether that is too far.

An element is in tolerance when ``|actual - expected| <= atol + rtol * |expected|``. Unless the user
sets ``atol``, it is a share of the output's largest magnitude: rounding errors of a sum grow with
its terms, not with what is left of them. Integers, strings and booleans must be equal; NaN equals
NaN, and an infinity the same infinity.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smconvert.model import Array, DType


class Verdict(enum.Enum):
    """Whether a comparison passed, failed, or was not run; the last is never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"


@dataclass(frozen=True)
class Tolerance:
    """Relative and absolute tolerance; ``scaled`` makes ``atol`` a share of the largest value."""

    rtol: float
    atol: float
    scaled: bool = True


TOLERANCES: Mapping[DType, Tolerance] = {
    DType.FLOAT64: Tolerance(1e-9, 1e-10),
    DType.COMPLEX128: Tolerance(1e-9, 1e-10),
    DType.FLOAT32: Tolerance(1e-4, 1e-5),
    DType.COMPLEX64: Tolerance(1e-4, 1e-5),
    DType.FLOAT16: Tolerance(1e-2, 2e-3),
    DType.BFLOAT16: Tolerance(4e-2, 1e-2),
}


def tolerance_for(dtype: DType, rtol: float | None, atol: float | None) -> Tolerance | None:
    """The tolerance of a type; None where values must be equal."""
    default = TOLERANCES.get(dtype)
    if default is None:
        return None
    return Tolerance(
        default.rtol if rtol is None else rtol,
        default.atol if atol is None else atol,
        scaled=atol is None,
    )


@dataclass(frozen=True)
class OutputParity:
    """The comparison of one output over all calls.

    Attributes:
        name: The output.
        verdict: Passed, failed or not run.
        max_abs: Largest absolute difference.
        max_rel: Largest relative difference.
        share_out: Share of elements out of tolerance, 0 to 1.
        worst: Call and index of the worst element.
        expected: The reference's value there.
        actual: The result's value there.
        reason: Why it failed or was not run.
    """

    name: str
    verdict: Verdict
    max_abs: float = 0.0
    max_rel: float = 0.0
    share_out: float = 0.0
    worst: tuple[int, ...] = ()
    expected: Any = None
    actual: Any = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "max_abs": _finite(self.max_abs),
            "max_rel": _finite(self.max_rel),
            "share_out": self.share_out,
            "worst": list(self.worst),
            "expected": _plain(self.expected),
            "actual": _plain(self.actual),
            "reason": self.reason,
        }


def compare(
    name: str,
    expected: Sequence[Array],
    actual: Sequence[Array],
    rtol: float | None = None,
    atol: float | None = None,
) -> OutputParity:
    """Compares the values of one output over the same calls, in order."""
    results = [
        _compare(name, call, e, a, rtol, atol)
        for call, (e, a) in enumerate(zip(expected, actual, strict=True))
    ]
    failed = [r for r in results if r.verdict is Verdict.FAILED]
    shown = max(failed or results, key=lambda r: (r.share_out, r.max_abs))
    sizes = [max(e.size, 1) for e in expected]
    share = sum(r.share_out * s for r, s in zip(results, sizes, strict=True)) / sum(sizes)
    return OutputParity(
        name,
        shown.verdict,
        max(r.max_abs for r in results),
        max(r.max_rel for r in results),
        share,
        shown.worst,
        shown.expected,
        shown.actual,
        shown.reason,
    )


def _compare(
    name: str, call: int, expected: Array, actual: Array, rtol: float | None, atol: float | None
) -> OutputParity:
    wanted, found = DType.from_numpy(expected.dtype), DType.from_numpy(actual.dtype)
    if wanted is not found:
        return OutputParity(
            name,
            Verdict.FAILED,
            share_out=1.0,
            reason=f"its type is {found.label}, and {wanted.label} in the source",
        )
    if expected.shape != actual.shape:
        return OutputParity(
            name,
            Verdict.FAILED,
            share_out=1.0,
            reason=f"its shape is {list(actual.shape)}, and {list(expected.shape)} in the source",
        )
    tolerance = tolerance_for(wanted, rtol, atol)
    if not expected.size:
        return OutputParity(name, Verdict.PASSED)
    if tolerance is None:
        difference = _exact_difference(expected, actual)
        out = np.asarray(expected != actual, bool)
    else:
        difference, out = _difference(expected, actual, tolerance)
    index = np.unravel_index(int(np.argmax(np.where(out, np.inf, difference))), out.shape)
    if out.any():
        index = np.unravel_index(int(np.argmax(np.where(out, difference, -1.0))), out.shape)
    share = float(np.mean(out))
    worst = (call, *map(int, index))
    verdict = Verdict.FAILED if share else Verdict.PASSED
    reason = (
        f"{share:.2%} of its values are out of tolerance; at call {call}, index "
        f"{list(worst[1:])} it is {actual[index]!s:.60}, and {expected[index]!s:.60} in the source"
    )
    return OutputParity(
        name,
        verdict,
        float(np.max(difference)),
        _relative(expected, difference),
        share,
        worst,
        expected[index],
        actual[index],
        reason if share else None,
    )


def _difference(expected: Array, actual: Array, tolerance: Tolerance) -> tuple[Array, Array]:
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    e, a = expected.astype(wide), actual.astype(wide)
    same = (e == a) | (np.isnan(e) & np.isnan(a))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, np.abs(a - e))
    difference = np.where(np.isnan(difference), np.inf, difference)
    finite = np.abs(e[np.isfinite(e)])
    scale = float(np.max(finite, initial=0.0)) if tolerance.scaled else 1.0
    magnitude = np.where(np.isfinite(e), np.abs(e), 0.0)
    return difference, difference > tolerance.atol * scale + tolerance.rtol * magnitude


def _exact_difference(expected: Array, actual: Array) -> Array:
    if expected.dtype.kind in "iu":
        return np.abs(expected.astype(np.float64) - actual.astype(np.float64))
    return np.asarray(expected != actual, np.float64)


def _relative(expected: Array, difference: Array) -> float:
    if expected.dtype.kind not in "fc" and expected.dtype.name != "bfloat16":
        return 0.0
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    magnitude = np.abs(expected.astype(wide))
    known = np.isfinite(magnitude) & (magnitude > 0)
    return float(np.max(difference[known] / magnitude[known], initial=0.0))


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    item = value.item() if hasattr(value, "item") else value
    return (
        repr(item)
        if isinstance(item, (complex,))
        else _finite(item)
        if isinstance(item, float)
        else item
    )
