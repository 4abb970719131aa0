"""XLA's sorts: of several arrays by the numbers of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.axes import FLOATS, comparable
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.precision import HALVES
from smconvert_onnx.handlers.xla_comparators import criteria
from smconvert_onnx.handlers.xla_computations import computation

_NARROW = HALVES | {DType.FLOAT32}


class Sort:
    """The rows in ascending order, with what belongs to them (tf2xla/kernels/sort_ops.cc)."""

    ops = ("XlaSort", "XlaKeyValueSort")

    def emit(self, g: Builder, op: Op, keys: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        order = _order(g, _keys(g, keys, is_total=True), -1)
        return tuple(g.GatherElements(x, order, axis=-1) for x in (keys, *values))


class VariadicSort:
    """Arrays in the order that a function of pairs of their elements says (XLA's Sort).

    The function compares two elements of an array, or what it makes of each; or of several arrays,
    of which the next counts where they are equal, as jax.lax.sort does.
    """

    ops = ("XlaVariadicSort",)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        *tensors, dimension = given
        axis = int(op.constant(dimension, "dimension"))
        comparator = computation(op, "comparator")
        fed = {name: tensors[i // 2] for i, name in enumerate(comparator.inputs)}
        keys: list[_Key] = []
        for found in criteria(comparator):
            value = comparator.part(g, found.node, fed)
            keys += _keys(g, value, is_total=found.is_total, is_descending=found.is_descending)
        order = _order(g, keys, axis)
        return tuple(g.GatherElements(x, order, axis=axis) for x in tensors)


@dataclass(frozen=True)
class _Key:
    """Numbers that TopK sorts by."""

    value: Tensor
    is_descending: bool


def _keys(g: Builder, x: Tensor, *, is_total: bool, is_descending: bool = False) -> list[_Key]:
    """What sorts ``x``, NaN last: by the first, then the next; ``is_total`` puts -0 before 0."""
    if x.dtype not in FLOATS:
        plain = g.cast(x, DType.INT32) if x.dtype is DType.BOOL else comparable(g, x)
        return [_Key(plain, is_descending)]
    unknown = g.IsNaN(x)
    below_zero = g.And(g.Equal(x, 0), g.Less(g.Div(1, x), 0)) if is_total else None
    if x.dtype in _NARROW:
        # There is room beyond the largest of these numbers, and next to 0.
        wide = g.cast(x, DType.FLOAT64)
        if below_zero is not None:
            wide = g.Where(below_zero, -1e-300, wide)
        wide = g.Where(g.Equal(wide, np.inf), 1e300, wide)
        return [_Key(g.Where(unknown, np.inf, wide), is_descending)]
    values = [g.cast(unknown, DType.INT32), g.Where(unknown, 0, x)]
    if below_zero is not None:
        values.append(g.Sub(0, g.cast(below_zero, DType.INT32)))
    return [_Key(value, is_descending) for value in values]


def _order(g: Builder, keys: Sequence[_Key], axis: int) -> Tensor:
    """Where what comes first, second, … lies: a stable sort by each key, the last one first."""
    order: Tensor | None = None
    for key in reversed(keys):
        there = key.value if order is None else g.GatherElements(key.value, order, axis=axis)
        count = g.Gather(g.shape(key.value), [axis])
        _, step = g.TopK(there, count, axis=axis, largest=int(key.is_descending), outputs=2)
        order = step if order is None else g.GatherElements(order, step, axis=axis)
    assert order is not None
    return order


HANDLERS: tuple[Handler, ...] = (Sort(), VariadicSort())
