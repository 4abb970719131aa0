"""Planted faults are found: the tensor, the node, and that the difference is born there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import helper, numpy_helper

import smconvert as sm
from case import DATA, load_case
from smconvert.bisection import bisect, write_reproducer
from smconvert.bundle.verify import verify
from smconvert.comparison import CompareOptions
from smconvert.errors import UsageError
from smconvert.parity.comparison import Verdict
from smconvert.runtimes.places import places
from smconvert.runtimes.workers import Workers

BLOCKS = 5


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Convolutions with normalisation and a head; as SavedModel and as ONNX."""
    random = np.random.default_rng(0)

    def variable(*shape: int) -> tf.Variable:
        return tf.Variable(random.normal(0.1, 0.3, shape).astype(np.float32))

    module = tf.Module()
    module.kernels = [variable(3, 3, 8, 8) for _ in range(BLOCKS)]
    module.scales = [variable(8) for _ in range(BLOCKS)]
    module.head = variable(8, 5)

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 7, 8], tf.float32, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        for number, (kernel, scale) in enumerate(zip(module.kernels, module.scales, strict=True)):
            with tf.name_scope(f"block{number}"):
                y = tf.nn.conv2d(x, kernel, 1, "SAME")
                mean, variance = tf.nn.moments(y, [1, 2], keepdims=True)
                y = (y - mean) * tf.math.rsqrt(variance + 1e-3) * scale
                x = tf.nn.leaky_relu(y, 0.3) + tf.transpose(
                    tf.transpose(x, [0, 2, 1, 3]), [0, 2, 1, 3]
                )
        rows = tf.reduce_sum(tf.sigmoid(x), [1], name="rows")
        return {"y": tf.nn.softmax(tf.reduce_mean(rows, 1) @ module.head, name="chosen")}

    folder = tmp_path_factory.mktemp("network")
    tf.saved_model.save(module, str(folder / "model"), serve)
    sm.convert(folder / "model", folder / "model.onnx", checked=False)
    return folder / "model", folder / "model.onnx"


def nodes(model: onnx.ModelProto, op: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == op]


def a_weight(model: onnx.ModelProto) -> str:
    node = nodes(model, "Conv")[2]
    tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
    values = numpy_helper.to_array(tensor).copy()
    values[:, :, 0, 2] += 0.2
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return node.name


def an_attribute(model: onnx.ModelProto) -> str:
    node = nodes(model, "LeakyRelu")[1]
    node.attribute[0].f = 0.2
    return node.name


def an_axis(model: onnx.ModelProto) -> str:
    node = nodes(model, "ReduceMean")[-1]
    axes = next(t for t in model.graph.initializer if t.name == node.input[1])
    assert numpy_helper.to_array(axes).tolist() == [1]
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "axis"))
    node.input[1] = "axis"
    return node.name


def an_epsilon(model: onnx.ModelProto) -> str:
    epsilons = {
        t.name
        for t in model.graph.initializer
        if t.data_type == onnx.TensorProto.FLOAT
        and np.array_equal(numpy_helper.to_array(t).ravel(), np.float32([1e-3]))
    }
    node = next(n for n in nodes(model, "Add") if epsilons & set(n.input))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e-2), "epsilon"))
    node.input[0 if node.input[0] in epsilons else 1] = "epsilon"
    return node.name


def a_dtype(model: onnx.ModelProto) -> str:
    node = nodes(model, "Sigmoid")[0]
    position = list(model.graph.node).index(node)
    half = helper.make_node("Cast", [node.input[0]], ["half"], to=onnx.TensorProto.BFLOAT16)
    back = helper.make_node("Cast", ["half"], ["back"], to=onnx.TensorProto.FLOAT)
    node.input[0] = "back"
    model.graph.node.insert(position, back)
    model.graph.node.insert(position, half)
    return node.name


def a_layout(model: onnx.ModelProto) -> str:
    """Height and width change places where they are averaged over rows."""
    node = nodes(model, "Sigmoid")[0]
    position = list(model.graph.node).index(node)
    shape = helper.make_node("Shape", [node.input[0]], ["its_shape"])
    turned = helper.make_node("Transpose", [node.input[0]], ["turned"], perm=[0, 2, 1, 3])
    again = helper.make_node("Reshape", ["turned", "its_shape"], ["again"])
    node.input[0] = "again"
    for made in (again, turned, shape):
        model.graph.node.insert(position, made)
    return node.name


