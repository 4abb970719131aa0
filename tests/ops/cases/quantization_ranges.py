"""Integers that stand for floats: sums, products, and ranges made to fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from proof import Case, Tolerance
from smconvert.model import Array

NARROW = {"qint8": np.int8, "quint8": np.uint8, "qint32": np.int32}
RANGES = ((-6.0, 6.0), (0.0, 6.0), (-1.3, 0.0), (-0.7, 3.9), (-10.0, -10.0 / 3), (0.1, 4.0))
FEW_ULPS = Tolerance(ulps=4)


def cases() -> Iterator[Case]:
    yield from _sums()
    yield from _bias()
    yield from _fitted()
    yield from _by_channel()
    yield from _joined()


def scalars(**values: float) -> dict[str, Array]:
    return {name: np.array(value, np.float32) for name, value in values.items()}


def integers(name: str, shape: tuple[int, ...], seed: int = 0, bits: int = 32) -> Array:
    """Of a quantized type, all of its size; of qint32, so many bits."""
    limits, random = np.iinfo(NARROW[name]), np.random.default_rng(seed)
    least, largest = max(limits.min, -(2 ** (bits - 1))), min(limits.max, 2 ** (bits - 1) - 1)
    found = random.integers(least, largest, shape, endpoint=True)
    if found.size > 3:
        found.reshape(-1)[:3] = least, largest, 0
    return found.astype(NARROW[name]).astype(tf.as_dtype(name).as_numpy_dtype)


def _sums() -> Iterator[Case]:
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
        ((40,), (40,)),
        ((3, 5), (3, 5)),
        ((), (7,)),
        ((4, 3), ()),
        ((1,), (1,)),
        ((1, 1), (3, 4)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 3, 4)),
        ((2, 3, 4), (3, 4)),
        ((2, 3, 4), (2, 1, 1)),
        ((2, 3), (2, 1)),
        ((0, 3), (0, 3)),
        ((0,), (1,)),
    )
    for op in ("QuantizedAdd", "QuantizedMul"):
        for i, (first, second) in enumerate(shapes):
            for low, high in RANGES if i < 2 else RANGES[3:4]:
                yield Case(
                    op,
                    {
                        "x": integers("quint8", first),
                        "y": integers("quint8", second, 1),
                        **scalars(min_x=low, max_x=high, min_y=-1.7, max_y=0.4),
                    },
                )


def _bias() -> Iterator[Case]:
    for name in ("quint8", "qint8"):
        for shape in ((2, 3, 3, 7), (0, 7)):
            for low, high in RANGES[2:]:
                yield Case(
                    "QuantizedBiasAdd",
                    {
                        "input": integers(name, shape),
                        "bias": integers(name, (7,), 1),
                        **scalars(min_input=low, max_input=high, min_bias=-0.3, max_bias=1.9),
                    },
                    {"out_type": tf.qint32},
                )


def _fitted() -> Iterator[Case]:
    for shape, bits in (((6, 9), 32), ((2, 3, 4, 5), 20), ((0, 3), 9), ((), 9)):
        x = integers("qint32", shape, 2, bits)
        for low, high in (*RANGES[2:], (-66311.06, 66311.06), (1.0, 1.0)):
            ends = scalars(input_min=low, input_max=high)
            yield Case("RequantizationRange", {"input": x, **ends}, tolerance=FEW_ULPS)
            yield Case(
                "QuantizeDownAndShrinkRange",
                {"input": x, **ends},
                {"out_type": tf.quint8},
                tolerance=FEW_ULPS,
            )
            for bottom, top in ((-1.0, 1.0), (0.0, 2.7), (0.0, 0.0)):
                for out in (tf.quint8, tf.qint8):
                    wanted = scalars(requested_output_min=bottom, requested_output_max=top)
                    yield Case("Requantize", {"input": x, **ends, **wanted}, {"out_type": out})

    edges = np.array([2**30 + 4210751, 2**30 + 4210752, 2**30 + 4210753], np.int32)
    wide = scalars(input_min=-1, input_max=1, requested_output_min=-1, requested_output_max=1)
    yield Case(
        "Requantize",
        {"input": edges.astype(tf.qint32.as_numpy_dtype), **wide},
        {"out_type": tf.quint8},
    )


def _by_channel() -> Iterator[Case]:
    lows = -np.array([1.5, 0.1, 7.0, 2.0, 0.7], np.float32)
    for bits in (32, 20, 9):
        for shape in ((2, 3, 4, 5), (1, 1, 1, 5)):
            x = integers("qint32", shape, 3, bits)
            for own in (x, np.abs(x.view(np.int32) // 2).astype(x.dtype)):
                for clip in (1e30, 0.01):
                    yield Case(
                        "RequantizationRangePerChannel",
                        {"input": own, "input_min": lows, "input_max": -lows},
                        {"clip_value_max": clip},
                        tolerance=FEW_ULPS,
                    )
                for out in (tf.quint8, tf.qint8):
                    for top in (0.4, 7.0):
                        yield Case(
                            "RequantizePerChannel",
                            {
                                "input": own,
                                "input_min": lows,
                                "input_max": -lows,
                                **scalars(requested_output_min=-top, requested_output_max=top),
                            },
                            {"out_type": out},
                        )


def _joined() -> Iterator[Case]:
    for op, axis, names in (
        ("QuantizedConcat", "concat_dim", ("quint8", "qint32")),
        ("QuantizedConcatV2", "axis", ("quint8", "qint8")),
    ):
        for name in names:
            for ranges in (
                ((-1.0, 1.0), (-1.0, 1.0)),
                ((-1.0, 3.0), (-1.0, 3.0)),
                ((0.0, 3.0), (0.0, 6.0)),
                ((-0.7, 3.9), (-2.0, 3.0), (0.0, 6.0)),
            ):
                for at, shape in ((0, (4,)), (1, (2, 3)), (3, (1, 2, 3, 4)), (0, (0, 3))):
                    yield Case(
                        op,
                        {
                            "values": [integers(name, shape, i) for i in range(len(ranges))],
                            axis: np.array(at, np.int32),
                            "input_mins": [np.array(low, np.float32) for low, _ in ranges],
                            "input_maxes": [np.array(high, np.float32) for _, high in ranges],
                        },
                        constants=frozenset({axis}),
                    )
