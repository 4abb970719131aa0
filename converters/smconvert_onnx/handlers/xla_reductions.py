"""XLA's reductions, of whole axes and of windows (https://openxla.org/xla/operation_semantics)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.axes import FLOATS
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.precision import HALVES
from smconvert_onnx.handlers.reducing import Along, total, whole_product
from smconvert_onnx.handlers.reductions import extreme_or_nan
from smconvert_onnx.handlers.xla import padded, sizes_along, turned
from smconvert_onnx.handlers.xla_computations import (
    WRITTEN,
    Computation,
    computation,
    identity,
)

Combine = Callable[[Builder, Tensor, Tensor], Tensor]
_END = 2**62


class Reduce:
    """All elements along some axes, combined with one another and a start (XLA's Reduce)."""

    ops = ("XlaReduce", "XlaVariadicReduce", "XlaVariadicReduceV2")

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        count = len(given) // 2
        tensors, starts = given[:count], given[count:]
        axes = sorted(int(axis) for axis in op.attr("dimensions_to_reduce"))
        if not axes:
            return tensors
        reducer = computation(op, "reducer")
        if count == 1 and reducer.kind in WRITTEN:
            made = along(g, op, reducer.kind, tensors[0], axes)
            return (with_start(g, reducer.kind, made, starts[0]),)
        return _one_by_one(g, op, reducer, tensors, starts, axes)


def along(g: Builder, op: Op, kind: str, x: Tensor, axes: list[int]) -> Tensor:
    """The combination of all elements along some axes."""
    axis = Along(g, op, g.constant(axes, DType.INT64), keep=False)
    if kind in {"and", "or"}:
        reduced = "ReduceMin" if kind == "and" else "ReduceMax"
        return g.cast(axis.reduce(reduced, g.cast(x, DType.UINT8)), DType.BOOL)
    if kind == "add":
        return total(g, axis, x)
    if kind == "mul":
        return axis.reduce("ReduceProd", x) if x.dtype in FLOATS else whole_product(g, axis, x)
    return extreme_or_nan(g, axis, "ReduceMax" if kind == "max" else "ReduceMin", x)


def with_start(g: Builder, kind: str, made: Tensor, start: Tensor) -> Tensor:
    """What is combined with its start, which often changes nothing."""
    if start.value is not None and start.value == identity(kind, start.dtype):
        return made
    return WRITTEN[kind](g, made, start)


def _one_by_one(
    g: Builder,
    op: Op,
    reducer: Computation,
    tensors: Sequence[Tensor],
    starts: Sequence[Tensor],
    axes: list[int],
) -> tuple[Tensor, ...]:
    """By a loop over the elements, in the order of rows."""
    rank = next((t.rank for t in tensors if t.rank is not None), None)
    if rank is None:
        op.refuse("the rank of its input is unknown", "give the input a shape: --inputs")
    kept = [axis for axis in range(rank) if axis not in axes]
    shape = sizes_along(g, tensors[0], kept)
    count = g.ReduceProd(sizes_along(g, tensors[0], axes), keepdims=1)
    rows = [
        reshaped(g, turned(g, x, [*axes, *kept]), g.Concat(count, shape, axis=0)) for x in tensors
    ]
    states = [g.Expand(start, shape) for start in starts]

    def step(inner: Builder, i: Tensor, going: Tensor, *state: Tensor) -> list[Tensor]:
        items = [inner.Gather(row, i, axis=0) for row in rows]
        return [going, *reducer(inner, *state, *items)]

    known = (None,) * len(kept)
    like = [(t.dtype, known) for t in tensors]
    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), *like], step)
    made = g.Loop(g.Squeeze(count, [0]), True, *states, body=body, outputs=len(tensors))
    made = (made,) if isinstance(made, Tensor) else made
    return tuple(replace_shape(t, r.shape) for t, r in zip(made, op.outputs, strict=True))


class ReduceWindow:
    """All elements of each window, combined with a start (XLA's ReduceWindow).

    What lies outside of the tensor does not count. Windows are combined axis by axis; along one,
    those of twice the length are made of two.
    """

    ops = ("XlaReduceWindow",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        start: Tensor,
        window: Tensor,
        strides: Tensor,
        base: Tensor,
        dilations: Tensor,
        padding: Tensor,
    ) -> Tensor:
        if window.sizes == (0,):
            return x
        sizes, steps, apart, between = (
            [int(n) for n in op.constant(t, "window").ravel()]
            for t in (window, strides, dilations, base)
        )
        pads = op.constant(padding, "padding").astype(np.int64)
        body = computation(op, "computation")
        kind = body.kind
        if kind in WRITTEN:
            combine: Combine = WRITTEN[kind]
            outside = g.constant(identity(kind, x.dtype), x.dtype)
        else:
            if (pads > 0).any() or any(n > 1 for n in between):
                op.refuse("it is padded, and its function is none that leaves padding out")
            combine, outside = _pairwise(body), start
        wide = DType.FLOAT32 if x.dtype in HALVES and kind in {"add", "mul"} else x.dtype
        given = g.cast(x, wide)
        low, high = (g.constant(pads[:, i]) for i in (0, 1))
        made = padded(g, given, g.cast(outside, wide), low, high, [n - 1 for n in between])
        for axis, size in enumerate(sizes):
            made = _slid(g, made, axis, size, steps[axis], apart[axis], combine)
        if kind in WRITTEN:
            return g.cast(with_start(g, kind, made, g.cast(start, wide)), x.dtype)
        return combine(g, start, made)


