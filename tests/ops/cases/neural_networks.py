"""Convolutions, pools, normalizations and losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from proof import Case, Shapes, Tolerance
from smconvert.model import Array
from values import BRAIN, DOUBLE, FLOATS, HALF, INTEGERS, SINGLE, edges, plain, positive

_INT32 = np.dtype(np.int32)
_SUMS = {
    SINGLE: Tolerance(rtol=1e-5, atol=1e-5),
    DOUBLE: Tolerance(rtol=1e-12, atol=1e-12),
    HALF: Tolerance(rtol=4e-3, atol=2e-2),
    BRAIN: Tolerance(rtol=3e-2, atol=1e-1),
    _INT32: Tolerance(),
}
_SIZES = frozenset({"input_sizes"})
_WINDOWS = (
    ([1, 3, 2, 1], [1, 1, 1, 1], "SAME"),
    ([1, 2, 2, 1], [1, 2, 2, 1], "VALID"),
    ([1, 3, 3, 1], [1, 2, 2, 1], "SAME"),
    ([1, 2, 3, 1], [1, 3, 1, 1], "VALID"),
    ([1, 1, 2, 1], [1, 2, 3, 1], "SAME"),
)
_POOLED = (*FLOATS, *INTEGERS[:6])
_STATIC = (Shapes.STATIC,)


def cases() -> Iterator[Case]:
    yield from _convolutions()
    yield from _transposed()
    yield from _pools()
    yield from _pool_gradients()
    yield from _biases()
    yield from _softmaxes()
    yield from _normalizations()
    yield from _decoders()


def _convolutions() -> Iterator[Case]:
    for dtype in (*FLOATS, _INT32):
        yield from _conv2d(dtype, (2, 7, 6, 3), (3, 2, 3, 4), [1, 1, 1, 1], "SAME")
        yield from _conv2d(dtype, (2, 7, 6, 3), (3, 2, 3, 4), [1, 2, 3, 1], "SAME")
        yield from _conv2d(dtype, (2, 7, 6, 3), (3, 2, 3, 4), [1, 2, 1, 1], "VALID")
    for dtype in (DOUBLE, HALF):
        # Not of float32, where oneDNN's kernel gives an empty input its own number of channels.
        yield from _conv2d(dtype, (0, 5, 5, 2), (3, 3, 2, 3), [1, 1, 1, 1], "SAME")
    for dtype in (SINGLE, DOUBLE):
        yield from _conv2d(dtype, (2, 8, 8, 2), (3, 3, 2, 3), [1, 1, 1, 1], "SAME", [1, 2, 3, 1])
        yield from _conv2d(dtype, (2, 8, 8, 2), (3, 3, 2, 3), [1, 1, 1, 1], "VALID", [1, 2, 2, 1])
        yield from _conv2d(dtype, (1, 9, 8, 2), (3, 3, 2, 3), [1, 2, 2, 1], "SAME", [1, 2, 2, 1])
        yield from _conv2d(dtype, (1, 7, 7, 2), (1, 1, 2, 3), [1, 3, 2, 1], "SAME")
        yield from _conv2d(dtype, (1, 6, 7, 2), (2, 2, 2, 3), [1, 3, 4, 1], "SAME")
        yield from _conv2d(dtype, (1, 2, 2, 1), (5, 4, 1, 1), [1, 1, 1, 1], "SAME")
        yield from _conv2d(dtype, (1, 3, 3, 2), (3, 3, 2, 3), [1, 1, 1, 1], "VALID")
        for explicit in ([0, 0, 1, 2, 0, 3, 0, 0], [0, 0, 0, 0, 4, 4, 0, 0]):
            yield from _conv2d(
                dtype, (2, 5, 6, 2), (3, 3, 2, 3), [1, 2, 1, 1], "EXPLICIT", explicit=explicit
            )
        x, kernel = plain(dtype, (2, 5, 5, 6)), plain(dtype, (3, 3, 2, 9), 1)
        grouped = {"input": x, "filter": kernel}
        shapes = tuple(Shapes) if dtype == DOUBLE else _STATIC
        attributes = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        yield Case("Conv2D", grouped, attributes, tolerance=_SUMS[dtype], shapes=shapes)
    for dtype in FLOATS:
        for padding in ("SAME", "VALID"):
            for strides, dilations in (
                ([1, 1, 1], [1, 1, 1]),
                ([2, 1, 2], [1, 1, 1]),
                ([1, 1, 1], [2, 1, 1]),
            ):
                yield Case(
                    "Conv3D",
                    {
                        "input": plain(dtype, (2, 5, 4, 6, 2)),
                        "filter": plain(dtype, (3, 2, 3, 2, 3), 1),
                    },
                    {
                        "strides": [1, *strides, 1],
                        "dilations": [1, *dilations, 1],
                        "padding": padding,
                    },
                    tolerance=_SUMS[dtype],
                )
    for dtype in (*FLOATS, _INT32):
        for x, kernel, strides, more in (
            ((2, 7, 6, 3), (3, 2, 3, 4), [1, 2, 2, 1], {}),
            ((2, 3, 7, 6, 3), (3, 2, 3, 4), [1, 1, 1, 1], {"batch_dims": 2}),
            ((2, 5, 4, 6, 2), (3, 2, 3, 2, 3), [1, 1, 2, 1, 1], {}),
            ((2, 7, 6, 4), (3, 2, 2, 4), [1, 1, 1, 1], {"groups": 2}),
        ):
            for padding in ("SAME", "VALID"):
                yield Case(
                    "Conv",
                    {"input": plain(dtype, x), "filter": plain(dtype, kernel, 1)},
                    {"strides": strides, "padding": padding, **more},
                    tolerance=_SUMS[dtype],
                    shapes=_STATIC if "groups" in more else tuple(Shapes),
                )
    for dtype in FLOATS:
        for strides, dilations, padding, explicit in (
            ([1, 1, 1, 1], [1, 1, 1, 1], "SAME", []),
            ([1, 2, 2, 1], [1, 1, 1, 1], "SAME", []),
            ([1, 2, 2, 1], [1, 1, 1, 1], "VALID", []),
            ([1, 1, 1, 1], [1, 1, 1, 1], "EXPLICIT", [0, 0, 1, 2, 0, 3, 0, 0]),
        ):
            for constants in (frozenset(), frozenset({"filter"})):
                yield Case(
                    "DepthwiseConv2dNative",
                    {"input": plain(dtype, (2, 7, 6, 3)), "filter": plain(dtype, (3, 2, 3, 2), 1)},
                    {
                        "strides": strides,
                        "dilations": dilations,
                        "padding": padding,
                        "explicit_paddings": explicit,
                    },
                    constants=constants,
                    tolerance=_SUMS[dtype],
                )


def _conv2d(
    dtype: np.dtype[Any],
    x: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: list[int],
    padding: str,
    dilations: list[int] | None = None,
    explicit: list[int] | None = None,
) -> Iterator[Case]:
    for constants in (frozenset({"filter"}), frozenset()):
        yield Case(
            "Conv2D",
            {"input": plain(dtype, x), "filter": plain(dtype, kernel, 1)},
            {
                "strides": strides,
                "padding": padding,
                "dilations": dilations or [1, 1, 1, 1],
                "explicit_paddings": explicit or [],
            },
            constants=constants,
            tolerance=_SUMS[dtype],
        )


def _transposed() -> Iterator[Case]:
    for dtype in (*FLOATS, _INT32):
        for sizes, kernel, back, strides, padding in (
            ((2, 8, 6, 3), (3, 3, 3, 4), (2, 4, 3, 4), 2, "SAME"),
            ((2, 7, 5, 3), (3, 3, 3, 4), (2, 4, 3, 4), 2, "SAME"),
            ((2, 7, 9, 3), (3, 2, 3, 4), (2, 3, 4, 4), 2, "VALID"),
            ((2, 8, 9, 3), (3, 2, 3, 4), (2, 3, 4, 4), 2, "VALID"),
            ((1, 8, 6, 3), (1, 2, 3, 4), (1, 3, 2, 4), 3, "SAME"),
            ((2, 6, 6, 3), (3, 3, 3, 4), (2, 6, 6, 4), 1, "SAME"),
            ((0, 6, 6, 3), (3, 3, 3, 4), (0, 6, 6, 4), 1, "SAME"),
        ):
            for constants in (_SIZES, frozenset(), _SIZES | {"filter"}):
                yield _spread(dtype, sizes, kernel, back, strides, padding, constants)
    for dtype in (SINGLE, BRAIN):
        # TensorFlow's own kernels, which the others have, know neither dilations nor groups.
        for constants in (_SIZES, _SIZES | {"filter"}):
            back, more = (1, 8, 8, 3), {"dilations": [1, 2, 3, 1]}
            yield _spread(dtype, (1, 8, 8, 2), (3, 3, 2, 3), back, 1, "SAME", constants, more)
            yield _spread(dtype, (2, 6, 6, 4), (3, 3, 2, 6), (2, 6, 6, 6), 1, "SAME", constants)
    for dtype in FLOATS:
        back, more = (1, 4, 5, 3), {"explicit_paddings": [0, 0, 1, 2, 3, 2, 0, 0]}
        for constants in (_SIZES, frozenset()):
            yield _spread(dtype, (1, 6, 6, 2), (3, 3, 2, 3), back, 2, "EXPLICIT", constants, more)
    for dtype in (*FLOATS, _INT32):
        yield Case(
            "Conv2DBackpropInput",
            {
                "input_sizes": np.array([8, 6], np.int32),
                "filter": plain(dtype, (3, 3, 3, 4), 1),
                "out_backprop": plain(dtype, (2, 4, 3, 4)),
            },
            {"strides": [1, 2, 2, 1], "padding": "SAME"},
            constants=frozenset({"input_sizes"}),
            tolerance=_SUMS[dtype],
        )
    for dtype in FLOATS:
        for size, strides, padding in (
            ((2, 6, 4, 5, 2), [1, 2, 2, 2, 1], "SAME"),
            ((2, 3, 2, 3, 2), [1, 1, 1, 1, 1], "SAME"),
            ((2, 8, 6, 8, 2), [1, 2, 2, 2, 1], "VALID"),
        ):
            space = [
                -(-n // s) if padding == "SAME" else (n - 3 + s) // s
                for n, s in zip(size[1:4], strides[1:4], strict=True)
            ]
            yield Case(
                "Conv3DBackpropInputV2",
                {
                    "input_sizes": np.array(size, np.int32),
                    "filter": plain(dtype, (3, 3, 3, 2, 3), 1),
                    "out_backprop": plain(dtype, (size[0], *space, 3)),
                },
                {"strides": strides, "padding": padding},
                tolerance=_SUMS[dtype],
            )
    for dtype in FLOATS:
        for strides, padding, back in (
            ([1, 1, 1, 1], "SAME", (2, 7, 6, 6)),
            ([1, 2, 2, 1], "SAME", (2, 4, 3, 6)),
            ([1, 2, 2, 1], "VALID", (2, 3, 2, 6)),
        ):
            for constants in (frozenset(), frozenset({"input_sizes"})):
                yield Case(
                    "DepthwiseConv2dNativeBackpropInput",
                    {
                        "input_sizes": np.array((2, 7, 6, 3), np.int32),
                        "filter": plain(dtype, (3, 3, 3, 2), 1),
                        "out_backprop": plain(dtype, back),
                    },
                    {"strides": strides, "padding": padding},
                    constants=constants,
                    tolerance=_SUMS[dtype],
                )


def _spread(
    dtype: np.dtype[Any],
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    back: tuple[int, ...],
    stride: int,
    padding: str,
    constants: frozenset[str],
    more: Mapping[str, list[int]] | None = None,
) -> Case:
    return Case(
        "Conv2DBackpropInput",
        {
            "input_sizes": np.array(sizes, np.int32),
            "filter": plain(dtype, kernel, 1),
            "out_backprop": plain(dtype, back),
        },
        {"strides": [1, stride, stride, 1], "padding": padding, **(more or {})},
        constants=constants,
        tolerance=_SUMS[dtype],
    )


def _pools() -> Iterator[Case]:
    for dtype in FLOATS:
        for ksize, strides, padding in _WINDOWS:
            attributes = {"ksize": ksize, "strides": strides, "padding": padding}
            x = plain(dtype, (2, 7, 6, 3))
            yield Case("AvgPool", {"value": x}, attributes, tolerance=_SUMS[dtype])
        attributes = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "SAME"}
        yield Case("AvgPool", {"value": plain(dtype, (0, 4, 4, 2))}, attributes)
    for dtype in (SINGLE, BRAIN):
        for padding in ("SAME", "VALID"):
            for strides in ([1, 1, 1, 1, 1], [1, 2, 3, 2, 1]):
                attributes = {"ksize": [1, 3, 2, 2, 1], "strides": strides, "padding": padding}
                x = plain(dtype, (2, 5, 4, 6, 2))
                yield Case("AvgPool3D", {"input": x}, attributes, tolerance=_SUMS[dtype])
                yield Case("MaxPool3D", {"input": x}, attributes)
    for dtype in _POOLED:
        for ksize, strides, padding in _WINDOWS[:: 1 if dtype == SINGLE else 2]:
            attributes = {"ksize": ksize, "strides": strides, "padding": padding}
            x = _wide(dtype, (2, 7, 6, 3))
            yield Case("MaxPool", {"input": x}, attributes)
            places = {"Targmax": np.int32} if ksize[1] > 1 else {"include_batch_in_index": True}
            yield Case("MaxPoolWithArgmax", {"input": np.round(x)}, {**attributes, **places})
            yield Case(
                "MaxPoolV2",
                {"input": x, "ksize": np.int32(ksize), "strides": np.int32(strides)},
                {"padding": padding},
                constants=frozenset({"ksize", "strides"}),
            )
        yield Case(
            "MaxPool",
            {"input": _wide(dtype, (2, 3, 2, 6))},
            {"ksize": [1, 1, 1, 3], "strides": [1, 1, 1, 3], "padding": "VALID"},
        )
    for dtype in (np.dtype(np.uint32), np.dtype(np.uint64)):
        attributes = {"ksize": [1, 2, 3, 1], "strides": [1, 2, 1, 1], "padding": "SAME"}
        yield Case("MaxPoolWithArgmax", {"input": _wide(dtype, (2, 7, 6, 3))}, attributes)
    yield Case(
        "MaxPool",
        {"input": plain(SINGLE, (2, 5, 6, 3))},
        {
            "ksize": [1, 3, 2, 1],
            "strides": [1, 2, 1, 1],
            "padding": "EXPLICIT",
            "explicit_paddings": [0, 0, 1, 2, 0, 1, 0, 0],
        },
    )
    yield Case(
        "MaxPool",
        {"input": plain(SINGLE, (0, 5, 6, 3))},
        {"ksize": [1, 3, 2, 1], "strides": [1, 2, 1, 1], "padding": "SAME"},
    )
    for dtype in (SINGLE, DOUBLE):
        x = np.resize(edges(dtype), (1, 6, 6, 2))
        attributes = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "SAME"}
        yield Case("MaxPoolWithArgmax", {"input": x}, attributes)
    for dtype in (*FLOATS, *INTEGERS):
        for padding, strides, rates in (
            ("SAME", [1, 1, 1, 1], [1, 1, 1, 1]),
            ("VALID", [1, 2, 1, 1], [1, 1, 2, 1]),
            ("SAME", [1, 2, 2, 1], [1, 2, 1, 1]),
        ):
            yield Case(
                "Dilation2D",
                {"input": _wide(dtype, (2, 7, 6, 3)), "filter": _wide(dtype, (3, 2, 3))},
                {"padding": padding, "strides": strides, "rates": rates},
            )
    x = np.resize(edges(SINGLE), (1, 6, 6, 2))
    attributes = {"padding": "SAME", "strides": [1, 1, 1, 1], "rates": [1, 1, 1, 1]}
    yield Case("Dilation2D", {"input": x, "filter": plain(SINGLE, (2, 2, 2))}, attributes)


def _pool_gradients() -> Iterator[Case]:
    for dtype in FLOATS:
        for ksize, strides, padding in _WINDOWS[:4]:
            attributes = {"ksize": ksize, "strides": strides, "padding": padding}
            shape = tuple(
                -(-n // s) if padding == "SAME" else (n - k + s) // s
                for n, k, s in zip((2, 7, 6, 3), ksize, strides, strict=True)
            )
            grad, x = plain(dtype, shape, 1), plain(dtype, (2, 7, 6, 3))
            sizes = np.array((2, 7, 6, 3), np.int32)
            for constants in (frozenset(), frozenset({"orig_input_shape"})):
                yield Case(
                    "AvgPoolGrad",
                    {"orig_input_shape": sizes, "grad": grad},
                    attributes,
                    constants=constants,
                    tolerance=_SUMS[dtype],
                    shapes=_STATIC,
                )
            y = tf.raw_ops.MaxPool(input=tf.constant(x), **attributes).numpy()
            given = {"orig_input": x, "orig_output": y, "grad": grad}
            yield Case("MaxPoolGrad", given, attributes, tolerance=_SUMS[dtype])
            again = {**given, "grad": plain(dtype, (2, 7, 6, 3), 2)}
            yield Case("MaxPoolGradGrad", again, attributes)
            windows = {"ksize": np.int32(ksize), "strides": np.int32(strides)}
            yield Case(
                "MaxPoolGradV2",
                {**given, **windows},
                {"padding": padding},
                constants=frozenset(windows),
                tolerance=_SUMS[dtype],
            )
            yield Case(
                "MaxPoolGradGradV2",
                {**again, **windows},
                {"padding": padding},
                constants=frozenset(windows),
            )
            for batch in (False, True):
                _, place = tf.raw_ops.MaxPoolWithArgmax(
                    input=tf.constant(x), include_batch_in_index=batch, **attributes
                )
                yield Case(
                    "MaxPoolGradWithArgmax",
                    {"input": x, "grad": grad, "argmax": place.numpy()},
                    {**attributes, "include_batch_in_index": batch},
                    tolerance=_SUMS[dtype],
                )
    for dtype in (SINGLE, BRAIN):
        for strides, padding, shape in (
            ([1, 1, 1, 1, 1], "SAME", (2, 5, 4, 6, 2)),
            ([1, 2, 2, 2, 1], "VALID", (2, 2, 2, 3, 2)),
        ):
            yield Case(
                "AvgPool3DGrad",
                {
                    "orig_input_shape": np.array((2, 5, 4, 6, 2), np.int32),
                    "grad": plain(dtype, shape),
                },
                {"ksize": [1, 3, 2, 2, 1], "strides": strides, "padding": padding},
                tolerance=_SUMS[dtype],
                shapes=_STATIC,
            )


def _biases() -> Iterator[Case]:
    for dtype in (*FLOATS, *INTEGERS):
        for shape in ((2, 3), (2, 4, 3), (2, 2, 4, 3), (1, 2, 2, 2, 3), (0, 3)):
            given = {"value": _wide(dtype, shape), "bias": _wide(dtype, (3,), 1)}
            yield Case("BiasAdd", given)
            yield Case("BiasAddV1", given)
            tolerance = _SUMS.get(dtype, Tolerance())
            grad = {"out_backprop": _wide(dtype, shape)}
            yield Case("BiasAddGrad", grad, tolerance=tolerance)
        for shape in ((2, 3, 4), (2, 3, 4, 2), (2, 3, 2, 2, 2)):
            given = {"value": _wide(dtype, shape), "bias": _wide(dtype, (3,), 1)}
            yield Case("BiasAdd", given, {"data_format": "NCHW"})
            grad = {"out_backprop": plain(dtype, shape)}
            tolerance = _SUMS.get(dtype, Tolerance())
            yield Case("BiasAddGrad", grad, {"data_format": "NCHW"}, tolerance=tolerance)


def _softmaxes() -> Iterator[Case]:
    special = np.array(
        [[-np.inf, 1, 2], [np.inf, 1, 2], [np.nan, 0, 0], [-np.inf] * 3, [1e4, 2, 1e4]]
    )
    for dtype in FLOATS:
        for op in ("Softmax", "LogSoftmax"):
            for shape in ((3,), (4, 5), (2, 3, 4), (0, 3), (2, 1, 3, 2)):
                yield Case(op, {"logits": plain(dtype, shape)}, tolerance=_SUMS[dtype])
            # oneDNN's kernel, which these have, gives 0 beside an infinity or NaN, and not NaN.
            rows = np.delete(special, [1, 2], 0) if dtype in (SINGLE, BRAIN) else special
            yield Case(op, {"logits": rows.astype(dtype)}, tolerance=_SUMS[dtype])
        for one, other in (
            ((4, 5), (4, 5)),
            ((1, 5), (4, 5)),
            ((4, 5), (1, 5)),
            ((4, 1), (4, 5)),
            ((0, 5), (0, 5)),
        ):
            labels = tf.nn.softmax(plain(DOUBLE, other, 1)).numpy().astype(dtype)
            yield Case(
                "SoftmaxCrossEntropyWithLogits",
                {"features": plain(dtype, one), "labels": labels},
                tolerance=_SUMS[dtype],
            )
        classes = np.array([1, 0, 1, 0, 2])
        yield Case(
            "SoftmaxCrossEntropyWithLogits",
            {"features": special.astype(dtype), "labels": np.eye(3)[classes].astype(dtype)},
            tolerance=_SUMS[dtype],
        )
        for kind in (np.int32, np.int64):
            yield Case(
                "SparseSoftmaxCrossEntropyWithLogits",
                {"features": special.astype(dtype), "labels": classes.astype(kind)},
                tolerance=_SUMS[dtype],
            )
            yield Case(
                "SparseSoftmaxCrossEntropyWithLogits",
                {"features": plain(dtype, (0, 3)), "labels": np.zeros(0, kind)},
                tolerance=_SUMS[dtype],
            )


def _normalizations() -> Iterator[Case]:
    for dtype in (SINGLE, HALF):
        for radius, bias, alpha, beta in ((5, 1.0, 1.0, 0.5), (1, 2.0, 0.5, 0.75), (0, 1.0, 1, 1)):
            yield Case(
                "LRN",
                {"input": plain(dtype, (2, 3, 4, 7))},
                {"depth_radius": radius, "bias": bias, "alpha": alpha, "beta": beta},
                tolerance=_SUMS[dtype],
            )
        yield Case("LRN", {"input": plain(dtype, (0, 3, 4, 7))}, tolerance=_SUMS[dtype])
    for op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
        for dtype in (SINGLE,) if op == "FusedBatchNorm" else (SINGLE, HALF, BRAIN):
            for training in (False, True):
                for shape in ((2, 3, 4, 3), (1, 1, 1, 3), (0, 3, 4, 3)):
                    yield _batch_norm(op, dtype, shape, training)
            if op.endswith("V3"):
                yield _batch_norm(op, dtype, (2, 3, 4, 3), True, exponential_avg_factor=0.25)
                yield _batch_norm(op, dtype, (2, 3, 2, 2, 3), False, data_format="NDHWC")
                yield _batch_norm(op, dtype, (2, 3, 2, 2, 3), True, data_format="NDHWC")


def _batch_norm(
    op: str, dtype: np.dtype[Any], shape: tuple[int, ...], training: bool, **more: Any
) -> Case:
    return Case(
        op,
        {
            "x": plain(dtype, shape),
            "scale": plain(SINGLE, (3,), 1),
            "offset": plain(SINGLE, (3,), 2),
            "mean": plain(SINGLE, (3,), 3),
            "variance": positive(SINGLE, (3,), 4),
        },
        {"is_training": training, "epsilon": 1e-3, **more},
        tolerance=_SUMS[dtype],
        # What is reserved for the gradient is left as memory was by the other kernels.
        outputs=(0, 1, 2, 3, 4) if dtype == SINGLE and len(shape) == 4 else (0, 1, 2),
    )


def _decoders() -> Iterator[Case]:
    for dtype in (SINGLE, DOUBLE):
        for merge in (False, True):
            for blank in (-1, 1):
                for shape in ((6, 3, 4), (5, 1, 2), (1, 2, 3)):
                    x = np.round(plain(dtype, shape, shape[0]))
                    lengths = np.array([shape[0], 2, 0][: shape[1]], np.int32)
                    yield Case(
                        "CTCGreedyDecoder",
                        {"inputs": x, "sequence_length": np.minimum(lengths, shape[0])},
                        {"merge_repeated": merge, "blank_index": blank},
                        tolerance=_SUMS[dtype],
                    )


def _wide(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int = 0) -> Array:
    """All the numbers of an integer type, and some of a floating one."""
    if dtype.kind not in "iu":
        return plain(dtype, shape, seed)
    limits, random = np.iinfo(dtype), np.random.default_rng(seed)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
