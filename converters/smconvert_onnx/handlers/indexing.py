"""Elements of arrays by their indices: gathered, and scattered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import around, flat, product
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped, size

_HALVES = frozenset({DType.FLOAT16, DType.BFLOAT16})
_FLOATS = frozenset({DType.FLOAT32, DType.FLOAT64})
_SMALL = frozenset({DType.INT32, DType.INT64})


class Gather:
    """Slices along an axis (gather_op.cc); after ``batch_dims`` axes that both arrays have."""

    ops = ("Gather", "GatherV2")

    def emit(
        self, g: Builder, op: Op, params: Tensor, indices: Tensor, dimension: Tensor | None = None
    ) -> Tensor:
        if indices.dtype not in _SMALL:
            indices = g.cast(indices, DType.INT64)
        axis = _known(dimension) if dimension is not None else 0
        batch = 0 if op.type == "Gather" else op.attr("batch_dims")
        if batch < 0 and indices.rank is not None:
            batch += indices.rank
        if batch:
            return self._batched(g, params, indices, batch, axis)
        if isinstance(axis, int):
            return gathered(g, params, indices, axis)
        if params.rank == 1:
            return g.Gather(params, indices)
        blocks, before, after = around(g, params, axis)
        taken = gathered(g, blocks, flat(g, indices), 1)
        return reshaped(g, taken, g.Concat(before, g.shape(indices), after, axis=0))

    def _batched(
        self, g: Builder, params: Tensor, indices: Tensor, batch: int, axis: Tensor | int
    ) -> Tensor:
        if isinstance(axis, int) and axis < 0 and params.rank is not None:
            axis += params.rank
        if axis == batch > 0:
            places = g.Unsqueeze(g.cast(indices, DType.INT64), [-1])
            return g.GatherND(params, places, batch_dims=batch)
        blocks, before, after = around(g, params, axis)
        first = [batch] if batch > 0 else g.Shape(g.Slice(g.shape(indices), [0], [batch]))
        common = g.Slice(g.shape(params), [0], first)
        between = g.Slice(before, first, [2**62])
        count, width = product(g, common), g.Slice(g.Shape(blocks), [1], [3])
        blocks = reshaped(g, blocks, g.Concat(count, product(g, between), width, axis=0))
        own = g.Slice(g.shape(indices), first, [2**62])
        places = reshaped(
            g, g.cast(indices, DType.INT64), g.Concat(count, product(g, own), [1], axis=0)
        )
        taken = g.GatherND(g.Transpose(blocks, perm=[0, 2, 1, 3]), places, batch_dims=1)
        taken = g.Transpose(taken, perm=[0, 2, 1, 3])
        return reshaped(g, taken, g.Concat(common, between, own, after, axis=0))


def _known(axis: Tensor) -> Tensor | int:
    return axis if axis.value is None else int(axis.value)


class ScatterNd:
    """Sums of updates, in zeros (scatter_nd_op.cc)."""

    ops = ("ScatterNd",)

    def emit(self, g: Builder, op: Op, indices: Tensor, updates: Tensor, shape: Tensor) -> Tensor:
        if shape.value is not None:
            shape = g.constant(shape.value, DType.INT64)
        empty = "" if updates.dtype is DType.STRING else 0
        zeros = g.Expand(g.constant(empty, updates.dtype), g.cast(shape, DType.INT64))
        known = None if shape.value is None else tuple(int(d) for d in shape.value)
        zeros = replace_shape(zeros, known or op.outputs[0].shape)
        reduction = "none" if updates.dtype is DType.STRING else "add"
        return scattered(g, zeros, indices, updates, reduction)


class TensorScatter:
    """The array with updates at some indices, one after the other (scatter_nd_op.cc)."""

    ops = (
        "TensorScatterUpdate",
        "TensorScatterAdd",
        "TensorScatterSub",
        "TensorScatterMax",
        "TensorScatterMin",
        "ScatterNdNonAliasingAdd",
    )

    def emit(self, g: Builder, op: Op, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        reduction = {
            "TensorScatterUpdate": "none",
            "TensorScatterMax": "max",
            "TensorScatterMin": "min",
        }.get(op.type, "add")
        if op.type == "TensorScatterSub":
            updates = negative(g, updates)
        return scattered(g, x, indices, updates, reduction)


class Inplace:
    """Rows that change, whose numbers are taken modulo their count (inplace_ops.cc)."""

    ops = ("InplaceUpdate", "InplaceAdd", "InplaceSub")

    def emit(self, g: Builder, op: Op, x: Tensor, i: Tensor, v: Tensor) -> Tensor:
        count = g.Max(size(g, x, 0), 1)
        rows = g.Unsqueeze(g.Mod(g.cast(i, DType.INT64), count), [-1])
        if op.type == "InplaceSub":
            v = negative(g, v)
        return scattered(g, x, rows, v, "none" if op.type == "InplaceUpdate" else "add")


def gathered(g: Builder, x: Tensor, indices: Tensor | Sequence[int], axis: int) -> Tensor:
    """ONNX's Gather; for strings ONNX Runtime's copies but the first of each block."""
    last = x.rank is not None and axis in (-1, x.rank - 1)
    if x.dtype is not DType.STRING or last:
        return g.Gather(x, indices, axis=axis)
    if axis == 0:
        places = indices if isinstance(indices, Tensor) else g.constant(list(indices))
        return g.GatherND(x, g.Unsqueeze(g.cast(places, DType.INT64), [-1]))
    numbers = reshaped(g, g.Range(0, g.Size(x), 1), g.shape(x))
    return g.Gather(g.Reshape(x, [-1]), g.Gather(numbers, indices, axis=axis))


def negative(g: Builder, x: Tensor) -> Tensor:
    """``-x``, which wraps for integers without a sign."""
    return g.Neg(x) if x.dtype.numpy.kind != "u" else g.Sub(0, x)


def scattered(g: Builder, x: Tensor, indices: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """``x`` with the updates, in their order."""
    indices = g.cast(indices, DType.INT64)
    if reduction == "none":
        return _replaced(g, x, indices, updates)
    kind = DType.FLOAT32 if x.dtype in _HALVES else x.dtype
    old, new = g.cast(x, kind), g.cast(updates, kind)
    if g.opset < (16 if reduction == "add" else 18):
        return g.cast(_one_by_one(g, old, indices, new, reduction), x.dtype)
    if reduction == "add" or kind not in _FLOATS:
        return g.cast(g.ScatterND(old, indices, new, reduction=reduction), x.dtype)
    # TensorFlow keeps what it has where the update is NaN, and NaN where it has that.
    neutral = -np.inf if reduction == "max" else np.inf
    new = g.Where(g.IsNaN(new), neutral, new)
    made = g.Where(g.IsNaN(old), old, g.ScatterND(old, indices, new, reduction=reduction))
    return g.cast(made, x.dtype)


def _replaced(g: Builder, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """The last update of each place: ScatterND writes in no order, on several threads."""
    if _are_distinct(indices):
        return g.ScatterND(x, indices, updates)
    depth = indices.shape[-1] if indices.shape else None
    if depth == 1:
        rows, places, items = x, g.Reshape(indices, [-1]), updates
        if indices.rank != 2:
            inner = g.Slice(g.shape(x), [1], [2**62])
            items = reshaped(g, updates, g.Concat(g.Shape(places), inner, axis=0))
        shape = None
    else:
        shape = g.shape(x)
        width = g.Slice(g.shape(indices), [-1], [2**62])
        outer, inner = g.Slice(shape, [0], width), g.Slice(shape, width, [2**62])
        total = product(g, outer)
        numbers = reshaped(g, g.Range(0, g.Squeeze(total, [0]), 1), outer)
        places = g.Reshape(g.GatherND(numbers, indices), [-1])
        row = product(g, inner)
        rows = reshaped(g, x, g.Concat(total, row, axis=0))
        items = reshaped(g, updates, g.Concat(g.Shape(places), row, axis=0))
    count = size(g, rows, 0)
    own = g.Range(0, count, 1)
    new = g.Range(count, g.Add(count, g.Squeeze(g.Shape(places), [0])), 1)
    made = gathered(g, g.Concat(rows, items, axis=0), last(g, own, places, new), 0)
    return made if shape is None else reshaped(g, made, shape)


def last(g: Builder, x: Tensor, places: Tensor, growing: Tensor) -> Tensor:
    """The vector ``x`` with the last of some growing numbers, all above its own, at each place."""
    return g.ScatterElements(x, places, growing, axis=0, reduction="max" if g.opset >= 18 else None)


def _are_distinct(indices: Tensor) -> bool:
    sizes = indices.sizes
    if sizes is not None and sizes[-1] and int(np.prod(sizes[:-1])) <= 1:
        return True
    if indices.value is None or not indices.value.size:
        return False
    rows = indices.value.reshape(-1, indices.value.shape[-1])
    return len(np.unique(rows, axis=0)) == len(rows)


def _one_by_one(g: Builder, x: Tensor, indices: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """What ScatterND of opset 13 cannot: a loop over the updates."""
    width = g.Slice(g.shape(indices), [-1], [2**62])
    count = g.ReduceProd(g.Slice(g.shape(indices), [0], [-1]), keepdims=1)
    rows = reshaped(g, indices, g.Concat(count, width, axis=0))
    inner = g.Slice(g.shape(x), width, [2**62])
    items = reshaped(g, updates, g.Concat(count, inner, axis=0))
    combine: dict[str, Callable[[Builder, Tensor, Tensor], Tensor]] = {
        "add": lambda b, old, new: b.Or(old, new) if x.dtype is DType.BOOL else b.Add(old, new),
        "max": lambda b, old, new: b.Where(b.Greater(new, old), new, old),
        "min": lambda b, old, new: b.Where(b.Less(new, old), new, old),
    }

    def step(b: Builder, i: Tensor, go: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        row = b.Unsqueeze(b.Gather(rows, i), [0])
        new = b.Unsqueeze(b.Gather(items, i), [0])
        made = combine[reduction](b, b.GatherND(state, row), new)
        return go, b.ScatterND(state, row, made)

    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (x.dtype, x.shape)], step)
    made = g.Loop(g.Squeeze(count, [0]), g.constant(True), x, body=body, dtype=x.dtype)
    return replace_shape(made, x.shape)


HANDLERS: tuple[Handler, ...] = (Gather(), ScatterNd(), TensorScatter(), Inplace())
