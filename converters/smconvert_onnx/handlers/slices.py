"""Slices of arrays, and what is written into them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.axes import flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.indexing import gathered
from smconvert_onnx.handlers.matrices import reshaped

_END = 2**63 - 1
_SQUEEZED_RANKS = frozenset({1, 4, 5})
"""tf2onnx pushes the transposes of images through Squeeze, but not through Gather; and the Squeeze
of a part of a shape meets the Unsqueeze of the shape that it goes into."""


class Slice:
    """``begin`` and ``size``, where a size of -1 is all that remain (slice_op.cc)."""

    ops = ("Slice",)

    def emit(self, g: Builder, op: Op, x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
        count = next((t.sizes[0] for t in (begin, size) if t.sizes is not None), x.rank)
        if count == 0:
            return x
        if begin.value is not None and size.value is not None:
            return self._static(g, x, begin.value, size.value)
        most = int(np.iinfo(begin.dtype.numpy).max)
        ends = g.Where(g.Equal(size, -1), most, g.Add(begin, size))
        if count is not None:
            return g.Slice(x, begin, ends)
        # Of a scalar, which ONNX Runtime refuses to slice, there is one more dimension to slice.
        first, last = g.constant([0], begin.dtype), g.constant([1], begin.dtype)
        starts, ends = g.Concat(first, begin, axis=0), g.Concat(last, ends, axis=0)
        return g.Squeeze(g.Slice(g.Unsqueeze(x, [0]), starts, ends), [0])

    def _static(self, g: Builder, x: Tensor, begin: Array, size: Array) -> Tensor:
        known = x.shape or (None,) * len(begin)
        cut = [
            i
            for i, (b, s) in enumerate(zip(begin, size, strict=True))
            if b or s not in (-1, known[i])
        ]
        if not cut:
            return x
        ends = [_END if size[i] == -1 else int(begin[i] + size[i]) for i in cut]
        return g.Slice(x, [int(begin[i]) for i in cut], ends, cut)


@dataclass(frozen=True)
class _Item:
    """One place of a strided slice: its number among the bounds, and the axis that it cuts."""

    place: int
    axis: int


@dataclass(frozen=True)
class _Strided:
    """What a strided slice does, in ONNX's terms; an axis may be counted from the end.

    Attributes:
        spans: Cut by begin, end and stride.
        points: Cut by begin, where the axis goes.
        added: Axes of the result that are new.
    """

    spans: tuple[_Item, ...]
    points: tuple[_Item, ...]
    added: tuple[int, ...]


class StridedSlice:
    """Python's slices, with masks of bits (strided_slice_op.cc)."""

    ops = ("StridedSlice",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, begin: Tensor, end: Tensor, strides: Tensor
    ) -> Tensor:
        return strided(g, op, x, begin, end, strides)


class StridedUpdate:
    """The array with other values in a slice of it: numbers of its elements are sliced instead."""

    ops = ("TensorStridedSliceUpdate",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        begin: Tensor,
        end: Tensor,
        strides: Tensor,
        value: Tensor,
    ) -> Tensor:
        shape = g.shape(x)
        return _updated(g, op, flat(g, x), shape, (begin, end, strides), value, x.shape)


class StridedGrad:
    """Zeros of a shape, with the gradient in a slice of them."""

    ops = ("StridedSliceGrad",)

    def emit(
        self,
        g: Builder,
        op: Op,
        shape: Tensor,
        begin: Tensor,
        end: Tensor,
        strides: Tensor,
        dy: Tensor,
    ) -> Tensor:
        shape = g.cast(shape, DType.INT64)
        empty = "" if dy.dtype is DType.STRING else 0
        count = g.ReduceProd(shape, keepdims=1)
        zeros = g.Expand(g.constant(empty, dy.dtype), count)
        return _updated(g, op, zeros, shape, (begin, end, strides), dy, op.outputs[0].shape)


