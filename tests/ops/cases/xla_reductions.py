"""XLA's reductions, of axes and windows, with functions of scalars of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from cases.xla import FEW, NEAR, whole, xla
from proof import EXACT, Case
from smconvert.model import Array
from values import BOOL, DOUBLE, FLOATS, HALF, NUMBERS, SINGLE, UNSIGNED, edges, plain


def cases() -> Iterator[Case]:
    yield from reductions()
    yield from variadic()
    yield from windows()
    yield from selections()


@cache
def function(body: Callable[..., Any], *dtypes: Any) -> Any:
    """A function of scalars, as jax2tf makes them."""
    specs = [tf.TensorSpec((), tf.as_dtype(dtype)) for dtype in dtypes]
    return tf.function(body, autograph=False).get_concrete_function(*specs)


def sizes(x: Any, y: Any) -> Any:
    """Not one that is known, and as associative as a sum."""
    return tf.abs(x) + tf.abs(y)


KINDS = (tf.add, tf.multiply, tf.maximum, tf.minimum)
STARTS = {tf.add: 0, tf.multiply: 1, tf.maximum: 0, tf.minimum: 0}


def reductions() -> Iterator[Case]:
    def reduce(x: Array, body: Any, start: Any, *axes: int, **more: Any) -> Case:
        given = {"input": x, "init_value": np.array(start, x.dtype)}
        said = {"dimensions_to_reduce": list(axes), "reducer": function(body, x.dtype, x.dtype)}
        near = NEAR.get(x.dtype, EXACT)
        return xla("XlaReduce", given, said, tolerance=near, **more)

    for dtype in NUMBERS:
        for kind in KINDS:
            yield reduce(plain(dtype, (3, 4)), kind, 2, 1)
    for dtype in FEW:
        if dtype not in UNSIGNED:
            yield reduce(plain(dtype, (3, 4)), sizes, 0, 1)
    for kind in (tf.logical_and, tf.logical_or):
        yield reduce(plain(BOOL, (4, 3)), kind, False, 0)
        yield reduce(plain(BOOL, (4, 3)), kind, True, 0)
    for dtype in (SINGLE, DOUBLE, HALF):
        # Not NaN, which TensorFlow lets XLA's CPU compiler overlook (xla_cpu_enable_fast_min_max).
        values = edges(dtype)
        for kind in (tf.maximum, tf.minimum):
            yield reduce(values[~np.isnan(values)], kind, 0, 0)
    x = plain(SINGLE, (2, 3, 4))
    for axes in ((), (0,), (2, 0), (0, 1, 2)):
        yield reduce(x, tf.add, 0, *axes)
        yield reduce(x, sizes, 0, *axes, refusable=True)
        yield reduce(x, tf.maximum, -np.inf, *axes)
    for kind in (*KINDS, sizes):
        yield reduce(plain(SINGLE, (0, 3)), kind, 3, 0, refusable=kind is sizes)
        yield reduce(plain(SINGLE, (0, 3)), kind, 3, 1, refusable=kind is sizes)
    yield reduce(plain(np.dtype(np.int64), (4, 3)) * 2**40, tf.maximum, -(2**62), 0)
    yield reduce(plain(np.dtype(np.int32), (4, 3)), tf.bitwise.bitwise_or, 0, 0, refusable=True)


def variadic() -> Iterator[Case]:
    def first_largest(a: Any, i: Any, b: Any, j: Any) -> tuple[Any, Any]:
        """As jax.lax.argmax compares."""
        first = tf.logical_or(a > b, tf.not_equal(a, a))
        same = tf.logical_and(tf.equal(a, b), i < j)
        return tf.where(first, a, b), tf.where(tf.logical_or(first, same), i, j)

    for dtype in (SINGLE, DOUBLE, HALF, np.dtype(np.int32), np.dtype(np.uint8)):
        x, places = plain(dtype, (3, 4)), np.arange(12, dtype=np.int32).reshape(3, 4)
        body = function(first_largest, dtype, np.int32, dtype, np.int32)
        starts = [np.array(-5 if dtype.kind != "u" else 0, dtype), np.array(0, np.int32)]
        for axes in ([1], [0], [0, 1]):
            said = {"dimensions_to_reduce": axes, "reducer": body}
            given = {"inputs": [x, places], "init_values": starts}
            yield xla("XlaVariadicReduceV2", given, said, refusable=True)
    x, y = plain(SINGLE, (3, 4)), plain(SINGLE, (3, 4), 1)

    def sums(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any]:
        return a + c, tf.maximum(b, d)

    said = {"dimensions_to_reduce": [1], "reducer": function(sums, *[np.float32] * 4)}
    starts = [np.array(0, np.float32)] * 2
    given = {"input": [x, y], "init_value": starts}
    yield xla("XlaVariadicReduce", given, said, tolerance=NEAR[SINGLE], refusable=True)
    said = {"dimensions_to_reduce": [1], "reducer": function(tf.add, np.float32, np.float32)}
    given = {"input": [x], "init_value": starts[:1]}
    yield xla("XlaVariadicReduce", given, said, tolerance=NEAR[SINGLE])


WINDOW = ("window_dimensions", "window_strides", "base_dilations", "window_dilations", "padding")


def windows() -> Iterator[Case]:
    def slide(
        x: Array,
        body: Any,
        start: Any,
        window: Sequence[int],
        strides: Sequence[int] = (),
        pads: Sequence[tuple[int, int]] = (),
        base: Sequence[int] = (),
        apart: Sequence[int] = (),
        **more: Any,
    ) -> Case:
        ones = [1] * x.ndim
        given = {"input": x, "init_value": np.array(start, x.dtype)}
        given["window_dimensions"] = whole(*window)
        given["window_strides"] = whole(*(strides or ones))
        given["base_dilations"] = whole(*(base or ones))
        given["window_dilations"] = whole(*(apart or ones))
        given["padding"] = np.array(pads or [(0, 0)] * x.ndim, np.int64).reshape(-1, 2)
        said = {"computation": function(body, x.dtype, x.dtype)}
        near = NEAR.get(x.dtype, EXACT)
        return xla("XlaReduceWindow", given, said, WINDOW, near, **more)

    for dtype in NUMBERS:
        for kind in KINDS:
            yield slide(plain(dtype, (2, 7)), kind, 1, (1, 3), (1, 2), ((0, 0), (1, 2)))
    for kind in (tf.logical_and, tf.logical_or):
        yield slide(plain(BOOL, (7,)), kind, kind is tf.logical_and, (3,), (), ((1, 1),))
    x = plain(SINGLE, (1, 9, 8, 2))
    same = ((0, 0), (1, 1), (0, 1), (0, 0))
    for kind in KINDS:
        yield slide(x, kind, STARTS[kind], (1, 3, 2, 1), (1, 2, 2, 1), same)
        yield slide(x, kind, STARTS[kind], (1, 2, 3, 1), (1, 1, 2, 1), same, (1, 2, 1, 1))
        yield slide(x, kind, STARTS[kind], (1, 2, 3, 2), (), same, (), (1, 3, 2, 1))
    for size in (1, 5, 8, 13):
        # Running sums and maxima, as jax2tf writes them.
        row = plain(SINGLE, (2, size))
        yield slide(row, tf.add, 0, (1, size), (), ((0, 0), (size - 1, 0)))
        yield slide(row, tf.maximum, -np.inf, (1, size), (), ((0, 0), (0, size - 1)))
    yield slide(plain(SINGLE, (5,)), sizes, 0, (3,))
    yield slide(plain(SINGLE, (5,)), sizes, 0, (3,), (), ((1, 1),), refusable=True)
    yield slide(plain(SINGLE, (2,)), tf.add, 0, (3,))
    yield slide(plain(SINGLE, (0, 4)), tf.add, 0, (1, 2))
    yield slide(plain(SINGLE, (6,)), tf.add, 0, (2,), (), ((-1, -2),))
    yield slide(plain(SINGLE, ()), tf.add, 2, ())


def selections() -> Iterator[Case]:
    def select(
        x: Array,
        window: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[tuple[int, int]],
        body: Any = tf.greater_equal,
        scatter: Any = tf.add,
        start: Any = 0,
        **more: Any,
    ) -> Case:
        axes = zip(x.shape, window, strides, pads, strict=True)
        shape = tuple((n + sum(pad) - size) // step + 1 for n, size, step, pad in axes)
        given = {"operand": x, "source": plain(x.dtype, shape, 1)}
        given["init_value"] = np.array(start, x.dtype)
        given |= {"window_dimensions": whole(*window), "window_strides": whole(*strides)}
        given["padding"] = np.array(pads, np.int64)
        both = (x.dtype, x.dtype)
        said = {"select": function(body, *both), "scatter": function(scatter, *both)}
        named = ("window_dimensions", "window_strides", "padding")
        near = NEAR.get(x.dtype, EXACT)
        return xla("XlaSelectAndScatter", given, said, named, near, refusable=True, **more)

    for dtype in (*FLOATS, np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.uint8)):
        # No two are equal: which of them is selected depends on how XLA splits a window.
        x = np.random.default_rng(0).permutation(14).reshape(2, 7).astype(dtype)
        yield select(x, (1, 3), (1, 2), ((0, 0), (0, 0)))
    x = plain(SINGLE, (1, 6, 7, 2))
    same = ((0, 0), (1, 1), (0, 1), (0, 0))
    for body in (tf.greater_equal, tf.greater, tf.less_equal):
        yield select(x, (1, 3, 2, 1), (1, 2, 2, 1), same, body)
        yield select(x, (1, 3, 3, 1), (1, 1, 2, 1), same, body, start=0.5)
    yield select(-np.abs(x), (1, 3, 2, 1), (1, 2, 2, 1), same)
    yield select(x, (1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4, scatter=tf.maximum)
    yield select(np.full((4,), -np.inf, np.float32), (3,), (1,), ((2, 2),))
