"""Lists of tensors, as one tensor or as a sequence of them (``flow/lists.py``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smconvert.model import DType, Shape
from smconvert_onnx.flow.lists import (
    LENGTH,
    SEQUENCE,
    STACKED,
    WRITTEN_ELEMENT,
    element_type,
    form_of,
)
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.control_flow import zero

_SPLITTABLE = frozenset({DType.FLOAT32, DType.FLOAT64, DType.INT32, DType.INT64, DType.STRING})
"""Types that ONNX Runtime's SplitToSequence takes."""


class MakeList:
    """A list of elements that nothing was written to (list_kernels.h, TensorListReserve)."""

    ops = ("EmptyTensorList", "TensorListReserve")

    def emit(self, g: Builder, op: Op, shape: Tensor, count: Tensor) -> Tensor:
        dtype = _dtype(op)
        if op.type == "EmptyTensorList":
            return _empty(g, dtype)
        count = _index(g, count)
        if form_of(op.node) == LENGTH:
            return replace(count, dtype=DType.INT64)
        unset = _unset(g, dtype, shape)
        if form_of(op.node) == STACKED:
            return replace(g.Unsqueeze(unset, [0]), shape=None)
        return _collected(g, count, _empty(g, dtype), lambda inner, i: unset)


class FromTensor:
    """The parts of a tensor (TensorListFromTensor)."""

    ops = ("TensorListFromTensor",)

    def emit(self, g: Builder, op: Op, x: Tensor, shape: Tensor) -> Tensor:
        if form_of(op.node) == STACKED:
            return x
        return _parts(g, x)


class Split:
    """A tensor in parts of given lengths (TensorListSplit)."""

    ops = ("TensorListSplit",)

    def emit(self, g: Builder, op: Op, x: Tensor, shape: Tensor, lengths: Tensor) -> Tensor:
        lengths = g.cast(lengths, DType.INT64)
        ends = g.CumSum(lengths, 0)
        starts = g.Sub(ends, lengths)

        def part(inner: Builder, i: Tensor) -> Tensor:
            at = inner.Reshape(i, [1])
            return inner.Slice(x, inner.Gather(starts, at), inner.Gather(ends, at), [0])

        count = g.Squeeze(g.Shape(lengths), [0])
        return _collected(g, count, _empty(g, x.dtype), part)


class SetItem:
    """A list with another element (TensorListSetItem)."""

    ops = ("TensorListSetItem",)

    def emit(self, g: Builder, op: Op, given: Tensor, index: Tensor, item: Tensor) -> Tensor:
        if form_of(op.node) == WRITTEN_ELEMENT:
            return item
        if form_of(op.node) == STACKED:
            return g.Unsqueeze(item, [0])
        held = _sequence(op, given)
        at = _index(g, index)
        if not op.attr("resize_if_index_out_of_bounds"):
            return _set(g, held, at, item)
        length = g.SequenceLength(held)

        def grown(inner: Builder) -> Tensor:
            missing = inner.Sub(at, length)
            unset = _unset(inner, held.dtype, None)
            longer = _collected(inner, missing, held, lambda deeper, i: unset)
            return _inserted(inner, longer, item)

        made = g.If(
            g.Less(at, length),
            then_branch=g.body([], lambda inner: _set(inner, held, at, item)),
            else_branch=g.body([], grown),
        )
        return replace(held, name=made.name)


class GetItem:
    """One element (TensorListGetItem)."""

    ops = ("TensorListGetItem",)

    def emit(self, g: Builder, op: Op, given: Tensor, index: Tensor, shape: Tensor) -> Tensor:
        if form_of(op.node) == STACKED:
            return g.Gather(_stacked(op, given), index, axis=0)
        held = _sequence(op, given)
        return _at(g, held, _index(g, index))


class Length:
    """How many elements there are (TensorListLength)."""

    ops = ("TensorListLength",)

    def emit(self, g: Builder, op: Op, given: Tensor) -> Tensor:
        if form_of(op.node) == STACKED:
            count = g.Squeeze(g.Slice(g.Shape(given), [0], [1]), [0])
        else:
            count = g.SequenceLength(replace(given, sequence=True))
        return g.cast(count, DType.INT32)


class Stack:
    """All elements as one tensor (TensorListStack); of none, as the shape of elements says."""

    ops = ("TensorListStack",)

    def emit(self, g: Builder, op: Op, given: Tensor, shape: Tensor) -> Tensor:
        if form_of(op.node) == STACKED:
            return _shaped(g, _stacked(op, given), op.outputs[0].shape)
        held = _sequence(op, given)
        return _joined(g, held, _unset(g, held.dtype, shape), new_axis=1)


class Gather:
    """Some elements as one tensor (TensorListGather)."""

    ops = ("TensorListGather",)

    def emit(self, g: Builder, op: Op, given: Tensor, indices: Tensor, shape: Tensor) -> Tensor:
        if form_of(op.node) == STACKED:
            return g.Gather(_stacked(op, given), indices, axis=0)
        held = _sequence(op, given)
        chosen = _collected(
            g,
            g.Squeeze(g.Shape(indices), [0]),
            _empty(g, held.dtype),
            lambda inner, i: _like(
                inner.SequenceAt(held, _index(inner, inner.Gather(indices, i)), dtype=held.dtype),
                held,
            ),
        )
        return _joined(g, chosen, _unset(g, held.dtype, shape), new_axis=1)


