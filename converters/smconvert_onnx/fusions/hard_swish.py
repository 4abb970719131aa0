"""The hard forms of the sigmoid and of swish."""

from __future__ import annotations

import math
from typing import Any

from smconvert_onnx.fusions.terms import Terms
from smconvert_onnx.handlers.builder import Builder, Tensor


class HardSwish:
    """``x relu6(x + 3) / 6`` (Howard et al. 2019, arXiv 1905.02244), as HardSwish-14."""

    ends = frozenset({"Mul", "RealDiv"})
    since = 14

    def write(self, g: Builder, terms: Terms, node: Any) -> Tensor | None:
        """HardSwish, where the product is ``x / 6`` times the clipped sum."""
        number, factors = terms.product(node.output[0])
        if len(factors) != 2 or not math.isclose(number, 1 / 6, rel_tol=1e-5):
            return None
        for x, gate in (factors, factors[::-1]):
            clipped = terms.made_by(gate, "Relu6")
            if clipped is None:
                continue
            parts = terms.sum(clipped.input[0])
            if len(parts) == 2 and {(1.0, x), (3.0, None)} == set(parts):
                return g.HardSwish(terms.tensor(x))
        return None
