"""The comparison finds every planted fault, and nothing where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smconvert.model import Array
from smconvert.parity.comparison import Verdict, argmax_agreement, compare, cosine, ulps

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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_units_in_the_last_place(dtype: type) -> None:
    one = np.array([1.0, 0.0, -0.0, np.nan, np.inf, 1.0], dtype)
    other = np.array([np.nextafter(dtype(1), dtype(2)), -0.0, 0.0, np.nan, np.inf, np.nan], dtype)
    assert ulps(one, other).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, np.inf]
    smallest = np.nextafter(dtype(0), dtype(1))
    assert ulps(np.array([smallest]), np.array([-smallest])).tolist() == [2.0]
    lowest, highest = np.array([np.finfo(dtype).min]), np.array([np.finfo(dtype).max])
    assert ulps(lowest, highest) > 2 ** (np.finfo(dtype).bits - 2)


def test_a_mark_does_not_hide_an_error() -> None:
    masked = np.array([[0.1, -1e9, 0.5, -1e9]], np.float32)
    assert (
        compare("y", [masked], [masked + np.float32([[1e-3, 0, 0, 0]])]).verdict is Verdict.FAILED
    )
    assert (
        compare("y", [masked], [masked + np.float32([[1e-7, 0, 0, 0]])]).verdict is Verdict.PASSED
    )


def test_what_is_left_of_zero() -> None:
    zeros = np.zeros(4, np.float32)
    assert compare("y", [zeros], [zeros + np.float32(1e-12)]).verdict is Verdict.PASSED
    assert compare("y", [zeros], [zeros + np.float32(1e-3)]).verdict is Verdict.FAILED


def test_direction_and_choice() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], np.float32)
    assert cosine([scores], [scores * 2]) == pytest.approx(1.0)
    assert cosine([scores], [-scores]) == pytest.approx(-1.0)
    assert argmax_agreement([scores], [scores * 2]) == 1.0
    assert argmax_agreement([scores], [scores[:, ::-1]]) == 0.5
    assert argmax_agreement([scores[0]], [scores[0]]) is None