class Concat:
    """All elements after each other, and the length of each (TensorListConcat)."""

    ops = ("TensorListConcat", "TensorListConcatV2")

    def emit(self, g: Builder, op: Op, given: Tensor, *shape: Tensor) -> tuple[Tensor, Tensor]:
        held = _sequence(op, given)

        def length(inner: Builder, i: Tensor, going: Tensor) -> list[Tensor]:
            element = _at(inner, held, i)
            return [going, inner.Squeeze(inner.Slice(inner.Shape(element), [0], [1]), [0])]

        body = g.body([(DType.INT64, ()), (DType.BOOL, ())], length)
        lengths = g.Loop(g.SequenceLength(held), True, body=body)
        none = g.Unsqueeze(_unset(g, held.dtype, None), [0])
        if op.type == "TensorListConcat":
            known = op.attr("element_shape")
            sizes = None if known is None else [d or 0 for d in known[1:]]
            if sizes is not None:
                none = g.Expand(zero(g, held.dtype), [0, *sizes])
        elif shape[0].value is not None and shape[0].value.ndim:
            sizes = [max(int(d), 0) for d in shape[0].value[1:]]
            none = g.Expand(zero(g, held.dtype), [0, *sizes])
        return _joined(g, held, none, new_axis=0, is_empty=True), lengths


class PushBack:
    """A list with one more element (TensorListPushBack)."""

    ops = ("TensorListPushBack",)

    def emit(self, g: Builder, op: Op, given: Tensor, item: Tensor) -> Tensor:
        return _inserted(g, _sequence(op, given), item)


