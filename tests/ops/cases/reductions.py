"""Reductions, segments, cumulative sums, sorting and counting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from proof import EXACT, Case, Tolerance
from smconvert.model import Array
from values import BOOL, DOUBLE, FLOATS, NUMBERS, SINGLE, TEXT, edges, plain

AXES = frozenset({"axis"})


def close(dtype: np.dtype) -> Tolerance:
    """For sums and products of moderate numbers."""
    if dtype.kind in "iu":
        return EXACT
    digits = {"float32": 1e-5, "float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}[dtype.name]
    return Tolerance(rtol=digits, atol=digits)


def cases() -> Iterator[Case]:
    yield from _reductions()
    yield from _arguments()
    yield from _segments()
    yield from _counts()
    yield from _running()
    yield from _sorted()
    yield from _different()


def _ints(*values: int, dtype: type = np.int32) -> Array:
    return np.array(values, dtype)


def _reductions() -> Iterator[Case]:
    for op in ("Sum", "Mean", "Prod", "Max", "Min", "EuclideanNorm", "All", "Any"):
        logical = op in {"All", "Any"}
        for dtype in (BOOL,) if logical else NUMBERS:
            tolerance = EXACT if logical or op in {"Max", "Min"} else close(dtype)
            yield from _one_reduction(op, dtype, tolerance)


def _one_reduction(op: str, dtype: np.dtype, tolerance: Tolerance) -> Iterator[Case]:
    def case(x: Array, axes: Array, keep: bool = False, fed: bool = False) -> Case:
        constants = frozenset[str]() if fed else AXES
        return Case(op, {"input": x, "axis": axes}, {"keep_dims": keep}, constants, tolerance)

    cube = plain(dtype, (2, 3, 4))
    none = np.array([], np.int32)
    for fed in (False, True):
        yield case(cube, _ints(-1, 0, dtype=np.int64), keep=True, fed=fed)
        yield case(cube, _ints(0, 2), fed=fed)
        yield case(cube, none, fed=fed)
        yield case(plain(dtype, (2, 0, 3)), _ints(0, -1), fed=fed)
        yield case(plain(dtype, (2, 0, 3)), _ints(1), fed=fed)
    yield case(cube, _ints(1))
    yield case(cube, np.array(2, np.int64))
    yield case(cube, none, keep=True)
    yield case(cube, _ints(2, 0, 1))
    yield case(np.asarray(plain(dtype, ())), none)
    yield case(plain(dtype, (0, 3)), _ints(0))
    yield case(plain(dtype, (0, 3)), _ints(1), keep=True)
    yield case(plain(dtype, (0,)), _ints(0))
    yield case(plain(dtype, (5, 1, 1)), _ints(2))
    if dtype.kind in "iu":
        yield case(edges(dtype), _ints(0))
        yield case(np.stack([edges(dtype)] * 2), _ints(0))
        yield case(np.stack([edges(dtype)] * 2), _ints(-1))
        yield case(np.full((300,), np.iinfo(dtype).max, dtype), _ints(0))
    if dtype.itemsize == 8 and dtype.kind in "iu":
        # ONNX Runtime compares the lower halves as if they were signed.
        words = np.array([100, 2**31, 2**32 - 1, 2**33 + 5, 2**33 + 2**31, 1], dtype)
        yield case(np.stack(np.meshgrid(words, words, words), -1), _ints(-1))
    if dtype in FLOATS:
        values = np.array([1, np.nan, 2, np.inf, -np.inf, -0.0, 3], dtype)
        pairs = np.stack(np.meshgrid(values, values), -1)
        yield case(pairs, _ints(-1))
        yield case(pairs, _ints(0))


def _arguments() -> Iterator[Case]:
    for op in ("ArgMax", "ArgMin"):
        for dtype in (*NUMBERS, BOOL):
            for fed in (AXES, frozenset[str]()):
                constants = frozenset({"dimension"}) if fed else fed
                for shape, axis in (((2, 3, 4), 1), ((2, 3, 4), -1), ((5,), 0), ((0, 3), 1)):
                    x = plain(dtype, shape)
                    yield Case(
                        op, {"input": x, "dimension": np.array(axis, np.int32)}, {}, constants
                    )
                yield Case(
                    op,
                    {"input": edges(dtype), "dimension": np.array(0, np.int64)},
                    {"output_type": np.int32},
                    constants,
                )
            if dtype in FLOATS:
                values = np.array([1, np.nan, -np.inf, np.inf, 1], dtype)
                triples = np.stack(np.meshgrid(values, values, values), -1)
                yield Case(
                    op,
                    {"input": triples, "dimension": np.array(-1, np.int32)},
                    {},
                    frozenset({"dimension"}),
                )
    for dtype in (np.uint16, np.int16):
        yield Case(
            "ArgMax",
            {"input": plain(SINGLE, (3, 4)), "dimension": np.array(1, np.int32)},
            {"output_type": dtype},
            frozenset({"dimension"}),
        )
    for dtype in FLOATS:
        for shape in ((), (2, 3), (0,)):
            yield Case("L2Loss", {"t": plain(dtype, shape)}, tolerance=close(dtype))


SEGMENTS = ("Sum", "Prod", "Max", "Min")


def _segments() -> Iterator[Case]:
    for kind in (*SEGMENTS, "Mean"):
        for dtype in NUMBERS:
            for data, ids in (
                (plain(dtype, (5, 2)), _ints(0, 0, 1, 3, 3)),
                (plain(dtype, (4,)), _ints(2, 2, 2, 5, dtype=np.int64)),
                (plain(dtype, (0, 3)), _ints()),
                (plain(dtype, (2, 0)), _ints(1, 1)),
            ):
                case = {"data": data, "segment_ids": ids}
                yield Case(f"Segment{kind}", case, tolerance=close(dtype))
            yield Case(
                f"Segment{kind}",
                {"data": np.repeat(_limits(dtype), 2), "segment_ids": _ints(0, 0, 1, 1)},
                tolerance=close(dtype),
            )
    for kind in SEGMENTS:
        for dtype in NUMBERS:
            for data, ids, count in (
                (plain(dtype, (5, 2)), _ints(3, -1, 0, 3, 0), 5),
                (plain(dtype, (2, 3, 2)), _ints(1, 0, 2, -7, 1, 1, dtype=np.int64), 3),
                (plain(dtype, (0, 3)), _ints(), 2),
                (plain(dtype, (2, 3)), _ints(-1, -1), 0),
            ):
                shaped = ids.reshape(2, 3) if ids.size == 6 else ids
                yield Case(
                    f"UnsortedSegment{kind}",
                    {"data": data, "segment_ids": shaped, "num_segments": np.array(count)},
                    constants=frozenset({"num_segments"} if count == 5 else ()),
                    tolerance=close(dtype),
                )
    for kind in ("Sum", "Mean", "SqrtN"):
        for dtype in NUMBERS if kind == "Sum" else FLOATS:
            lookup = {
                "data": plain(dtype, (6, 2)),
                "indices": _ints(5, 1, 1, 0, dtype=np.int64),
                "segment_ids": _ints(0, 0, 2, 2),
            }
            none = {**lookup, "indices": _ints(), "segment_ids": _ints()}
            for given in (lookup, none):
                yield Case(f"SparseSegment{kind}", given, tolerance=close(dtype))
                yield Case(
                    f"SparseSegment{kind}WithNumSegments",
                    {**given, "num_segments": np.array(4, np.int32)},
                    tolerance=close(dtype),
                )


def _limits(dtype: np.dtype) -> Array:
    """Two moderate numbers, or the largest and smallest of a type of integers."""
    if dtype in FLOATS:
        return np.array([3, -7], dtype)
    return np.array([np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)


def _counts() -> Iterator[Case]:
    for dtype in (SINGLE, DOUBLE, np.dtype(np.int32), np.dtype(np.int64)):
        for arr, weights in (
            (_ints(1, 3, 1, 0, 9), plain(dtype, (5,))),
            (_ints(1, 3, 1, 0, 9), plain(dtype, (0,))),
            (_ints(), plain(dtype, (0,))),
            (_ints(1, 3, 1, 0, 2, 7).reshape(2, 3), plain(dtype, (2, 3))),
        ):
            size = np.array(4, np.int32)
            yield Case(
                "Bincount", {"arr": arr, "size": size, "weights": weights}, tolerance=close(dtype)
            )
            for binary in (False, True):
                for index in (np.int32, np.int64):
                    yield Case(
                        "DenseBincount",
                        {
                            "input": arr.astype(index),
                            "size": size.astype(index),
                            "weights": weights,
                        },
                        {"binary_output": binary},
                        frozenset({"size"} if index is np.int32 else ()),
                        tolerance=close(dtype),
                    )
    for dtype in (SINGLE, DOUBLE, np.dtype(np.int32), np.dtype(np.int64)):
        for nbins in (1, 5):
            yield Case(
                "HistogramFixedWidth",
                {
                    "values": np.array([0, 1, 2, 3, 4, 5, 6, 2, 100], dtype),
                    "value_range": np.array([1, 5], dtype),
                    "nbins": np.array(nbins, np.int32),
                },
                {"dtype": np.int64 if nbins == 5 else np.int32},
            )
    for dtype in (SINGLE, DOUBLE, np.dtype(np.int32), np.dtype(np.int64)):
        for x in (edges(dtype), plain(dtype, (2, 3)), np.asarray(plain(dtype, ()))):
            for boundaries in ([-3.0, 0.1, 0.3, 2.0, 7.0, 2.0**31], []):
                yield Case("Bucketize", {"input": x}, {"boundaries": boundaries})


def _running() -> Iterator[Case]:
    for op in ("Cumsum", "Cumprod", "CumulativeLogsumexp"):
        for dtype in FLOATS if op == "CumulativeLogsumexp" else NUMBERS:
            for exclusive in (False, True):
                for reverse in (False, True):
                    for x, axis, fed in (
                        (plain(dtype, (2, 3, 4)), 1, False),
                        (plain(dtype, (5,)), -1, True),
                        (plain(dtype, (2, 0)), 1, False),
                        (plain(dtype, (0, 2)), 1, True),
                        (_limits(dtype), 0, False),
                    ):
                        yield Case(
                            op,
                            {"x": x, "axis": np.array(axis, np.int64 if fed else np.int32)},
                            {"exclusive": exclusive, "reverse": reverse},
                            frozenset() if fed else AXES,
                            close(dtype),
                        )


def _sorted() -> Iterator[Case]:
    for dtype in NUMBERS:
        x = plain(dtype, (3, 6))
        tied = np.array([[1, 3, 2, 3, 1, 3]], dtype)
        for given, k, ordered in (
            (x, 3, True),
            (x, 6, False),
            (x, 1, False),
            (x, 0, True),
            (tied, 4, True),
            (tied[0], 6, True),
            (plain(dtype, (0, 4)), 2, True),
            (np.sort(edges(dtype)[: -1 if dtype in FLOATS else None]), 5, True),
        ):
            yield Case(
                "TopKV2",
                {"input": given, "k": np.array(k, np.int32)},
                {"sorted": ordered},
                frozenset({"k"} if k == 3 else ()),
            )
        for n, reverse in ((0, False), (2, True), (5, False)):
            yield Case(
                "NthElement",
                {"input": x if n else tied, "n": np.array(n, np.int32)},
                {"reverse": reverse},
            )
        rows = np.sort(np.concatenate([plain(dtype, (2, 4)), plain(dtype, (2, 4))], 1), 1)
        sought = np.concatenate([rows[:, ::3], plain(dtype, (2, 3), 5)], 1)
        for op in ("LowerBound", "UpperBound"):
            for out_type in (np.int32, np.int64):
                yield Case(op, {"sorted_inputs": rows, "values": sought}, {"out_type": out_type})
            yield Case(op, {"sorted_inputs": rows[:, :0], "values": sought})
            yield Case(op, {"sorted_inputs": rows, "values": sought[:, :0]})
    for k_type in (np.int16, np.int64):
        for index_type in (np.int16, np.int32, np.int64):
            yield Case(
                "TopKV2",
                {"input": plain(SINGLE, (2, 5)), "k": np.array(2, k_type)},
                {"index_type": index_type},
            )
    scores = np.array(
        [[0.1, 0.7, 0.7, 0.2], [1, 2, 3, np.nan], [np.inf, 1, 2, 3], [4, 3, 2, 1], [0, 0, 0, 0]],
        np.float32,
    )
    for targets in (_ints(1, 2, 1, 3, 0), _ints(2, 0, 0, -1, 4, dtype=np.int64)):
        for k in (0, 1, 2, 4):
            yield Case("InTopK", {"predictions": scores, "targets": targets}, {"k": k})
            yield Case(
                "InTopKV2",
                {"predictions": scores, "targets": targets, "k": np.array(k, targets.dtype)},
            )
    for k in (1, 3, 9):
        yield Case(
            "NearestNeighbors",
            {
                "points": plain(SINGLE, (5, 3)),
                "centers": plain(SINGLE, (5, 3), 1),
                "k": np.array(k, np.int64),
            },
            tolerance=Tolerance(rtol=1e-5, atol=1e-5),
        )


def _different() -> Iterator[Case]:
    for dtype in (*NUMBERS, BOOL, TEXT):
        line = np.concatenate([edges(dtype)[::-1], edges(dtype), plain(dtype, (9,))])
        table = np.concatenate([plain(dtype, (3, 2)), plain(dtype, (3, 2))])
        for out in (np.int32, np.int64):
            for op in ("Unique", "UniqueWithCounts"):
                yield Case(op, {"x": line}, {"out_idx": out})
                yield Case(op, {"x": line[:0]}, {"out_idx": out})
        for op in ("UniqueV2", "UniqueWithCountsV2"):
            for x, axes in (
                (line, _ints()),
                (line, _ints(0)),
                (table, _ints(0, dtype=np.int64)),
                (table.T, _ints(-1)),
                (np.stack([table, table], 2), _ints(1)),
                (table[:0], _ints(0)),
            ):
                yield Case(op, {"x": x, "axis": axes}, constants=AXES)
        if dtype in FLOATS:
            holes = np.array([[1, np.nan], [1, 2], [1, np.nan], [-0.0, 2], [0.0, 2]], dtype)
            yield Case("UniqueV2", {"x": holes, "axis": _ints(0)}, constants=AXES)
