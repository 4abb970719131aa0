"""Lists as older versions of TensorFlow kept them, and lists that many ops share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))

from test_control_flow import COUNT, MATRIX, NONE, ROWS, check

from smconvert.errors import ConversionError

v1 = tf.compat.v1
raw = tf.raw_ops

FIRST, SECOND = ("", 10), ("V2", 20)
"""A version of the ops, and of a graph that may have them."""

versions = pytest.mark.parametrize("version", [FIRST, SECOND], ids=["first", "second"])


class Array:
    """A TensorArray as version 0.12 of TensorFlow writes it (tensor_array_ops.py)."""

    def __init__(self, suffix: str, size: Any, **attributes: Any) -> None:
        self._suffix = suffix
        self.dtype = attributes.setdefault("dtype", tf.float32)
        attributes.setdefault("clear_after_read", False)
        self.handle = self._op("TensorArray")(size=size, **attributes)
        with tf.control_dependencies([self.handle]):
            self.flow = tf.constant(0.0)

    def _op(self, name: str) -> Callable[..., Any]:
        made: Callable[..., Any] = getattr(raw, name + self._suffix)
        return made

    def write(self, index: Any, value: Any, flow: Any) -> Any:
        op = self._op("TensorArrayWrite")
        return op(handle=self.handle, index=index, value=value, flow_in=flow)

    def change(self, name: str, flow: Any, **inputs: Any) -> Any:
        return self._op(f"TensorArray{name}")(handle=self.handle, flow_in=flow, **inputs)

    def read(self, name: str, flow: Any, **inputs: Any) -> Any:
        op = self._op(f"TensorArray{name}")
        return op(handle=self.handle, flow_in=flow, dtype=self.dtype, **inputs)


@versions
def test_written_and_read(version: tuple[str, int]) -> None:
    suffix, producer = version

    def f(x: tf.Tensor, i: tf.Tensor) -> Any:
        array = Array(suffix, 3)
        flow = array.write(0, x[0], array.flow)
        flow = array.write(2, x[1] * 2.0, flow)
        flow = array.write(1, x[2], flow)
        return (
            array.read("Read", flow, index=i),
            array.read("Gather", flow, indices=[2, 0]),
            array.change("Size", flow),
            array.read("Concat", flow)[0],
        )

    check(f, [MATRIX, COUNT], (ROWS, 1), (ROWS, 2), old=True, producer=producer)


@versions
def test_scattered_and_split(version: tuple[str, int]) -> None:
    suffix, producer = version

    def f(x: tf.Tensor) -> Any:
        scattered = Array(suffix, 4)
        flow = scattered.change("Scatter", scattered.flow, indices=[2, 0, 3, 1], value=x)
        parts = Array(suffix, 2)
        lengths = tf.cast([1, tf.shape(x)[0] - 1], tf.int64)
        divided = parts.change("Split", parts.flow, value=x, lengths=lengths)
        return (
            scattered.read("Gather", flow, indices=[0, 1, 2, 3]),
            parts.read("Read", divided, index=1),
            *parts.read("Concat", divided),
        )

    check(f, [MATRIX], (ROWS,), old=True, producer=producer)


def test_packed_and_unpacked() -> None:
    def f(x: tf.Tensor, i: tf.Tensor) -> Any:
        array = Array("", tf.shape(x)[0], element_shape=[3])
        flow = array.change("Unpack", array.flow, value=x)
        fixed = Array("", 4, element_shape=[3])
        written = fixed.change("Unpack", fixed.flow, value=x)
        return (
            array.read("Pack", flow),
            array.read("Read", flow, index=i),
            fixed.read("Pack", written),
            fixed.change("Size", written),
        )

    check(f, [MATRIX, COUNT], (ROWS, 1), (ROWS, 3), old=True, producer=10)


@versions
@pytest.mark.parametrize("dtype", [tf.float64, tf.int32, tf.bool, tf.string])
def test_types(version: tuple[str, int], dtype: tf.DType) -> None:
    suffix, producer = version

    def f(x: tf.Tensor) -> Any:
        array = Array(suffix, 2, dtype=dtype)
        flow = array.write(1, x, array.flow)
        flow = array.write(0, x[::-1], flow)
        return array.read("Gather", flow, indices=[0, 1])

    values = np.array([b"a", b"b"], object) if dtype is tf.string else [1, 0]
    check(f, [tf.TensorSpec([None], dtype)], (values,), old=True, producer=producer)


@versions
def test_in_a_loop(version: tuple[str, int]) -> None:
    """As ``map_fn`` and ``dynamic_rnn`` use them: unpacked, read and written one by one."""
    suffix, producer = version

    def f(x: tf.Tensor) -> Any:
        count = tf.shape(x)[0]
        given, made = Array(suffix, count), Array(suffix, count, element_shape=[3])
        if suffix:
            places = tf.range(count)
            filled = given.change("Scatter", given.flow, indices=places, value=x)
        else:
            filled = given.change("Unpack", given.flow, value=x)

        def body(i: Any, flow: Any) -> Any:
            item = given.read("Read", filled, index=i)
            written = made.write(i, item * 2.0, flow)
            written.set_shape([])
            return i + 1, written

        flow = v1.while_loop(lambda i, _: i < count, body, (0, made.flow))[1]
        if suffix:
            places = tf.range(made.change("Size", flow))
            return made.read("Gather", flow, indices=places, element_shape=[3])
        return made.read("Pack", flow, element_shape=[3])

    check(f, [MATRIX], (ROWS,), (NONE,), old=True, producer=producer)


@versions
def test_in_a_branch(version: tuple[str, int]) -> None:
    suffix, producer = version

    def f(x: tf.Tensor, i: tf.Tensor) -> Any:
        array = Array(suffix, 2, element_shape=[3])
        flow = v1.cond(
            i > 0,
            lambda: array.write(0, x[0], array.flow),
            lambda: array.write(0, x[1], array.flow),
        )
        return array.read("Read", flow, index=0)

    check(f, [MATRIX, COUNT], (ROWS, 0), (ROWS, 1), old=True, producer=producer)


@versions
def test_the_gradient_of_an_array(version: tuple[str, int]) -> None:
    suffix, producer = version

    def f(x: tf.Tensor) -> Any:
        array = Array(suffix, 1)
        flow = array.write(0, x, array.flow)
        gradient = array.change("Grad", flow, source="g")
        op = getattr(raw, f"TensorArrayRead{suffix}")
        return op(handle=gradient, index=0, flow_in=flow, dtype=tf.float32)

    with pytest.raises(ConversionError, match="TensorArrayGrad"):
        check(f, [MATRIX], (ROWS,), old=True, producer=producer)


def test_one_flow_for_two_arrays() -> None:
    def f(x: tf.Tensor) -> Any:
        one, other = Array("V2", 1), Array("V2", 1)
        passed = tf.identity(one.flow)
        return [a.read("Read", a.write(0, x, passed), index=0) for a in (one, other)]

    with pytest.raises(ConversionError, match="one flow orders"):
        check(f, [MATRIX], (ROWS,), old=True, producer=20)


# Tensors of lists, and the shape of a list's elements


def empty(dtype: tf.DType = tf.float32) -> Any:
    return raw.EmptyTensorList(element_shape=[-1], max_num_elements=-1, element_dtype=dtype)


def test_a_batch_of_lists() -> None:
    def f(x: tf.Tensor) -> Any:
        lists = tf.stack([empty() for _ in range(4)])
        lists = raw.TensorListPushBackBatch(input_handles=lists, tensor=x)
        lists = raw.TensorListPushBackBatch(input_handles=lists, tensor=x + 10.0)
        given = [*tf.unstack(lists), lists[1], lists[-1]]
        return [
            raw.TensorListStack(input_handle=i, element_shape=[-1], element_dtype=tf.float32)
            for i in given
        ]

    check(f, [MATRIX], (ROWS,), old=True)
    check(f, [MATRIX], (ROWS,))


def test_a_batch_that_goes_round() -> None:
    def f(x: tf.Tensor) -> Any:
        def body(i: Any, lists: Any) -> Any:
            return i + 1, raw.TensorListPushBackBatch(input_handles=lists, tensor=x)

        start = tf.stack([empty() for _ in range(4)])
        lists = tf.while_loop(lambda i, _: i < 3, body, (0, start))[1]
        return raw.TensorListStack(
            input_handle=lists[0], element_shape=[3], element_dtype=tf.float32
        )

    with pytest.raises(ConversionError, match="packed and unpacked"):
        check(f, [MATRIX], (ROWS,))


@pytest.mark.parametrize("shape_type", [tf.int32, tf.int64])
def test_the_shape_of_elements(shape_type: tf.DType) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        given = raw.TensorListFromTensor(tensor=x, element_shape=[n])
        reserved = raw.TensorListReserve(element_shape=-1, num_elements=4, element_dtype=tf.float32)
        pushed = raw.TensorListPushBack(input_handle=empty(), tensor=x[0])
        popped = raw.TensorListPopBack(
            input_handle=pushed, element_shape=-1, element_dtype=tf.float32
        )[0]
        lengths = tf.constant([1, 3], tf.int64)
        lists = [
            given,
            raw.TensorListSetItem(input_handle=given, index=0, item=x[1]),
            raw.TensorListResize(input_handle=given, size=7),
            reserved,
            raw.TensorListSetItem(input_handle=reserved, index=0, item=x[1]),
            raw.TensorListScatterIntoExistingList(
                input_handle=reserved, tensor=x, indices=[3, 2, 1, 0]
            ),
            pushed,
            popped,
            raw.TensorListSplit(tensor=x, element_shape=[-1, 3], lengths=lengths),
            raw.TensorListScatterV2(
                tensor=x, indices=[3, 2, 1, 0], element_shape=[-1], num_elements=-1
            ),
        ]
        return [
            raw.TensorListElementShape(input_handle=one, shape_type=shape_type) for one in lists
        ]

    check(f, [MATRIX, COUNT], (ROWS, 3), old=True)
    check(f, [MATRIX, COUNT], (ROWS, 3))


def test_the_shape_of_elements_of_lists_together() -> None:
    def f(x: tf.Tensor) -> Any:
        one = raw.TensorListPushBack(input_handle=empty(), tensor=x[0])
        both = raw.TensorListConcatLists(input_a=one, input_b=one, element_dtype=tf.float32)
        return raw.TensorListElementShape(input_handle=both, shape_type=tf.int32)

    with pytest.raises(ConversionError, match="elsewhere"):
        check(f, [MATRIX], (ROWS,))
