"""A TF2 SavedModel is read from its graph, and its values when they are written."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import numpy_helper

import smconvert as sm
from smconvert.graph.variables import Saved, Variables
from smconvert.model import Array
from smconvert_savedmodel import load as loading


class Layers(tf.Module):
    """Two large weights of which one is read twice, a small one, and one that nothing needs."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self.up = tf.Variable(random.normal(0, 1, (64, 512)).astype(np.float32))
        self.down = tf.Variable(random.normal(0, 1, (512, 64)).astype(np.float32))
        self.bias = tf.Variable(random.normal(0, 1, 64).astype(np.float32))
        self.slot = tf.Variable(np.zeros((512, 512), np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, "x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        hidden = tf.nn.relu(x @ self.up) @ self.down + self.bias
        return {"y": tf.nn.relu(hidden @ self.up) @ self.down}


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers") / "model"
    module = Layers()
    tf.saved_model.save(module, str(path), module.serve)
    return path


def initializers(path: Path) -> dict[bytes, tuple[int, ...]]:
    graph = onnx.load(path).graph
    return {numpy_helper.to_array(t).tobytes(): tuple(t.dims) for t in graph.initializer}


def test_each_value_is_read_once_and_none_that_nothing_needs(
    layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    original = Variables._read

    def counted(self: Variables, saved: Saved) -> Array:
        read[saved.key.split("/")[0]] += 1
        return original(self, saved)

    monkeypatch.setattr(Variables, "_read", counted)
    sm.convert(layers, tmp_path / "m.onnx", checked=False)
    assert read == {"up": 1, "down": 1, "bias": 1}


def test_weights_are_the_same_bits_either_way(
    layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sm.convert(layers, tmp_path / "graph.onnx")
    monkeypatch.setattr(loading, "_foreign", lambda source, options: "nothing")
    sm.convert(layers, tmp_path / "objects.onnx")
    ways = [initializers(tmp_path / name) for name in ("graph.onnx", "objects.onnx")]
    assert ways[0] == ways[1]
    assert (64, 512) in ways[0].values()


def test_nothing_of_tensorflows_loader_or_of_keras_is_imported(
    layers: Path, tmp_path: Path
) -> None:
    code = f"""
import sys
from smconvert.cli.main import run
sys.argv = ["smconvert", "convert", {str(layers)!r}, {str(tmp_path / "m.onnx")!r}, "--no-check"]
try: run()
except SystemExit as end: assert not end.code
names = ("keras", "tensorflow.python.saved_model.load", "tensorflow.python.distribute.values")
print([name for name in names if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_verbose_says_why_the_whole_model_is_loaded(tmp_path: Path) -> None:
    class Words(tf.Module):
        def __init__(self) -> None:
            keys = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
            self.table = tf.lookup.StaticHashTable(keys, 0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
        def serve(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"ids": self.table.lookup(words)}

    module = Words()
    tf.saved_model.save(module, str(tmp_path / "model"), module.serve)
    done = subprocess.run(
        [sys.executable, "-m", "smconvert.cli.main", "convert", "model", "m.onnx", "--verbose"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "TensorFlow loads the whole model: hash_table (HashTableV2) is no variable" in (
        " ".join(done.stderr.split())
    )


def test_gradient_functions_of_swish_are_no_circles(tmp_path: Path) -> None:
    class Swish(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.nn.silu(x)}

    module = Swish()
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(module, str(tmp_path / "model"), module.serve, options)
    saved = (tmp_path / "model" / "saved_model.pb").read_bytes()
    assert b"internal_grad_fn" in saved
    assert sm.convert(tmp_path / "model", tmp_path / "m.onnx").exit_code == 0
    assert sm.convert(tmp_path / "model", tmp_path / "again").exit_code == 0
