"""XLA's own ops: pads, slices, products and loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla import xla_data_pb2

from proof import EXACT, Case, Shapes, Tolerance
from smconvert.model import Array
from values import BOOL, BRAIN, DOUBLE, FLOATS, HALF, INTEGERS, NUMBERS, SINGLE, edges, plain

NEAR = {
    SINGLE: Tolerance(rtol=1e-5, atol=1e-5),
    DOUBLE: Tolerance(rtol=1e-12, atol=1e-12),
    HALF: Tolerance(rtol=4e-3, atol=4e-3),
    BRAIN: Tolerance(rtol=3e-2, atol=3e-2),
}
WHOLE = np.dtype(np.int32)
FEW = (SINGLE, DOUBLE, HALF, BRAIN, WHOLE, np.dtype(np.int64), np.dtype(np.uint8))


def cases() -> Iterator[Case]:
    yield from same()
    yield from pads()
    yield from slices()
    yield from broadcasts()
    yield from dots()
    yield from loops()
    yield from precisions()
    yield from bits()


def xla(
    op: str,
    inputs: Mapping[str, Array | Sequence[Array]],
    attributes: Mapping[str, Any] | None = None,
    constants: Sequence[str] = (),
    tolerance: Tolerance = EXACT,
    **more: Any,
) -> Case:
    """A case; some inputs have to be constants for XLA to compile the op."""
    known = frozenset(constants)
    return Case(op, inputs, attributes or {}, known, tolerance, **more)


def whole(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def same() -> Iterator[Case]:
    x = plain(SINGLE, (2, 3))
    yield xla("XlaOptimizationBarrier", {"input": [x, plain(BOOL, (4,))]})
    yield xla("XlaSharding", {"input": x}, {"sharding": ""})


def pads() -> Iterator[Case]:
    def pad(x: Array, *rows: tuple[int, int, int]) -> Case:
        low, high, interior = (whole(*column) for column in zip(*rows, strict=True))
        given = {"input": x, "padding_value": plain(x.dtype, (), 3)}
        given |= {"padding_low": low, "padding_high": high, "padding_interior": interior}
        named = ("padding_low", "padding_high", "padding_interior")
        return xla("XlaPad", given, constants=named)

    for dtype in (*NUMBERS, BOOL):
        yield pad(plain(dtype, (3, 4)), (1, 2, 0), (0, 3, 2))
    x = plain(SINGLE, (3, 4))
    yield pad(x, (-1, 2, 0), (2, -3, 0))
    yield pad(x, (-2, -1, 3), (0, 0, 1))
    yield pad(x, (-2, 4, 1), (-4, 1, 0))
    yield pad(plain(SINGLE, (0, 2)), (1, 2, 3), (0, 0, 1))
    yield pad(plain(SINGLE, (1, 2)), (0, 0, 3), (0, -1, 0))
    yield pad(plain(SINGLE, (2,)), (-3, 2, 0))


def slices() -> Iterator[Case]:
    def cut(x: Array, starts: Sequence[int], sizes: Sequence[int], kind: Any = np.int32) -> Case:
        given = {"input": x, "start_indices": np.array(starts, kind)}
        given["size_indices"] = np.array(sizes, kind)
        return xla("XlaDynamicSlice", given, constants=("size_indices",))

    def put(x: Array, update: Array, starts: Sequence[int], kind: Any = np.int32) -> Case:
        given = {"input": x, "update": update, "indices": np.array(starts, kind)}
        return xla("XlaDynamicUpdateSlice", given)

    for dtype in (*NUMBERS, BOOL):
        yield cut(plain(dtype, (4, 5)), (1, 2), (2, 3))
        yield put(plain(dtype, (4, 5)), plain(dtype, (2, 5), 1), (1, 0))
    x = plain(SINGLE, (4, 5))
    for starts in ((-3, 4), (9, -1), (3, 2), (-(2**31), 2**31 - 1)):
        yield cut(x, starts, (2, 3))
        yield put(x, plain(SINGLE, (2, 3), 1), starts)
    yield cut(x, (2**40, -(2**40)), (0, 5), np.int64)
    yield put(x, plain(SINGLE, (4, 5), 1), (1, 1), np.int64)
    yield put(x, plain(SINGLE, (0, 2), 1), (1, 1), np.int64)
    yield put(plain(SINGLE, (3, 4, 5)), plain(SINGLE, (1, 2, 5), 1), (1, 3, 1), np.int64)
    yield put(plain(SINGLE, ()), plain(SINGLE, (), 1), ())
    yield cut(plain(SINGLE, ()), (), ())
    yield cut(plain(SINGLE, (0, 3)), (0, 1), (0, 2))


def broadcasts() -> Iterator[Case]:
    def helper(left: tuple[int, ...], right: tuple[int, ...], *axes: int) -> Case:
        given = {"lhs": plain(SINGLE, left), "rhs": plain(SINGLE, right, 1)}
        given["broadcast_dims"] = whole(*axes)
        return xla("XlaBroadcastHelper", given, constants=("broadcast_dims",), refusable=True)

    yield helper((2, 3, 4), (3,), 1)
    yield helper((2, 4), (5, 2, 3, 4), 1, 3)
    yield helper((2, 3), (2, 3))
    yield helper((2, 3), ())
    yield helper((2, 3), (2, 3), 0, 1)


def dots() -> Iterator[Case]:
    def dot(
        x: Array, y: Array, inner: Sequence[Sequence[int]], batch: Sequence[Sequence[int]], to: Any
    ) -> Case:
        numbers = xla_data_pb2.DotDimensionNumbers(
            lhs_contracting_dimensions=inner[0],
            rhs_contracting_dimensions=inner[1],
            lhs_batch_dimensions=batch[0],
            rhs_batch_dimensions=batch[1],
        )
        said = {"dimension_numbers": numbers.SerializeToString(), "precision_config": b""}
        given = {"lhs": x, "rhs": y}
        near = NEAR.get(np.dtype(to or x.dtype), EXACT)
        if to is None:
            return xla("XlaDot", given, said, tolerance=near, refusable=True)
        said["preferred_element_type"] = np.dtype(to)
        return xla("XlaDotV2", given, said, tolerance=near, refusable=True)

    none = ((), ())
    for dtype in (*FLOATS, *INTEGERS):
        x, y = plain(dtype, (3, 4)), plain(dtype, (4, 5), 1)
        yield dot(x, y, ((1,), (0,)), none, None)
        yield dot(x, y, ((1,), (0,)), none, dtype)
    for kind in (np.int32, np.float32):
        x, y = plain(np.dtype(np.int8), (3, 4)), plain(np.dtype(np.int8), (4, 5), 1)
        yield dot(x * 14, y * 14, ((1,), (0,)), none, kind)
    yield dot(plain(BRAIN, (3, 4)), plain(BRAIN, (4, 5), 1), ((1,), (0,)), none, np.float32)
    shapes: list[tuple[tuple[int, ...], tuple[int, ...], Any, Any]] = [
        ((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))),
        ((3, 2, 4), (4, 5, 2), ((2,), (0,)), ((1,), (2,))),
        ((2, 3, 4), (4, 3, 5), ((1, 2), (1, 0)), none),
        ((2, 3, 4, 6), (2, 5, 6, 7), ((3,), (2,)), ((0,), (0,))),
        ((2, 3, 4), (5, 4, 7), ((2,), (1,)), none),
        ((3,), (3,), ((0,), (0,)), none),
        ((3,), (4,), none, none),
        ((), (4,), none, none),
        ((2, 3), (2, 3), none, ((0, 1), (0, 1))),
        ((4,), (4, 5), ((0,), (0,)), none),
        ((2, 0), (0, 3), ((1,), (0,)), none),
        ((0, 2), (2, 3), ((1,), (0,)), none),
        ((2, 3, 0), (2, 0, 2), ((2,), (1,)), ((0,), (0,))),
    ]
    for left, right, inner, batch in shapes:
        yield dot(plain(SINGLE, left), plain(SINGLE, right, 1), inner, batch, np.float32)
        yield dot(
            plain(np.dtype(np.int32), left), plain(np.dtype(np.int32), right, 1), inner, batch, None
        )
    for equation, left, right in (
        ("ij,jk->ik", (2, 3), (3, 4)),
        ("bij,bkj->bik", (2, 3, 4), (2, 5, 4)),
        ("...ij,jk->...ik", (2, 3, 4), (4, 5)),
    ):
        for dtype in (SINGLE, BRAIN):
            given = {"a": plain(dtype, left), "b": plain(dtype, right, 1)}
            said = {"equation": equation}
            yield xla("XlaEinsum", given, said, tolerance=NEAR[dtype], refusable=True)


def loops() -> Iterator[Case]:
    x = plain(SINGLE, (2, 3))
    spec = [tf.TensorSpec((), tf.int32), tf.TensorSpec(x.shape)]

    def function(body: Any, specs: Sequence[Any]) -> Any:
        return tf.function(body, autograph=False).get_concrete_function(*specs)

    cond = function(lambda i, _: i < 5, spec)
    body = function(lambda i, y: (i + 2, y * 2 + tf.cast(i, tf.float32)), spec)
    static = (Shapes.STATIC,)
    for start in (0, 4, 9):
        given = {"input": [np.array(start, np.int32), x]}
        yield xla("XlaWhile", given, {"cond": cond, "body": body}, shapes=static)


def precisions() -> Iterator[Case]:
    for dtype in FLOATS:
        values = np.concatenate([edges(dtype), plain(dtype, (60,)), plain(dtype, (60,)) / 3000])
        for exponent, mantissa in ((8, 7), (5, 10), (8, 23), (5, 2), (4, 3), (8, 4), (11, 52)):
            said = {"exponent_bits": exponent, "mantissa_bits": mantissa}
            yield xla("XlaReducePrecision", {"operand": values}, said)
        yield xla("XlaReducePrecision", {"operand": plain(dtype, (0, 2))}, said)


def bits() -> Iterator[Case]:
    key, low, high = 0x0123456789ABCDEF, 2**64 - 2, 0x1122334455667788
    for algorithm, state in ((1, (key, low)), (1, (key, low, high)), (2, (key, low))):
        for dtype in (tf.uint8, tf.uint32, tf.uint64):
            for shape in ((13,), (1,), (2, 3), (3, 4), (3, 5, 3), (0, 2), ()):
                given = {"algorithm": np.array(algorithm, np.int32), "shape": whole(*shape)}
                given["initial_state"] = np.array(state, np.uint64)
                named = ("algorithm", "shape")
                known = (Shapes.STATIC,)
                yield xla("XlaRngBitGenerator", given, {"dtype": dtype}, named, shapes=known)
