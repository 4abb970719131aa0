"""Gradients of what is done with sparse tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from proof import Case, Tolerance
from values import BRAIN, DOUBLE, FLOATS, HALF, INTEGERS, SIGNED, SINGLE, edges, plain

NEAR = {
    SINGLE: Tolerance(rtol=1e-5, atol=1e-5),
    DOUBLE: Tolerance(rtol=1e-12, atol=1e-12),
    HALF: Tolerance(rtol=4e-3, atol=2e-2),
    BRAIN: Tolerance(rtol=3e-2, atol=1e-1),
}
INT = (np.int32, np.int64)


def cases() -> Iterator[Case]:
    yield from _segments()
    for dtype in (*FLOATS, *INTEGERS):
        yield from _fills(dtype)
        yield from _slices(dtype)
    for dtype in (SINGLE, DOUBLE, *SIGNED):
        yield from _sums(dtype)


def _segments() -> Iterator[Case]:
    for op in ("Sum", "Mean", "SqrtN"):
        for dtype in FLOATS:
            for inner in ((), (3,), (2, 2), (0,)):
                yield _segment(op, dtype, (3, *inner), [4, 0, 4, 1, 4], [0, 0, 1, 2, 2], INT)
            yield _segment(op, dtype, (4, 3), [1, 1, 0], [0, 2, 2], INT[::-1])
            yield _segment(op, dtype, (0, 2), [], [], INT)


def _segment(
    op: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    indices: list[int],
    ids: list[int],
    kinds: tuple[type, type],
) -> Case:
    return Case(
        f"SparseSegment{op}GradV2",
        {
            "grad": plain(dtype, shape),
            "indices": np.array(indices, kinds[0]),
            "segment_ids": np.array(ids, kinds[1]),
            "dense_output_dim0": np.array(6, np.int32),
        },
        tolerance=NEAR[dtype],
    )


def _fills(dtype: np.dtype[Any]) -> Iterator[Case]:
    for places, count in (([0, 2, 3, 5], 7), ([], 3), ([0, 1], 2), ([], 0)):
        for grad in (plain(dtype, (count,)), np.resize(edges(dtype)[:9], count)):
            for op in ("SparseFillEmptyRowsGrad", "RaggedFillEmptyRowsGrad"):
                given = {"reverse_index_map": np.array(places, np.int64), "grad_values": grad}
                yield Case(op, given, tolerance=NEAR.get(dtype, Tolerance()))


def _slices(dtype: np.dtype[Any]) -> Iterator[Case]:
    indices = np.array([[0, 2, 1], [1, 0, 0], [1, 3, 2], [2, 1, 0], [2, 3, 1]], np.int64)
    for start, size in (([1, 0, 0], [2, 4, 1]), ([0, 0, 0], [9, 9, 9]), ([2, 2, 2], [1, 1, 1])):
        inside = np.all((indices >= start) & (indices < np.add(start, size)), axis=1)
        kept = indices[inside] - start
        for count in (5, 0):
            chosen = kept if count else kept[:0]
            yield Case(
                "SparseSliceGrad",
                {
                    "backprop_val_grad": plain(dtype, (len(chosen),)),
                    "input_indices": indices[:count],
                    "input_start": np.array(start, np.int64),
                    "output_indices": chosen,
                },
            )


def _sums(dtype: np.dtype[Any]) -> Iterator[Case]:
    a = np.array([[0, 1], [1, 0], [1, 2], [3, 3]], np.int64)
    b = np.array([[0, 0], [1, 0], [1, 2]], np.int64)
    both = np.unique(np.concatenate([a, b]), axis=0)
    for first, second, found in (
        (a, b, both),
        (a, b, both[1:4]),
        (a, b[:0], a),
        (a[:0], b[:0], a[:0]),
        (a, b, a[:0]),
    ):
        yield Case(
            "SparseAddGrad",
            {
                "backprop_val_grad": plain(dtype, (len(found),)),
                "a_indices": first,
                "b_indices": second,
                "sum_indices": found,
            },
        )
