"""The comparison finds every planted fault, and nothing where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smconvert.model import Array
from smconvert.parity.comparison import Verdict, compare

FLOATS = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(width=32, allow_nan=True)
)
INTS = hnp.arrays(np.int64, hnp.array_shapes(max_dims=3))


@given(st.one_of(FLOATS, INTS))
def test_equal_values_pass(value: Array) -> None:
    assert compare("y", [value], [value.copy()]).verdict is Verdict.PASSED


@given(INTS, st.data())
def test_one_integer_off_by_one_fails(value: Array, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, value.size - 1))
    wrong = value.copy()
    wrong.flat[index] ^= 1
    found = compare("y", [value], [wrong])
    assert found.verdict is Verdict.FAILED
    assert found.worst == (0, *np.unravel_index(index, value.shape))
    assert found.share_out == 1 / value.size


@given(
    hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-100, 100, width=32)),
    st.data(),
)
def test_one_float_off_by_a_thousandth_of_the_largest_fails(
    value: Array, data: st.DataObject
) -> None:
    value[0] = 100
    index = data.draw(st.integers(0, value.size - 1))
    wrong = value.copy()
    wrong[index] += 0.1
    found = compare("y", [value], [wrong])
    assert found.verdict is Verdict.FAILED
    assert found.worst == (0, index)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (np.float32([np.nan]), np.float32([0])),
        (np.float32([np.inf]), np.float32([-np.inf])),
        (np.float32([1]), np.float32([np.nan])),
        (np.float32([1e30]), np.float32([np.inf])),
        (np.array([b"a"], object), np.array([b"b"], object)),
        (np.array([True]), np.array([False])),
        (np.zeros((2, 1), np.float32), np.zeros((1, 2), np.float32)),
        (np.zeros(1, np.float32), np.zeros(1, np.float64)),
    ],
)
def test_faults(expected: Array, actual: Array) -> None:
    found = compare("y", [expected], [actual])
    assert found.verdict is Verdict.FAILED
    assert found.reason


def test_rounding_passes() -> None:
    value = np.random.default_rng(0).standard_normal((50, 10)).astype(np.float32)
    assert compare("y", [value], [value * np.float32(1 + 1e-6)]).verdict is Verdict.PASSED


def test_the_users_tolerance_decides() -> None:
    first, second = np.float32([1.0]), np.float32([1.01])
    assert compare("y", [first], [second]).verdict is Verdict.FAILED
    assert compare("y", [first], [second], rtol=0.02).verdict is Verdict.PASSED


def test_empty_outputs_pass() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert compare("y", [empty], [empty]).verdict is Verdict.PASSED
