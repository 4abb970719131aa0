"""Regression by a function that never grows; and the largest of each row, found approximately."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from proof import Case, Shapes, Tolerance
from values import BRAIN, DOUBLE, FLOATS, HALF, SIGNED, SINGLE, plain

NEAR = {
    SINGLE: Tolerance(rtol=1e-5, atol=1e-6),
    DOUBLE: Tolerance(rtol=1e-12, atol=1e-12),
    HALF: Tolerance(rtol=4e-3, atol=4e-3),
    BRAIN: Tolerance(rtol=3e-2, atol=3e-2),
}


def cases() -> Iterator[Case]:
    for dtype in (*FLOATS, *SIGNED):
        wide = SINGLE if dtype.itemsize < 4 else DOUBLE
        target = dtype if dtype in FLOATS else wide
        for shape in ((3, 9), (1, 1), (2, 0), (0, 3), (2, 30)):
            yield Case(
                "IsotonicRegression",
                {"input": plain(dtype, shape, shape[1])},
                {"output_dtype": tf.as_dtype(target)},
                tolerance=NEAR[target],
            )
    rows = [[5, 5, 3, 3, 3, 4, 1, 1, 2, 0], [1, 2, 3, 4, 1, 4, 9, 8, 7, 6], range(10, 0, -1)]
    for dtype in (SINGLE, DOUBLE, HALF):
        given = {"input": np.array([list(row) for row in rows], dtype)}
        yield Case(
            "IsotonicRegression",
            given,
            {"output_dtype": tf.as_dtype(dtype)},
            tolerance=NEAR[dtype],
        )
    for dtype in (SINGLE, HALF, BRAIN):
        for shape, k in (((3, 50), 5), ((7,), 7), ((2, 3, 20), 1)):
            for whole in (False, True):
                attributes = {"k": k, "aggregate_to_topk": whole}
                x = plain(dtype, shape)
                # TensorFlow wants to know the length of a row.
                yield Case("ApproxTopK", {"input": x}, attributes, shapes=(Shapes.STATIC,))
