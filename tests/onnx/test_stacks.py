"""Stacks, which the gradient of a TensorFlow 1 loop takes its values from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))

from test_control_flow import COUNT, MATRIX, ROWS, check

from smconvert.errors import ConversionError

v1 = tf.compat.v1
raw = tf.raw_ops
NEW = {"max_size": -1}


@pytest.mark.parametrize("suffix", ["", "V2"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.int64, tf.bool, tf.string])
def test_pushed_and_popped(suffix: str, dtype: tf.DType) -> None:
    def op(name: str) -> Callable[..., Any]:
        made: Callable[..., Any] = getattr(raw, f"Stack{name}{suffix}")
        return made

    def f(x: tf.Tensor) -> Any:
        handle = op("")(elem_type=dtype, **(NEW if suffix else {}))
        values = []
        order: list[Any] = []
        for push in (x, x[:1], None, x[::-1], None, None):
            with tf.control_dependencies(order):
                if push is None:
                    values.append(op("Pop")(handle=handle, elem_type=dtype))
                else:
                    values.append(op("Push")(handle=handle, elem=push))
            order = [values[-1]]
        with tf.control_dependencies(order):
            op("Close")(handle=handle)
        return values

    values = [b"a", b"b"] if dtype is tf.string else [1, 0]
    check(f, [tf.TensorSpec([None], dtype)], (values,), old=True)


def test_the_gradient_of_a_loop() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        y = v1.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, tf.sin(a) * a), (0, x))[1]
        return v1.gradients(y, x)[0], y

    check(f, [MATRIX, COUNT], (ROWS / 10, 3), (ROWS, 1), (ROWS, 0), old=True)


def test_the_gradient_of_a_loop_with_weights() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        weights = tf.reshape(tf.range(9.0), [3, 3]) / 10.0

        def body(i: Any, a: Any, b: Any) -> Any:
            return i + 1, tf.tanh(tf.matmul(a, weights)) + x, b * a

        _, a, b = v1.while_loop(lambda i, *_: i < n, body, (0, x, x))
        return v1.gradients(tf.reduce_sum(a * b), [x, weights])

    check(f, [MATRIX, COUNT], (ROWS / 10, 3), (ROWS, 0), old=True)


def test_the_gradient_of_a_loop_in_a_loop() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        def inner(i: Any, a: Any) -> Any:
            return i + 1, tf.sin(a) * a

        def outer(i: Any, a: Any) -> Any:
            return i + 1, v1.while_loop(lambda j, _: j < 2, inner, (0, a))[1]

        y = v1.while_loop(lambda i, _: i < n, outer, (0, x))[1]
        return v1.gradients(y, x)[0]

    check(f, [MATRIX, COUNT], (ROWS / 10, 2), (ROWS, 0), old=True)


def test_the_gradient_of_a_branch_in_a_loop() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        def body(i: Any, a: Any) -> Any:
            return i + 1, v1.cond(i > 1, lambda: tf.sin(a) * a, lambda: a * 2.0)

        y = v1.while_loop(lambda i, _: i < n, body, (0, x))[1]
        return v1.gradients(y, x)[0]

    with pytest.raises(ConversionError, match="branch"):
        check(f, [MATRIX, COUNT], (ROWS / 10, 2), old=True)


def test_the_gradient_of_an_array() -> None:
    def f(x: tf.Tensor) -> Any:
        return v1.gradients(tf.map_fn(lambda row: tf.sin(row) * 2.0, x), x)[0]

    with pytest.raises(ConversionError, match="TensorArrayGrad"):
        check(f, [MATRIX], (ROWS,), old=True)


def test_a_stack_that_loops_share() -> None:
    """Pushed to in a loop within a loop, and popped from where both have ended."""

    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        handle = raw.StackV2(elem_type=tf.float32, **NEW)

        def inner(i: Any, a: Any) -> Any:
            return i + 1, raw.StackPushV2(handle=handle, elem=a + 1.0)

        def outer(i: Any, a: Any) -> Any:
            return i + 1, v1.while_loop(lambda j, _: j < n, inner, (0, a))[1]

        y = v1.while_loop(lambda i, _: i < 2, outer, (0, x))[1]
        with tf.control_dependencies([y]):
            last = raw.StackPopV2(handle=handle, elem_type=tf.float32)
        with tf.control_dependencies([last]):
            return last, raw.StackPopV2(handle=handle, elem_type=tf.float32)

    check(f, [MATRIX, COUNT], (ROWS, 3), (ROWS, 1), old=True)


def test_no_order() -> None:
    def f(x: tf.Tensor) -> Any:
        handle = raw.StackV2(elem_type=tf.float32, **NEW)
        pushed = [raw.StackPushV2(handle=handle, elem=i) for i in (x, x + 1.0)]
        with tf.control_dependencies(pushed):
            return raw.StackPopV2(handle=handle, elem_type=tf.float32)

    with pytest.raises(ConversionError, match="order open"):
        check(f, [MATRIX], (ROWS,), old=True)


def test_in_a_branch() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        handle = raw.StackV2(elem_type=tf.float32, **NEW)
        pushed = v1.cond(
            n > 0,
            lambda: raw.StackPushV2(handle=handle, elem=x),
            lambda: raw.StackPushV2(handle=handle, elem=-x),
        )
        with tf.control_dependencies([pushed]):
            return raw.StackPopV2(handle=handle, elem_type=tf.float32)

    with pytest.raises(ConversionError, match="branch"):
        check(f, [MATRIX, COUNT], (ROWS, 1), old=True)
