"""How far two values of one output are apart, and whether that is too far.

An element is in tolerance when ``|actual - expected| <= atol + rtol * |expected|``. Unless the user
sets ``atol``, it is a share of the output's largest magnitude: rounding errors of a sum grow with
its terms, not with what is left of them. A value that only marks places, such as the -1e9 of an
attention mask, is not taken for that magnitude. Integers, strings and booleans must be equal; NaN
equals NaN, and an infinity the same infinity.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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


SMALLEST_SCALE = 1e-3
"""Of an output that is all zeros: a sum may leave zero in one order of its terms only."""

_MARK = 1e4
_GAP = 1e3
"""A value is a mark if it is at least so large, and the next largest is smaller by this factor."""

TOLERANCES: Mapping[DType, Tolerance] = {
    DType.FLOAT64: Tolerance(1e-9, 1e-10),
    DType.COMPLEX128: Tolerance(1e-9, 1e-10),
    DType.FLOAT32: Tolerance(1e-4, 1e-5),
    DType.COMPLEX64: Tolerance(1e-4, 1e-5),
    DType.FLOAT16: Tolerance(1e-2, 2e-3),
    DType.BFLOAT16: Tolerance(4e-2, 1e-2),
}


def tolerance_for(
    dtype: DType,
    rtol: float | None,
    atol: float | None,
    rounding: Tolerance | None = None,
) -> Tolerance | None:
    """The tolerance of a type, or of a coarser arithmetic; None where values must be equal."""
    default = TOLERANCES.get(dtype)
    if default is None:
        return None
    if rounding is not None and rounding.rtol > default.rtol:
        default = rounding
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
        max_ulp: Largest difference in units in the last place of the output's type.
        cosine: Of the angle between the two values as vectors, all calls in a row; None for what
            has no angle.
        argmax_agreement: Share of rows whose largest element is the same one; None where the last
            axis is no choice between several.
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
    max_ulp: float = 0.0
    cosine: float | None = None
    argmax_agreement: float | None = None
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
            "max_abs": finite(self.max_abs),
            "max_rel": finite(self.max_rel),
            "max_ulp": finite(self.max_ulp),
            "cosine": None if self.cosine is None else finite(self.cosine),
            "argmax_agreement": self.argmax_agreement,
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
    rounding: Tolerance | None = None,
) -> OutputParity:
    """Compares the values of one output over the same calls, in order.

    Args:
        name: The output.
        expected: Its values in the reference.
        actual: Its values in what is compared.
        rtol: Relative tolerance; None for that of the type.
        atol: Absolute tolerance, likewise.
        rounding: Of an arithmetic that is coarser than the type (TF32).
    """
    results = [
        _compare(name, call, e, a, tolerance_for(DType.from_numpy(e.dtype), rtol, atol, rounding))
        for call, (e, a) in enumerate(zip(expected, actual, strict=True))
    ]
    failed = [r for r in results if r.verdict is Verdict.FAILED]
    shown = max(failed or results, key=lambda r: (r.share_out, r.max_abs))
    sizes = [max(e.size, 1) for e in expected]
    share = sum(r.share_out * s for r, s in zip(results, sizes, strict=True)) / sum(sizes)
    return replace(
        shown,
        max_abs=max(r.max_abs for r in results),
        max_rel=max(r.max_rel for r in results),
        max_ulp=max(r.max_ulp for r in results),
        cosine=cosine(expected, actual),
        argmax_agreement=argmax_agreement(expected, actual),
        share_out=share,
    )


def _compare(
    name: str, call: int, expected: Array, actual: Array, tolerance: Tolerance | None
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
    if not expected.size:
        return OutputParity(name, Verdict.PASSED)
    if tolerance is None:
        distance = _exact_difference(expected, actual)
        out = np.asarray(expected != actual, bool)
    else:
        distance, allowed = difference(expected, actual, tolerance)
        out = distance > allowed
    index = np.unravel_index(int(np.argmax(np.where(out, np.inf, distance))), out.shape)
    if out.any():
        index = np.unravel_index(int(np.argmax(np.where(out, distance, -1.0))), out.shape)
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
        float(np.max(distance)),
        _relative(expected, distance),
        float(np.max(ulps(expected, actual), initial=0.0)),
        share_out=share,
        worst=worst,
        expected=expected[index],
        actual=actual[index],
        reason=reason if share else None,
    )


def difference(expected: Array, actual: Array, tolerance: Tolerance) -> tuple[Array, Array]:
    """The absolute difference of each element, and how much of it the tolerance allows."""
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    e, a = expected.astype(wide), actual.astype(wide)
    same = (e == a) | (np.isnan(e) & np.isnan(a))
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(same, 0.0, np.abs(a - e))
    distance = np.where(np.isnan(distance), np.inf, distance)
    scale = _scale(e) if tolerance.scaled else 1.0
    magnitude = np.where(np.isfinite(e), np.abs(e), 0.0)
    return distance, tolerance.atol * scale + tolerance.rtol * magnitude


def _scale(expected: Array) -> float:
    """The largest magnitude, marks apart."""
    magnitude = np.abs(expected[np.isfinite(expected)])
    largest = float(np.max(magnitude, initial=0.0))
    if largest >= _MARK:
        others = float(np.max(magnitude[magnitude < largest * (1 - 1 / _GAP)], initial=0.0))
        if 0 < others < largest / _GAP:
            return others
    return max(largest, SMALLEST_SCALE)


def ulps(expected: Array, actual: Array) -> Array:
    """How many values of the type lie between two values, elementwise, as float64.

    Zero where both are NaN or equal, infinite where just one is NaN. Empty for types without
    units in the last place.
    """
    dtype = expected.dtype
    if dtype.kind != "f" and dtype.name != "bfloat16":
        return np.zeros(0)
    number = np.dtype(f"i{dtype.itemsize}")

    def ordered(value: Array) -> Array:
        bits = np.ascontiguousarray(value).view(number).astype(np.int64)
        return np.where(bits < 0, np.iinfo(number).min - bits, bits)

    e, a = np.isnan(expected), np.isnan(actual)
    low, high = np.sort([ordered(expected), ordered(actual)], axis=0)
    distance = (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)
    return np.where(e & a, 0.0, np.where(e ^ a, np.inf, distance))


def cosine(expected: Sequence[Array], actual: Sequence[Array]) -> float | None:
    """The cosine of the angle between all values of both; None without one."""
    if any(
        e.shape != a.shape or e.dtype.kind not in "f" for e, a in zip(expected, actual, strict=True)
    ):
        return None
    product = squares = others = 0.0
    for e, a in zip(expected, actual, strict=True):
        known = np.isfinite(e) & np.isfinite(a)
        e_, a_ = e[known].astype(np.float64), a[known].astype(np.float64)
        product += float(e_ @ a_)
        squares += float(e_ @ e_)
        others += float(a_ @ a_)
    if not squares or not others:
        return None
    return min(1.0, max(-1.0, product / math.sqrt(squares) / math.sqrt(others)))


def argmax_agreement(expected: Sequence[Array], actual: Sequence[Array]) -> float | None:
    """Share of rows with the same largest element, for floats with two or more in the last axis."""
    rows = same = 0
    for e, a in zip(expected, actual, strict=True):
        if e.shape != a.shape or e.dtype.kind != "f" or e.ndim < 2 or e.shape[-1] < 2 or not e.size:
            return None
        agreed = np.argmax(e, -1) == np.argmax(a, -1)
        rows += agreed.size
        same += int(np.count_nonzero(agreed))
    return same / rows if rows else None


def _exact_difference(expected: Array, actual: Array) -> Array:
    if expected.dtype.kind in "iu":
        return np.abs(expected.astype(np.float64) - actual.astype(np.float64))
    return np.asarray(expected != actual, np.float64)


def _relative(expected: Array, distance: Array) -> float:
    if expected.dtype.kind not in "fc" and expected.dtype.name != "bfloat16":
        return 0.0
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    magnitude = np.abs(expected.astype(wide))
    known = np.isfinite(magnitude) & (magnitude > 0)
    return float(np.max(distance[known] / magnitude[known], initial=0.0))


def finite(value: float) -> float | str:
    """A number as JSON holds it: infinities and NaN as text."""
    return value if np.isfinite(value) else repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    item = value.item() if hasattr(value, "item") else value
    return (
        repr(item)
        if isinstance(item, (complex,))
        else finite(item)
        if isinstance(item, float)
        else item
    )
