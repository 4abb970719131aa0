"""A matrix product over the last axis of a tensor of any rank."""

from __future__ import annotations

from typing import Any

from smconvert.model import Shape
from smconvert_onnx.fusions.terms import Terms
from smconvert_onnx.handlers.builder import Builder, Tensor, replace_shape


class Tensordot:
    """``reshape(reshape(x, [-1, k]) @ w, [..., n])``, as MatMul-13, which takes any rank.

    tf.tensordot and Keras' Dense write it so. It is the product of ``x`` as it is where the result
    has all axes of ``x`` but the last, which is told

    1. by the shapes, if they differ in the last axis only and at most one size is unknown; or
    2. by the target of the second Reshape, if that is made of the first sizes of ``x``.
    """

    ends = frozenset({"Reshape"})
    since = 13

    def write(self, g: Builder, terms: Terms, node: Any) -> Tensor | None:
        """MatMul, where the Reshape ends a product of this kind."""
        product = terms.made_by(node.input[0], "MatMul")
        if product is None or product.get_attr_value("transpose_a", 0):
            return None
        flat = terms.made_by(product.input[0], "Reshape")
        if flat is None or product.get_attr_value("transpose_b", 0):
            return None
        x = _as_it_lies(terms, flat.input[0])
        given, weights = terms.shape(x), terms.shape(product.input[1])
        if not given or not weights or given[-1] is None or given[-1] != weights[0]:
            return None
        if not (
            _fits(given, terms.shape(node.output[0]))
            or _is_rest(terms, node.input[1], x, len(given))
        ):
            return None
        made = g.MatMul(terms.tensor(x), terms.tensor(product.input[1]))
        return replace_shape(made, (*given[:-1], weights[-1]))


def _as_it_lies(terms: Terms, name: str) -> str:
    """A tensor before a Transpose that leaves every axis where it is."""
    node = terms.made_by(name, "Transpose")
    order = None if node is None else terms.constant(node.input[1])
    if node is None or order is None or order.tolist() != list(range(order.size)):
        return name
    return str(node.input[0])


def _fits(given: Shape, shape: Shape | None) -> bool:
    """Whether sizes alone tell that the axes before the last are those of ``given``."""
    if shape is None or len(shape) != len(given) or shape[-1] is None:
        return False
    return shape[:-1] == given[:-1] and given.count(None) <= 1 and 0 not in given


def _is_rest(terms: Terms, target: str, x: str, rank: int) -> bool:
    """Whether a shape is the sizes of ``x`` but the last, and one more."""
    joined = terms.made_by(target, "ConcatV2")
    if joined is None or len(joined.input) != 3:
        return False
    sizes, last = terms.made_by(joined.input[0], "GatherV2"), terms.constant(joined.input[1])
    if sizes is None or last is None or last.size != 1:
        return False
    whole, axes = terms.made_by(sizes.input[0], "Shape"), terms.constant(sizes.input[1])
    if whole is None or axes is None or not terms.same(whole.input[0], x):
        return False
    return bool(axes.reshape(-1).tolist() == list(range(rank - 1)))
