"""Integers with a scale and a zero point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from cases.quantization_ranges import integers
from proof import Case
from smconvert.model import Array
from values import SINGLE, plain

LIMITS = {8: (-128, 127), 32: (-(2**31), 2**31 - 1)}
FEW, MANY = np.array(0.07, np.float32), np.array([0.1, 0.3, 0.07, 1e-9, 300.0], np.float32)


def cases() -> Iterator[Case]:
    yield from _requantized()
    yield from _added()
    yield from _dots()
    yield from _convolutions()


def _limits(**bits: int) -> dict[str, Any]:
    """The least and largest integers of operands, which have so many bits."""
    ends = ("min", "max")
    return {
        f"{name}_quantization_{end}_val": LIMITS[of][i]
        for name, of in bits.items()
        for i, end in enumerate(ends)
    }


def _scales(axis: int, count: int = 5, factor: float = 1.0, zero: int = 3) -> tuple[Array, Array]:
    if axis == -1:
        return np.asarray(FEW * np.float32(factor)), np.array(zero, np.int32)
    scales = np.resize(MANY, count) * np.float32(factor)
    return scales, np.arange(count, dtype=np.int32) - zero


def _requantized() -> Iterator[Case]:
    for name, bits in (("qint8", 8), ("qint32", 32)):
        for given, wanted in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            for factor in (1.0, 7e-8, 300.0):
                scales, zeros = _scales(given, factor=factor)
                out_scales, out_zeros = _scales(wanted, zero=-7)
                for shape in ((4, 5), (0, 5, 3)):
                    yield Case(
                        "UniformRequantize",
                        {
                            "input": integers(name, shape, 0, 31),
                            "input_scales": scales,
                            "input_zero_points": zeros,
                            "output_scales": out_scales,
                            "output_zero_points": out_zeros,
                        },
                        {
                            "Tout": tf.qint8,
                            **_limits(input=bits, output=8),
                            "input_quantization_axis": given,
                            "output_quantization_axis": wanted,
                        },
                        frozenset() if factor == 1.0 else frozenset({"input_scales"}),
                    )


def _added() -> Iterator[Case]:
    for first, second in (((4, 5), (4, 5)), ((4, 5), (5,)), ((2, 3, 5), (3, 1)), ((), (2, 5))):
        for axes in ((-1, -1, -1), (len(first) - 1, -1, -1), (1, 0, 1)):
            if not first or (axes[2] == 1 and second != (5,)):
                axes = (-1, -1, -1)
            given = [_scales(axes[0]), _scales(axes[1], factor=2), _scales(axes[2], factor=0.3)]
            inputs = {
                "lhs": integers("qint32", first, 1, 20),
                "rhs": integers("qint32", second, 0, 31),
            }
            for side, (scales, zeros) in zip(("lhs", "rhs", "output"), given, strict=True):
                inputs |= {f"{side}_scales": scales, f"{side}_zero_points": zeros}
            sides = ("lhs", "rhs", "output")
            own = {f"{s}_quantization_axis": a for s, a in zip(sides, axes, strict=True)}
            yield Case("UniformQuantizedAdd", inputs, {**_limits(lhs=32, rhs=32, output=32), **own})
    for axis in (-1, 1):
        low, high = (np.resize([-500, 0, 3, 9, -7], 5) + more for more in (0, 200))
        kind = tf.qint32.as_numpy_dtype
        ends = (np.asarray(e if axis == 1 else e[0], np.int32).astype(kind) for e in (low, high))
        scales, zeros = _scales(axis)
        yield Case(
            "UniformQuantizedClipByValue",
            {
                "operand": integers("qint32", (4, 5), 1, 10),
                **dict(zip(("min", "max"), ends, strict=True)),
                "scales": scales,
                "zero_points": zeros,
            },
            {
                "quantization_axis": axis,
                "quantization_min_val": LIMITS[32][0],
                "quantization_max_val": LIMITS[32][1],
            },
        )


def _second(name: str, axis: int, count: int) -> dict[str, Array]:
    scales, zeros = _scales(axis, count, 0.1)
    return {f"{name}_scales": scales, f"{name}_zero_points": zeros}


def _dots() -> Iterator[Case]:
    for rows, inner, columns in ((3, 7, 5), (0, 7, 5), (1, 40, 5)):
        for axis, out in ((-1, -1), (1, -1), (1, 1)):
            rhs = {"rhs": integers("qint8", (inner, columns), 2), **_second("rhs", axis, columns)}
            axes = {"rhs_quantization_axis": axis, **_limits(rhs=8)}
            yield Case(
                "UniformQuantizedDot",
                {
                    "lhs": integers("qint8", (rows, inner)),
                    **rhs,
                    **_second("lhs", -1, 0),
                    **_second("output", out, columns),
                },
                {
                    "Tout": tf.qint32,
                    **axes,
                    **_limits(lhs=8, output=32),
                    "output_quantization_axis": out,
                },
            )
            if out == -1:
                x = plain(SINGLE, (rows, inner))
                x[rows // 2 :] *= 0
                yield Case(
                    "UniformQuantizedDotHybrid", {"lhs": x, **rhs}, {"Tout": tf.float32, **axes}
                )


def _numbers(*values: int | list[int]) -> bytes:
    """The serialized UniformQuantizedConvolutionDimensionNumbersAttr with these fields."""
    made = b""
    for field, value in enumerate(values, 1):
        if isinstance(value, list):
            made += bytes([field * 8 + 2, len(value), *value])
        else:
            made += bytes([field * 8, value])
    return made


LAST = _numbers(0, 3, [1, 2], 2, 3, [0, 1], 0, 3, [1, 2])


def _convolutions() -> Iterator[Case]:
    uses: tuple[dict[str, Any], ...] = (
        {"padding": "SAME"},
        {"padding": "VALID", "window_strides": [2, 1], "rhs_dilation": [1, 2]},
        {"padding": "EXPLICIT", "explicit_padding": [1, 0, 2, 3], "lhs_dilation": [2, 3]},
        {"padding": "SAME", "feature_group_count": 2},
        {"padding": "SAME", "window_strides": [2, 2], "lhs_dilation": [1, 2]},
        {"padding": "VALID", "batch_group_count": 2},
        {"padding": "SAME", "dimension_numbers": LAST},
    )
    for use in uses:
        last = "dimension_numbers" in use
        inner = 4 // use.get("feature_group_count", 1)
        shape, window = (
            ((2, 5, 6, 4), (3, 2, inner, 6)) if last else ((2, 4, 5, 6), (6, inner, 3, 2))
        )
        channel, at = (3, 3) if last else (0, 1)
        for axis, out in ((-1, -1), (channel, -1), (channel, at)):
            rhs = {"rhs": integers("qint8", window, 2), **_second("rhs", axis, 6)}
            axes = {"rhs_quantization_axis": axis, **_limits(rhs=8), **use}
            yield Case(
                "UniformQuantizedConvolution",
                {
                    "lhs": integers("qint8", shape),
                    **rhs,
                    **_second("lhs", -1, 0),
                    **_second("output", out, 6),
                },
                {
                    "Tout": tf.qint32,
                    **axes,
                    **_limits(lhs=8, output=32),
                    "output_quantization_axis": out,
                },
            )
            if out == -1:
                yield Case(
                    "UniformQuantizedConvolutionHybrid",
                    {"lhs": plain(SINGLE, shape), **rhs},
                    {"Tout": tf.float32, **axes},
                )
