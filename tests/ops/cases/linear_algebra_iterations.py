"""Decompositions and functions of matrices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from proof import Case, Shapes, Tolerance
from values import DOUBLE, SINGLE, plain


def cases() -> Iterator[Case]:
    for dtype in (SINGLE, DOUBLE):
        far = Tolerance(rtol=1e-4, atol=2e-5) if dtype == SINGLE else Tolerance(0, 1e-10, 1e-11)
        for batch, n in (((), 1), ((2,), 2), ((2, 3), 3), ((), 5), ((2,), 6), ((0,), 3)):
            x = plain(dtype, (*batch, n, n), n)
            values = {"compute_v": False}
            yield Case("SelfAdjointEigV2", {"input": x}, values, tolerance=far, outputs=(0,))
            lower = np.tril(x) + 3 * np.eye(n, dtype=dtype)
            given = {"l": lower, "grad": plain(dtype, (*batch, n, n), n + 1)}
            yield Case("CholeskyGrad", given, tolerance=far)
            for m in (1, 3, 6):
                wide = plain(dtype, (*batch, m, n), m)
                values = {"compute_uv": False, "full_matrices": m == 3}
                yield Case("Svd", {"input": wide}, values, tolerance=far, outputs=(0,))
                yield from _least_squares(wide, far)
        yield from _special(dtype, far)
        yield from _banded(dtype, far)


def _special(dtype: np.dtype, far: Tolerance) -> Iterator[Case]:
    equal = np.ones((4, 4), dtype)
    for x in (np.zeros((3, 3), dtype), equal, np.eye(4, dtype=dtype), np.zeros((0, 0), dtype)):
        values = {"compute_v": False}
        yield Case("SelfAdjointEigV2", {"input": x}, values, tolerance=far, outputs=(0,))
        values = {"compute_uv": False}
        yield Case("Svd", {"input": x}, values, tolerance=far, outputs=(0,))
    vectors = {"compute_v": True}
    yield Case("SelfAdjointEigV2", {"input": equal}, vectors, refusable=True)
    yield Case("Svd", {"input": equal}, {"compute_uv": True}, refusable=True)


def _least_squares(x: np.ndarray, far: Tolerance) -> Iterator[Case]:
    y = plain(x.dtype, (*x.shape[:-1], 2), 9)
    for weight, fast in ((0.5, True), (0.0, False)):
        yield Case(
            "MatrixSolveLs",
            {"matrix": x, "rhs": y, "l2_regularizer": np.array(weight)},
            {"fast": fast},
            tolerance=far,
            refusable=not fast,
            shapes=(Shapes.STATIC,),
        )


def _banded(dtype: np.dtype, far: Tolerance) -> Iterator[Case]:
    for batch, other in (((), ()), ((2, 1), (3,)), ((), (2,))):
        for count, n in ((1, 3), (2, 4), (4, 4)):
            for lower in (False, True):
                for adjoint in (False, True):
                    bands = plain(dtype, (*batch, count, n), 3)
                    bands[..., 0 if lower else -1, :] += 4
                    yield Case(
                        "BandedTriangularSolve",
                        {"matrix": bands, "rhs": plain(dtype, (*other, n, 2), 4)},
                        {"lower": lower, "adjoint": adjoint},
                        tolerance=far,
                        shapes=(Shapes.STATIC,),
                    )
