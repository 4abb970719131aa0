"""Gradients of convolutions, pools and normalizations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from cases.neural_networks import _SUMS
from proof import Case, Tolerance
from values import BRAIN, DOUBLE, FLOATS, HALF, SINGLE, plain, positive

_IN_STEPS = {**_SUMS, HALF: Tolerance(rtol=2e-2, atol=1e-1)}
"""Sums that TensorFlow rounds to halves after each step."""

_SIZES = frozenset({"filter_sizes"})


def cases() -> Iterator[Case]:
    yield from _filters()
    yield from _filters_of_volumes()
    yield from _depthwise_filters()
    yield from _normalizations()


def _filters() -> Iterator[Case]:
    for dtype in FLOATS:
        for x, kernel, strides, padding in (
            ((2, 7, 6, 3), (3, 2, 3, 4), [1, 1], "SAME"),
            ((2, 7, 6, 3), (3, 2, 3, 4), [2, 3], "SAME"),
            ((2, 7, 6, 3), (3, 2, 3, 4), [2, 1], "VALID"),
            ((2, 8, 9, 3), (3, 2, 3, 4), [2, 2], "VALID"),
            ((1, 2, 2, 1), (5, 4, 1, 1), [1, 1], "SAME"),
            ((1, 5, 7, 2), (1, 1, 2, 3), [3, 2], "SAME"),
            ((0, 5, 5, 2), (3, 3, 2, 3), [1, 1], "SAME"),
        ):
            for constants in (_SIZES, frozenset[str]()):
                yield _filter(dtype, x, kernel, strides, padding, constants)
        for explicit in ([[0, 0], [1, 2], [0, 3], [0, 0]], [[0, 0], [0, 0], [4, 4], [0, 0]]):
            pads = {"explicit_paddings": np.ravel(explicit).tolist()}
            yield _filter(dtype, (2, 5, 6, 2), (3, 3, 2, 3), [2, 1], "EXPLICIT", _SIZES, pads)
    for dtype in (SINGLE, BRAIN):
        # TensorFlow's own kernels, which the others have, know neither dilations nor groups.
        more = {"dilations": [1, 2, 3, 1]}
        yield _filter(dtype, (1, 8, 8, 2), (3, 3, 2, 3), [1, 1], "SAME", _SIZES, more)
        yield _filter(dtype, (1, 8, 8, 2), (3, 2, 2, 3), [1, 1], "VALID", frozenset(), more)
        yield _filter(dtype, (2, 6, 6, 4), (3, 3, 2, 6), [1, 1], "SAME", _SIZES)


def _filter(
    dtype: np.dtype[Any],
    x: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: list[int],
    padding: str,
    constants: frozenset[str],
    more: dict[str, list[int]] | None = None,
) -> Case:
    attributes = {"strides": [1, *strides, 1], "padding": padding, **(more or {})}
    return Case(
        "Conv2DBackpropFilter",
        {
            "input": plain(dtype, x),
            "filter_sizes": np.array(kernel, np.int32),
            "out_backprop": plain(dtype, _convolved(x, kernel, attributes), 1),
        },
        attributes,
        constants,
        _SUMS[dtype],
    )


def _convolved(
    x: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any]
) -> tuple[int, ...]:
    """The shape of a convolution."""
    rank = len(x) - 2
    pads = attributes.get("explicit_paddings", [0] * (2 * rank + 4))
    dilations = attributes.get("dilations", [1] * (rank + 2))
    space = [
        -(-x[i] // attributes["strides"][i])
        if attributes["padding"] == "SAME"
        else (x[i] + pads[2 * i] + pads[2 * i + 1] - (kernel[i - 1] - 1) * dilations[i] - 1)
        // attributes["strides"][i]
        + 1
        for i in range(1, rank + 1)
    ]
    return (x[0], *space, kernel[-1])


def _filters_of_volumes() -> Iterator[Case]:
    x, kernel = (2, 5, 4, 6, 2), (3, 2, 3, 2, 3)
    for dtype in FLOATS:
        for padding in ("SAME", "VALID"):
            for strides in ([1, 1, 1], [2, 1, 2]):
                attributes = {"strides": [1, *strides, 1], "padding": padding}
                given = {
                    "input": plain(dtype, x),
                    "out_backprop": plain(dtype, _convolved(x, kernel, attributes), 1),
                }
                if dtype != BRAIN:
                    yield Case(
                        "Conv3DBackpropFilter",
                        {**given, "filter": plain(dtype, kernel, 2)},
                        attributes,
                        tolerance=_IN_STEPS[dtype],
                        producer=9,
                    )
                for constants in (_SIZES, frozenset[str]()):
                    yield Case(
                        "Conv3DBackpropFilterV2",
                        {**given, "filter_sizes": np.array(kernel, np.int32)},
                        attributes,
                        constants,
                        _IN_STEPS[dtype],
                    )


def _depthwise_filters() -> Iterator[Case]:
    x, kernel = (2, 7, 6, 3), (3, 2, 3, 2)
    for dtype in FLOATS:
        for strides, padding, more in (
            ([1, 1], "SAME", {}),
            ([2, 2], "SAME", {}),
            ([2, 2], "VALID", {}),
            ([1, 1], "EXPLICIT", {"explicit_paddings": [0, 0, 1, 2, 0, 3, 0, 0]}),
        ):
            attributes = {"strides": [1, *strides, 1], "padding": padding, **more}
            back = (*_convolved(x, kernel, attributes)[:-1], 6)
            # Of an empty batch, TensorFlow's kernel gives what was in memory.
            for constants in (_SIZES, frozenset[str]()):
                yield Case(
                    "DepthwiseConv2dNativeBackpropFilter",
                    {
                        "input": plain(dtype, x),
                        "filter_sizes": np.array(kernel, np.int32),
                        "out_backprop": plain(dtype, back, 1),
                    },
                    attributes,
                    constants,
                    _SUMS[dtype],
                )


def _normalizations() -> Iterator[Case]:
    for op in ("FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3"):
        for dtype in (SINGLE,) if op == "FusedBatchNormGrad" else (SINGLE, HALF, BRAIN):
            for training in (False, True):
                for shape in ((2, 3, 4, 3), (1, 1, 1, 3), (0, 3, 4, 3)):
                    yield _batch_gradient(op, dtype, shape, training, "NHWC")
            yield _batch_gradient(op, dtype, (2, 3, 4, 2), True, "NCHW")
            if op.endswith("V3"):
                for training in (False, True):
                    yield _batch_gradient(op, dtype, (2, 3, 2, 2, 3), training, "NDHWC")
                yield _batch_gradient(op, dtype, (2, 3, 2, 2, 2), True, "NCDHW")
    for dtype in (SINGLE, DOUBLE, HALF):
        for shape in ((2, 3, 4, 3), (1, 1, 1, 3), (0, 3, 4, 3)):
            for scaled in (False, True):
                names = ("m", "gamma", "beta")
                statistics = {n: plain(dtype, (3,), i) for i, n in enumerate(names, 3)}
                given = {"t": plain(dtype, shape), **statistics, "v": positive(dtype, (3,), 6)}
                back = {**given, "backprop": plain(dtype, shape, 1)}
                del back["beta"]
                for suffix, inputs in (("", given), ("Grad", back)):
                    yield Case(
                        f"BatchNormWithGlobalNormalization{suffix}",
                        inputs,
                        {"variance_epsilon": 1e-3, "scale_after_normalization": scaled},
                        tolerance=_IN_STEPS[dtype],
                        producer=8,
                    )
    for dtype in (SINGLE, HALF):
        for radius, bias, alpha, beta in ((5, 1.0, 1.0, 0.5), (1, 2.0, 0.5, 0.75), (0, 1.0, 1, 1)):
            for shape in ((2, 3, 4, 7), (0, 3, 4, 7), (1, 1, 1, 3)):
                attributes = {"depth_radius": radius, "bias": bias, "alpha": alpha, "beta": beta}
                x = plain(dtype, shape)
                y = tf.raw_ops.LRN(input=tf.constant(x), **attributes).numpy()
                yield Case(
                    "LRNGrad",
                    {"input_grads": plain(dtype, shape, 1), "input_image": x, "output_image": y},
                    attributes,
                    tolerance=_IN_STEPS[dtype],
                )


def _batch_gradient(
    op: str, dtype: np.dtype[Any], shape: tuple[int, ...], training: bool, layout: str
) -> Case:
    reserved = [f"reserve_space_{i}" for i in range(1, 4 if op.endswith("V3") else 3)]
    return Case(
        op,
        {
            "y_backprop": plain(dtype, shape),
            "x": plain(dtype, shape, 1),
            "scale": plain(SINGLE, (3,), 2),
            **{name: positive(SINGLE, (3,), i) for i, name in enumerate(reserved, 3)},
        },
        {"is_training": training, "epsilon": 1e-3, "data_format": layout},
        tolerance=_IN_STEPS[dtype],
        # The others are for nothing yet.
        outputs=(0, 1, 2),
    )
