"""Makes the TF2 and Keras artifacts of ``tests/data/tf2`` and records what their makers compute.

Set-up: ``pip install 'smconvert[test]'``; then ``python tests/data/make_tf2.py [NAME ...]``.
"""

import json
import os
import shutil
import sys
import zipfile

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import tensorflow as tf
import tf_keras
from tf1_case import write_case

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = {}
RANDOM = np.random.RandomState(3)


def fixture(make):
    """Registers a fixture under its function's name."""
    FIXTURES[make.__name__] = make
    return make


def floats(*shape):
    return RANDOM.uniform(-1, 1, shape).astype(np.float32)


def numpy(outputs):
    return {name: np.asarray(value) for name, value in outputs.items()}


def record_saved(folder, calls, source="model", notes=""):
    """Loads a SavedModel afresh and records each signature's calls."""
    loaded = tf.saved_model.load(os.path.join(folder, source))
    recorded = {
        name: [
            (feeds, numpy(loaded.signatures[name](**{k: tf.constant(v) for k, v in feeds.items()})))
            for feeds in some
        ]
        for name, some in calls.items()
    }
    write_case(
        folder, source, "savedmodel", recorded, notes=notes, made_by=f"tensorflow {tf.__version__}"
    )


class Module(tf.Module):
    def __init__(self, folder):
        super().__init__()
        vocabulary = os.path.join(folder, "words.txt")
        with open(vocabulary, "w") as stream:
            stream.write("cat\ndog\nbird\n")
        self.weight = tf.Variable(floats(3, 2), name="weight")
        self.fixed = tf.Variable(floats(2), trainable=False, name="fixed")
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                vocabulary,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            0,
        )

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def scale(self, x):
        return {"y": tf.matmul(x, self.weight) + self.fixed}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def embed(self, words):
        return {"row": tf.gather(self.weight, self.table.lookup(words))}


@fixture
def module_signatures(folder):
    """A tf.Module: two signatures over one variable, a table with a vocabulary asset."""
    module = Module(folder)
    path = os.path.join(folder, "model")
    tf.saved_model.save(module, path, {"serving_default": module.scale, "embed": module.embed})
    os.remove(os.path.join(folder, "words.txt"))
    words = np.array([b"bird", b"cat", b"?"], object)
    record_saved(folder, {"serving_default": [{"x": floats(2, 3)}], "embed": [{"words": words}]})


@fixture
def control_flow(folder):
    """Functional while and cond, and a loop that reads a variable."""

    class Loops(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(floats(2, 2))

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 2], tf.float32, name="x"),
                tf.TensorSpec([], tf.int32, name="n"),
            ]
        )
        def serve(self, x, n):
            for _ in tf.range(n):
                x = tf.tanh(tf.matmul(x, self.w))
            y = x * 2 if tf.reduce_sum(x) > 0 else x - 1
            return {"y": y}

    module = Loops()
    tf.saved_model.save(module, os.path.join(folder, "model"), module.serve)
    record_saved(folder, {"serving_default": [{"x": floats(2, 2), "n": np.int32(3)}]})


@fixture
def nested_defaults(folder):
    """A nested structure as input, and an argument with a default."""

    class Nested(tf.Module):
        @tf.function
        def serve(self, pair, scale=2.0):
            return {"sum": (pair["a"] + pair["b"][0]) * scale}

    module = Nested()
    spec = tf.TensorSpec([None], tf.float32)
    pair = {"a": spec, "b": [tf.TensorSpec([None], tf.float32)]}
    tf.saved_model.save(
        module, os.path.join(folder, "model"), module.serve.get_concrete_function(pair)
    )
    loaded = tf.saved_model.load(os.path.join(folder, "model"))
    names = sorted(loaded.signatures["serving_default"].structured_input_signature[1])
    record_saved(folder, {"serving_default": [{name: floats(3) for name in names}]})


def conv_model(k):
    image = k.Input((8, 8, 3), name="image")
    extra = k.Input((4,), name="extra")
    x = k.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = k.layers.BatchNormalization(name="bn")(x)
    x = k.layers.GlobalAveragePooling2D(name="pool")(x)
    x = k.layers.Concatenate(name="join")([x, extra])
    prob = k.layers.Dense(3, activation="softmax", name="prob")(x)
    value = k.layers.Dense(1, name="value")(x)
    model = k.Model([image, extra], [prob, value])
    randomise(model)
    return model


def lstm_model(k):
    model = k.Sequential(
        [
            k.Input((5, 3), name="steps"),
            k.layers.LSTM(4, return_sequences=True, name="lstm"),
            k.layers.GRU(3, name="gru"),
            k.layers.Dense(2, name="out"),
        ]
    )
    randomise(model)
    return model


def randomise(model):
    weights = model.get_weights()
    model.set_weights(
        [np.abs(floats(*w.shape)) if w.ndim == 1 else floats(*w.shape) for w in weights]
    )


