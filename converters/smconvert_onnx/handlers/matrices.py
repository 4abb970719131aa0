"""Matrices in the last two axes of a tensor, whose other axes are a batch."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType, Shape
from smconvert_onnx.handlers.builder import Builder, Tensor, replace_shape


def batch_shape(g: Builder, x: Tensor) -> Tensor:
    """The shape of ``x`` but for its last two axes, int64 [rank - 2]."""
    if x.sizes is not None:
        return g.constant(list(x.sizes[:-2]), DType.INT64)
    return g.Slice(g.shape(x), [0], [-2])


def size(g: Builder, x: Tensor, axis: int) -> Tensor:
    """The size of one axis, an int64 scalar: a constant where it is known."""
    known = None if x.shape is None else x.shape[axis]
    if isinstance(known, int):
        return g.constant(known, DType.INT64)
    return replace_shape(g.Gather(g.shape(x), axis), ())


def vector(g: Builder, *scalars: Tensor | int) -> Tensor:
    """Scalars as a vector, int64."""
    if all(isinstance(s, int) or s.value is not None for s in scalars):
        values = [s if isinstance(s, int) else s.value for s in scalars]
        return g.constant([int(v) for v in values if v is not None], DType.INT64)
    items = [[s] if isinstance(s, int) else g.Reshape(s, [1]) for s in scalars]
    return g.Concat(*items, axis=0)


def reshaped(g: Builder, x: Tensor, shape: Tensor) -> Tensor:
    """``x`` in a shape that may hold zeros, which mean zero from opset 14 on."""
    return g.Reshape(x, shape, allowzero=1 if g.opset >= 14 else None)


def stacked(g: Builder, x: Tensor) -> Tensor:
    """All matrices along one axis: [batch, rows, columns]."""
    if x.rank == 3:
        return x
    rows, columns = size(g, x, -2), size(g, x, -1)
    count = g.ReduceProd(batch_shape(g, x), keepdims=0)
    made = reshaped(g, x, vector(g, count, rows, columns))
    return replace_shape(made, (None, *(x.shape[-2:] if x.shape else (None, None))))


def transposed(g: Builder, x: Tensor) -> Tensor:
    """With rows and columns exchanged."""
    if x.rank is not None:
        axes = list(range(x.rank))
        made = g.Transpose(x, perm=[*axes[:-2], axes[-1], axes[-2]])
        shape: Shape = x.shape or ()
        return replace_shape(made, (*shape[:-2], shape[-1], shape[-2]))
    turned = g.Transpose(stacked(g, x), perm=[0, 2, 1])
    rows, columns = size(g, x, -2), size(g, x, -1)
    target = g.Concat(batch_shape(g, x), vector(g, columns, rows), axis=0)
    return reshaped(g, turned, target)


def product(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Of matrices, whose batches broadcast; zeros where the inner dimension is empty.

    There ONNX Runtime's MatMul leaves all but the first matrix unset, and does not broadcast; and
    an empty batch it does not broadcast with 1.
    """
    inner = {d for d in (x.shape and x.shape[-1], y.shape and y.shape[-2]) if isinstance(d, int)}
    empty = 0 in inner or 0 in (x.shape or ()) or 0 in (y.shape or ())
    if not empty and (inner or (x.rank == 2 and y.rank == 2)):
        return g.MatMul(x, y)
    batch = broadcast(g, batch_shape(g, x), batch_shape(g, y))
    shape = g.Concat(batch, vector(g, size(g, x, -2), size(g, y, -1)), axis=0)
    zero = g.constant(0, x.dtype)
    if empty:
        return g.Expand(zero, shape)
    empty_inner = g.Equal(size(g, x, -1), 0)
    zeros = g.Expand(zero, g.Where(empty_inner, shape, [1]))
    return g.Where(empty_inner, zeros, g.MatMul(x, y))


def broadcast(g: Builder, a: Tensor, b: Tensor) -> Tensor:
    """The shape that two shapes broadcast to."""
    if a.value is not None and b.value is not None:
        return g.constant(np.array(np.broadcast_shapes(tuple(a.value), tuple(b.value)), np.int64))
    ones = [g.Expand(g.constant(False), shape) for shape in (a, b)]
    return g.Shape(g.Or(*ones))


def column_minus_row(g: Builder, rows: Tensor, columns: Tensor) -> Tensor:
    """The diagonal that each element of a matrix lies on: int64 [rows, columns]."""
    return g.Sub(g.Range(0, columns, 1), g.Unsqueeze(g.Range(0, rows, 1), [1]))
