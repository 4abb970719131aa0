"""A failing input made small: fewer rows, more zeros, rounder numbers, and still failing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from smconvert.model import Array

Feeds = Mapping[str, Array]
ROUNDS = 40
"""Each round runs its candidates in one session; a model of ordinary size takes seconds for all."""

_PARTS = 16


def shrink(
    feeds: Feeds, batched: set[str], fails: Callable[[Sequence[Feeds]], list[bool]]
) -> Feeds:
    """The smallest input found that still fails.

    Args:
        feeds: An input that fails.
        batched: Inputs whose first axis is the batch.
        fails: Says for each candidate whether it fails; one that cannot be run does not.
    """
    for _ in range(ROUNDS):
        candidates = [*_rows(feeds, batched), *_zeros(feeds), *_rounded(feeds)]
        smaller = [c for c in candidates if _size(c) < _size(feeds)]
        verdicts = fails(smaller) if smaller else []
        failing = [c for c, failed in zip(smaller, verdicts, strict=True) if failed]
        if not failing:
            return feeds
        feeds = min(failing, key=_size)
    return feeds


def _size(feeds: Feeds) -> tuple[int, int, int]:
    """Elements, elements that are not zero, and digits of these: the smaller the simpler."""
    elements = sum(array.size for array in feeds.values())
    numbers = [a for a in feeds.values() if a.dtype.kind in "fiub"]
    filled = sum(int(np.count_nonzero(a)) for a in numbers)
    texts = sum(len(v) for a in feeds.values() if a.dtype == object for v in a.ravel().tolist())
    digits = sum(int(np.count_nonzero(a != np.round(a))) for a in numbers if a.dtype.kind == "f")
    return elements, filled + texts, digits


def _rows(feeds: Feeds, batched: set[str]) -> Iterator[Feeds]:
    """Halves of the batch, and single rows of a small one."""
    sizes = {len(feeds[name]) for name in batched}
    if len(sizes) != 1:
        return
    (rows,) = sizes
    half = (rows + 1) // 2
    ranges = [(0, half), (half, rows)] if rows > _PARTS else [(r, r + 1) for r in range(rows)]
    for start, stop in ranges:
        yield {n: a[start:stop] if n in batched else a for n, a in feeds.items()}


def _zeros(feeds: Feeds) -> Iterator[Feeds]:
    """Each part of each input set to zero, from halves to sixteenths."""
    for name, array in feeds.items():
        if array.dtype.kind not in "fiu" or not array.any():
            continue
        filled = np.flatnonzero(array)
        parts = min(_PARTS, filled.size)
        for part in [filled, *np.array_split(filled, 2), *np.array_split(filled, parts)]:
            changed = array.copy()
            changed.reshape(-1)[part] = 0
            yield {**feeds, name: changed}


def _rounded(feeds: Feeds) -> Iterator[Feeds]:
    for name, array in feeds.items():
        if array.dtype.kind == "f":
            with np.errstate(all="ignore"):
                yield {**feeds, name: np.round(array)}
                yield {**feeds, name: np.sign(array)}
