"""Numbers that ONNX Runtime draws by itself: their shape, type, range and distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from proof import Case, Shapes, build, ours, run

FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
SHAPE = np.array([3, 4000], np.int32)


def drawn(op: str, attributes: Mapping[str, Any], shapes: Shapes, **inputs: np.ndarray) -> Any:
    built = build([Case(op, inputs, attributes)], shapes)
    (found,) = run(ours(built, 18), built.feeds, [o.name for o in built.outputs]).values()
    return found


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shapes", Shapes)
def test_uniform(dtype: type, shapes: Shapes) -> None:
    found = drawn("RandomUniform", {"dtype": dtype}, shapes, shape=SHAPE)
    assert found.shape == tuple(SHAPE)
    assert found.dtype == dtype
    wide = found.astype(np.float64)
    assert wide.min() >= 0
    assert wide.max() < 1
    assert abs(wide.mean() - 0.5) < 0.02


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["RandomStandardNormal", "TruncatedNormal"])
def test_normal(dtype: type, op: str) -> None:
    found = drawn(op, {"dtype": dtype}, Shapes.RANK, shape=SHAPE)
    assert found.shape == tuple(SHAPE)
    assert found.dtype == dtype
    wide = found.astype(np.float64)
    assert abs(wide.mean()) < 0.05
    if op == "TruncatedNormal":
        assert np.abs(wide).max() <= 2
        assert abs(wide.std() - 0.88) < 0.05
    else:
        assert abs(wide.std() - 1) < 0.05


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(dtype: type) -> None:
    ends = {"minval": np.array(-3, dtype), "maxval": np.array(4, dtype)}
    found = drawn("RandomUniformInt", {}, Shapes.RANK, shape=SHAPE, **ends)
    assert found.shape == tuple(SHAPE)
    assert found.dtype == dtype
    assert np.unique(found).tolist() == [-3, -2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("output", [np.int32, np.int64])
def test_multinomial(dtype: type, output: type) -> None:
    logits = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0, 0.5]]) + 1e-30).astype(dtype)
    found = drawn(
        "Multinomial",
        {"output_dtype": output},
        Shapes.RANK,
        logits=logits,
        num_samples=np.array(4000, np.int32),
    )
    assert found.shape == (2, 4000)
    assert found.dtype == output
    shares = np.stack([np.bincount(row, minlength=3) / 4000 for row in found])
    assert np.abs(shares - [[0.1, 0.2, 0.7], [0.5, 0, 0.5]]).max() < 0.05


@pytest.mark.parametrize("shape", [(50,), (50, 2), ()])
def test_shuffle(shape: tuple[int, ...]) -> None:
    values = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    shapes = Shapes.RANK if shape else Shapes.STATIC
    found = drawn("RandomShuffle", {}, shapes, value=values)
    assert sorted(found.tolist()) == values.tolist() if shape else found == values


def test_two_draws_differ() -> None:
    case = Case("RandomUniform", {"shape": SHAPE}, {"dtype": np.float32}, frozenset({"shape"}))
    built = build([case, case], Shapes.STATIC)
    first, second = run(ours(built, 18), built.feeds, [o.name for o in built.outputs]).values()
    assert (first != second).any()