@pytest.mark.parametrize("plant", [a_weight, an_attribute, an_axis, an_epsilon, a_dtype, a_layout])
def test_a_planted_fault_is_found(
    plant: Callable[[onnx.ModelProto], str],
    network: tuple[Path, Path],
    tmp_path: Path,
    workers: Workers,
) -> None:
    source, right = network
    model = onnx.load(right)
    name = plant(model)
    onnx.save(model, tmp_path / "wrong.onnx")
    strict = CompareOptions(rtol=2e-5, atol=4e-6)
    found = bisect(source, tmp_path / "wrong.onnx", strict, workers=workers)
    parting = found.parting
    assert parting is not None
    assert parting.born
    assert any(repr(name) in node for node in parting.nodes), parting.nodes
    assert len(parting.nodes) <= 4
    assert found.tensors > 50
    assert parting.source_node is not None
    write_reproducer(parting, tmp_path / "part.bundle", strict)
    (proof,) = verify(tmp_path / "part.bundle", places("ort:cpu"))
    assert proof.verdict is Verdict.FAILED
    assert [o.name for o in proof.outputs] == [parting.tensor]


def test_what_agrees_has_no_parting(network: tuple[Path, Path], workers: Workers) -> None:
    found = bisect(*network, workers=workers)
    assert found.parting is None
    assert found.comparison.verdict.value == "passed"


def test_only_onnx_is_looked_into(network: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="B is of the format savedmodel"):
        bisect(network[1], network[0])


def test_two_thousand_nodes(tmp_path: Path, workers: Workers) -> None:
    """A chain of layers, one of which has a wrong slope; ONNX on both sides."""
    random = np.random.default_rng(3)
    initializers, made = [], []
    last = "x"
    for number in range(500):
        weight = random.normal(0, 0.35, (8, 8)).astype(np.float32)
        initializers.append(numpy_helper.from_array(weight, f"w{number}"))
        made += [
            helper.make_node("MatMul", [last, f"w{number}"], [f"m{number}"], f"matmul{number}"),
            helper.make_node("Tanh", [f"m{number}"], [f"t{number}"], f"tanh{number}"),
            helper.make_node(
                "LeakyRelu", [f"t{number}"], [f"r{number}"], f"relu{number}", alpha=0.5
            ),
            helper.make_node("Add", [f"r{number}", last], [f"a{number}"], f"add{number}"),
        ]
        last = f"a{number}"
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 8])
    y = helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, ["n", 8])
    graph = helper.make_graph(made, "chain", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "a.onnx")
    wrong = next(n for n in model.graph.node if n.name == "relu317")
    wrong.attribute[0].f = 0.45
    onnx.save(model, tmp_path / "b.onnx")
    found = bisect(tmp_path / "a.onnx", tmp_path / "b.onnx", workers=workers)
    assert found.tensors == 2000
    assert found.parting is not None
    assert found.parting.tensor == "r317"
    assert found.parting.born
    assert found.parting.nodes == ("LeakyRelu 'relu317' (alpha=0.44999998807907104) of t317",)
    assert found.differing[0][0] == "r317"


def test_inside_a_loop_of_tensorflow_2(tmp_path: Path, workers: Workers) -> None:
    module = tf.Module()
    module.weight = tf.Variable(np.random.default_rng(1).normal(0, 1, (3, 3)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        for _ in tf.range(4):
            x = tf.nn.leaky_relu(tf.tanh(x @ module.weight) + 0.1, 0.3)
        return {"y": x * 2.0}

    tf.saved_model.save(module, str(tmp_path / "model"), serve)
    fault_in_loop(tmp_path / "model", tmp_path, "LeakyRelu", sm.SourceOptions(), workers)


def test_inside_a_loop_of_tensorflow_1(tmp_path: Path, workers: Workers) -> None:
    case = load_case(DATA / "tf1" / "while_loop" / "case.json")
    fault_in_loop(case.source, tmp_path, "Tanh", case.options, workers)


def fault_in_loop(
    source: Path, folder: Path, op: str, options: sm.SourceOptions, workers: Workers
) -> None:
    """Plants a fault at an op of a loop's body, and looks for it."""
    sm.convert(source, folder / "right.onnx", source_options=options, checked=False)
    model = onnx.load(folder / "right.onnx")
    (loop,) = nodes(model, "Loop")
    body = next(a.g for a in loop.attribute if a.name == "body")
    node = next(n for n in body.node if n.op_type == op)
    if op == "LeakyRelu":
        node.attribute[0].f = 0.1
    else:
        node.op_type = "Sigmoid"
    onnx.save(model, folder / "wrong.onnx")
    found = bisect(source, folder / "wrong.onnx", first_options=options, workers=workers)
    assert found.parting is not None
    assert found.parting.born
    assert any(repr(node.name) in line for line in found.parting.nodes), found.parting
    assert not any(line.startswith("Loop") for line in found.parting.nodes)