class PopBack:
    """A list without its last element, and that element (TensorListPopBack)."""

    ops = ("TensorListPopBack",)

    def emit(self, g: Builder, op: Op, given: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        held = _sequence(op, given)
        left = replace(held, name=g.SequenceErase(held, dtype=held.dtype).name)
        return left, _at(g, held, g.constant(-1))


class Resize:
    """A list of another length (TensorListResize)."""

    ops = ("TensorListResize",)

    def emit(self, g: Builder, op: Op, given: Tensor, size: Tensor) -> Tensor:
        held = _sequence(op, given)
        wanted, length = _index(g, size), g.SequenceLength(held)
        unset = _unset(g, held.dtype, None)
        longer = _collected(g, g.Max(g.Sub(wanted, length), 0), held, lambda inner, i: unset)

        def shorter(inner: Builder, i: Tensor, going: Tensor, left: Tensor) -> list[Tensor]:
            return [going, replace(left, name=inner.SequenceErase(left, dtype=left.dtype).name)]

        body = g.body([(DType.INT64, ()), (DType.BOOL, ()), held], shorter)
        made = g.Loop(g.Max(g.Sub(length, wanted), 0), None, longer, body=body)
        return replace(held, name=made.name)


class Scatter:
    """Parts of a tensor at given places of a list (TensorListScatter)."""

    ops = ("TensorListScatter", "TensorListScatterV2", "TensorListScatterIntoExistingList")

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> Tensor:
        if op.type == "TensorListScatterIntoExistingList":
            given, x, indices = inputs
            held = _sequence(op, given)
        else:
            x, indices, shape = inputs[:3]
            counts = g.Add(g.ReduceMax(g.cast(indices, DType.INT64), keepdims=0), 1)
            if op.type == "TensorListScatterV2":
                asked = _index(g, inputs[3])
                counts = g.Where(g.Less(asked, 0), counts, asked)
            unset = _unset(g, x.dtype, shape)
            held = _collected(g, counts, _empty(g, x.dtype), lambda inner, i: unset)
        places = g.cast(indices, DType.INT64)

        def write(inner: Builder, i: Tensor, going: Tensor, left: Tensor) -> list[Tensor]:
            at, item = inner.Gather(places, i), inner.Gather(x, i, axis=0)
            length = inner.SequenceLength(left)
            unset = _unset(inner, left.dtype, None)
            missing = inner.Max(inner.Sub(inner.Add(at, 1), length), 0)
            longer = _collected(inner, missing, left, lambda deeper, j: unset)
            return [going, _set(inner, longer, at, item)]

        body = g.body([(DType.INT64, ()), (DType.BOOL, ()), held], write)
        made = g.Loop(g.Squeeze(g.Shape(places), [0]), None, held, body=body)
        return replace(held, name=made.name)


class ConcatLists:
    """The elements of one list, and then those of another (TensorListConcatLists)."""

    ops = ("TensorListConcatLists",)

    def emit(self, g: Builder, op: Op, given: Tensor, other: Tensor) -> Tensor:
        held, after = _sequence(op, given), _sequence(op, other)
        return _collected(
            g,
            g.SequenceLength(after),
            held,
            lambda inner, i: _at(inner, after, i),
        )


class Unsaid:
    """What ``flow/batches.py`` and ``flow/stacks.py`` write otherwise, where they can."""

    ops = (
        "StackPop",
        "StackPopV2",
        "StackPush",
        "StackPushV2",
        "TensorListElementShape",
        "TensorListPushBackBatch",
    )

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> Tensor:
        if op.type == "TensorListElementShape":
            op.refuse("its list comes from elsewhere than the ops beside it")
        if op.type.startswith("Stack"):
            op.refuse("its stack comes from elsewhere than the ops beside it")
        op.refuse("its lists are not packed and unpacked one by one")


def _dtype(op: Op) -> DType:
    dtype = element_type(op.node)
    if dtype in {DType.VARIANT, DType.RESOURCE}:
        op.refuse("its elements are lists, ragged tensors or resources themselves")
    return dtype


def _sequence(op: Op, given: Tensor) -> Tensor:
    if form_of(op.node) != SEQUENCE:
        op.refuse("its list has another form")
    return replace(given, dtype=_dtype(op), sequence=True, shape=None)


def _stacked(op: Op, given: Tensor) -> Tensor:
    return replace(given, dtype=_dtype(op), shape=given.shape or None)


def _shaped(g: Builder, rows: Tensor, shape: Shape | None) -> Tensor:
    """Rows that a loop wrote, which of no iterations have a shape that ONNX Runtime chose."""
    sizes = shape[1:] if shape is not None else None
    if rows.rank is None and sizes is not None and all(isinstance(d, int) and d for d in sizes):
        return replace(g.Reshape(rows, [-1, *sizes]), shape=shape)
    return rows


def _like(element: Tensor, held: Tensor) -> Tensor:
    return replace(element, dtype=held.dtype, sequence=False)


def _index(g: Builder, index: Tensor) -> Tensor:
    return g.cast(index, DType.INT64)


def _at(g: Builder, held: Tensor, at: Tensor) -> Tensor:
    return _like(g.SequenceAt(held, at, dtype=held.dtype), held)


def _empty(g: Builder, dtype: DType) -> Tensor:
    return replace(g.SequenceEmpty(dtype=dtype), sequence=True)


def _inserted(g: Builder, held: Tensor, item: Tensor, at: Tensor | None = None) -> Tensor:
    return replace(held, name=g.SequenceInsert(held, item, at, dtype=held.dtype).name)


def _set(g: Builder, held: Tensor, at: Tensor, item: Tensor) -> Tensor:
    left = replace(held, name=g.SequenceErase(held, at, dtype=held.dtype).name)
    return _inserted(g, left, item, at)


def _unset(g: Builder, dtype: DType, shape: Tensor | None) -> Tensor:
    """What stands for an element that nothing was written to: 0, or nothing of no known shape."""
    if shape is None or (shape.value is not None and not shape.value.ndim):
        return g.Expand(zero(g, dtype), [0])
    return g.Expand(zero(g, dtype), g.Max(g.cast(shape, DType.INT64), 0))


def _collected(
    g: Builder, count: Tensor, start: Tensor, element: Callable[[Builder, Tensor], Tensor]
) -> Tensor:
    """A sequence with ``count`` more elements."""

    def add(inner: Builder, i: Tensor, going: Tensor, held: Tensor) -> list[Tensor]:
        return [going, _inserted(inner, held, element(inner, i))]

    body = g.body([(DType.INT64, ()), (DType.BOOL, ()), start], add)
    made = g.Loop(count, None, start, body=body)
    return replace(start, name=made.name)


def _parts(g: Builder, x: Tensor) -> Tensor:
    if x.dtype in _SPLITTABLE and x.shape and x.shape[0]:
        made = g.SplitToSequence(x, None, axis=0, keepdims=0, dtype=x.dtype)
        return Tensor(made.name, x.dtype, sequence=True)
    count = g.Squeeze(g.Slice(g.Shape(x), [0], [1]), [0])
    return _collected(g, count, _empty(g, x.dtype), lambda inner, i: inner.Gather(x, i, axis=0))


def _joined(
    g: Builder, held: Tensor, element: Tensor, *, new_axis: int, is_empty: bool = False
) -> Tensor:
    """The elements as one tensor; of none, no parts like ``element``."""

    def join(inner: Builder) -> Tensor:
        return _like(
            inner.ConcatFromSequence(held, axis=0, new_axis=new_axis, dtype=held.dtype), held
        )

    def nothing(inner: Builder) -> Tensor:
        if is_empty:
            return inner.Identity(element)
        shape = inner.Concat([0], inner.Shape(element), axis=0)
        return inner.Expand(zero(inner, held.dtype), shape)

    made = g.If(
        g.Greater(g.SequenceLength(held), 0),
        then_branch=g.body([], join),
        else_branch=g.body([], nothing),
    )
    return _like(made, held)


HANDLERS: tuple[Handler, ...] = (
    MakeList(),
    FromTensor(),
    Split(),
    SetItem(),
    GetItem(),
    Length(),
    Stack(),
    Gather(),
    Concat(),
    PushBack(),
    PopBack(),
    Resize(),
    Scatter(),
    ConcatLists(),
    Unsaid(),
)
