"""XLA's sorts, with comparators as they are written by hand, and as jax2tf writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from cases.xla import xla
from cases.xla_reductions import function
from proof import Case
from smconvert.model import Array
from values import BOOL, DOUBLE, FLOATS, HALF, NUMBERS, SINGLE, edges, plain


def cases() -> Iterator[Case]:
    for dtype in NUMBERS:
        x = np.stack([edges(dtype), edges(dtype)[::-1]])
        yield xla("XlaSort", {"input": plain(dtype, (3, 7))})
        yield xla("XlaSort", {"input": x})
        if dtype not in (np.dtype(np.int8), np.dtype(np.int16), np.dtype(np.uint16)):
            # No two are equal: their order is not said.
            exact = np.float64 if dtype in FLOATS else dtype
            x = np.random.default_rng(0).permutation(np.unique(x.astype(exact))).astype(dtype)
            numbers = np.arange(len(x), dtype=np.int32)
            yield xla("XlaKeyValueSort", {"keys": x, "values": numbers})
    yield xla("XlaSort", {"input": np.zeros((2, 0), np.float32)})
    yield from variadic()


def variadic() -> Iterator[Case]:
    def sort(
        arrays: Sequence[Array], body: Callable[..., Any], axis: int = -1, **more: Any
    ) -> Case:
        kinds = [array.dtype for array in arrays for _ in range(2)]
        axis %= arrays[0].ndim
        given = {"inputs": list(arrays), "dimension": np.array(axis, np.int32)}
        said = {"comparator": function(body, *kinds), "is_stable": True}
        return xla("XlaVariadicSort", given, said, ("dimension",), **more)

    def ascending(x: Any, y: Any, *_: Any) -> Any:
        return x < y

    def descending(x: Any, y: Any, *_: Any) -> Any:
        return x > y

    def by_second(_: Any, __: Any, x: Any, y: Any) -> Any:
        return y < x

    def by_size(x: Any, y: Any, *_: Any) -> Any:
        return tf.abs(x) < tf.abs(y)

    def by_both(a: Any, b: Any, x: Any, y: Any) -> Any:
        return tf.logical_or(a < b, tf.logical_and(tf.equal(a, b), x < y))

    def nonsense(x: Any, y: Any, *_: Any) -> Any:
        return x + y < y

    for dtype in (*NUMBERS, BOOL):
        x, numbers = plain(dtype, (2, 9)), np.arange(18, dtype=np.int32).reshape(2, 9)
        if dtype != BOOL:
            yield sort([x], ascending)
            yield sort([x, numbers], descending)
        yield sort([x, numbers], as_jax(1))
    x, y = np.round(plain(SINGLE, (4, 5, 3))), np.round(plain(SINGLE, (4, 5, 3), 1))
    numbers = np.arange(60, dtype=np.int64).reshape(4, 5, 3)
    for axis in range(3):
        yield sort([x, numbers], ascending, axis)
        yield sort([numbers, x], by_second, axis)
        yield sort([x, y], by_both, axis)
        yield sort([x, numbers], by_size, axis)
        yield sort([x, y, numbers], as_jax(2), axis)
    yield sort([x], nonsense, refusable=True)
    for dtype in (SINGLE, DOUBLE, HALF):
        values = edges(dtype)
        yield sort([values, np.arange(len(values))], as_jax(1))
    yield sort([np.zeros((2, 0), np.float32)], ascending)


def as_jax(count: int) -> Callable[..., Any]:
    """Orders by the first arrays, floating-point numbers by their bits, as jax.lax.sort does."""

    def ordered(x: Any) -> Any:
        if not x.dtype.is_floating:
            return x
        x = tf.where(tf.equal(x, tf.zeros_like(x)), tf.zeros_like(x), x)
        x = tf.where(tf.not_equal(x, x), tf.broadcast_to(tf.constant(np.nan, x.dtype), []), x)
        bits = 8 * x.dtype.size
        signed, plain = getattr(tf, f"int{bits}"), getattr(tf, f"uint{bits}")
        seen = tf.bitcast(x, signed)
        sign = tf.bitcast(tf.bitwise.right_shift(seen, bits - 1), plain)
        return tf.bitwise.bitwise_xor(seen, tf.bitcast(tf.bitwise.right_shift(sign, 1), signed))

    def less(x: Any, y: Any) -> Any:
        if x.dtype == tf.bool:
            return tf.logical_and(tf.logical_not(x), y)
        return tf.less(ordered(x), ordered(y))

    def equal(x: Any, y: Any) -> Any:
        return tf.equal(ordered(x), ordered(y))

    def comparator(*given: Any) -> Any:
        made = None
        for x, y in reversed(list(zip(given[::2], given[1::2], strict=True))[:count]):
            first = less(x, y)
            if made is not None:
                first = tf.logical_or(first, tf.logical_and(equal(x, y), made))
            made = first
        return made

    return comparator
