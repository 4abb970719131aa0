"""Weights that never enter the graph: the same numbers as with them in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf

import smconvert as sm
import smconvert_onnx.lowering as lowering
from smconvert.graph.freeze import freeze, whole
from smconvert.runtimes.workers import Workers

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with large weights of each kind that tf2onnx turns round."""
    random = np.random.default_rng(0)

    def variable(*shape: int) -> tf.Variable:
        return tf.Variable(random.normal(0, 0.1, shape).astype(np.float32))

    module = tf.Module()
    module.table = variable(300, 64)
    module.conv = variable(3, 3, 64, 64)
    module.depthwise = variable(5, 5, 64, 16)
    module.transposed = variable(3, 3, 48, 1024)
    module.dense = variable(48, 512)
    module.turned = variable(96, 512)

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6], tf.int32, "ids")])
    def serve(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.gather(module.table, ids)
        x = tf.nn.conv2d(x, module.conv, 1, "SAME")
        x = tf.nn.depthwise_conv2d(x, module.depthwise, [1, 1, 1, 1], "SAME")
        shape = [tf.shape(x)[0], 12, 12, 48]
        x = tf.nn.conv2d_transpose(x, module.transposed, shape, 2)
        x = tf.reduce_mean(x, [1, 2]) @ module.dense
        constant = tf.constant(np.linspace(0, 1, 512 * 64).reshape(512, 64), tf.float32)
        return {"y": tf.matmul(x, module.turned, transpose_b=True), "z": x @ constant}

    path = tmp_path_factory.mktemp("weights") / "layers"
    tf.saved_model.save(module, str(path), serve)
    return path


IDS = np.arange(72, dtype=np.int32).reshape(2, 6, 6)


def run(path: Path) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip(["y", "z"], session.run(["y", "z"], {"ids": IDS}), strict=True))


def test_weights_stay_out_of_the_graph(layers: Path) -> None:
    model = sm.load(layers)
    frozen = freeze(model.signatures["serving_default"])
    assert len(frozen.weights) == 7
    assert frozen.graph.ByteSize() < 100_000
    assert whole(frozen).graph.ByteSize() > sum(w.bytes for w in frozen.weights)


def test_as_with_weights_in_the_graph(
    layers: Path, tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = sm.convert(layers, tmp_path / "beside.onnx", workers=workers)
    assert beside.exit_code == 0
    monkeypatch.setattr(lowering, "_needs_values", lambda frozen: True)
    sm.convert(layers, tmp_path / "within.onnx", checked=False)
    models = [onnx.load(tmp_path / name) for name in ("beside.onnx", "within.onnx")]
    assert Counter(n.op_type for n in models[0].graph.node) == Counter(
        n.op_type for n in models[1].graph.node
    )
    values = [
        sorted((t.dims[:], onnx.numpy_helper.to_array(t).tobytes()) for t in m.graph.initializer)
        for m in models
    ]
    assert values[0] == values[1]
    results = [run(tmp_path / name) for name in ("beside.onnx", "within.onnx")]
    for name in ("y", "z"):
        np.testing.assert_array_equal(results[0][name], results[1][name])


def test_external_data(layers: Path, tmp_path: Path, workers: Workers) -> None:
    done = sm.convert(
        layers,
        tmp_path / "model.onnx",
        target_options=sm.TargetOptions(external_data=True),
        workers=workers,
    )
    assert done.exit_code == 0
    assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert (tmp_path / "model.onnx").stat().st_size < 20_000
    sm.convert(layers, tmp_path / "one.onnx", checked=False)
    outer, inner = run(tmp_path / "model.onnx"), run(tmp_path / "one.onnx")
    np.testing.assert_array_equal(outer["y"], inner["y"])
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    offsets = [
        int(entry.value)
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "offset"
    ]
    assert len(offsets) == 7
    assert all(offset % 4096 == 0 for offset in offsets)


@pytest.mark.slow
def test_above_two_gigabytes(tmp_path: Path, workers: Workers) -> None:
    module = tf.Module()
    module.weights = [tf.Variable(tf.eye(8192) * (i + 1)) for i in range(9)]

    @tf.function(input_signature=[tf.TensorSpec([None, 8192], tf.float32, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        for weight in module.weights:
            x = x @ weight
        return {"y": x}

    tf.saved_model.save(module, str(tmp_path / "large"), serve)
    with pytest.raises(sm.ConversionError, match="one frozen graph holds 2 GB"):
        sm.convert(tmp_path / "large", tmp_path / "large.pb")
    done = sm.convert(tmp_path / "large", tmp_path / "large.onnx", workers=workers)
    assert done.exit_code == 0
    assert (tmp_path / "large.onnx.data").stat().st_size > 2 << 30
