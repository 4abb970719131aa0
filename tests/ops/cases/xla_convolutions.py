"""XLA's convolutions: layouts, dilations, paddings and groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tensorflow.compiler.xla import xla_data_pb2

from cases.xla import NEAR, whole, xla
from proof import EXACT, Case
from smconvert.model import Array
from values import BRAIN, FLOATS, INTEGERS, SINGLE, plain

NAMED = ("window_strides", "padding", "lhs_dilation", "rhs_dilation", "feature_group_count")


def cases() -> Iterator[Case]:
    for dtype in (*FLOATS, *INTEGERS):
        yield conv(plain(dtype, (2, 7, 3)), plain(dtype, (3, 3, 4), 1), pads=((1, 1),))
    x, kernel = plain(SINGLE, (2, 8, 7, 4)), plain(SINGLE, (3, 2, 4, 6), 1)
    pads = ((1, 2), (0, 1))
    yield conv(x, kernel, (2, 1), pads)
    yield conv(x, kernel, (2, 1), pads, (2, 3))
    yield conv(x, kernel, (1, 1), pads, (1, 1), (2, 3))
    yield conv(x, kernel, (2, 3), pads, (3, 1), (1, 2))
    yield conv(x, kernel, (1, 1), ((-1, 2), (0, -2)))
    yield conv(x, plain(SINGLE, (3, 2, 2, 6), 1), (1, 2), pads, groups=2)
    yield conv(x, plain(SINGLE, (3, 2, 1, 8), 1), (1, 2), pads, groups=4)
    yield conv(x, kernel, (1, 2), pads, batches=2)
    yield conv(plain(SINGLE, (4, 5, 6)), plain(SINGLE, (2, 6, 8), 1), batches=4)
    yield conv(np.moveaxis(x, 3, 1).copy(), kernel, (1, 2), pads, given=(0, 2, 3, 1))
    yield conv(x, np.moveaxis(kernel, (3, 2), (0, 1)).copy(), (1, 2), pads, window=(2, 3, 1, 0))
    yield conv(x, kernel, (1, 2), pads, made=(0, 2, 3, 1))
    turned = np.moveaxis(x, 0, 3).copy()
    yield conv(turned, kernel, (1, 2), pads, given=(3, 0, 1, 2), made=(2, 1, 3, 0))
    yield conv(plain(SINGLE, (2, 5, 6, 4, 3)), plain(SINGLE, (2, 3, 2, 3, 4), 1), (1, 2, 1))
    yield conv(plain(SINGLE, (2, 3, 4, 3, 2, 3)), plain(SINGLE, (2, 2, 2, 1, 3, 4), 1))
    yield conv(plain(SINGLE, (0, 5, 3)), plain(SINGLE, (2, 3, 4), 1))
    narrow = np.dtype(np.int8)
    x, kernel = plain(narrow, (2, 7, 3)) * 14, plain(narrow, (3, 3, 4), 1) * 14
    yield conv(x, kernel, kind=np.int32)
    yield conv(plain(BRAIN, (2, 7, 3)), plain(BRAIN, (3, 3, 4), 1), kind=np.float32)


def conv(
    x: Array,
    kernel: Array,
    strides: Sequence[int] = (),
    pads: Sequence[tuple[int, int]] = (),
    base: Sequence[int] = (),
    apart: Sequence[int] = (),
    groups: int = 1,
    batches: int | None = None,
    given: Sequence[int] = (),
    window: Sequence[int] = (),
    made: Sequence[int] = (),
    kind: Any = None,
) -> Case:
    """Axes are those of [batch, space, channels] and [window, in, out], in order."""
    rank = x.ndim - 2
    ones, order = [1] * rank, list(range(rank + 2))
    given, window, made = (list(axes or order) for axes in (given, window, made))
    numbers = xla_data_pb2.ConvolutionDimensionNumbers(
        input_batch_dimension=given[0],
        input_spatial_dimensions=given[1:-1],
        input_feature_dimension=given[-1],
        kernel_spatial_dimensions=window[:-2],
        kernel_input_feature_dimension=window[-2],
        kernel_output_feature_dimension=window[-1],
        output_batch_dimension=made[0],
        output_spatial_dimensions=made[1:-1],
        output_feature_dimension=made[-1],
    )
    fed: dict[str, Array] = {"lhs": x, "rhs": kernel, "window_strides": whole(*(strides or ones))}
    fed["padding"] = np.array(pads or [(0, 0)] * rank, np.int64).reshape(-1, 2)
    fed |= {"lhs_dilation": whole(*(base or ones)), "rhs_dilation": whole(*(apart or ones))}
    fed["feature_group_count"] = np.array(groups, np.int64)
    said = {"dimension_numbers": numbers.SerializeToString(), "precision_config": b""}
    near = NEAR.get(np.dtype(kind or x.dtype), EXACT)
    if batches is None and kind is None:
        return xla("XlaConv", fed, said, NAMED, near, refusable=True)
    said |= {"preferred_element_type": np.dtype(kind or x.dtype), "batch_group_count": batches or 1}
    return xla("XlaConvV2", fed, said, NAMED, near, refusable=True)
