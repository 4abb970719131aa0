"""Look-up tables, which are written as LabelEncoder, or as places in a constant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

import smconvert as sm

KEYS: dict[str, list[Any]] = {"string": ["b", "a", "ü", ""], "int64": [3, -1, 2**62, 0]}
KEYS["int32"] = [3, -1, 2**31 - 1, 0]
SOUGHT = {"string": ["a", "ü", "", "c", "B"], "int64": [0, 2**62, 7, -1], "int32": [0, 3, 7, -1]}
VALUES: dict[str, list[Any]] = {
    "string": ["x", "ö", "", "y"],
    "int64": [5, -(2**63), 0, 2**63 - 1],
    "int32": [5, -1, 0, 2**31 - 1],
    "float32": [0.5, float("inf"), -0.0, float("nan")],
    "float64": [0.1, float("inf"), 1e300, float("nan")],
    "bool": [True, False, False, True],
}
DEFAULTS = {
    "string": "ß",
    "int64": -7,
    "int32": -7,
    "float32": 0.25,
    "float64": 0.1,
    "bool": True,
}
PAIRS = [
    *(("string", value) for value in VALUES),
    *(("int64", value) for value in ("int64", "int32", "float32", "float64", "string")),
    *(("int32", value) for value in ("int32", "float32", "float64", "string")),
]


def converted(folder: Path, opset: int) -> onnxruntime.InferenceSession:
    """What runs the model in ``folder``."""
    target = folder / "model.onnx"
    options = sm.TargetOptions(opset=opset)
    sm.convert(folder / "model", target, checked=False, target_options=options)
    return onnxruntime.InferenceSession(str(target))


def run(session: onnxruntime.InferenceSession, feeds: dict[str, Any]) -> dict[str, Any]:
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def of(values: list[Any], dtype: str) -> Any:
    return np.array(values, object if dtype == "string" else dtype)


def same(found: Any, expected: tf.Tensor) -> None:
    wanted = expected.numpy()
    if expected.dtype == tf.string:
        wanted = np.vectorize(bytes.decode, otypes=[object])(wanted)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize(("key", "value"), PAIRS)
def test_every_type_of_keys_and_values(tmp_path: Path, key: str, value: str, opset: int) -> None:
    initializer = tf.lookup.KeyValueTensorInitializer(KEYS[key], VALUES[value], key, value)
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(initializer, DEFAULTS[value])

    @tf.function(input_signature=[tf.TensorSpec(None, key, "x"), tf.TensorSpec([], value, "d")])
    def serve(x: tf.Tensor, d: tf.Tensor) -> dict[str, tf.Tensor]:
        handle = module.table.resource_handle
        return {
            "y": module.table.lookup(x),
            "z": tf.raw_ops.LookupTableFindV2(table_handle=handle, keys=x, default_value=d),
            "n": module.table.size(),
        }

    tf.saved_model.save(module, str(tmp_path / "model"), serve)
    session = converted(tmp_path, opset)
    sought, default = SOUGHT[key], VALUES[value][1]
    for shape in ((len(sought),), (2, 1, 2), (0, 3), ()):
        x = of(sought, key)[: int(np.prod(shape))].reshape(shape)
        expected = serve(tf.constant(x, key), tf.constant(default, value))
        found = run(session, {"x": x, "d": of(default, value)})
        for name, wanted in expected.items():
            same(found[name], wanted)


def test_a_table_in_a_chain(tmp_path: Path) -> None:
    """A vocabulary, as feature columns and Keras look ids up, and back."""
    words = ["the", "a", "cat", "sat"]
    module = tf.Module()
    ids = tf.lookup.KeyValueTensorInitializer(words, range(4), "string", "int64")
    back = tf.lookup.KeyValueTensorInitializer(range(4), words, "int64", "string")
    module.ids = tf.lookup.StaticVocabularyTable(ids, 1, experimental_is_anonymous=True)
    module.plain = tf.lookup.StaticHashTable(ids, -1)
    module.back = tf.lookup.StaticHashTable(back, "?")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": module.back.lookup(3 - module.plain.lookup(x))}

    tf.saved_model.save(module, str(tmp_path / "model"), serve)
    found = run(converted(tmp_path, 18), {"x": of(["cat", "dog", "the"], "string")})
    assert found["y"].tolist() == ["a", "?", "sat"]


def test_a_table_that_nothing_writes_to(tmp_path: Path) -> None:
    """Its rows may be vectors, and it may be empty."""
    module = tf.Module()
    module.empty = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    module.rows = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, [0.5, 1.5])
    module.rows.insert([4, 2], [[1.0, 2.0], [3.0, 4.0]])

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, "x"), tf.TensorSpec([], tf.int64, "i")]
    )
    def serve(x: tf.Tensor, i: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": module.empty.lookup(x), "z": module.rows.lookup(tf.stack([i, i + 1, i + 2]))}

    tf.saved_model.save(module, str(tmp_path / "model"), serve)
    found = run(converted(tmp_path, 18), {"x": of(["cat", ""], "string"), "i": np.array(2)})
    assert found["y"].tolist() == [-1, -1]
    assert found["z"].tolist() == [[3.0, 4.0], [0.5, 1.5], [1.0, 2.0]]


def test_a_text_vectorization(tmp_path: Path) -> None:
    """Letters, punctuation, words, ids: what Keras makes of text."""
    import keras

    layer = keras.layers.TextVectorization(
        vocabulary=["the", "cat", "sat", "isnt"], output_sequence_length=6
    )
    module = tf.Module()
    module.table = layer._lookup_layer.lookup_table

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": layer(x)}

    tf.saved_model.save(module, str(tmp_path / "model"), serve)
    x = of(["The CAT: sat!", "", "isn't it? (the end) & more\tof the <same>", "  "], "string")
    found = run(converted(tmp_path, 20), {"x": x})
    np.testing.assert_array_equal(found["y"], serve(tf.constant(x, tf.string))["y"].numpy())
