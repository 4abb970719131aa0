"""oneDNN's products of integers; without its kernels, TensorFlow refuses these cases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from cases.quantization_ranges import integers, scalars
from proof import Case
from smconvert.model import Array

CONSTANTS = frozenset({"filter", "min_filter", "max_filter", "bias"})


def cases() -> Iterator[Case]:
    for op in ("QuantizedConv2D", "QuantizedConv2DAndRelu", "QuantizedDepthwiseConv2D"):
        yield from _windows(op)
    for op, given in (
        ("QuantizedConv2DPerChannel", ("quint8",)),
        ("QuantizedConv2DAndRelu", ("quint8",)),
        ("QuantizedConv2DWithBias", ("quint8", "qint8")),
        ("QuantizedConv2DWithBiasAndRelu", ("quint8", "qint8")),
        ("QuantizedDepthwiseConv2D", ("quint8",)),
        ("QuantizedDepthwiseConv2DWithBias", ("quint8",)),
        ("QuantizedDepthwiseConv2DWithBiasAndRelu", ("quint8",)),
        ("QuantizedConv2DAndRequantize", ("quint8",)),
        ("QuantizedConv2DAndReluAndRequantize", ("quint8",)),
        ("QuantizedConv2DWithBiasAndRequantize", ("quint8", "qint8")),
        ("QuantizedConv2DWithBiasAndReluAndRequantize", ("quint8", "qint8")),
        ("QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize", ("quint8",)),
    ):
        for name in given:
            yield from _fused(op, name)
    for end in ("", "AndRelu", "AndRequantize", "AndReluAndRequantize", "AndDequantize"):
        yield from _products(f"QuantizedMatMulWithBias{end}")


def _windows(op: str) -> Iterator[Case]:
    depthwise = "Depthwise" in op
    for size, stride, space, dilation in (
        (3, 1, (5, 6), 1),
        (2, 2, (7, 4), 1),
        (3, 2, (8, 5), 1),
        (2, 1, (8, 7), 2),
    ):
        for padding in ("SAME", "VALID"):
            window = (size, size, 5, 1 if depthwise else 4)
            yield Case(
                op,
                {
                    "input": integers("quint8", (2, *space, 5)),
                    "filter": integers("qint8", window, 1),
                    **scalars(min_input=-0.7, max_input=3.9),
                    **scalars(min_filter=-1.7, max_filter=0.4),
                },
                {
                    "strides": [1, stride, stride, 1],
                    "dilations": [1, dilation, dilation, 1],
                    "padding": padding,
                    "out_type": tf.qint32,
                },
                CONSTANTS,
            )


def _biases(op: str, count: int) -> Iterator[Array | None]:
    """Floats, and integers where an op takes them as well."""
    if "WithBias" not in op:
        yield None
        return
    random = np.random.default_rng(6)
    yield (random.normal(size=count) * 10).astype(np.float32)
    if "quantize" in op[9:] or op == "QuantizedMatMulWithBias":
        found = random.integers(-20000, 20000, count).astype(np.int32)
        yield found.astype(tf.qint32.as_numpy_dtype)


def _fused(op: str, name: str) -> Iterator[Case]:
    depthwise = "Depthwise" in op
    relu, narrow = "Relu" in op, "Requantize" in op
    out = (tf.quint8 if relu else tf.qint8) if narrow else tf.qint32
    for multiplier, each in ((4, False), (4, True)) if not depthwise else ((1, False), (2, True)):
        channels = multiplier * (5 if depthwise else 1)
        width = np.linspace(0.3, 1, channels, dtype=np.float32) if each else np.float32(1)
        if each and op == "QuantizedConv2DAndRequantize":
            continue
        for bias in _biases(op, channels):
            for low, high in ((-0.7, 3.9), (0, 6), (-4.5, 2)):
                for padding, stride in (("SAME", 2), ("VALID", 1)):
                    inputs = {
                        "input": integers(name, (2, 6, 7, 5)),
                        "filter": integers("qint8", (3, 2, 5, multiplier), 1),
                        **({} if bias is None else {"bias": bias}),
                        **scalars(min_input=low, max_input=high),
                        "min_filter": np.asarray(width * np.float32(-1.7)),
                        "max_filter": np.asarray(width * np.float32(0.4)),
                        **(scalars(min_freezed_output=-7, max_freezed_output=5) if narrow else {}),
                    }
                    yield Case(
                        op,
                        inputs,
                        {"strides": [1, stride, stride, 1], "padding": padding, "out_type": out},
                        CONSTANTS,
                    )


def _products(op: str) -> Iterator[Case]:
    narrow = "equantize" in op
    out = tf.float32 if "Deq" in op else tf.quint8 if narrow else tf.qint32
    for bias in _biases(op, 6):
        for low, high in ((0, 6), (-0.7, 3.9), (-4.5, 2), (1, 3)):
            for mode in ("MIN_FIRST", "SCALED"):
                for rows in (1, 40):
                    yield Case(
                        op,
                        {
                            "a": integers("quint8", (rows, 20)),
                            "b": integers("qint8", (20, 6), 1),
                            "bias": bias,
                            **scalars(min_a=low, max_a=high, min_b=-1.7, max_b=0.4),
                            **(
                                scalars(min_freezed_output=-17, max_freezed_output=25)
                                if narrow
                                else {}
                            ),
                        },
                        {"input_quant_mode": mode, "Toutput": out},
                        frozenset({"b", "min_b", "max_b", "bias"}),
                    )
