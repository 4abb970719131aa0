"""Loops that TensorFlow's Python API does not make, but has ops for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))

from test_control_flow import COUNT, MATRIX, ROWS, TRUTH, F, check, ops_of

from smconvert.errors import ConversionError

raw = tf.raw_ops
DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"
SCALAR = tf.TensorSpec([], tf.float32)


def defined(body: Callable[..., Any], *specs: tf.TensorSpec) -> Any:
    """A function in the library of the graph that is being made."""
    function = tf.function(body, autograph=False).get_concrete_function(*specs)
    function.add_to_graph(tf.compat.v1.get_default_graph())
    return function


@pytest.mark.parametrize("bounds", [(0, 4, 1), (1, 6, 2), (5, -1, -2), (3, 3, 1), (3, 3, -1)])
@pytest.mark.parametrize("known", [True, False])
def test_for(bounds: tuple[int, int, int], known: bool) -> None:
    def f(x: tf.Tensor, *given: Any) -> Any:
        start, limit, delta = bounds if known else given
        body = defined(lambda i, a, b: (b, a + tf.cast(i, tf.float32) * b[0]), COUNT, F, F)
        return raw.For(start=start, limit=limit, delta=delta, input=[x, x + 1.0], body=body)

    check(f, [F, COUNT, COUNT, COUNT], ([1, 2], *bounds), ([3], *bounds))


def test_for_in_for() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        inner = defined(lambda i, a: a * 2.0 + tf.cast(i, tf.float32), COUNT, F)

        def outer(i: Any, a: Any) -> Any:
            inner.add_to_graph(tf.compat.v1.get_default_graph())
            return raw.For(start=0, limit=i, delta=1, input=[a], body=inner)

        return raw.For(start=0, limit=n, delta=1, input=[x], body=defined(outer, COUNT, F))

    check(f, [F, COUNT], ([1, 2], 3), ([1, 2], 0))


def test_map_defun() -> None:
    def f(x: tf.Tensor, y: tf.Tensor, factor: tf.Tensor) -> Any:
        row = tf.TensorSpec([3], tf.float32)
        body = defined(lambda a, b, c: (a * c + b, tf.reduce_sum(a) > b), row, SCALAR, SCALAR)
        return raw.MapDefun(
            arguments=[x, y],
            captured_inputs=[factor],
            output_types=[tf.float32, tf.bool],
            output_shapes=[[3], []],
            f=body,
        )

    model = check(
        f,
        [MATRIX, F, SCALAR],
        (ROWS, [1, 2, 30, 4], 2.0),
        (ROWS[:0], [], 1.0),
    )
    assert not any(op.startswith("Sequence") for op in ops_of(model))


def test_map_defun_of_unknown_shape() -> None:
    def f(x: tf.Tensor) -> Any:
        body = defined(lambda a: tf.concat([a, a], 0), F)
        return raw.MapDefun(
            arguments=[x],
            captured_inputs=[],
            output_types=[tf.float32],
            output_shapes=[[None]],
            f=body,
        )

    check(f, [MATRIX], (ROWS,))


def gradient(x: tf.Tensor, y: tf.Tensor) -> Any:
    body = defined(lambda a, b: a * tf.sin(b) + tf.exp(a), F, F)
    return raw.SymbolicGradient(input=[x, y, x], Tout=[tf.float32, tf.float32], f=body)


def test_symbolic_gradient() -> None:
    check(gradient, [F, F], ([1, 2], [3, 4]), ([1, 2], [3]), ([], []))


def test_symbolic_gradient_in_a_loop() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        def body(i: Any, a: Any) -> Any:
            return i + 1, tf.ensure_shape(gradient(a, a)[0], [None])

        return tf.while_loop(lambda i, _: i < n, body, (0, x))[1]

    check(f, [F, COUNT], ([1, 2], 3), ([1, 2], 0))


def test_symbolic_gradient_that_is_left() -> None:
    with pytest.raises(ConversionError, match="write it out"):
        check(gradient, [F, F], ([1, 2], [3, 4]), old=True, inlined=False)


def test_remote_call() -> None:
    def f(x: tf.Tensor, flag: tf.Tensor) -> Any:
        inner = defined(lambda a: a + 1.0, F)

        def outer(a: Any, b: Any) -> Any:
            inner.add_to_graph(tf.compat.v1.get_default_graph())
            (made,) = raw.RemoteCall(target=DEVICE, args=[a], Tout=[tf.float32], f=inner)
            return made * 2.0, tf.logical_not(b)

        body = defined(outer, F, TRUTH)
        return raw.RemoteCall(target=DEVICE, args=[x, flag], Tout=[tf.float32, tf.bool], f=body)

    check(f, [F, TRUTH], ([1, 2], True))
