"""Floats on a grid of integers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from proof import EXACT, Case, Tolerance
from smconvert.model import Array
from values import DOUBLE, SINGLE, plain

QUANTIZED = {
    "qint8": np.int8,
    "quint8": np.uint8,
    "qint16": np.int16,
    "quint16": np.uint16,
    "qint32": np.int32,
}
GRID = np.linspace(-7.3, 9.1, 96, dtype=np.float32).reshape(4, 8, 3)
RANGES = ((-6.0, 6.0), (0.0, 6.0), (-1.3, 0.0), (-0.7, 3.9), (-10.0, -10.0 / 3), (0.1, 4.0))


def cases() -> Iterator[Case]:
    yield from _fake()
    yield from _there_and_back()
    yield from _dequantize()
    yield from _quantize()
    yield from _others()
    yield from _kernels()


def _scalars(**values: float) -> dict[str, Array]:
    return {name: np.array(value, np.float32) for name, value in values.items()}


def _fake() -> Iterator[Case]:
    edges = np.array([0, 1e-3, 0.5, 1.5, 2.5, 1e9, -1e9, np.inf, -np.inf], np.float32)
    for low, high in (*RANGES[:4], (-0.01, 12.0), (-5.0, 1e-3)):
        for bits, narrow in ((8, False), (8, True), (2, False), (16, True)):
            attributes = {"num_bits": bits, "narrow_range": narrow}
            for x in (GRID, edges, np.asarray(plain(SINGLE, ())), plain(SINGLE, (0, 2))):
                yield Case(
                    "FakeQuantWithMinMaxArgs",
                    {"inputs": x},
                    {**attributes, "min": low, "max": high},
                )
                for fed in (frozenset({"min", "max"}), frozenset[str]()):
                    yield Case(
                        "FakeQuantWithMinMaxVars",
                        {"inputs": x, **_scalars(min=low, max=high)},
                        attributes,
                        fed,
                    )
    lows, highs = np.array([-6, 0, -0.3], np.float32), np.array([6, 4.4, 0.9], np.float32)
    for bits, narrow in ((8, False), (8, True), (4, False)):
        for x in (GRID, GRID[0], GRID[0, 0], GRID[:0]):
            for scale in (1, 0):
                yield Case(
                    "FakeQuantWithMinMaxVarsPerChannel",
                    {"inputs": x, "min": lows * scale, "max": highs * scale},
                    {"num_bits": bits, "narrow_range": narrow},
                )
    yield Case("FakeQuantWithMinMaxVars", {"inputs": GRID, **_scalars(min=0, max=0)})


def _there_and_back() -> Iterator[Case]:
    for dtype in (SINGLE, DOUBLE):
        x = GRID.astype(dtype)
        for low, high in RANGES:
            for signed, narrow, given, bits, mode, axis in (
                (True, False, True, 8, "HALF_TO_EVEN", -1),
                (True, True, True, 8, "HALF_UP", 2),
                (False, False, True, 4, "HALF_UP", -1),
                (True, False, False, 8, "HALF_UP", -1),
                (True, True, False, 5, "HALF_TO_EVEN", 0),
                (False, False, False, 8, "HALF_TO_EVEN", -1),
            ):
                common = {
                    "signed_input": signed,
                    "range_given": given,
                    "narrow_range": narrow,
                    "axis": axis,
                }
                factor = 1 if axis == -1 else np.linspace(1, 2, x.shape[axis])
                given_ends = {
                    "input": x,
                    "input_min": np.asarray(factor * low, dtype),
                    "input_max": np.asarray(factor * high, dtype),
                }
                for version in ("V2", "V4"):
                    yield Case(
                        f"QuantizeAndDequantize{version}",
                        given_ends,
                        {**common, "num_bits": bits, "round_mode": mode},
                    )
                yield Case(
                    "QuantizeAndDequantizeV3",
                    {**given_ends, "num_bits": np.array(bits, np.int32)},
                    common,
                    frozenset({"num_bits"}),
                )
        for signed, given, bits in ((True, True, 8), (False, True, 4), (True, False, 5)):
            for low, high in RANGES:
                yield Case(
                    "QuantizeAndDequantize",
                    {"input": x},
                    {
                        "signed_input": signed,
                        "range_given": given,
                        "num_bits": bits,
                        "input_min": low,
                        "input_max": high,
                    },
                    producer=21,
                )
        for op in ("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4"):
            ends = {"input_min": np.asarray(-1, dtype), "input_max": np.asarray(2, dtype)}
            yield Case(op, {"input": x[:0], **ends}, {"range_given": True})


def _integers(name: str, shape: tuple[int, ...]) -> Array:
    """Of a quantized type, its limits among them."""
    limits = np.iinfo(QUANTIZED[name])
    few = np.linspace(limits.min, limits.max, int(np.prod(shape))).round()
    whole = np.clip(few, limits.min, limits.max).astype(np.int64).astype(QUANTIZED[name])
    return whole.reshape(shape).astype(tf.as_dtype(name).as_numpy_dtype)


def _dequantize() -> Iterator[Case]:
    for name in QUANTIZED:
        for low, high in RANGES:
            for mode in ("MIN_COMBINED", "MIN_FIRST", "SCALED"):
                for narrow in (False, True):
                    yield Case(
                        "Dequantize",
                        {
                            "input": _integers(name, (4, 5)),
                            **_scalars(min_range=low, max_range=high),
                        },
                        {"mode": mode, "narrow_range": narrow},
                        tolerance=Tolerance(ulps=4, atol=1e-6),
                    )
            yield Case(
                "Dequantize",
                {"input": _integers(name, (4, 5)), **_scalars(min_range=low, max_range=high)},
                {"dtype": tf.bfloat16},
                tolerance=Tolerance(ulps=1),
            )
        for mode in ("MIN_COMBINED", "SCALED"):
            yield Case(
                "Dequantize",
                {
                    "input": _integers(name, (4, 3, 5)),
                    "min_range": np.array([-1, 0, -3], np.float32),
                    "max_range": np.array([1, 2, 0.5], np.float32),
                },
                {"mode": mode, "axis": 1},
                tolerance=Tolerance(ulps=4, atol=1e-6),
            )


def _quantize() -> Iterator[Case]:
    for name in QUANTIZED:
        for low, high in RANGES:
            for mode, rounding in (
                ("MIN_COMBINED", "HALF_AWAY_FROM_ZERO"),
                ("MIN_FIRST", "HALF_AWAY_FROM_ZERO"),
                ("SCALED", "HALF_AWAY_FROM_ZERO"),
                ("SCALED", "HALF_TO_EVEN"),
            ):
                yield Case(
                    "QuantizeV2",
                    {"input": GRID, **_scalars(min_range=low, max_range=high)},
                    {"T": tf.as_dtype(name), "mode": mode, "round_mode": rounding},
                )
        for mode in ("SCALED", "MIN_COMBINED"):
            yield Case(
                "QuantizeV2",
                {
                    "input": GRID,
                    "min_range": np.array([-1, 0, -3], np.float32),
                    "max_range": np.array([1, 2, 0.5], np.float32),
                },
                {"T": tf.as_dtype(name), "mode": mode, "axis": 2, "narrow_range": mode == "SCALED"},
            )


def _others() -> Iterator[Case]:
    for name in ("quint8", "qint32"):
        yield Case(
            "QuantizedReshape",
            {
                "tensor": _integers(name, (4, 3)),
                "shape": np.array([2, -1], np.int32),
                **_scalars(input_min=-1, input_max=2),
            },
            tolerance=EXACT,
        )
    for name in ("qint8", "quint8", "qint32"):
        for axis in (-1, 1):
            scales = np.array(0.07 if axis == -1 else [0.1, 0.3, 0.07], np.float32)
            zeros = np.array(3 if axis == -1 else [3, 0, -2], np.int32)
            limits = {
                "quantization_axis": axis,
                "quantization_min_val": int(np.iinfo(QUANTIZED[name]).min),
                "quantization_max_val": int(np.iinfo(QUANTIZED[name]).max),
            }
            yield Case(
                "UniformDequantize",
                {"input": _integers(name, (4, 3)), "scales": scales, "zero_points": zeros},
                {**limits, "Tout": tf.float32},
                tolerance=Tolerance(ulps=1),
            )
            yield Case(
                "UniformQuantize",
                {"input": GRID[0, :, :], "scales": scales, "zero_points": zeros},
                {**limits, "Tout": tf.as_dtype(name)},
            )


def _kernels() -> Iterator[Case]:
    for low, high in (*RANGES, (2.0, 2.0)):
        ends = _scalars(min_features=low, max_features=high)
        for op in ("QuantizedRelu", "QuantizedRelu6"):
            for name in ("quint8", "qint32"):
                yield Case(
                    op,
                    {"features": _integers(name, (4, 5)), **ends},
                    {"out_type": tf.as_dtype(name)},
                )
        a, b = _integers("quint8", (3, 7)), _integers("quint8", (7, 4))
        for turned_a, turned_b in ((False, False), (True, True)):
            yield Case(
                "QuantizedMatMul",
                {
                    "a": a.T if turned_a else a,
                    "b": b.T if turned_b else b,
                    **_scalars(min_a=low, max_a=high, min_b=-1, max_b=2),
                },
                {"transpose_a": turned_a, "transpose_b": turned_b},
            )
    for name in ("qint8", "quint8"):
        for padding in ("SAME", "VALID"):
            for size, stride in ((2, 2), (3, 2), (2, 1)):
                yield Case(
                    "QuantizedMaxPool",
                    {"input": _integers(name, (2, 5, 6, 3)), **_scalars(min_input=0, max_input=2)},
                    {
                        "ksize": [1, size, size, 1],
                        "strides": [1, stride, stride, 1],
                        "padding": padding,
                    },
                )
