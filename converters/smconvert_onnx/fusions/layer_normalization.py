"""Normalisation over the last axes, with a scale and an offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from smconvert.model import Array
from smconvert_onnx.fusions.terms import Terms
from smconvert_onnx.handlers.builder import Builder, Tensor


@dataclass(frozen=True)
class Deviation:
    """``1 / sqrt(variance(x) + epsilon)``, over ``axis`` and all that follow."""

    x: str
    mean: str
    axis: int
    epsilon: float


class LayerNormalization:
    """``(x - mean) / sqrt(variance + epsilon) scale + offset``, as LayerNormalization-17.

    (Ba, Kiros and Hinton 2016, arXiv 1607.06450.) Scale and offset are constants over the
    normalised axes. With ``inverse = scale / sqrt(variance + epsilon)``, the formula ends with

    1. ``x inverse + (offset - mean inverse)`` (tf.nn.batch_normalization, Keras), or
    2. ``(x - mean) inverse + offset``.
    """

    ends = frozenset({"Add", "AddV2", "Sub"})
    since = 17

    def write(self, g: Builder, terms: Terms, node: Any) -> Tensor | None:
        """LayerNormalization, where the sum is one of the two."""
        if node.type == "Sub":
            return None
        for left, right in (node.input, node.input[::-1]):
            found = _centered(terms, left, right) or _expanded(terms, left, right)
            if found is not None:
                deviation, scale, offset = found
                x = terms.tensor(deviation.x)
                return _write(g, x, deviation, scale, offset)
        return None


def _write(
    g: Builder, x: Tensor, deviation: Deviation, scale: Array, offset: Array
) -> Tensor | None:
    if x.shape is None:
        return None
    normalized = x.shape[deviation.axis :]
    if not normalized or not all(isinstance(size, int) for size in normalized):
        return None
    sizes = tuple(int(size) for size in normalized if size is not None)
    fitted = [_fitted(value, len(x.shape), sizes) for value in (scale, offset)]
    if fitted[0] is None or fitted[1] is None:
        return None
    return g.LayerNormalization(
        x,
        g.constant(fitted[0], x.dtype),
        g.constant(fitted[1], x.dtype),
        axis=deviation.axis - len(x.shape),
        epsilon=deviation.epsilon,
    )


def _fitted(value: Array, rank: int, sizes: tuple[int, ...]) -> Array | None:
    """A constant over the normalised axes alone; None where it varies along others."""
    whole = value.reshape((1,) * (rank - value.ndim) + value.shape)
    before = rank - len(sizes)
    if value.ndim > rank or any(size != 1 for size in whole.shape[:before]):
        return None
    try:
        return np.broadcast_to(whole.reshape(whole.shape[before:]), sizes).copy()
    except ValueError:
        return None


def _centered(terms: Terms, product: str, offset: str) -> tuple[Deviation, Array, Array] | None:
    """``(x - mean) inverse + offset``."""
    constant = terms.constant(offset)
    split = _by_deviation(terms, product)
    if constant is None or split is None:
        return None
    deviation, scale, rest = split
    difference = terms.made_by(rest, "Sub") if rest else None
    if difference is None or not (
        terms.same(difference.input[0], deviation.x)
        and terms.same(difference.input[1], deviation.mean)
    ):
        return None
    return deviation, scale, constant


def _expanded(terms: Terms, product: str, rest: str) -> tuple[Deviation, Array, Array] | None:
    """``x inverse + (offset - mean inverse)``."""
    split = _by_deviation(terms, product)
    if split is None or split[2] is None or not terms.same(split[2], split[0].x):
        return None
    deviation, scale, _ = split
    parts = [(sign, name) for sign, name in terms.sum(rest) if name is not None]
    if len(parts) != 2 or len(terms.sum(rest)) != 2:
        return None
    for (sign, offset), (other, shift) in (parts, parts[::-1]):
        constant = terms.constant(offset)
        moved = _by_deviation(terms, shift)
        if constant is None or moved is None or moved[2] is None:
            continue
        number, factors = terms.product(moved[2])
        if (
            moved[0] == deviation
            and np.array_equal(moved[1], scale)
            and other * number == -1
            and len(factors) == 1
            and terms.same(factors[0], deviation.mean)
        ):
            return deviation, scale, sign * constant
    return None


def _by_deviation(terms: Terms, name: str) -> tuple[Deviation, Array, str | None] | None:
    """A product as a deviation, a constant, and the one factor that is left."""
    factors = _flat(terms, name)
    found = [(f, d) for f in factors if (d := _deviation(terms, f)) is not None]
    if len(found) != 1:
        return None
    rest = [f for f in factors if f != found[0][0]]
    constants = [f for f in rest if terms.constant(f) is not None]
    others = [f for f in rest if f not in constants]
    if len(constants) > 1 or len(others) != 1:
        return None
    scale = terms.constant(constants[0]) if constants else np.ones((), np.float32)
    return None if scale is None else (found[0][1], scale, others[0])


def _flat(terms: Terms, name: str) -> list[str]:
    node = terms.made_by(name, "Mul")
    if node is None:
        return [name]
    return [factor for operand in node.input for factor in _flat(terms, operand)]


def _deviation(terms: Terms, name: str) -> Deviation | None:
    root = terms.made_by(name, "Rsqrt")
    if root is None:
        return None
    parts = terms.sum(root.input[0])
    epsilons = [number for number, tensor in parts if tensor is None]
    variances = [tensor for sign, tensor in parts if tensor is not None and sign == 1]
    if len(parts) != 2 or len(epsilons) != 1 or len(variances) != 1:
        return None
    variance = terms.made_by(variances[0], "Mean")
    axis = None if variance is None else last_axes(terms, variance)
    if variance is None or axis is None:
        return None
    squared = terms.made_by(variance.input[0], "SquaredDifference", "Square", "Mul")
    if squared is None:
        return None
    if squared.type == "SquaredDifference":
        x, mean = squared.input
    else:
        difference = terms.made_by(squared.input[0], "Sub")
        if difference is None or not terms.same(squared.input[0], squared.input[-1]):
            return None
        x, mean = difference.input
    average = terms.made_by(mean, "Mean")
    if average is None or not terms.same(average.input[0], x) or last_axes(terms, average) != axis:
        return None
    return Deviation(x, mean, axis, epsilons[0])


def last_axes(terms: Terms, mean: Any) -> int | None:
    """The first of the axes that a Mean goes over, if all after it are among them and kept."""
    axes, shape = terms.constant(mean.input[1]), terms.shape(mean.input[0])
    if axes is None or shape is None or not mean.get_attr_value("keep_dims", 0):
        return None
    rank = len(shape)
    found = sorted(int(axis) % rank for axis in axes.reshape(-1))
    return found[0] if found and found == list(range(found[0], rank)) else None
