"""oneDNN's products of integers; without its kernels, TensorFlow refuses these cases."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from cases.quantization_ranges import integers, scalars
from proof import Case

CONSTANTS = frozenset({"filter", "min_filter", "max_filter"})


def cases() -> Iterator[Case]:
    for op in ("QuantizedConv2D", "QuantizedConv2DAndRelu", "QuantizedDepthwiseConv2D"):
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
