"""Gradients of pools of volumes, of fractional ones, and of dilations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from cases.neural_networks import _SUMS, _wide
from proof import Case, Tolerance
from smconvert.model import Array
from values import BRAIN, DOUBLE, FLOATS, INTEGERS, SIGNED, SINGLE, edges, plain


def cases() -> Iterator[Case]:
    yield from _dilations()
    yield from _volumes()
    yield from _fractions()


def _dilations() -> Iterator[Case]:
    for dtype in (*FLOATS, *INTEGERS):
        for padding, strides, rates in (
            ("SAME", [1, 1], [1, 1]),
            ("VALID", [2, 1], [1, 2]),
            ("SAME", [2, 2], [2, 1]),
        ):
            for x, kernel in (
                (_wide(dtype, (2, 7, 6, 3)), _wide(dtype, (3, 2, 3), 1)),
                (plain(dtype, (2, 5, 6, 2)) * 0, plain(dtype, (2, 2, 2)) * 0),
            ):
                yield from _dilation(x, kernel, padding, strides, rates)
    x = np.resize(edges(SINGLE), (1, 6, 6, 2))
    yield from _dilation(x, plain(SINGLE, (2, 2, 2)), "SAME", [1, 1], [1, 1])
    yield from _dilation(
        plain(SINGLE, (0, 6, 6, 2)), plain(SINGLE, (2, 2, 2)), "SAME", [1, 1], [1, 1]
    )


def _dilation(
    x: Array, kernel: Array, padding: str, strides: list[int], rates: list[int]
) -> Iterator[Case]:
    attributes = {"padding": padding, "strides": [1, *strides, 1], "rates": [1, *rates, 1]}
    y = tf.raw_ops.Dilation2D(input=tf.constant(x), filter=tf.constant(kernel), **attributes)
    given = {"input": x, "filter": kernel, "out_backprop": _wide(x.dtype, tuple(y.shape), 2)}
    for op in ("Dilation2DBackpropInput", "Dilation2DBackpropFilter"):
        yield Case(op, given, attributes, tolerance=_SUMS.get(x.dtype, Tolerance()))


def _volumes() -> Iterator[Case]:
    for dtype in (SINGLE, BRAIN):
        for padding in ("SAME", "VALID"):
            for strides in ([1, 1, 1, 1, 1], [1, 2, 3, 2, 1]):
                attributes = {"ksize": [1, 3, 2, 2, 1], "strides": strides, "padding": padding}
                yield from _volume(np.round(plain(dtype, (2, 5, 4, 6, 2))), attributes)
        attributes = {"ksize": [1, 2, 2, 2, 1], "strides": [1, 2, 2, 2, 1], "padding": "SAME"}
        yield from _volume(np.resize(edges(dtype), (1, 5, 3, 2, 1)), attributes)


def _volume(x: Array, attributes: dict[str, Any]) -> Iterator[Case]:
    y = tf.raw_ops.MaxPool3D(input=tf.constant(x), **attributes).numpy()
    given = {"orig_input": x, "orig_output": y}
    tolerance = _SUMS[x.dtype]
    grad = plain(x.dtype, y.shape, 1)
    yield Case("MaxPool3DGrad", {**given, "grad": grad}, attributes, tolerance=tolerance)
    grad = plain(x.dtype, x.shape, 1)
    yield Case("MaxPool3DGradGrad", {**given, "grad": grad}, attributes)


def _fractions() -> Iterator[Case]:
    for dtype in (SINGLE, DOUBLE, *SIGNED[2:]):
        for overlapping in (False, True):
            for ratio in ((1.44, 1.73), (2.0, 1.0)):
                for shape in ((2, 11, 9, 3), (1, 5, 6, 1)):
                    yield from _fraction(_wide(dtype, shape), ratio, overlapping)


def _fraction(x: Array, ratio: tuple[float, float], overlapping: bool) -> Iterator[Case]:
    attributes = {"overlapping": overlapping}
    more = {"pooling_ratio": [1, *ratio, 1], "deterministic": True, "seed": 3, "seed2": 4}
    for kind in ("Max", "Avg"):
        pool = getattr(tf.raw_ops, f"Fractional{kind}Pool")
        y, rows, columns = (v.numpy() for v in pool(value=tf.constant(x), **attributes, **more))
        grad = plain(x.dtype, y.shape, 1) * (1 if x.dtype.kind == "f" else 7)
        given = {"orig_input": x, "orig_output": y}
        if kind == "Avg":
            given = {"orig_input_tensor_shape": np.array(x.shape, np.int64)}
        sequences = {"row_pooling_sequence": rows, "col_pooling_sequence": columns}
        yield Case(
            f"Fractional{kind}PoolGrad",
            {**given, "out_backprop": grad, **sequences},
            attributes,
            tolerance=_SUMS.get(x.dtype, Tolerance()),
        )
