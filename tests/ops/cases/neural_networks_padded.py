"""Convolutions of what is first resized and mirrored.

Of one image alone: for others TensorFlow's kernel takes rows of the first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.neural_networks import _SUMS
from proof import Case, Shapes
from values import BRAIN, FLOATS, plain

_KNOWN = frozenset({"paddings", "size"})
_STATIC = (Shapes.STATIC,)
"""Where its paddings are fed, TensorFlow wants to know the shapes of all."""


def cases() -> Iterator[Case]:
    for dtype in FLOATS:
        for mode in ("REFLECT", "SYMMETRIC"):
            for strides, padding, kernel in (
                ([1, 1, 1, 1], "VALID", (3, 2, 2, 3)),
                ([1, 2, 2, 1], "SAME", (3, 3, 2, 3)),
            ):
                given = {
                    "input": plain(dtype, (1, 5, 6, 2)),
                    "paddings": np.array([[0, 0], [2, 1], [1, 3], [0, 0]], np.int32),
                    "filter": plain(dtype, kernel, 1),
                }
                attributes = {"mode": mode, "strides": strides, "padding": padding}
                near = _SUMS[dtype]
                yield Case("FusedPadConv2D", given, attributes, _KNOWN, near)
                yield Case("FusedPadConv2D", given, attributes, tolerance=near, shapes=_STATIC)
                if dtype == BRAIN:
                    continue
                for size in ((7, 9), (3, 4), (5, 6)):
                    for corners in (False, True):
                        yield Case(
                            "FusedResizeAndPadConv2D",
                            {**given, "size": np.array(size, np.int32)},
                            {**attributes, "resize_align_corners": corners},
                            _KNOWN if corners else frozenset(),
                            near,
                            shapes=tuple(Shapes) if corners else _STATIC,
                        )
