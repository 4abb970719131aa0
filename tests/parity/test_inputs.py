"""Inputs from a file are used as they are, or refused; generated ones come in several calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from smconvert.errors import UsageError
from smconvert.model import DType, SignatureInfo, TensorInfo
from smconvert.parity.data import calls_from
from smconvert.parity.inputs import ATTEMPTS, generated


def signature(dtype: DType, shape: tuple[int | None, ...] = (None,)) -> SignatureInfo:
    return SignatureInfo("s", (TensorInfo("x", dtype, shape),), ())


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (DType.INT32, np.float64([0.7])),
        (DType.INT32, np.int64([2**40])),
        (DType.INT32, np.float32([np.nan])),
        (DType.UINT8, np.int64([-1])),
        (DType.BOOL, np.int64([2])),
        (DType.INT64, np.uint64([2**64 - 1])),
    ],
)
def test_values_that_do_not_fit_are_refused(dtype: DType, value: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=value)
    with pytest.raises(UsageError, match="cannot hold its values"):
        calls_from(tmp_path / "x.npz", signature(dtype))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (DType.INT32, np.float64([2.0])),
        (DType.UINT8, np.int64([255])),
        (DType.FLOAT32, np.float64([0.1])),
        (DType.FLOAT32, np.int64([3])),
        (DType.FLOAT16, np.float32([0.5])),
        (DType.BFLOAT16, np.float32([1.5])),
        (DType.BFLOAT16, np.array([1.5], ml_dtypes.bfloat16)),
        (DType.BOOL, np.array([True])),
        (DType.FLOAT32, np.array([1.5], ">f4")),
    ],
)
def test_values_that_fit(dtype: DType, value: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=value)
    (call,) = calls_from(tmp_path / "x.npz", signature(dtype))
    assert call["x"].dtype == dtype.numpy
    assert call["x"].astype(np.float64) == pytest.approx(value.astype(np.float64))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.float32([1]))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UsageError, match=r"not an \.npz file that can be read"):
        calls_from(path, signature(DType.FLOAT32))


@pytest.mark.parametrize("shape", [(2,), (), (None,)])
def test_there_are_always_two_calls(shape: tuple[int | None, ...]) -> None:
    first, second = generated(signature(DType.FLOAT32, shape), {}, 0, ATTEMPTS[0])
    assert first["x"].tolist() != second["x"].tolist()


def test_a_signature_without_inputs_is_called_twice() -> None:
    assert generated(SignatureInfo("s", (), ()), {}, 0, ATTEMPTS[0]) == [{}, {}]