def feeds_of(model):
    names = [t.name.split(":")[0] for t in model.inputs]
    shapes = [tuple(t.shape)[1:] for t in model.inputs]
    return [{n: floats(batch, *s) for n, s in zip(names, shapes)} for batch in (1, 3)]


def record_keras(folder, source, model, made_by):
    recorded = []
    for feeds in feeds_of(model):
        values = list(feeds.values())
        outputs = model(values if len(values) > 1 else values[0], training=False)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        names = getattr(model, "output_names", None) or [model.layers[-1].name]
        recorded.append((feeds, dict(zip(names, map(np.asarray, outputs)))))
    write_case(folder, source, "keras", {"serving_default": recorded}, made_by=made_by)


def saved_by_keras(folder, k, model, source):
    model.save(os.path.join(folder, source))
    record_keras(folder, source, model, f"keras {k.__version__}")


@fixture
def keras3_functional(folder):
    """Keras 3, functional, two inputs and outputs, .keras."""
    saved_by_keras(folder, keras, conv_model(keras), "model.keras")


@fixture
def keras3_lstm(folder):
    """Keras 3, sequential with recurrent layers, .keras."""
    saved_by_keras(folder, keras, lstm_model(keras), "model.keras")


@fixture
def keras3_h5(folder):
    """Keras 3, .h5."""
    saved_by_keras(folder, keras, conv_model(keras), "model.h5")


@fixture
def keras2_h5(folder):
    """Keras 2, .h5; only its contents tell."""
    saved_by_keras(folder, tf_keras, conv_model(tf_keras), "model.h5")


@fixture
def keras2_keras(folder):
    """Keras 2, .keras; only its contents tell."""
    saved_by_keras(folder, tf_keras, lstm_model(tf_keras), "model.keras")


@fixture
def keras2_saved_model(folder):
    """Keras 2's model.save: a SavedModel with keras_metadata.pb."""
    model = conv_model(tf_keras)
    model.save(os.path.join(folder, "model"))
    feeds = feeds_of(model)
    record_saved(folder, {"serving_default": feeds})


@fixture
def keras3_export(folder):
    """Keras 3's model.export."""
    model = lstm_model(keras)
    model.export(os.path.join(folder, "model"), verbose=False)
    loaded = tf.saved_model.load(os.path.join(folder, "model"))
    (name,) = loaded.signatures["serving_default"].structured_input_signature[1]
    record_saved(folder, {"serving_default": [{name: floats(b, 5, 3)} for b in (1, 2)]})


def only_file(folder, source):
    write_case(folder, source, "keras", {}, notes="refused", made_by=f"keras {keras.__version__}")


@fixture
def keras3_lambda(folder):
    """A Lambda layer, to be refused."""
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Lambda(lambda v: v * 2, name="twice")]
    )
    model.save(os.path.join(folder, "model.keras"))
    only_file(folder, "model.keras")


@fixture
def keras3_custom(folder):
    """A custom layer; refused, unless the user vouches for its code."""
    sys.path.insert(0, HERE)
    from custom_layer import Doubled

    model = keras.Sequential([keras.Input((2,), name="x"), Doubled(name="doubled")])
    model.save(os.path.join(folder, "model.keras"))
    record_keras(folder, "model.keras", model, f"keras {keras.__version__}")
    case = os.path.join(folder, "case.json")
    with open(case) as stream:
        recorded = json.load(stream)
    recorded["load"] = {"custom_objects": ["custom_layer:Doubled"]}
    with open(case, "w") as stream:
        json.dump(recorded, stream, separators=(",", ":"), sort_keys=True)


@fixture
def keras3_weights(folder):
    """Weights only, to be refused."""
    lstm_model(keras).save_weights(os.path.join(folder, "model.weights.h5"))
    only_file(folder, "model.weights.h5")


@fixture
def keras_traversal(folder):
    """A .keras archive with a member that points outside, to be refused."""
    with zipfile.ZipFile(os.path.join(folder, "model.keras"), "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("../../outside.txt", "x")
    only_file(folder, "model.keras")


@fixture
def object_checkpoint(folder):
    """A TF2 object-based checkpoint; factory_module.py builds the object."""
    sys.path.insert(0, HERE)
    from factory_module import build

    built = build()
    built.weight.assign(floats(3, 2))
    built.bias.assign(floats(2))
    tf.train.Checkpoint(model=built).write(os.path.join(folder, "ckpt"))
    x = floats(4, 3)
    recorded = [({"x": x}, {"y": np.asarray(built(x)["y"])})]
    write_case(
        folder,
        "ckpt",
        "checkpoint",
        {"serving_default": recorded},
        load={"factory": "factory_module:build"},
        made_by=f"tensorflow {tf.__version__}",
    )


def main(names):
    for name in names or FIXTURES:
        folder = os.path.join(HERE, "tf2", name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        RANDOM.seed(sum(map(ord, name)))
        tf.random.set_seed(1)
        FIXTURES[name](folder)
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