def _updated(
    g: Builder,
    op: Op,
    flattened: Tensor,
    shape: Tensor,
    bounds: tuple[Tensor, Tensor, Tensor],
    value: Tensor,
    known: tuple[int | str | None, ...] | None,
) -> Tensor:
    numbers = g.Range(0, g.ReduceProd(shape, keepdims=0), 1)
    whole = replace_shape(reshaped(g, numbers, shape), known)
    taken = strided(g, op, whole, *bounds)
    values = g.Reshape(g.Expand(value, g.Shape(taken)), [-1])
    made = g.ScatterElements(flattened, g.Reshape(taken, [-1]), values, axis=0)
    return reshaped(g, made, shape)


def strided(g: Builder, op: Op, x: Tensor, begin: Tensor, end: Tensor, strides: Tensor) -> Tensor:
    """``x`` cut as the masks of ``op`` say."""
    count = next((t.sizes[0] for t in (begin, end, strides) if t.sizes is not None), None)
    if count is None:
        return _of_unknown_length(g, op, x, begin, end, strides)
    plan = _plan(op, count, x.rank)
    cut = _spans(g, op, x, plan.spans, (begin, end, strides))
    cut = _points(g, cut, x.rank, plan.points, begin)
    return g.Unsqueeze(cut, list(plan.added)) if plan.added else cut


def _plan(op: Op, count: int, rank: int | None) -> _Strided:
    kinds = list(_kinds(op, count))
    ellipsis = kinds.index("ellipsis") if "ellipsis" in kinds else count
    behind = kinds[ellipsis + 1 :]
    cutting = sum(kind in {"span", "point"} for kind in behind)
    axis = at = 0
    spans, points, added = [], [], []
    for place, kind in enumerate(kinds):
        if kind == "ellipsis":
            axis = rank - cutting if rank is not None else -cutting
            at = -sum(k != "point" for k in behind)
            continue
        if kind == "added":
            added.append(at)
        elif kind == "point":
            points.append(_Item(place, axis))
        else:
            spans.append(_Item(place, axis))
        axis += kind != "added"
        at += kind != "point"
    return _Strided(tuple(spans), tuple(points), tuple(added))


def _kinds(op: Op, count: int) -> Iterator[str]:
    ellipsis, added, point = (op.attr(f"{n}_mask") for n in ("ellipsis", "new_axis", "shrink_axis"))
    for i in range(count):
        bit = 1 << i
        kinds = ((ellipsis, "ellipsis"), (added, "added"), (point, "point"))
        yield next((kind for mask, kind in kinds if mask & bit), "span")


