"""Sets in the rows of tensors, and counts that are sparse tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cases.sparse import named, sparse, tolerance
from proof import Case
from smconvert.model import Array
from values import DOUBLE, SINGLE, TEXT, edges, plain

KINDS = ("intersection", "union", "a-b", "b-a", "A-B")
SETS = (*(np.dtype(t) for t in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16)), TEXT)
FEW = (np.dtype(np.int32), TEXT)
WEIGHTS = (SINGLE, DOUBLE, np.dtype(np.int32), np.dtype(np.int64))
SHAPES = (
    ((2, 4), (2, 3)),
    ((2, 2, 4), (2, 2, 5)),
    ((2, 0), (2, 3)),
    ((2, 0), (2, 0)),
    ((0, 3), (0, 2)),
    ((1, 0, 2, 3), (1, 0, 2, 1)),
)


def cases() -> Iterator[Case]:
    yield from operations()
    yield from sizes()
    yield from counts()


def operations() -> Iterator[Case]:
    for dtype in SETS:
        for shape, other in SHAPES if dtype in FEW else SHAPES[:1]:
            for kind in KINDS:
                given = {"set_operation": kind}
                one, two = plain(dtype, shape), plain(dtype, other, 1)
                yield Case("DenseToDenseSetOperation", {"set1": one, "set2": two}, given)
                second = named("set2_", sparse(dtype, other, 2))
                yield Case("DenseToSparseSetOperation", {"set1": one, **second}, given)
                first = named("set1_", sparse(dtype, shape, 3))
                yield Case("SparseToSparseSetOperation", {**first, **second}, given)
        one = edges(dtype)[None]
        two = one[:, ::2].repeat(2, 1)
        for kind in KINDS:
            given = {"set_operation": kind, "validate_indices": False}
            yield Case("DenseToDenseSetOperation", {"set1": one, "set2": two}, given)


def sizes() -> Iterator[Case]:
    for dtype in SETS:
        for shape in ((3, 2, 20), (2, 4), (2, 0), (0, 3), (2, 0, 3))[: None if dtype in FEW else 1]:
            yield Case("SetSize", named("set_", sparse(dtype, shape)))
            yield Case("SetSize", named("set_", sparse(dtype, shape)), {"validate_indices": False})


def counts() -> Iterator[Case]:
    for small in (np.int32, np.int64):
        values = np.array([1, 3, 1, 9, 0, 3], small)
        for dtype in WEIGHTS:
            for given in attributes():
                weights = (np.zeros((0,), dtype), plain(dtype, (6,)))
                for weight in weights[: 1 if given["binary_output"] else 2]:
                    yield from counted(values, weight, given)
        none = np.zeros((0,), small)
        for given in attributes():
            weights = {"weights": np.zeros((0,), np.float32)}
            yield Case("DenseCountSparseOutput", {"values": none, **weights}, given)
            for size in ([4, 6], [5], [2, 3, 4]):
                indices = np.zeros((0, len(size)), np.int64)
                inputs = {"indices": indices, "values": none, "dense_shape": np.array(size)}
                yield Case("SparseCountSparseOutput", {**inputs, **weights}, given)
            inputs = {"splits": np.array([0, 0, 0]), "values": none, **weights}
            yield Case("RaggedCountSparseOutput", inputs, given)
            inputs = {"values": none.reshape(2, 0), "weights": np.zeros((2, 0), np.float32)}
            yield Case("DenseCountSparseOutput", inputs, given)
    large = {"values": np.array([2**40, 2**33 + 2**31, 5, 2**40]), "weights": np.float32([])}
    yield Case("DenseCountSparseOutput", large, {"binary_output": False})


def attributes() -> Iterator[dict[str, Any]]:
    for least, most in ((-1, -1), (5, -1), (20, -1), (7, 4), (0, 0)):
        for binary in (False, True):
            yield {"minlength": least, "maxlength": most, "binary_output": binary}


def counted(values: Array, weights: Array, given: dict[str, Any]) -> Iterator[Case]:
    """The same numbers in one row, in rows, sparse and ragged."""
    near = tolerance(weights.dtype)
    for shape in ((6,), (2, 3)):
        weight = weights.reshape(shape if weights.size else (0,) * len(shape))
        inputs = {"values": values.reshape(shape), "weights": weight}
        yield Case("DenseCountSparseOutput", inputs, given, tolerance=near)
    places = np.array([[0, 0, 0], [0, 1, 0], [2, 0, 1], [2, 1, 0], [2, 2, 0], [2, 5, 0]])
    for indices, size in (
        (np.arange(6)[:, None], [6]),
        (places[:, :2], [4, 6]),
        (places, [4, 6, 2]),
    ):
        inputs = {
            "indices": indices,
            "values": values,
            "dense_shape": np.array(size),
            "weights": weights,
        }
        yield Case("SparseCountSparseOutput", inputs, given, tolerance=near)
    inputs = {"splits": np.array([0, 2, 2, 6]), "values": values, "weights": weights}
    yield Case("RaggedCountSparseOutput", inputs, given, tolerance=near)
