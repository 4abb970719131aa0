"""Sparse and ragged tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from proof import EXACT, Case, Tolerance
from smconvert.model import Array
from values import (
    BOOL,
    BRAIN,
    DOUBLE,
    FLOATS,
    HALF,
    NUMBERS,
    SINGLE,
    TEXT,
    plain,
    positive,
)

FEW = (SINGLE, np.dtype(np.int64), TEXT)
SOME = (np.dtype(np.int8), np.dtype(np.int32), np.dtype(np.int64))
ANY = (*NUMBERS, BOOL, TEXT)
SHAPES = ((3, 4), (5,), (2, 3, 4), (3, 0), (0, 3), (1, 1))
Sparse = tuple[Array, Array, Array]


def cases() -> Iterator[Case]:
    yield from dense()
    yield from arranged()
    yield from filled()
    yield from parts()
    yield from products()
    yield from sums()
    yield from pairs()
    yield from counts()
    yield from gradients()
    yield from ragged()


def sparse(dtype: np.dtype, shape: tuple[int, ...], seed: int = 0) -> Sparse:
    """About half of the elements, in order; no zeros among the values."""
    random = np.random.default_rng(seed)
    indices = np.argwhere(random.random(shape) < 0.5).astype(np.int64)
    values = plain(dtype, (len(indices),), seed)
    return indices, values, np.array(shape, np.int64)


def named(prefix: str, given: Sparse, last: str = "shape") -> dict[str, Any]:
    names = (f"{prefix}indices", f"{prefix}values", f"{prefix}{last}")
    return dict(zip(names, given, strict=True))


def tolerance(dtype: np.dtype) -> Tolerance:
    if dtype not in FLOATS:
        return EXACT
    last = {SINGLE: 1e-5, DOUBLE: 1e-12, HALF: 4e-3, BRAIN: 3e-2}[dtype]
    return Tolerance(rtol=last, atol=last)


def dense() -> Iterator[Case]:
    for dtype in ANY:
        for shape in ((3, 4), (5,), (2, 3, 4)):
            for small in (np.int32, np.int64) if dtype in FEW else (np.int64,):
                indices, values, size = sparse(dtype, shape)
                inputs = {
                    "sparse_indices": indices.astype(small),
                    "output_shape": size.astype(small),
                    "sparse_values": values,
                    "default_value": plain(dtype, ()),
                }
                yield Case("SparseToDense", inputs)
                yield Case("SparseToDense", inputs, constants=frozenset({"output_shape"}))
    default = np.float32(-1)
    five = np.array([5])
    for at, values in (
        (np.array(3), np.float32(2)),
        (np.array([1, 3]), np.float32(2)),
        (np.array([1, 3]), np.float32([2, 3])),
        (np.zeros((0, 1), np.int64), np.float32([])),
        (np.zeros((0,), np.int64), np.float32([])),
        (np.array([[3], [1], [3]]), np.float32([2, 3, 4])),
        (np.array([[9]]), np.float32([2])),
    ):
        for checked in (True, False):
            inputs = {
                "sparse_indices": at,
                "output_shape": five,
                "sparse_values": np.asarray(values),
                "default_value": np.asarray(default),
            }
            yield Case("SparseToDense", inputs, {"validate_indices": checked})
    empty = {
        "sparse_indices": np.zeros((0, 2), np.int64),
        "output_shape": np.array([0, 3]),
        "sparse_values": np.float32([]),
        "default_value": np.asarray(default),
    }
    yield Case("SparseToDense", empty)


def arranged() -> Iterator[Case]:
    for dtype in ANY:
        for shape in SHAPES if dtype in FEW else SHAPES[:1]:
            indices, values, size = sparse(dtype, shape)
            mixed = np.random.default_rng(1).permutation(len(indices))
            given = (indices[mixed], values[mixed], size)
            yield Case("SparseReorder", named("input_", given))
    for shape, targets in (
        ((3, 4), ([12], [4, 3], [-1], [2, -1, 3], [1, 12, 1])),
        ((2, 3, 4), ([6, 4], [-1, 2], [24])),
        ((5,), ([5, 1], [-1])),
        ((3, 0), ([0, 5], [0], [0, 3, 2])),
    ):
        indices, _, size = sparse(SINGLE, shape)
        for target in targets:
            inputs = {
                "input_indices": indices,
                "input_shape": size,
                "new_shape": np.array(target, np.int64),
            }
            yield Case("SparseReshape", inputs)
            constants = frozenset({"input_shape", "new_shape"})
            yield Case("SparseReshape", inputs, constants=constants)


def filled() -> Iterator[Case]:
    for dtype in ANY:
        for shape in ((4, 3), (5,), (3, 2, 2), (0, 3), (2, 0)) if dtype in FEW else ((4, 3),):
            for seed in (0, 3):
                indices, values, size = sparse(dtype, shape, seed)
                kept = indices[:, 0] != 1
                mixed = np.random.default_rng(seed).permutation(np.count_nonzero(kept))
                for chosen in (np.arange(len(mixed)), mixed):
                    inputs = {
                        "indices": indices[kept][chosen],
                        "values": values[kept][chosen],
                        "dense_shape": size,
                        "default_value": plain(dtype, (), 5),
                    }
                    yield Case("SparseFillEmptyRows", inputs)
        inputs = {
            "value_rowids": np.array([1, 1, 3]),
            "values": plain(dtype, (3,)),
            "nrows": np.array(5),
            "default_value": plain(dtype, (), 5),
        }
        yield Case("RaggedFillEmptyRows", inputs)
    none = {
        "indices": np.zeros((0, 2), np.int64),
        "values": np.float32([]),
        "dense_shape": np.array([3, 2]),
        "default_value": np.asarray(np.float32(7)),
    }
    yield Case("SparseFillEmptyRows", none)


def parts() -> Iterator[Case]:
    for dtype in ANY:
        given = sparse(dtype, (4, 5))
        boxes = (([1, 2], [2, 2]), ([0, 0], [9, 9]), ([3, 4], [0, 1]), ([5, 1], [2, 2]))
        for start, size in boxes if dtype in FEW else boxes[:1]:
            inputs = {**named("", given), "start": np.array(start), "size": np.array(size)}
            yield Case("SparseSlice", inputs)
        cuts = ((0, 2), (1, 2), (1, 5), (-1, 3), (0, 1))
        for axis, count in cuts if dtype in FEW else cuts[1:2]:
            inputs = {"split_dim": np.array(axis), **named("", given)}
            yield Case("SparseSplit", inputs, {"num_split": count})
        for axis, shapes in (
            (0, ((2, 3), (4, 3))),
            (1, ((2, 3), (2, 1), (2, 4))),
            (-1, ((2, 3), (2, 3))),
            (0, ((3,), (2,))),
            (1, ((2, 0), (2, 3))),
        )[: None if dtype in FEW else 2]:
            several = [sparse(dtype, shape, i) for i, shape in enumerate(shapes)]
            lists = dict(
                zip(("indices", "values", "shapes"), zip(*several, strict=True), strict=True)
            )
            inputs = {name: list(values) for name, values in lists.items()}
            yield Case("SparseConcat", inputs, {"concat_dim": axis})


def products() -> Iterator[Case]:
    for dtype in (*FLOATS, np.dtype(np.int32)):
        for small in (np.int32, np.int64) if dtype == SINGLE else (np.int64,):
            for adjoint_a in (False, True):
                for adjoint_b in (False, True):
                    for m, k, n in ((3, 4, 5), (2, 3, 40), (0, 3, 2), (3, 0, 2), (3, 2, 0)):
                        indices, values, _ = sparse(dtype, (k, m) if adjoint_a else (m, k))
                        inputs = {
                            "a_indices": indices.astype(small),
                            "a_values": values,
                            "a_shape": np.array((k, m) if adjoint_a else (m, k), np.int64),
                            "b": plain(dtype, (n, k) if adjoint_b else (k, n), 1),
                        }
                        given = {"adjoint_a": adjoint_a, "adjoint_b": adjoint_b}
                        yield Case(
                            "SparseTensorDenseMatMul", inputs, given, tolerance=tolerance(dtype)
                        )
    twice = {
        "a_indices": np.array([[0, 1], [0, 1], [2, 0]]),
        "a_values": np.float32([1, 2, np.inf]),
        "a_shape": np.array([3, 2]),
        "b": np.float32([[1, np.nan], [2, 3]]),
    }
    yield Case("SparseTensorDenseMatMul", twice)


def sums() -> Iterator[Case]:
    for op in ("SparseReduceSum", "SparseReduceMax"):
        for dtype in NUMBERS:
            for shape, axes in (
                ((3, 4), [0]),
                ((3, 4), [1]),
                ((3, 4), [-1, 0]),
                ((3, 4), []),
                ((2, 3, 4), [1]),
                ((2, 3, 4), [0, -1]),
                ((5,), [0]),
                ((0, 3), [0]),
                ((0, 3), [1]),
            )[: None if dtype in FEW else 2]:
                for keeps in (False, True):
                    inputs = {
                        **named("input_", sparse(dtype, shape)),
                        "reduction_axes": np.array(axes, np.int32),
                    }
                    for name in (op, f"{op}Sparse"):
                        yield Case(
                            name,
                            inputs,
                            {"keep_dims": keeps},
                            frozenset({"reduction_axes"}),
                            tolerance(dtype),
                            refusable=True,
                        )
    for dtype in (SINGLE, DOUBLE, HALF):
        for shape in ((3, 4), (2, 3, 4), (0, 3), (3, 0)):
            yield Case(
                "SparseSoftmax", named("sp_", sparse(dtype, shape)), tolerance=tolerance(dtype)
            )


def pairs() -> Iterator[Case]:
    for dtype in NUMBERS:
        for op in ("SparseDenseCwiseAdd", "SparseDenseCwiseMul", "SparseDenseCwiseDiv"):
            for shape, other in (
                ((3, 4), (3, 4)),
                ((3, 4), (4,)),
                ((3, 4), (3, 1)),
                ((3, 4), (1, 1)),
                ((3, 4), ()),
                ((2, 3, 4), (3, 1)),
                ((0, 3), (3,)),
            )[: None if dtype in FEW else 2]:
                inputs = {**named("sp_", sparse(dtype, shape)), "dense": positive(dtype, other)}
                yield Case(op, inputs, tolerance=tolerance(dtype))
        for small in (np.int32, np.int64):
            for shape in SHAPES if dtype in FEW else SHAPES[:1]:
                indices, values, size = sparse(dtype, shape)
                given = (indices.astype(small), values, size.astype(small))
                inputs = {**named("a_", given), "b": plain(dtype, shape, 1)}
                yield Case("SparseTensorDenseAdd", inputs, tolerance=tolerance(dtype))
        for shape in SHAPES if dtype in FEW else SHAPES[:1]:
            both = {
                **named("a_", sparse(dtype, shape)),
                **named("b_", sparse(dtype, shape, 1)),
            }
            for op in ("SparseSparseMaximum", "SparseSparseMinimum"):
                yield Case(op, both)
            if dtype in (SINGLE, DOUBLE, *SOME, np.dtype(np.int16)):
                for threshold in (0, 1):
                    inputs = {**both, "thresh": np.array(threshold, dtype)}
                    yield Case("SparseAdd", inputs, tolerance=tolerance(dtype))
    odd = np.float32([np.nan, 1, -np.inf, 2])
    indices = np.array([[0, 0], [0, 2], [1, 1], [1, 2]])
    given = (indices, odd, np.array([2, 3]))
    both = {**named("a_", given), **named("b_", (indices[1:], odd[:-1], np.array([2, 3])))}
    yield Case("SparseAdd", {**both, "thresh": np.array(1.5, np.float32)})
    yield Case("SparseSparseMaximum", both)
    yield Case("SparseSparseMinimum", both)
    for op in ("SparseReduceMax", "SparseReduceMaxSparse"):
        inputs = {**named("input_", given), "reduction_axes": np.array([1], np.int32)}
        yield Case(op, inputs, constants=frozenset({"reduction_axes"}), refusable=True)
    yield Case("SparseSoftmax", named("sp_", given))


def counts() -> Iterator[Case]:
    for small in (np.int32, np.int64):
        for dtype in (SINGLE, DOUBLE, *SOME[1:]):
            for binary in (False, True):
                values = np.array([1, 3, 1, 9, 0, 3], small)
                weights = [plain(dtype, (6,)), np.zeros((0,), dtype)]
                for weight in weights[1:] if binary else weights:
                    tail = {"size": np.array(5, small), "weights": weight}
                    given = {"binary_output": binary}
                    near = tolerance(dtype)
                    inputs = {"splits": np.array([0, 2, 2, 6]), "values": values, **tail}
                    yield Case("RaggedBincount", inputs, given, tolerance=near)
                    indices = np.array([[0, 0], [0, 1], [2, 0], [2, 1], [2, 2], [2, 5]])
                    inputs = {
                        "indices": indices,
                        "values": values,
                        "dense_shape": np.array([4, 6]),
                        **tail,
                    }
                    yield Case("SparseBincount", inputs, given, tolerance=near, refusable=True)
                    inputs = {
                        "indices": np.arange(6)[:, None],
                        "values": values,
                        "dense_shape": np.array([6]),
                        **tail,
                    }
                    yield Case("SparseBincount", inputs, given, tolerance=near, refusable=True)


def gradients() -> Iterator[Case]:
    for op in ("SparseSegmentSumGrad", "SparseSegmentMeanGrad", "SparseSegmentSqrtNGrad"):
        for dtype in FLOATS:
            for shape in ((3, 2), (3,), (3, 2, 2)):
                inputs = {
                    "grad": plain(dtype, shape),
                    "indices": np.array([4, 0, 1, 4], np.int32),
                    "segment_ids": np.array([0, 0, 2, 2], np.int32),
                    "output_dim0": np.array(6, np.int32),
                }
                yield Case(op, inputs, tolerance=tolerance(dtype))


def ragged() -> Iterator[Case]:
    for dtype in (SINGLE, DOUBLE, np.dtype(np.int32), np.dtype(np.int64)):
        for starts, limits, deltas in (
            ([0, 5, 8], [3, 5, 12], [1, 1, 1]),
            ([0, 5, 8], [3, 5, 1], [1, 2, -3]),
            (0, [3, 0, 7], 2),
            ([], [], []),
            (2, 7, 2),
        ):
            given = [np.array(v, dtype) for v in (starts, limits, deltas)]
            for splits in (tf.int32, tf.int64):
                yield Case(
                    "RaggedRange",
                    dict(zip(("starts", "limits", "deltas"), given, strict=True)),
                    {"Tsplits": splits},
                    refusable=True,
                )
    for splits in (np.int32, np.int64):
        inner, outer = np.array([0, 2, 2, 5, 6], splits), np.array([0, 1, 4], splits)
        for dtype in (SINGLE, np.dtype(np.int32), TEXT, BOOL):
            values = plain(dtype, (6,))
            for nested in ([inner], [outer, inner]):
                yield Case(
                    "RaggedTensorToSparse",
                    {"rt_nested_splits": nested, "rt_dense_values": values},
                    refusable=True,
                )
                for at in ([1, 0], [], [[1, 1], [0, 1]]):
                    inputs = {
                        "params_nested_splits": nested,
                        "params_dense_values": values,
                        "indices": np.array(at, np.int32),
                    }
                    rank = len(nested) + np.ndim(at) - 1
                    yield Case("RaggedGather", inputs, {"OUTPUT_RAGGED_RANK": rank}, refusable=True)
            for shape in ([-1, -1], [6, 2], [2, 4], [-1, 0]):
                for kinds, rows in (
                    (["ROW_SPLITS"], [inner]),
                    (
                        ["FIRST_DIM_SIZE", "VALUE_ROWIDS"],
                        [splits(5), np.array([0, 0, 2, 2, 2, 4], splits)],
                    ),
                ):
                    inputs = {
                        "shape": np.array(shape, splits),
                        "values": values,
                        "default_value": plain(dtype, (), 7),
                        "row_partition_tensors": [np.asarray(r) for r in rows],
                    }
                    yield Case(
                        "RaggedTensorToTensor",
                        inputs,
                        {"row_partition_types": kinds},
                        refusable=True,
                    )
            inputs = {
                "shape": np.array([-1, -1, -1], splits),
                "values": values,
                "default_value": plain(dtype, (), 7),
                "row_partition_tensors": [outer, inner],
            }
            kinds = ["ROW_SPLITS", "ROW_SPLITS"]
            yield Case(
                "RaggedTensorToTensor", inputs, {"row_partition_types": kinds}, refusable=True
            )
