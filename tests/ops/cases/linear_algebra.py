"""Linear algebra."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from proof import EXACT, Case, Shapes, Tolerance
from values import BOOL, BRAIN, DOUBLE, FLOATS, HALF, NUMBERS, SINGLE, edges, plain

SUMMABLE = (*FLOATS, np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.int64))


def close(dtype: np.dtype, scale: float = 1) -> Tolerance:
    """For sums of products of moderate numbers."""
    if dtype.kind in "iu":
        return EXACT
    digits = {"float32": 1e-5, "float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}[dtype.name]
    return Tolerance(rtol=digits * scale, atol=digits * scale)


def cases() -> Iterator[Case]:
    yield from _products()
    yield from _cross()
    yield from _einsum()
    yield from _bands()
    yield from _diagonals()
    yield from _systems()


def _products() -> Iterator[Case]:
    for dtype in SUMMABLE:
        for ta in (False, True):
            for tb in (False, True):
                for m, k, n in ((2, 3, 4), (1, 1, 1), (2, 0, 3), (0, 2, 3), (5, 7, 0)):
                    a, b = (
                        plain(dtype, (k, m) if ta else (m, k)),
                        plain(dtype, (n, k) if tb else (k, n), 1),
                    )
                    yield Case(
                        "MatMul",
                        {"a": a, "b": b},
                        {"transpose_a": ta, "transpose_b": tb},
                        tolerance=close(dtype),
                    )
        if dtype.kind == "i":
            limits = np.array([[np.iinfo(dtype).max, np.iinfo(dtype).min, 77]], dtype)
            yield Case("MatMul", {"a": limits.T, "b": limits})
            yield Case("MatMul", {"a": limits, "b": limits.T})
        yield Case(
            "MatMul",
            {"a": plain(dtype, (2, 3)), "b": plain(dtype, (3, 4))},
            constants=frozenset({"b"}),
            tolerance=close(dtype),
        )
        batches = (
            ("BatchMatMul", (), ()),
            ("BatchMatMul", (2,), (2,)),
            ("BatchMatMul", (0,), (0,)),
            ("BatchMatMulV2", (2, 1), (3,)),
            ("BatchMatMulV2", (), (3,)),
            ("BatchMatMulV2", (2, 3), ()),
            ("BatchMatMulV2", (0, 3), (1, 1)),
        )
        for op, x, y in batches:
            for ax, ay in ((False, False), (True, False), (False, True), (True, True)):
                for m, k, n in ((2, 3, 4), (1, 0, 2)):
                    # ONNX Runtime does not broadcast an empty batch that it meets when it runs.
                    empty = 0 in (*x, *y) and x != y
                    yield Case(
                        op,
                        {
                            "x": plain(dtype, (*x, *((k, m) if ax else (m, k)))),
                            "y": plain(dtype, (*y, *((n, k) if ay else (k, n))), 1),
                        },
                        {"adj_x": ax, "adj_y": ay},
                        tolerance=close(dtype),
                        shapes=(Shapes.STATIC,) if empty else tuple(Shapes),
                    )
    mixed = (
        ("uint8", "uint8", "int32"),
        ("int8", "uint8", "int32"),
        ("uint8", "int8", "int32"),
        ("int8", "int8", "int32"),
        ("uint8", "bfloat16", "bfloat16"),
        ("bfloat16", "int8", "bfloat16"),
        *((d.name, d.name, d.name) for d in SUMMABLE),
    )
    by_name = {d.name: d for d in NUMBERS}
    for left, right, out in mixed:
        a, b = plain(by_name[left], (2, 1, 3, 5)), plain(by_name[right], (4, 5, 2), 1)
        yield Case(
            "BatchMatMulV3",
            {"x": a, "y": b},
            {"Tout": out},
            tolerance=close(by_name[out], 8 if out == "bfloat16" else 1),
        )
        yield Case(
            "BatchMatMulV3",
            {"x": np.swapaxes(a, -1, -2), "y": np.swapaxes(b, -1, -2)},
            {"Tout": out, "adj_x": True, "adj_y": True},
            tolerance=close(by_name[out], 8 if out == "bfloat16" else 1),
        )
    for left in ("float32", "bfloat16"):
        for right in ("float32", "bfloat16"):
            for ta in (False, True):
                yield Case(
                    "SparseMatMul",
                    {
                        "a": plain(by_name[left], (3, 3)),
                        "b": plain(by_name[right], (3, 3), 1),
                    },
                    {"a_is_sparse": True, "transpose_a": ta, "transpose_b": not ta},
                    tolerance=close(SINGLE),
                )
    for dtype in (SINGLE, DOUBLE):
        for batch in ((), (2,), (2, 3), (0,)):
            for n in (1, 2, 4):
                yield Case(
                    "TridiagonalMatMul",
                    {
                        "superdiag": plain(dtype, (*batch, 1, n)),
                        "maindiag": plain(dtype, (*batch, 1, n), 1),
                        "subdiag": plain(dtype, (*batch, 1, n), 2),
                        "rhs": plain(dtype, (*batch, n, 3), 3),
                    },
                    tolerance=close(dtype),
                )


def _cross() -> Iterator[Case]:
    for dtype in NUMBERS:
        for shape in ((3,), (2, 3), (0, 3), (2, 1, 3)):
            yield Case(
                "Cross",
                {"a": plain(dtype, shape), "b": plain(dtype, shape, 1)},
                tolerance=close(dtype),
            )
        if dtype.kind in "iu":
            few = np.resize(edges(dtype), (5, 3))
            yield Case("Cross", {"a": few, "b": few[::-1].copy()})


EQUATIONS: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = (
    ("ij->ji", ((2, 3),)),
    ("ij->i", ((2, 3),)),
    ("ij->", ((2, 3),)),
    ("->", ((),)),
    ("ii->i", ((3, 3),)),
    ("ii->", ((3, 3),)),
    ("iij->j", ((3, 3, 2),)),
    ("ijij->ji", ((3, 2, 3, 2),)),
    ("i->ii", ((3,),)),
    ("ij->iijj", ((2, 3),)),
    ("...ij->...ji", ((4, 2, 3),)),
    ("...ij->...ji", ((2, 3),)),
    ("i...->...i", ((2, 3, 4),)),
    ("...->...", ((2, 3),)),
    ("...i->...", ((2, 3),)),
    ("...ii->...i", ((2, 3, 3),)),
    ("...i->...ii", ((2, 3),)),
    ("ij->j", ((0, 3),)),
    ("ij->i", ((0, 3),)),
    ("ij->ji", ((0, 3),)),
    ("ij,jk->ik", ((2, 3), (3, 4))),
    ("ij,jk->ki", ((2, 3), (3, 4))),
    ("ji,kj->ik", ((3, 2), (4, 3))),
    ("ij,jk->ik", ((2, 0), (0, 4))),
    ("ij,jk->ik", ((0, 3), (3, 4))),
    ("ij,jk->", ((2, 3), (3, 4))),
    ("ij,ij->ij", ((2, 3), (2, 3))),
    ("ij,ij->", ((2, 3), (2, 3))),
    ("ij,ij->i", ((2, 3), (2, 3))),
    ("i,j->ij", ((2,), (3,))),
    ("i,i->", ((3,), (3,))),
    ("i,->i", ((3,), ())),
    (",->", ((), ())),
    (",i->i", ((), (3,))),
    ("ij,kl->ikjl", ((2, 3), (1, 4))),
    ("ij,k->j", ((2, 3), (4,))),
    ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
    ("bij,bjk->bik", ((0, 3, 4), (0, 4, 5))),
    ("bij,bjk->bik", ((2, 3, 0), (2, 0, 5))),
    ("bij,jk->bik", ((2, 3, 4), (4, 5))),
    ("bhqd,bhkd->bhqk", ((2, 2, 3, 4), (2, 2, 5, 4))),
    ("bhqk,bhkd->bqhd", ((2, 2, 3, 5), (2, 2, 5, 4))),
    ("aecd,abcd->acbe", ((2, 3, 2, 4), (2, 5, 2, 4))),
    ("acbe,aecd->abcd", ((2, 2, 5, 3), (2, 3, 2, 4))),
    ("abc,cde->abde", ((2, 3, 4), (4, 2, 3))),
    ("abcd,cde->abe", ((2, 3, 4, 2), (4, 2, 3))),
    ("BNH,NHd->Bd", ((2, 3, 4), (3, 4, 5))),
    ("...ij,...jk->...ik", ((5, 1, 2, 3), (4, 3, 4))),
    ("...ij,...jk->...ik", ((2, 3), (4, 3, 4))),
    ("...ij,...jk->...ik", ((4, 2, 3), (3, 4))),
    ("...ij,...jk->...ik", ((2, 3), (3, 4))),
    ("...ij,jk->...ik", ((5, 2, 3), (3, 4))),
    ("...ij,...jk->ik", ((2, 3), (3, 4))),
    ("i...,i...->...", ((2, 3, 1), (2, 4))),
    ("...i,...i->...", ((3, 2), (1, 2))),
    ("...i,...->...i", ((3, 2), (3,))),
    ("ii,ij->j", ((3, 3), (3, 2))),
    ("iij,jkk->ik", ((3, 3, 2), (2, 4, 4))),
    ("ii,ij->ijj", ((3, 3), (3, 2))),
    ("ij,ij->iji", ((2, 3), (2, 3))),
    ("...ij,...jk->...iik", ((2, 2, 3), (2, 3, 2))),
    ("...ij,...jk->...ik", ((0, 2, 3), (0, 3, 4))),
    ("...ij,...jk->...ik", ((2, 2, 0), (2, 0, 4))),
    ("ab,cd->abcd", ((2, 3), (4, 5))),
    ("ab,abc->", ((2, 3), (2, 3, 4))),
    ("ab,abc->c", ((2, 3), (2, 3, 4))),
    ("abc,abc->cab", ((2, 3, 4), (2, 3, 4))),
)


def _einsum() -> Iterator[Case]:
    for equation, shapes in EQUATIONS:
        for dtype in (SINGLE, DOUBLE, HALF, BRAIN, np.dtype(np.int32), np.dtype(np.int64)):
            yield Case(
                "Einsum",
                {"inputs": [plain(dtype, s, i) for i, s in enumerate(shapes)]},
                {"equation": equation},
                tolerance=close(dtype, 4),
            )
    limits = np.array([[np.iinfo(np.int64).max, np.iinfo(np.int64).min, 77]])
    yield Case("Einsum", {"inputs": [limits, limits]}, {"equation": "ij,ij->i"})
    narrow = np.array([[2**31 - 1, -(2**31), 77]], np.int32)
    yield Case("Einsum", {"inputs": [narrow, narrow]}, {"equation": "ij,kj->ik"})


def _bands() -> Iterator[Case]:
    for dtype in (*NUMBERS, BOOL):
        for shape in ((3, 4), (2, 4, 3), (0, 3, 3), (2, 0, 3), (1, 2, 1, 3)):
            for lower, upper in ((0, 0), (1, 0), (-1, 0), (0, -1), (-1, -1), (1, 2), (-5, 1)):
                small = lower > shape[-2] or upper > shape[-1]
                if small or (dtype not in (SINGLE, DOUBLE) and shape != (2, 4, 3)):
                    continue
                index = np.int32 if upper else np.int64
                yield Case(
                    "MatrixBandPart",
                    {
                        "input": plain(dtype, shape),
                        "num_lower": np.array(lower, index),
                        "num_upper": np.array(upper, index),
                    },
                    constants=frozenset({"num_lower", "num_upper"} if lower else ()),
                )
    odd = np.resize(edges(SINGLE), (6, 6))
    yield Case(
        "MatrixBandPart",
        {"input": odd, "num_lower": np.array(1), "num_upper": np.array(0)},
    )


BANDS = ((0,), (1,), (-1,), (0, 0), (-1, 1), (0, 1), (-2, 0), (1, 2), (-2, -1), (-2, 3))
ALIGNMENTS = ("LEFT_RIGHT", "RIGHT_LEFT", "LEFT_LEFT", "RIGHT_RIGHT")


def _diagonals() -> Iterator[Case]:
    for dtype in (*NUMBERS, BOOL):
        several = dtype in (SINGLE, DOUBLE)
        batches = ((), (2,), (0,), (2, 3)) if several else ((2,),)
        for batch in batches:
            for n in (3, 1, 0):
                yield Case("MatrixDiag", {"diagonal": plain(dtype, (*batch, n))})
            for m, n in ((3, 3), (2, 4), (4, 2), (0, 0), (1, 1)):
                x = plain(dtype, (*batch, m, n))
                diagonal = plain(dtype, (*batch, min(m, n)), 1)
                yield Case("MatrixDiagPart", {"input": x})
                yield Case("MatrixSetDiag", {"input": x, "diagonal": diagonal})
        yield from _banded(dtype)
    for dtype in (SINGLE, DOUBLE, HALF, np.dtype(np.int32), np.dtype(np.int64)):
        for shape in ((3,), (2, 2), (1, 2, 2), (0,)):
            yield Case("Diag", {"diagonal": plain(dtype, shape)})
            yield Case("DiagPart", {"input": plain(dtype, (*shape, *shape))})


def _banded(dtype: np.dtype) -> Iterator[Case]:
    """Of bands with each alignment, with ``k`` fed and constant."""
    odd = np.asarray(plain(dtype, (), 7))
    sizes = ((4, 4), (3, 5), (5, 3)) if dtype == SINGLE else ((3, 5),)
    for number, k in enumerate(BANDS if dtype == SINGLE else BANDS[2:6]):
        kind = np.array(k[0] if len(k) == 1 and number else k, np.int32)
        constants = frozenset({"k"} if number % 2 else ())
        rows = () if k[0] == k[-1] else (k[-1] - k[0] + 1,)
        for turn, (m, n) in enumerate(sizes):
            batch = ((), (2,), (0,))[(number + turn) % 3]
            if k[-1] >= n:
                continue
            longest = min(m + min(k[-1], 0), n - max(k[0], 0))
            x = plain(dtype, (*batch, m, n))
            diagonal = plain(dtype, (*batch, *rows, longest), 1)
            wanted = ((m, n), (-1, n), (m, -1), (-1, -1))[(number + turn) % 4]
            alignments = ALIGNMENTS if dtype == SINGLE else ALIGNMENTS[number % 4 :][:1]
            for version, align in (("V2", None), *(("V3", a) for a in alignments)):
                more = {} if align is None else {"align": align}
                yield Case(
                    f"MatrixDiagPart{version}",
                    {"input": x, "k": kind, "padding_value": odd},
                    more,
                    constants=constants,
                )
                yield Case(
                    f"MatrixSetDiag{version}",
                    {"input": x, "diagonal": diagonal, "k": kind},
                    more,
                    constants=constants,
                )
                yield Case(
                    f"MatrixDiag{version}",
                    {
                        "diagonal": diagonal,
                        "k": kind,
                        "num_rows": np.array(wanted[0], np.int32),
                        "num_cols": np.array(wanted[1], np.int32),
                        "padding_value": odd,
                    },
                    more,
                    constants=constants,
                )


def _well(dtype: np.dtype, batch: tuple[int, ...], n: int, seed: int = 0) -> np.ndarray:
    """Matrices that are far from having no inverse; some need their rows exchanged."""
    unit = 3 * np.eye(n)[::-1] if seed % 2 else 3 * np.eye(n)
    return (plain(DOUBLE, (*batch, n, n), seed) + unit).astype(dtype)


def _systems() -> Iterator[Case]:
    yield Case("MatrixInverse", {"input": _well(HALF, (2,), 3)}, tolerance=Tolerance(0, 2e-2, 1e-2))
    for dtype in (SINGLE, DOUBLE):
        far = Tolerance(rtol=1e-4, atol=2e-5) if dtype == SINGLE else Tolerance(0, 1e-10, 1e-11)
        sizes = (((), 3), ((2,), 4), ((2, 3), 2), ((), 1), ((0,), 3), ((), 6))
        for seed, (batch, n) in enumerate(sizes):
            x, y = _well(dtype, batch, n, seed), plain(dtype, (*batch, n, 2), 9)
            for adjoint in (False, True):
                more = {"adjoint": adjoint}
                yield Case("MatrixInverse", {"input": x}, more, tolerance=far)
                yield Case("MatrixSolve", {"matrix": x, "rhs": y}, more, tolerance=far)
                for lower in (False, True):
                    yield Case(
                        "MatrixTriangularSolve",
                        {"matrix": _well(dtype, batch, n), "rhs": y},
                        {"adjoint": adjoint, "lower": lower},
                        tolerance=far,
                    )
            yield Case("MatrixDeterminant", {"input": x}, tolerance=far)
            yield Case("LogMatrixDeterminant", {"input": x}, tolerance=far)
            square = (x @ np.swapaxes(x, -1, -2) + np.eye(n)).astype(dtype)
            upper = np.triu(np.full((n, n), 7.0), 1).astype(dtype)
            yield Case("Cholesky", {"input": square}, tolerance=far)
            yield Case("Cholesky", {"input": np.tril(square) + upper}, tolerance=far)
            for index in (np.int32, np.int64):
                yield Case("Lu", {"input": x}, {"output_idx_type": index}, tolerance=far)
            diagonals = plain(dtype, (*batch, 3, n), 5)
            diagonals[..., 1, :] += 5
            yield Case(
                "TridiagonalSolve",
                {"diagonals": diagonals, "rhs": y},
                {"partial_pivoting": True},
                tolerance=far,
            )
            for m in (n, n + 2, max(n - 1, 1)):
                for full in (False, True):
                    yield Case(
                        "Qr",
                        {"input": plain(dtype, (*batch, m, n), seed)},
                        {"full_matrices": full},
                        tolerance=far,
                    )
        singular = np.array([[1, 2], [2, 4]], dtype)
        for x in (singular, np.zeros((2, 3, 3), dtype), np.zeros((0, 0), dtype)):
            yield Case("MatrixDeterminant", {"input": x}, tolerance=far)
            yield Case("LogMatrixDeterminant", {"input": x}, tolerance=far)
        yield Case(
            "MatrixTriangularSolve",
            {"matrix": _well(dtype, (), 3), "rhs": plain(dtype, (2, 3, 1))},
            tolerance=far,
        )
        yield Case(
            "MatrixTriangularSolve",
            {"matrix": _well(dtype, (2, 1), 3), "rhs": plain(dtype, (4, 3, 2))},
            tolerance=far,
        )
