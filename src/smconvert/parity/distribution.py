"""How the errors of one output are spread: for a histogram and a scatter plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smconvert.model import Array

DECADES = range(-16, 5)
"""Powers of ten of absolute errors; a bin for each, and one below for no error at all."""

POINTS = 400


@dataclass(frozen=True)
class Distribution:
    """Of all elements of an output, over all calls.

    Attributes:
        exact: Number of elements without an error.
        counts: Number of elements whose absolute error lies in each decade of ``DECADES``, the
            first and last taking what lies beyond.
        points: Pairs of expected and actual value, evenly taken, the worst among them.
    """

    exact: int
    counts: tuple[int, ...]
    points: tuple[tuple[float, float], ...]


def distribution(expected: Sequence[Array], actual: Sequence[Array]) -> Distribution:
    """The spread of errors; empty for values that are no numbers or of another shape."""
    pairs = [
        (e.ravel().astype(np.float64), a.ravel().astype(np.float64))
        for e, a in zip(expected, actual, strict=True)
        if e.shape == a.shape and e.dtype.kind in "fiub" and a.dtype.kind in "fiub"
    ]
    if not pairs:
        return Distribution(0, (0,) * len(DECADES), ())
    e, a = (np.concatenate(side) for side in zip(*pairs, strict=True))
    known = np.isfinite(e) & np.isfinite(a)
    e, a = e[known], a[known]
    errors = np.abs(a - e)
    decades = np.floor(np.log10(errors[errors > 0])).astype(int)
    bins = np.clip(decades, DECADES[0], DECADES[-1]) - DECADES[0]
    counts = np.bincount(bins, minlength=len(DECADES))
    return Distribution(
        int(np.count_nonzero(errors == 0)), tuple(counts.tolist()), tuple(_points(e, a, errors))
    )


def _points(expected: Array, actual: Array, errors: Array) -> list[tuple[float, float]]:
    if not errors.size:
        return []
    taken = np.linspace(0, errors.size - 1, min(POINTS, errors.size)).astype(int)
    taken = np.unique([*taken, int(np.argmax(errors))])
    return list(zip(expected[taken].tolist(), actual[taken].tolist(), strict=True))
