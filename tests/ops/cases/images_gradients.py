"""Gradients of boxes that are cut out of images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.images import IMAGES
from proof import Case, Tolerance
from values import BRAIN, DOUBLE, HALF, SINGLE, plain

BOXES = np.array(
    [
        [0.1, 0.1, 0.9, 0.7],
        [0, 0, 1, 1],
        [0.5, 0.2, 0.4, 0.9],
        [-0.5, 0.3, 0.6, 1.7],
        [0.5, 0.5, 0.5, 0.5],
    ],
    np.float32,
)
INDEX = np.array([0, 1, 1, 0, 1], np.int32)
NEAR = {
    SINGLE: Tolerance(rtol=1e-4, atol=1e-4),
    DOUBLE: Tolerance(rtol=1e-5, atol=1e-5),
    HALF: Tolerance(rtol=2e-2, atol=5e-2),
}


def cases() -> Iterator[Case]:
    for size in ((3, 4), (1, 5), (4, 1), (7, 9)):
        for count in (5, 0):
            back = plain(SINGLE, (count, *size, 3))
            given = {"grads": back, "boxes": BOXES[:count], "box_ind": INDEX[:count]}
            for dtype in (SINGLE, DOUBLE, HALF):
                shape = {"image_size": np.array((2, 5, 6, 3), np.int32)}
                for method in ("bilinear", "nearest"):
                    for constants in (frozenset[str](), frozenset(shape)):
                        yield Case(
                            "CropAndResizeGradImage",
                            {**given, **shape},
                            {"T": dtype, "method": method},
                            constants,
                            NEAR[dtype],
                        )
            for dtype in (d for d in IMAGES if d != BRAIN):
                if size == (3, 4) or dtype == SINGLE:
                    image = {"image": plain(dtype, (2, 5, 6, 3), 1)}
                    yield Case("CropAndResizeGradBoxes", {**given, **image}, tolerance=NEAR[SINGLE])