def _pairwise(body: Computation) -> Combine:
    def combine(g: Builder, x: Tensor, y: Tensor) -> Tensor:
        return body(g, x, y)[0]

    return combine


def _slid(
    g: Builder, x: Tensor, axis: int, size: int, step: int, apart: int, combine: Combine
) -> Tensor:
    """Windows of ``size`` elements along an axis: of 2^n elements, for each bit of ``size``."""
    made, offset, length = None, 0, 1
    while True:
        if size & length:
            start, left = offset * apart, (size - length - offset) * apart
            part = _cut(g, x, axis, start, -left or _END, step)
            made = part if made is None else combine(g, made, part)
            offset += length
        if 2 * length > size:
            break
        reach = length * apart
        x = combine(g, _cut(g, x, axis, 0, -reach), _cut(g, x, axis, reach, _END))
        length *= 2
    return x if made is None else made


def _cut(g: Builder, x: Tensor, axis: int, start: int, end: int, step: int = 1) -> Tensor:
    if start == 0 and end == _END and step == 1:
        return x
    return g.Slice(x, [start], [end], [axis], None if step == 1 else [step])


class SelectAndScatter:
    """Each number of ``source``, added where its window has what is selected (SelectAndScatter).

    The window's elements are compared in the order of rows, and the current one stays where the
    function ``select`` says so; what lies outside of the tensor does not count.
    """

    ops = ("XlaSelectAndScatter",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        window: Tensor,
        strides: Tensor,
        padding: Tensor,
        source: Tensor,
        start: Tensor,
    ) -> Tensor:
        scatter = computation(op, "scatter").kind
        if scatter not in _REDUCTIONS:
            op.refuse("its function scatter is none of add, mul, max and min")
        if g.opset < _REDUCTIONS[scatter]:
            needed = _REDUCTIONS[scatter]
            op.refuse(
                f"ScatterElements has no {scatter} before opset {needed}", f"--opset {needed}"
            )
        sizes = [int(n) for n in op.constant(window, "window")]
        steps = [int(n) for n in op.constant(strides, "strides")]
        pads = op.constant(padding, "padding").astype(np.int64)
        place = self._selected(g, op, x, sizes, steps, pads)
        count = g.Reshape(g.Size(x), [1])
        place = g.Where(g.Less(place, 0), count, place)
        wide = DType.FLOAT32 if x.dtype in HALVES else x.dtype
        begun = g.Expand(g.cast(start, wide), g.Add(count, 1))
        values = g.cast(g.Reshape(source, [-1]), wide)
        made = g.ScatterElements(begun, g.Reshape(place, [-1]), values, axis=0, reduction=scatter)
        return g.cast(reshaped(g, g.Slice(made, [0], [-1]), g.shape(x)), x.dtype)

    def _selected(
        self, g: Builder, op: Op, x: Tensor, sizes: list[int], steps: list[int], pads: Array
    ) -> Tensor:
        """Where in the flat tensor each window has what is selected; -1 where it has nothing."""
        select = computation(op, "select")
        low, high = (g.constant(pads[:, i]) for i in (0, 1))
        places = reshaped(g, g.Range(0, g.Size(x), 1), g.shape(x))
        nothing = [0] * len(sizes)
        places = padded(g, places, g.constant(-1, DType.INT64), low, high, nothing)
        values = padded(g, x, g.constant(0, x.dtype), low, high, nothing)
        found: tuple[Tensor, Tensor] | None = None
        axes = list(range(len(sizes)))
        for offsets in product(*(range(size) for size in sizes)):
            left = [size - 1 - at for size, at in zip(sizes, offsets, strict=True)]
            ends = [-count or _END for count in left]
            value, place = (g.Slice(t, list(offsets), ends, axes, steps) for t in (values, places))
            if found is not None:
                (kept,) = select(g, found[0], value)
                outside = g.Less(place, 0)
                kept = g.And(g.Not(g.Less(found[1], 0)), g.Or(outside, kept))
                value, place = g.Where(kept, found[0], value), g.Where(kept, found[1], place)
            found = value, place
        assert found is not None
        return found[1]


_REDUCTIONS = {"add": 16, "mul": 16, "max": 18, "min": 18}
"""Since when ScatterElements does."""

HANDLERS: tuple[Handler, ...] = (Reduce(), ReduceWindow(), SelectAndScatter())
