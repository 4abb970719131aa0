"""The Gaussian error linear unit, in both of its forms."""

from __future__ import annotations

import math
from typing import Any

from smconvert_onnx.fusions.terms import Terms
from smconvert_onnx.handlers.builder import Builder, Tensor

_CUBE = 0.044715
_NEAR = 1e-4


class Gelu:
    """``x Phi(x)`` (Hendrycks and Gimpel 2016, arXiv 1606.08415), as Gelu-20.

    1. ``0.5 x (1 + erf(x / sqrt(2)))``, which TensorFlow also writes ``0.5 x erfc(-x / sqrt(2))``.
    2. ``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3)))``, the approximation.
    """

    ends = frozenset({"Mul"})
    since = 20

    def write(self, g: Builder, terms: Terms, node: Any) -> Tensor | None:
        """Gelu, where the product is ``0.5 x`` times one of the two."""
        number, factors = terms.product(node.output[0])
        if len(factors) != 2 or not _is(number, 0.5):
            return None
        for x, gate in (factors, factors[::-1]):
            if _is_erf(terms, gate, x):
                return g.Gelu(terms.tensor(x))
            if _is_tanh(terms, gate, x):
                return g.Gelu(terms.tensor(x), approximate="tanh")
        return None


def _is(value: float, wanted: float) -> bool:
    return math.isclose(value, wanted, rel_tol=_NEAR)


def _is_erf(terms: Terms, gate: str, x: str) -> bool:
    complement = terms.made_by(gate, "Erfc")
    if complement is not None:
        return _is_times(terms, complement.input[0], x, -math.sqrt(0.5))
    inner = _after_one(terms, gate, "Erf")
    return inner is not None and _is_times(terms, inner, x, math.sqrt(0.5))


def _is_tanh(terms: Terms, gate: str, x: str) -> bool:
    inner = _after_one(terms, gate, "Tanh")
    if inner is None:
        return False
    number, factors = terms.product(inner)
    if len(factors) != 1 or not _is(number, math.sqrt(2 / math.pi)):
        return False
    parts = terms.sum(factors[0])
    if len(parts) != 2 or any(name is None for _, name in parts):
        return False
    cubes = [(sign, terms.product(name or "")) for sign, name in parts if name != x]
    if len(cubes) != 1 or not any(name == x and sign == 1 for sign, name in parts):
        return False
    sign, (factor, powers) = cubes[0]
    return _is(sign * factor, _CUBE) and powers == [x, x, x]


def _after_one(terms: Terms, gate: str, function: str) -> str | None:
    """The argument of ``1 + function(...)``."""
    parts = terms.sum(gate)
    if sorted((sign, name is None) for sign, name in parts) != [(1.0, False), (1.0, True)]:
        return None
    made = next(terms.made_by(name, function) for _, name in parts if name is not None)
    return None if made is None else str(made.input[0])


def _is_times(terms: Terms, name: str, x: str, number: float) -> bool:
    factor, factors = terms.product(name)
    return factors == [x] and _is(factor, number)
