"""Sums of products over labelled axes."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import product, reshaped, size, vector

DOTS = "..."


@dataclass(frozen=True)
class _Labelled:
    """A tensor with a label for each axis."""

    tensor: Tensor
    labels: str


class Einsum:
    """Diagonals, sums, one product of matrices, and transposes (einsum_op_impl.h).

    ONNX Runtime's own Einsum has no fast product, does not repeat labels in its output, and wants
    the same rank of all that an ellipsis stands for; so that op is only used to take diagonals.
    """

    ops = ("Einsum",)

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> Tensor:
        left, out = str(op.attr("equation")).replace(" ", "").split("->")
        terms = left.split(",")
        if any(DOTS in t and x.rank is None for t, x in zip(terms, inputs, strict=True)):
            if len(inputs) > 1 or len(set(out.replace(".", ""))) < len(out.replace(".", "")):
                op.refuse("an ellipsis stands for an unknown number of axes")
            return g.Einsum(inputs[0], equation=f"{terms[0]}->{out}")
        terms, out = _without_dots(terms, out, [x.rank or 0 for x in inputs])
        given = [_diagonals(g, x, t) for x, t in zip(inputs, terms, strict=True)]
        unique = "".join(dict.fromkeys(out))
        if len(given) == 1:
            made = _ordered(g, _summed(g, given[0], unique), unique)
        else:
            made = _contracted(g, given[0], given[1], unique)
        return made if unique == out else _spread(g, made, unique, out)


def _without_dots(terms: Sequence[str], out: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The equation with letters of their own for the axes that an ellipsis stands for."""
    used = set("".join(terms))
    fresh = [c for c in string.ascii_letters if c not in used]
    counts = [
        rank - len(t.replace(DOTS, "")) if DOTS in t else 0
        for t, rank in zip(terms, ranks, strict=True)
    ]
    letters = "".join(fresh[: max(counts)])
    # Aligned at the right, as in broadcasting.
    plain = [
        t.replace(DOTS, letters[len(letters) - n :]) for t, n in zip(terms, counts, strict=True)
    ]
    return plain, out.replace(DOTS, letters)


def _diagonals(g: Builder, x: Tensor, labels: str) -> _Labelled:
    """With one axis for each label."""
    unique = "".join(dict.fromkeys(labels))
    if unique == labels:
        return _Labelled(x, labels)
    return _Labelled(g.Einsum(x, equation=f"{labels}->{unique}"), unique)


def _summed(g: Builder, x: _Labelled, kept: str) -> _Labelled:
    """Without the axes whose labels nobody else has."""
    axes = [i for i, label in enumerate(x.labels) if label not in kept]
    if not axes:
        return x
    labels = "".join(c for c in x.labels if c in kept)
    return _Labelled(g.ReduceSum(x.tensor, axes, keepdims=0), labels)


def _ordered(g: Builder, x: _Labelled, labels: str) -> Tensor:
    """The tensor with its axes in the order of ``labels``."""
    if x.labels == labels:
        return x.tensor
    order = [x.labels.index(c) for c in labels]
    made = g.Transpose(x.tensor, perm=order)
    shape = x.tensor.shape
    return made if shape is None else replace_shape(made, tuple(shape[i] for i in order))


def _contracted(g: Builder, x: _Labelled, y: _Labelled, out: str) -> Tensor:
    """The sum of products of two tensors."""
    x, y = _summed(g, x, y.labels + out), _summed(g, y, x.labels + out)
    inner = "".join(c for c in x.labels if c in y.labels and c not in out)
    if not inner:
        return g.Mul(_aligned(g, x, out), _aligned(g, y, out))
    own = [c for c in out if (c in x.labels) != (c in y.labels)]
    if own and own[0] in y.labels:
        x, y = y, x
    batch = "".join(c for c in out if c in x.labels and c in y.labels)
    rows = "".join(c for c in out if c not in y.labels)
    columns = "".join(c for c in out if c not in x.labels)
    # Without a batch, the rows may be a batch of MatMul's, and need not become one axis.
    keep = len(rows) == 1 or (rows and not batch)
    left = _ordered(g, x, batch + rows + inner)
    left = _merged(g, left, len(batch), len(rows), None if keep else 1, len(inner))
    right = _ordered(g, y, batch + inner + columns)
    right = _merged(g, right, len(batch), len(inner), 1, len(columns))
    made = product(g, left, right)
    if not keep or len(columns) != 1:
        made = reshaped(g, made, _sizes(g, (x, y), batch + rows + columns))
    return _ordered(g, _Labelled(made, batch + rows + columns), out)


def _aligned(g: Builder, x: _Labelled, out: str) -> Tensor:
    """With the axes of ``out``, those that the tensor does not have of size 1."""
    made = _ordered(g, x, "".join(c for c in out if c in x.labels))
    missing = [i for i, label in enumerate(out) if label not in x.labels]
    return g.Unsqueeze(made, missing) if missing else made


def _merged(
    g: Builder, x: Tensor, batch: int, first: int, first_to: int | None, last: int
) -> Tensor:
    """``x`` with ``last`` axes after ``first`` ones as one axis, and maybe those as well."""
    if last == 1 and (first == 1 or first_to is None):
        return x
    groups = [range(i, i + 1) for i in range(batch if first_to else batch + first)]
    groups += [range(batch, batch + first)] if first_to else []
    groups.append(range(batch + first, batch + first + last))
    sizes = [_volume(g, x, axes) for axes in groups]
    known = tuple(None if s.value is None else int(s.value) for s in sizes)
    return replace_shape(reshaped(g, x, vector(g, *sizes)), known)


def _volume(g: Builder, x: Tensor, axes: range) -> Tensor:
    """The number of elements along some axes, an int64 scalar."""
    known = [x.shape[axis] if x.shape else None for axis in axes]
    if all(isinstance(n, int) for n in known):
        return g.constant(math.prod(n for n in known if isinstance(n, int)))
    if len(axes) == 1:
        return size(g, x, axes[0])
    return g.ReduceProd(g.Slice(g.shape(x), [axes[0]], [axes[-1] + 1]), keepdims=0)


def _sizes(g: Builder, tensors: Sequence[_Labelled], labels: str) -> Tensor:
    """The size of each label, where some may be 1 in one tensor and broadcast."""
    found = []
    for label in labels:
        sizes = [size(g, t.tensor, t.labels.index(label)) for t in tensors if label in t.labels]
        if len(sizes) == 1:
            found.append(sizes[0])
        else:
            found.append(g.Where(g.Equal(sizes[0], 1), sizes[1], sizes[0]))
    return vector(g, *found)


def _spread(g: Builder, x: Tensor, unique: str, out: str) -> Tensor:
    """Each repeated label as a diagonal, with zeros around it."""
    first = [out.index(c) == i for i, c in enumerate(out)]
    others = [i for i, is_first in enumerate(first) if not is_first]
    made = g.Unsqueeze(_ordered(g, _Labelled(x, unique), unique), others)
    for i in others:
        label = out.index(out[i])
        along = g.Range(0, size(g, x, unique.index(out[i])), 1)

        def placed(axis: int, along: Tensor = along) -> Tensor:
            return g.Unsqueeze(along, [a for a in range(len(out)) if a != axis])

        made = g.Where(g.Equal(placed(label), placed(i)), made, 0)
    return made


HANDLERS: tuple[Handler, ...] = (Einsum(),)
