"""Loops, branches and lists as TensorFlow writes them: what ONNX Runtime makes of each is equal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))

from proof import Tolerance, differs, run
from smconvert.graph.freeze import FrozenGraph
from smconvert.graph.tf_internals import inline
from smconvert.model import Array, DType, TensorInfo
from smconvert_onnx import audit
from smconvert_onnx.lowering import lower
from smconvert_onnx.walk import every_node

v1 = tf.compat.v1
NEAR = Tolerance(rtol=1e-5, atol=1e-6)

F = tf.TensorSpec([None], tf.float32)
MATRIX = tf.TensorSpec([None, 3], tf.float32)
CUBE = tf.TensorSpec([None, None, 3], tf.float32)
COUNT = tf.TensorSpec([], tf.int32)
TRUTH = tf.TensorSpec([], tf.bool)


@contextmanager
def old_control_flow() -> Iterator[None]:
    was = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        yield
    finally:
        if was:
            v1.enable_control_flow_v2()


def info(tensor: Any, name: str) -> TensorInfo:
    shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return TensorInfo(name, DType.from_label(tensor.dtype.name), shape, tensor.name)


def frozen_graph(
    function: Callable[..., Any],
    specs: Sequence[tf.TensorSpec],
    *,
    old: bool,
    inlined: bool,
    producer: int = tf.version.GRAPH_DEF_VERSION,
) -> tuple[FrozenGraph, Any]:
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(v1.GraphDef(versions={"producer": producer}), name="")
        names = [f"in_{i}" for i in range(len(specs))]
        given = [v1.placeholder(s.dtype, s.shape, n) for s, n in zip(specs, names, strict=True)]
        if old:
            with old_control_flow():
                made = tf.nest.flatten(function(*given))
        else:
            made = tf.nest.flatten(tf.function(function)(*given))
        outputs = [tf.identity(t, name=f"out_{i}") for i, t in enumerate(made)]
        inputs = tuple(info(t, n) for t, n in zip(given, names, strict=True))
        ends = tuple(info(t, t.op.name) for t in outputs)
        definition = graph.as_graph_def()
    for node in definition.node:
        node.attr.pop("_class", None)
    if definition.library.function and inlined:
        definition = inline(definition, [t.tensor or "" for t in (*inputs, *ends)])
    return FrozenGraph(definition, inputs, ends, (), (), len(definition.node)), graph


def expected(graph: Any, outputs: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, Array]:
    with v1.Session(graph=graph) as session:
        values = session.run([f"{n}:0" for n in outputs], {f"{k}:0": v for k, v in feeds.items()})
    return dict(zip(outputs, values, strict=True))


def check(
    function: Callable[..., Any],
    specs: Sequence[tf.TensorSpec],
    *calls: Sequence[Any],
    old: bool = False,
    inlined: bool = True,
    opset: int = 18,
    producer: int = tf.version.GRAPH_DEF_VERSION,
) -> onnx.ModelProto:
    """Compares a function with what becomes of it in ONNX, for each of the calls."""
    frozen, graph = frozen_graph(function, specs, old=old, inlined=inlined, producer=producer)
    model = lower(frozen, opset).model
    audit.ensure_valid(model)
    for call in calls:
        feeds = {
            i.name: np.asarray(v, i.dtype.numpy if i.dtype is not DType.STRING else object)
            for i, v in zip(frozen.inputs, call, strict=True)
        }
        names = [o.name for o in frozen.outputs]
        wanted = expected(graph, names, feeds)
        found = run(model.SerializeToString(), feeds, names)
        for name in names:
            assert not differs(wanted[name], found[name], NEAR), (call, name)
    return model


def ops_of(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in every_node(model.graph)}


both = pytest.mark.parametrize("old", [False, True], ids=["v2", "v1"])
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
NONE = np.zeros((0, 3), np.float32)


# Loops


@both
def test_several_variables(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        def body(i: Any, a: Any, b: Any, kept: Any) -> Any:
            return i + 1, b, a + b * kept, kept

        return v1.while_loop(lambda i, *_: i < n, body, (0, x, x * 2.0, x + 1.0))

    check(f, [F, COUNT], ([1, 2], 3), ([1, 2], 0), ([], 2), old=old)


@both
def test_a_loop_changes_a_shape(old: bool) -> None:
    def f(x: tf.Tensor) -> Any:
        return v1.while_loop(
            lambda i, a: i < 3,
            lambda i, a: (i + 1, tf.concat([a, a[:1] + 1.0], 0)),
            (0, x),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
        )[1]

    check(f, [F], ([1.0, 2.0],), ([5.0],), old=old)


@both
def test_a_loop_changes_a_shape_that_was_known(old: bool) -> None:
    def f(x: tf.Tensor) -> Any:
        return v1.while_loop(
            lambda i, a: i < x[0],
            lambda i, a: (i + 1, tf.concat([a, a], 0)),
            (0.0, tf.ones([2])),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
        )

    check(f, [F], ([2.0],), ([0.0],), old=old)


@both
def test_loops_in_loops(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        def innermost(k: Any, c: Any, j: Any) -> Any:
            return v1.while_loop(lambda k, c: k < j, lambda k, c: (k + 1, c * 0.5 + x), (k, c))[1]

        def inner(i: Any, a: Any) -> Any:
            return v1.while_loop(
                lambda j, b: j < i, lambda j, b: (j + 1, innermost(0, b, j) + 1.0), (0, a)
            )[1]

        return v1.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, inner(i, a)), (0, x))

    check(f, [F, COUNT], ([1, 2], 4), ([1, 2], 0), old=old)


@both
def test_branches_in_loops_and_loops_in_branches(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        def loop() -> Any:
            def body(i: Any, a: Any) -> Any:
                even = tf.equal(i % 2, 0)
                return i + 1, v1.cond(even, lambda: a + 1.0, lambda: a * x)

            return v1.while_loop(lambda i, a: i < n, body, (0, x))[1]

        return v1.cond(n > 2, loop, lambda: -x)

    check(f, [F, COUNT], ([1, 2], 4), ([1, 2], 1), ([1, 2], 3), old=old)


@both
def test_types_of_variables(old: bool) -> None:
    def f(text: tf.Tensor, n: tf.Tensor) -> Any:
        def body(i: Any, s: Any, b: Any, d: Any, u: Any, h: Any) -> Any:
            return (
                i + 1,
                tf.where(b, s, text),
                tf.logical_not(b),
                d * 2,
                u + tf.constant(1, tf.uint8),
                h + 1,
            )

        start = (
            tf.constant(0, tf.int64),
            text,
            tf.constant(True),
            tf.constant(1.5, tf.float64),
            tf.constant(254, tf.uint8),
            tf.constant(0.5, tf.float16),
        )
        return v1.while_loop(lambda i, *_: i < tf.cast(n, tf.int64), body, start)

    check(f, [tf.TensorSpec([None], tf.string), COUNT], ([b"a", b"b"], 3), ([b"a"], 0), old=old)


@both
def test_what_is_captured(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        axis = tf.constant(1)
        table = tf.constant(np.arange(12, dtype=np.float32).reshape(4, 3))

        def body(i: Any, a: Any) -> Any:
            row = tf.gather(table, i % 4)
            return i + 1, a + tf.reduce_sum(x, axis, keepdims=True) * row

        return v1.while_loop(lambda i, a: i < n, body, (0, x), maximum_iterations=5)[1]

    check(f, [MATRIX, COUNT], (ROWS, 3), (ROWS, 9), (ROWS[:1], 0), old=old)


def test_a_function_called_in_a_loop() -> None:
    @tf.function
    def inner(a: Any, n: Any) -> Any:
        for _ in tf.range(n):
            a = a * 2.0
        return a

    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        once = inner(x, n)
        for i in tf.range(n):
            x = inner(x, i) + inner(once, i)
        return x, once

    check(f, [F, COUNT], ([1, 2], 3), ([1, 2], 0))


@both
def test_a_condition_of_several_conditions(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        def cond(i: Any, a: Any) -> Any:
            return tf.logical_and(i < n, tf.reduce_sum(a) < 100.0)

        return v1.while_loop(cond, lambda i, a: (i + 1, a * 2.0), (0, x))

    check(f, [F, COUNT], ([1, 2], 20), ([1, 2], 2), ([200, 1], 2), old=old)


def test_break_and_continue() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        total = tf.zeros([])
        for i in tf.range(n):
            if i == 2:
                continue
            if i > 4:
                break
            total += x[0] * tf.cast(i, tf.float32)
        return total

    check(f, [F, COUNT], ([2.0], 9), ([2.0], 3), ([2.0], 0))


# Branches


@both
def test_branches(old: bool) -> None:
    def f(x: tf.Tensor, p: tf.Tensor) -> Any:
        return v1.cond(p, lambda: (x + 1.0, 1, x), lambda: (x * 2.0, 2, tf.zeros([1])))

    check(f, [F, TRUTH], ([1, 2], True), ([1, 2], False), ([], False), old=old)


@both
def test_branches_of_constants(old: bool) -> None:
    def f(x: tf.Tensor, p: tf.Tensor) -> Any:
        return v1.cond(p, lambda: 1.0, lambda: 2.0) + x

    check(f, [F, TRUTH], ([1, 2], True), ([1, 2], False), old=old)


@both
def test_branches_in_branches(old: bool) -> None:
    def f(x: tf.Tensor, p: tf.Tensor, q: tf.Tensor) -> Any:
        inner = lambda: v1.cond(q, lambda: x + 1.0, lambda: v1.cond(p, lambda: x, lambda: -x))  # noqa: E731
        first = v1.cond(p, inner, lambda: x * 3.0)
        second = v1.cond(p, lambda: first + x, lambda: v1.cond(q, lambda: first, inner))
        return first, second

    calls = [([1, 2], p, q) for p in (True, False) for q in (True, False)]
    check(f, [F, TRUTH, TRUTH], *calls, old=old)


@both
def test_branches_of_other_shapes(old: bool) -> None:
    def f(x: tf.Tensor, p: tf.Tensor) -> Any:
        return v1.cond(p, lambda: x, lambda: tf.concat([x, x], 0))

    check(f, [F, TRUTH], ([1, 2], True), ([1, 2], False), old=old)


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 3, 9])
def test_switch_case(number: int) -> None:
    def f(x: tf.Tensor, i: tf.Tensor) -> Any:
        return tf.switch_case(
            i, [lambda: x, lambda: x * 2.0, lambda: x - 1.0, lambda: tf.zeros([2])]
        )

    check(f, [F, COUNT], ([1, 2], number))


def test_a_case_of_one() -> None:
    check(
        lambda x, i: tf.raw_ops.Case(
            branch_index=i,
            input=[x],
            Tout=[tf.float32],
            branches=[tf.function(lambda x: x + 1.0).get_concrete_function(F)],
        ),
        [F, COUNT],
        ([1.0], 0),
        ([1.0], 5),
    )


@both
def test_case(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        cases = [(n < 1, lambda: x), (n < 3, lambda: x + 1.0)]
        return v1.case(cases, default=lambda: x - 1.0)

    check(f, [F, COUNT], ([1.0], 0), ([1.0], 2), ([1.0], 3), old=old)


def test_a_condition_that_is_a_number() -> None:
    @tf.function
    def then(x: Any) -> Any:
        return x + 1.0

    @tf.function
    def otherwise(x: Any) -> Any:
        return x * 2.0

    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        branches = {
            "then_branch": then.get_concrete_function(F),
            "else_branch": otherwise.get_concrete_function(F),
            "Tout": [tf.float32],
        }
        return (
            tf.raw_ops.If(cond=n, input=[x], **branches),
            tf.raw_ops.StatelessIf(cond=x, input=[x], **branches),
        )

    check(f, [F, COUNT], ([1.0], 0), ([1.0], 2), ([], -1), inlined=False)


# What is made of loops


@both
def test_map_fn(old: bool) -> None:
    def f(x: tf.Tensor) -> Any:
        return (
            tf.map_fn(lambda row: row * 2.0, x),
            tf.map_fn(lambda row: (tf.reduce_sum(row), row[0] > 1.0), x, (tf.float32, tf.bool)),
        )

    model = check(f, [MATRIX], (ROWS,), (NONE,), old=old)
    assert not any(op.startswith("Sequence") for op in ops_of(model))


@both
def test_map_fn_of_several(old: bool) -> None:
    def f(x: tf.Tensor, y: tf.Tensor) -> Any:
        return tf.map_fn(lambda xy: xy[0] * xy[1], (x, y), tf.float32)

    check(f, [MATRIX, F], (ROWS, [1, 2, 3, 4]), old=old)


@both
def test_map_fn_in_map_fn(old: bool) -> None:
    def f(x: tf.Tensor) -> Any:
        return tf.map_fn(lambda m: tf.map_fn(lambda r: r + tf.reduce_max(m), m), x)

    check(f, [CUBE], (np.stack([ROWS, ROWS + 1]),), (np.zeros((2, 0, 3)),), old=old)


@both
@pytest.mark.parametrize("reverse", [False, True])
def test_scan(old: bool, reverse: bool) -> None:
    def f(x: tf.Tensor) -> Any:
        return tf.scan(lambda a, row: a * 0.5 + row, x, reverse=reverse)

    check(f, [MATRIX], (ROWS,), (ROWS[:1],), old=old)


@both
def test_folds(old: bool) -> None:
    def f(x: tf.Tensor) -> Any:
        return tf.foldl(lambda a, r: a + r * 2.0, x), tf.foldr(lambda a, r: a - r, x)

    check(f, [MATRIX], (ROWS,), (ROWS[:1],), old=old)


def test_vectorized_map() -> None:
    def f(x: tf.Tensor) -> Any:
        return tf.vectorized_map(lambda row: row * tf.reduce_sum(row) + 1.0, x)

    check(f, [MATRIX], (ROWS,))


@both
def test_a_loop_that_ends_before_its_array_is_full(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, 6, element_shape=[3])

        def body(i: Any, a: Any) -> Any:
            return i + 1, a.write(i, x[0] * tf.cast(i, tf.float32))

        array = v1.while_loop(lambda i, a: i < n, body, (0, array))[1]
        return array.stack(), array.size()

    check(f, [MATRIX, COUNT], (ROWS, 3), (ROWS, 0), (ROWS, 6), old=old)


# Recurrent networks


@pytest.mark.parametrize("cell", ["LSTMCell", "BasicLSTMCell", "GRUCell", "BasicRNNCell"])
@pytest.mark.parametrize("with_lengths", [False, True])
@both
def test_dynamic_rnn(cell: str, with_lengths: bool, old: bool) -> None:
    random = np.random.default_rng(0)

    def f(x: tf.Tensor, lengths: tf.Tensor) -> Any:
        sizes = tf.shape(x)[:2]
        weights = {
            "LSTMCell": (7, 16),
            "BasicLSTMCell": (7, 16),
            "GRUCell": (7, 8),
            "BasicRNNCell": (7, 4),
        }[cell]
        kernel = tf.constant(random.normal(0, 0.3, weights), tf.float32)
        bias = tf.constant(random.normal(0, 0.3, weights[1:]), tf.float32)
        candidate = tf.constant(random.normal(0, 0.3, (7, 4)), tf.float32)
        is_lstm = cell.endswith("LSTMCell")

        def step(row: Any, state: Any) -> Any:
            if is_lstm:
                c, h = state
                gates = tf.matmul(tf.concat([row, h], 1), kernel)
                i, j, g, o = tf.split(tf.nn.bias_add(gates, bias), 4, 1)
                c = c * tf.sigmoid(g + 1.0) + tf.sigmoid(i) * tf.tanh(j)
                h = tf.tanh(c) * tf.sigmoid(o)
                return h, (c, h)
            (h,) = state
            if cell == "GRUCell":
                gates = tf.matmul(tf.concat([row, h], 1), kernel)
                r, u = tf.split(tf.sigmoid(tf.nn.bias_add(gates, bias)), 2, 1)
                c = tf.tanh(tf.matmul(tf.concat([row, r * h], 1), candidate))
                h = u * h + (1 - u) * c
            else:
                h = tf.tanh(tf.nn.bias_add(tf.matmul(tf.concat([row, h], 1), kernel), bias))
            return h, (h,)

        first = tf.transpose(x, [1, 0, 2])
        read = tf.TensorArray(tf.float32, sizes[1]).unstack(first)
        made = tf.TensorArray(tf.float32, sizes[1], element_shape=[None, 4])
        zeros = tf.zeros([sizes[0], 4])
        state = (zeros, zeros) if is_lstm else (zeros,)

        def body(time: Any, out: Any, state: Any) -> Any:
            h, new = step(read.read(time), state)
            if with_lengths:
                done = (time >= lengths)[:, tf.newaxis]
                h = tf.where(done, tf.zeros_like(h), h)
                new = tuple(tf.where(done, s, n) for s, n in zip(state, new, strict=True))
            return time + 1, out.write(time, h), new

        stop = tf.reduce_max(lengths) if with_lengths else sizes[1]
        loop = v1.while_loop(
            lambda time, *_: time < stop, body, (0, made, state), maximum_iterations=sizes[1]
        )
        return tf.transpose(loop[1].stack(), [1, 0, 2]), loop[2]

    lengths = tf.TensorSpec([None], tf.int32)
    x = random.normal(size=(2, 5, 3)).astype(np.float32)
    model = check(f, [CUBE, lengths], (x, [2, 5]), (x, [1, 3]), old=old)
    if old and "LSTM" in cell:
        assert "LSTM" in ops_of(model) or with_lengths


@both
def test_a_cell_with_its_gates_in_another_order(old: bool) -> None:
    random = np.random.default_rng(0)

    def f(x: tf.Tensor) -> Any:
        kernel = tf.constant(random.normal(0, 0.5, (7, 16)), tf.float32)
        bias = tf.constant(random.normal(0, 0.5, 16), tf.float32)
        steps = tf.shape(x)[0]
        zeros = tf.zeros([tf.shape(x)[1], 4])
        read = tf.TensorArray(tf.float32, steps).unstack(x)
        made = tf.TensorArray(tf.float32, steps, element_shape=[None, 4])

        def body(time: Any, out: Any, c: Any, h: Any) -> Any:
            joined = tf.concat([read.read(time), h], 1)
            f, i, j, o = tf.split(tf.nn.bias_add(tf.matmul(joined, kernel), bias), 4, 1)
            c = tf.sigmoid(f + 1.0) * c + tf.sigmoid(i) * tf.tanh(j)
            h = tf.sigmoid(o) * tf.tanh(c)
            return time + 1, out.write(time, h), c, h

        loop = v1.while_loop(lambda time, *_: time < steps, body, (0, made, zeros, zeros))
        return loop[1].stack()

    x = random.normal(size=(5, 2, 3)).astype(np.float32)
    check(f, [CUBE], (x,), old=old)


# Arrays and lists


@both
def test_arrays_outside_loops(old: bool) -> None:
    def f(x: tf.Tensor, i: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, 3, clear_after_read=False)
        array = array.write(0, x[0]).write(2, x[1] * 2.0).write(1, x[2])
        read = tf.TensorArray(tf.float32, tf.shape(x)[0], clear_after_read=False).unstack(x)
        return (
            array.stack(),
            array.read(i),
            array.gather([2, 0]),
            read.read(i),
            read.stack(),
            read.size(),
            array.size(),
            array.concat(),
        )

    check(f, [MATRIX, COUNT], (ROWS, 1), (ROWS, 2), old=old)


@both
def test_arrays_of_other_shapes(old: bool) -> None:
    def f(x: tf.Tensor) -> Any:
        array = tf.TensorArray(
            tf.float32, 2, infer_shape=False, element_shape=[None, 3], clear_after_read=False
        )
        array = array.write(0, x[:1]).write(1, x)
        parts = tf.TensorArray(tf.float32, 3, infer_shape=False, clear_after_read=False)
        parts = parts.split(x, [1, 0, tf.shape(x)[0] - 1])
        return array.concat(), array.read(0), array.read(1), parts.read(2), parts.concat()

    check(f, [MATRIX], (ROWS,), (ROWS[:2],), old=old)


@both
def test_scattered(old: bool) -> None:
    def f(x: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, 4).scatter([2, 0, 3, 1], x)
        return array.stack()

    check(f, [MATRIX], (ROWS,), old=old)


@both
def test_an_array_that_grows(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[3])

        def body(i: Any, a: Any) -> Any:
            a = v1.cond(tf.equal(i % 2, 0), lambda: a.write(i // 2, x[i]), lambda: a)
            return i + 1, a

        return v1.while_loop(lambda i, a: i < n, body, (0, array))[1].stack()

    check(f, [MATRIX, COUNT], (ROWS, 4), (ROWS, 1), (ROWS, 0), old=old)


@both
def test_an_array_of_one(old: bool) -> None:
    """As Keras keeps the last output of a recurrent layer."""

    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, 1, element_shape=[None], clear_after_read=False)

        def body(i: Any, a: Any) -> Any:
            return i + 1, a.write(0, x[i])

        array = v1.while_loop(lambda i, a: i < n, body, (0, array))[1]
        return array.stack(), array.read(0)

    # TensorFlow 1 lets a place be written once.
    model = check(f, [MATRIX, COUNT], (ROWS, 1 if old else 3), old=old)
    assert not any(op.startswith("Sequence") for op in ops_of(model))


@both
def test_a_loop_writes_from_the_end(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, n, element_shape=[3])

        def body(i: Any, a: Any) -> Any:
            return i + 1, a.write(n - 1 - i, x[i])

        return v1.while_loop(lambda i, a: i < n, body, (0, array))[1].stack()

    check(f, [MATRIX, COUNT], (ROWS, 4), (ROWS, 1), (ROWS, 0), old=old)


@both
def test_a_loop_writes_twice(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, 2 * n, element_shape=[3])

        def body(i: Any, a: Any) -> Any:
            return i + 1, a.write(2 * i, x[i]).write(2 * i + 1, -x[i])

        return v1.while_loop(lambda i, a: i < n, body, (0, array))[1].stack()

    check(f, [MATRIX, COUNT], (ROWS, 4), (ROWS, 0), old=old)


@both
def test_a_loop_reads_what_it_wrote(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, n + 1, clear_after_read=False, element_shape=[3])

        def body(i: Any, a: Any) -> Any:
            return i + 1, a.write(i + 1, a.read(i) + x[i])

        array = array.write(0, x[0])
        return v1.while_loop(lambda i, a: i < n, body, (0, array))[1].stack()

    check(f, [MATRIX, COUNT], (ROWS, 4), (ROWS, 0), old=old)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bool, tf.string, tf.uint8, tf.int64])
def test_lists_of_each_type(dtype: tf.DType) -> None:
    def f(x: tf.Tensor, i: tf.Tensor) -> Any:
        array = tf.TensorArray(dtype, 3, element_shape=[], clear_after_read=False)
        array = array.write(i, x[0]).write(0, x[1])
        return array.stack(), tf.map_fn(lambda e: e, x)

    values = {tf.string: [b"a", b"b"], tf.bool: [True, False]}.get(dtype, [3, 4])
    check(f, [tf.TensorSpec([None], dtype), COUNT], (values, 1), (values, 2))


def test_lists_as_stacks() -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        held = tf.raw_ops.EmptyTensorList(
            element_shape=[3], max_num_elements=-1, element_dtype=tf.float32
        )
        held = tf.raw_ops.TensorListPushBack(input_handle=held, tensor=x[0])
        _, held = tf.while_loop(
            lambda i, _: i < n,
            lambda i, h: (i + 1, tf.raw_ops.TensorListPushBack(input_handle=h, tensor=x[i])),
            (0, held),
        )
        left, last = tf.raw_ops.TensorListPopBack(
            input_handle=held, element_shape=[3], element_dtype=tf.float32
        )
        stacked = tf.raw_ops.TensorListStack(
            input_handle=left, element_shape=[3], element_dtype=tf.float32
        )
        return last, stacked, tf.raw_ops.TensorListLength(input_handle=held)

    check(f, [MATRIX, COUNT], (ROWS, 3), (ROWS, 0))


def test_lists_of_lists_together() -> None:
    def f(x: tf.Tensor) -> Any:
        one = tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=[3])
        two = tf.raw_ops.TensorListPushBack(input_handle=one, tensor=x[0])
        both = tf.raw_ops.TensorListConcatLists(input_a=one, input_b=two, element_dtype=tf.float32)
        resized = tf.raw_ops.TensorListResize(input_handle=both, size=3)
        scattered = tf.raw_ops.TensorListScatterV2(
            tensor=x[:2], indices=[3, 1], element_shape=[3], num_elements=-1
        )

        def stack(held: tf.Tensor) -> tf.Tensor:
            return tf.raw_ops.TensorListStack(
                input_handle=held, element_shape=[3], element_dtype=tf.float32
            )

        concat = tf.raw_ops.TensorListConcatV2(
            input_handle=both, element_shape=[3], leading_dims=[], element_dtype=tf.float32
        )
        gathered = tf.raw_ops.TensorListGather(
            input_handle=both, indices=[1, 0], element_shape=[3], element_dtype=tf.float32
        )
        return stack(both), stack(resized), stack(scattered), concat, gathered

    check(f, [MATRIX], (ROWS,))


@both
def test_names_stay(old: bool) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        def body(i: Any, a: Any) -> Any:
            return i + 1, tf.tanh(a, name="squashed")

        return v1.while_loop(lambda i, a: i < n, body, (0, x))[1]

    model = check(f, [F, COUNT], ([1.0], 2), old=old)
    assert any("squashed" in n.name for n in every_node(model.graph) if n.op_type == "Tanh")


@pytest.mark.parametrize("opset", [13, 15, 21])
def test_opsets(opset: int) -> None:
    def f(x: tf.Tensor, n: tf.Tensor) -> Any:
        array = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[3])
        for i in tf.range(n):
            if i % 2 == 0:
                array = array.write(i // 2, tf.reduce_sum(x, 0) + x[i])
        return array.stack(), tf.map_fn(lambda row: row * 2.0, x)

    check(f, [MATRIX, COUNT], (ROWS, 4), (ROWS, 0), opset=opset)
