"""One axis of a tensor, wherever it lies; and numbers in the order that ONNX's kernels compare."""

from __future__ import annotations

from math import prod

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped

FLOATS = frozenset({DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64})
_SIGN = np.int64(-(2**63))


def flat(g: Builder, x: Tensor) -> Tensor:
    """All elements in a row."""
    return x if x.rank == 1 else replace_shape(g.Reshape(x, [-1]), (None,))


def around(g: Builder, x: Tensor, axis: Tensor | int) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` as [before, axis, after], and the dimensions before and after the axis."""
    if isinstance(axis, int) and x.sizes is not None:
        axis %= len(x.sizes)
        sizes = x.sizes[:axis], x.sizes[axis : axis + 1], x.sizes[axis + 1 :]
        blocks = tuple(prod(part) for part in sizes)
        kept, _, rest = (g.constant(list(part), DType.INT64) for part in sizes)
        return replace_shape(reshaped(g, x, g.constant(list(blocks))), blocks), kept, rest
    if isinstance(axis, Tensor):
        axis = flat(g, g.cast(axis, DType.INT64))
        rank = g.Shape(g.shape(x))
        at = g.Where(g.Less(axis, 0), g.Add(axis, rank), axis)
        after = g.Slice(g.shape(x), g.Add(at, 1), [2**62])
    else:
        at = g.constant([axis], DType.INT64)
        after = g.Slice(g.shape(x), [axis + 1 or 2**62], [2**62])
    before = g.Slice(g.shape(x), [0], at)
    target = g.Concat(product(g, before), g.Gather(g.shape(x), at), product(g, after), axis=0)
    return replace_shape(reshaped(g, x, target), (None, None, None)), before, after


def product(g: Builder, sizes: Tensor) -> Tensor:
    """Of some sizes, int64 [1]; 1 where there are none."""
    return replace_shape(g.ReduceProd(sizes, keepdims=1), (1,))


def comparable(g: Builder, x: Tensor) -> Tensor:
    """Numbers of a type that kernels compare, in the same order: uint64 has no wider type."""
    if x.dtype is not DType.UINT64:
        return x
    return replace_shape(g.Add(g.cast(x, DType.INT64), _SIGN), x.shape)


def comparable_back(g: Builder, x: Tensor, dtype: DType) -> Tensor:
    """What ``comparable`` made, as ``dtype`` again."""
    return x if dtype is not DType.UINT64 else g.cast(g.Sub(x, _SIGN), dtype)