def _spans(
    g: Builder,
    op: Op,
    x: Tensor,
    spans: Sequence[_Item],
    bounds: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    begin, end, strides = bounds
    begin_mask, end_mask = (op.attr(f"{n}_mask") for n in ("begin", "end"))
    if strides.value is not None:
        spans = [
            span
            for span in spans
            if strides.value[span.place] != 1
            or not (_starts(span, begin, begin_mask) and _stops(span, end, end_mask, x))
        ]
    if not spans:
        return x
    places = [span.place for span in spans]
    steps = _picked(g, strides, places)
    if steps.value is not None:
        backward = np.asarray(steps.value) < 0
        first, last = np.where(backward, _END, 0), np.where(backward, -_END, _END)
    else:
        down = g.Less(steps, 0)
        first, last = g.Where(down, _END, 0), g.Where(down, -_END, _END)
    starts = _masked(g, _picked(g, begin, places), first, [begin_mask >> p & 1 for p in places])
    ends = _masked(g, _picked(g, end, places), last, [end_mask >> p & 1 for p in places])
    plain = steps.value is not None and bool(np.all(np.asarray(steps.value) == 1))
    return g.Slice(x, starts, ends, [s.axis for s in spans], None if plain else steps)


def _starts(span: _Item, begin: Tensor, mask: int) -> bool:
    return bool(mask >> span.place & 1) or (
        begin.value is not None and begin.value[span.place] == 0
    )


def _stops(span: _Item, end: Tensor, mask: int, x: Tensor) -> bool:
    if mask >> span.place & 1:
        return True
    known = x.shape[span.axis] if x.shape else None
    return end.value is not None and isinstance(known, int) and end.value[span.place] >= known


def _picked(g: Builder, bounds: Tensor, places: Sequence[int]) -> Tensor:
    """Some of the bounds, int64."""
    if bounds.value is not None:
        return g.constant([int(bounds.value[p]) for p in places], DType.INT64)
    if bounds.sizes != (len(places),):
        bounds = replace_shape(g.Gather(bounds, list(places)), (len(places),))
    return g.cast(bounds, DType.INT64)


def _masked(g: Builder, bounds: Tensor, instead: Tensor | Array, mask: Sequence[int]) -> Tensor:
    if not any(mask):
        return bounds
    if isinstance(instead, np.ndarray):
        if all(mask):
            return g.constant(instead, DType.INT64)
        if bounds.value is not None:
            return g.constant(np.where(mask, instead, bounds.value), DType.INT64)
    return (
        instead
        if isinstance(instead, Tensor) and all(mask)
        else g.Where(np.array(mask, bool), instead, bounds)
    )


def _points(
    g: Builder, x: Tensor, rank: int | None, points: Sequence[_Item], begin: Tensor
) -> Tensor:
    """Takes one of each of some axes; ``x`` may be cut along others."""
    squeezed = len(points) > 1 or rank in _SQUEEZED_RANKS or x.dtype is DType.STRING
    if begin.value is not None and points and squeezed:
        starts = [int(begin.value[p.place]) for p in points]
        ends = [start + 1 if start != -1 else _END for start in starts]
        axes = [p.axis for p in points]
        return g.Squeeze(g.Slice(x, starts, ends, axes), axes)
    # The last first, so that the axes before it stay where they are; those counted from the end
    # stay where they are when the first goes first.
    behind = [p for p in points if p.axis < 0]
    for point in (*behind, *(p for p in reversed(points) if p.axis >= 0)):
        if begin.value is not None:
            index = g.constant(int(begin.value[point.place]), DType.INT64)
        else:
            index = g.Gather(begin, point.place)
        x = gathered(g, replace_shape(x, None), index, point.axis)
    return x


def _of_unknown_length(
    g: Builder, op: Op, x: Tensor, begin: Tensor, end: Tensor, strides: Tensor
) -> Tensor:
    if any(op.attr(f"{n}_mask") for n in ("ellipsis", "new_axis", "shrink_axis")):
        op.refuse(
            "it is not known how many dimensions it cuts, and its masks change some of them",
            "give the input that its begin, end or strides are computed from a shape: --inputs",
        )
    starts, ends, steps = (g.cast(t, DType.INT64) for t in (begin, end, strides))
    count, down = g.Shape(starts), g.Less(steps, 0)
    for_starts, for_ends = (op.attr(f"{n}_mask") for n in ("begin", "end"))
    if for_starts:
        starts = g.Where(_bits(g, for_starts, count), g.Where(down, _END, 0), starts)
    if for_ends:
        ends = g.Where(_bits(g, for_ends, count), g.Where(down, -_END, _END), ends)
    # One more dimension, for ONNX Runtime refuses to slice a scalar.
    sliced = g.Slice(
        g.Unsqueeze(x, [0]),
        g.Concat(g.constant([0]), starts, axis=0),
        g.Concat(g.constant([1]), ends, axis=0),
        g.Range(0, g.Add(g.Squeeze(count, [0]), 1), 1),
        g.Concat(g.constant([1]), steps, axis=0),
    )
    return g.Squeeze(sliced, [0])


def _bits(g: Builder, mask: int, count: Tensor) -> Tensor:
    bits = np.array([mask >> i & 1 for i in range(32)], bool)
    return g.Slice(g.constant(bits), [0], count)


HANDLERS: tuple[Handler, ...] = (Slice(), StridedSlice(), StridedUpdate(), StridedGrad())
