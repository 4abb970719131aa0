"""Functions of numbers, element by element."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from proof import Case, Tolerance
from values import FLOATS, edges, plain


def cases() -> Iterator[Case]:
    for op in ("Erfc", "Expm1"):
        for dtype in FLOATS:
            for x in (edges(dtype), plain(dtype, (2, 3)), plain(dtype, ()), plain(dtype, (0, 2))):
                yield Case(op, {"x": x}, tolerance=Tolerance(ulps=8, atol=2e-7))
    for op in ("Xlogy", "Xdivy", "Xlog1py", "MulNoNan", "DivNoNan"):
        for dtype in FLOATS:
            x, y = np.meshgrid(edges(dtype), edges(dtype))
            yield Case(op, {"x": x, "y": y}, tolerance=Tolerance(ulps=4, atol=1e-6))
            yield Case(
                op,
                {"x": plain(dtype, (2, 1)), "y": plain(dtype, (3,))},
                tolerance=Tolerance(ulps=4, atol=1e-6),
            )
