"""XLA's Gather and Scatter, by their dimension numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla import xla_data_pb2

from cases.xla import FEW, NEAR, whole, xla
from cases.xla_reductions import function, sizes
from proof import EXACT, Case
from smconvert.model import Array
from values import BOOL, NUMBERS, SINGLE, plain

Axes = Sequence[int]


def cases() -> Iterator[Case]:
    yield from gathers()
    yield from scatters()


def places(*rows: Any) -> Array:
    return np.array(rows, np.int32)


def gathers() -> Iterator[Case]:
    def take(
        x: Array,
        at: Array,
        counts: Axes,
        offset: Axes,
        collapsed: Axes,
        axes: Axes,
        vector: int,
        batch: tuple[Axes, Axes] = ((), ()),
    ) -> Case:
        numbers = xla_data_pb2.GatherDimensionNumbers(
            offset_dims=offset,
            collapsed_slice_dims=collapsed,
            start_index_map=axes,
            index_vector_dim=vector,
            operand_batching_dims=batch[0],
            start_indices_batching_dims=batch[1],
        )
        said = {"dimension_numbers": numbers.SerializeToString(), "indices_are_sorted": False}
        given = {"operand": x, "start_indices": at, "slice_sizes": whole(*counts).astype(at.dtype)}
        return xla("XlaGather", given, said, ("slice_sizes",), refusable=True)

    for dtype in (*NUMBERS, BOOL):
        yield take(plain(dtype, (5, 4)), places([1], [4], [9], [-2]), (1, 4), (1,), (0,), (0,), 1)
        yield take(plain(dtype, (5, 4)), places([1, 2], [4, 3]), (2, 1), (1,), (1,), (0, 1), 1)
    x = plain(SINGLE, (4, 5, 6))
    at = places([[1, 2], [0, 4]], [[3, 9], [-1, 1]], [[2, 2], [2, 0]])
    # Rows, elements, windows, in any order of axes.
    yield take(x, at, (1, 1, 6), (2,), (0, 1), (0, 1), 2)
    yield take(x, at, (1, 1, 6), (0,), (0, 1), (1, 0), 2)
    yield take(x, at, (1, 1, 1), (), (0, 1, 2), (2, 0), 2)
    yield take(x, at, (2, 3, 4), (1, 3, 4), (), (0, 2), 2)
    yield take(x, at, (2, 1, 6), (0, 3), (1,), (1, 0), 2)
    yield take(x, at, (1, 1, 6), (0, 2, 3), (), (1, 0), 2)
    yield take(x, at, (4, 5, 6), (2, 3, 4), (), (1, 0), 2)
    yield take(x, at[:, :, 0], (1, 5, 6), (2, 3), (0,), (0,), 2)
    yield take(x, np.moveaxis(at, 2, 0).copy(), (1, 1, 6), (2,), (0, 1), (0, 1), 0)
    yield take(x, places(1, 2).astype(np.int64), (1, 2, 6), (0, 1), (0,), (0, 1), 0)
    yield take(x, np.array(2, np.int32), (4, 1, 6), (0, 1), (1,), (1,), 0)
    yield take(x, np.zeros((0, 2), np.int32), (1, 1, 6), (1,), (0, 1), (0, 1), 1)
    yield take(x, at, (2, 5, 0), (2, 3, 4), (), (0, 1), 2)
    # Batches: axes of both.
    y = plain(SINGLE, (3, 5, 2))
    yield take(y, at[:, :, :1], (1, 1, 2), (2,), (1,), (1,), 2, ((0,), (0,)))
    yield take(y, at[:, :, :1], (1, 3, 2), (1, 3), (), (1,), 2, ((0,), (0,)))
    yield take(y, at[:, :, 0], (1, 1, 1), (), (1,), (1,), 2, ((0, 2), (0, 1)))


def scatters() -> Iterator[Case]:
    def put(
        x: Array,
        at: Array,
        shape: Axes,
        window: Axes,
        inserted: Axes,
        axes: Axes,
        vector: int,
        body: Any = tf.add,
        batch: tuple[Axes, Axes] = ((), ()),
    ) -> Case:
        numbers = xla_data_pb2.ScatterDimensionNumbers(
            update_window_dims=window,
            inserted_window_dims=inserted,
            scatter_dims_to_operand_dims=axes,
            index_vector_dim=vector,
            input_batching_dims=batch[0],
            scatter_indices_batching_dims=batch[1],
        )
        said = {"dimension_numbers": numbers.SerializeToString(), "indices_are_sorted": False}
        said["update_computation"] = function(body, x.dtype, x.dtype)
        given = {"operand": x, "scatter_indices": at, "updates": plain(x.dtype, tuple(shape), 1)}
        near = NEAR.get(x.dtype, EXACT)
        return xla("XlaScatter", given, said, tolerance=near, refusable=True)

    def second(_: Any, update: Any) -> Any:
        return tf.identity(update)

    for dtype in NUMBERS:
        for body in (tf.add, tf.multiply, tf.maximum, tf.minimum, second):
            at = places([1], [4], [9], [-2], [1])
            yield put(plain(dtype, (5, 4)), at, (5, 4), (1,), (0,), (0,), 1, body)
    for body in (tf.logical_and, tf.logical_or, second):
        at = places([1, 2], [4, 3], [1, 2])
        yield put(plain(BOOL, (5, 4)), at, (3,), (), (0, 1), (0, 1), 1, body)
    for dtype in FEW:
        if dtype.kind != "u":
            at = places([1], [4], [1])
            yield put(plain(dtype, (5, 4)), at, (3, 4), (1,), (0,), (0,), 1, sizes)
    x = plain(SINGLE, (4, 5, 6))
    at = places([[1, 2], [0, 4]], [[3, 9], [-1, 1]], [[2, 2], [2, 0]])
    for body in (tf.add, second):
        yield put(x, at, (3, 2, 6), (2,), (0, 1), (0, 1), 2, body)
        yield put(x, at, (6, 3, 2), (0,), (0, 1), (1, 0), 2, body)
        yield put(x, at[:2], (2, 2, 3, 2, 6), (2, 3, 4), (), (0, 1), 2, body)
        yield put(x, at, (3, 2), (), (0, 1, 2), (2, 0, 1)[:2], 2, body)
        yield put(x, at[:, :, 0], (3, 2, 5, 6), (2, 3), (0,), (0,), 2, body)
        yield put(x, np.moveaxis(at, 2, 0).copy(), (3, 2, 6), (2,), (0, 1), (0, 1), 0, body)
        yield put(x, places(1, 2).astype(np.int64), (2, 6), (0, 1), (0,), (0, 1), 0, body)
        yield put(x, places(1, 4).astype(np.int64), (2, 6), (0, 1), (0,), (0, 1), 0, body)
        yield put(x, np.array([2], np.int32), (4, 6), (0, 1), (1,), (1,), 0, body)
        yield put(x, np.zeros((0, 2), np.int32), (0, 6), (1,), (0, 1), (0, 1), 1, body)
        yield put(x, np.zeros(0, np.int32), (4, 5, 6), (0, 1, 2), (), (), 0, body)
        y = plain(SINGLE, (3, 5, 2))
        yield put(y, at[:, :, :1], (3, 2, 2), (2,), (1,), (1,), 2, body, ((0,), (0,)))
