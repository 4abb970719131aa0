"""Normalisation by the root of the mean square."""

from __future__ import annotations

from typing import Any

from smconvert_onnx.fusions.layer_normalization import last_axes
from smconvert_onnx.fusions.terms import Terms
from smconvert_onnx.handlers.builder import Builder, Tensor


class RmsNormalization:
    """``x / sqrt(mean(x**2) + epsilon) scale``, as RMSNormalization-23.

    (Zhang and Sennrich 2019, arXiv 1910.07467.) The scale is a constant over the last axis.
    """

    ends = frozenset({"Mul"})
    since = 23

    def write(self, g: Builder, terms: Terms, node: Any) -> Tensor | None:
        """RMSNormalization, where the product is all of it."""
        for product, weight in (node.input, node.input[::-1]):
            scale = terms.constant(weight)
            inner = terms.made_by(product, "Mul")
            if scale is None or scale.ndim == 0 or inner is None:
                continue
            for x, root in (inner.input, inner.input[::-1]):
                epsilon = _root_mean_square(terms, root, x)
                shape = terms.shape(x)
                if epsilon is not None and shape is not None and scale.size == shape[-1]:
                    tensor = terms.tensor(x)
                    constant = g.constant(scale.reshape(-1), tensor.dtype)
                    return g.RMSNormalization(tensor, constant, axis=-1, epsilon=epsilon)
        return None


def _root_mean_square(terms: Terms, name: str, x: str) -> float | None:
    """The epsilon of ``1 / sqrt(mean(x**2) + epsilon)`` over the last axis."""
    root = terms.made_by(name, "Rsqrt")
    if root is None:
        return None
    parts = terms.sum(root.input[0])
    epsilons = [number for number, tensor in parts if tensor is None]
    means = [terms.made_by(tensor, "Mean") for sign, tensor in parts if tensor and sign == 1]
    if len(parts) != 2 or len(epsilons) != 1 or len(means) != 1 or means[0] is None:
        return None
    shape = terms.shape(means[0].input[0])
    if shape is None or last_axes(terms, means[0]) != len(shape) - 1:
        return None
    number, factors = terms.product(means[0].input[0])
    squared = number == 1 and len(factors) == 2 and all(terms.same(f, x) for f in factors)
    return epsilons[0] if squared else None
