"""Indices of sparse tensors as numbers: the places of their elements in a dense one."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.axes import product
from smconvert_onnx.handlers.builder import Builder, Tensor


def strides(g: Builder, shape: Tensor) -> Tensor:
    """How many elements a step along each axis passes, int64 [rank]; at least 1."""
    axes = g.Range(0, g.Squeeze(g.Shape(shape), [0]), 1)
    inner = g.Less(g.Unsqueeze(axes, [1]), g.Unsqueeze(axes, [0]))
    sizes = g.Where(inner, g.Unsqueeze(shape, [0]), 1)
    # Sizes of 0 would be divided by.
    sizes = g.Max(sizes, 1)
    if g.opset >= 18:
        return g.ReduceProd(sizes, [1], keepdims=0)
    return g.ReduceProd(sizes, axes=[1], keepdims=0)


def places(g: Builder, indices: Tensor, shape: Tensor) -> Tensor:
    """The place [n] of each index [n, rank] in a tensor of the shape [rank]."""
    return g.ReduceSum(g.Mul(indices, strides(g, shape)), [1], keepdims=0)


def indices_of(g: Builder, numbers: Tensor, shape: Tensor) -> Tensor:
    """The index [n, rank] of each place [n]."""
    steps = g.Div(g.Unsqueeze(numbers, [1]), strides(g, shape))
    return g.Mod(steps, g.Max(shape, 1))


def order(g: Builder, numbers: Tensor) -> Tensor:
    """Where the numbers [n] lie in increasing order; equal ones stay in their order."""
    _, found = g.TopK(numbers, g.Shape(numbers), largest=0, outputs=2)
    return found


def count_of(g: Builder, shape: Tensor) -> Tensor:
    """How many elements a shape has, int64 [1]."""
    return product(g, shape)


def column(g: Builder, indices: Tensor, axis: int) -> Tensor:
    """One axis of indices [n, rank]."""
    return g.Gather(indices, g.constant(axis), axis=1)


def wide(g: Builder, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Indices and shapes as int64."""
    return tuple(g.cast(t, DType.INT64) for t in tensors)
