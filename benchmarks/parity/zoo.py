"""The models of the suite: those that others designed, and shapes of models that people serve.

Each builder writes one SavedModel into an empty folder. Weights are random, with statistics of
batch norm that are not trivial, so that outputs are not constant. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[2] / "tests" / "data"

APPLICATIONS = (
    "MobileNetV2",
    "ResNet50",
    "EfficientNetB0",
    "DenseNet121",
    "InceptionV3",
    "Xception",
    "NASNetMobile",
    "ConvNeXtTiny",
)

FIXTURES = {
    "iris (TF1 Estimator)": ("tf1/iris_raw/export", "predict"),
    "iris, parsing (TF1 Estimator)": ("tf1/iris_parsing/export", "predict"),
    "vocabulary (TF1)": ("tf1/table_vocab_dense/model", "serving_default"),
    "partitioned embedding (TF1)": ("tf1/partitioned/model", "serving_default"),
    "recurrent cells (TF1)": ("tf1/rnn/model", "serving_default"),
    "tags {serve} (TF1)": ("tf1/savedmodel_builder_ref/model", "serving_default"),
    "LSTM and GRU (Keras 2)": ("tf2/keras2_saved_model/model", "serving_default"),
    "control flow (TF2)": ("tf2/control_flow/model", "serving_default"),
}
"""Artifacts that TF 1.15 and Keras 2 wrote, with their signature."""


def application(name: str, folder: Path) -> None:
    """A model of keras.applications with random weights."""
    import keras

    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, name)(weights=None)
    random = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight, low, high in (
                (layer.moving_mean, -0.2, 0.2),
                (layer.moving_variance, 0.7, 1.4),
                (layer.gamma, 0.8, 1.2),
                (layer.beta, -0.1, 0.1),
            ):
                if weight is not None:
                    weight.assign(random.uniform(low, high, weight.shape).astype(np.float32))
    model.export(str(folder), verbose=False)


def recurrent(kind: str, folder: Path) -> None:
    """A stack of recurrent layers over sequences of any length."""
    import keras

    keras.utils.set_random_seed(1)
    layer = {"LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}[
        kind.removeprefix("bidirectional ")
    ]
    steps = keras.Input((None, 24), name="steps")
    x = layer(32, return_sequences=True)(steps)
    last = layer(16)
    x = keras.layers.Bidirectional(last)(x) if kind.startswith("bidirectional") else last(x)
    outputs = keras.layers.Dense(5, activation="softmax")(x)
    keras.Model(steps, outputs).export(str(folder), verbose=False)


def transformer(folder: Path) -> None:
    """An encoder of four layers over tokens; batch and length are free."""
    import tensorflow as tf

    random = np.random.default_rng(1)
    width, heads, layers, words = 128, 4, 4, 1000

    def variable(*shape: int) -> tf.Variable:
        return tf.Variable(random.normal(0, 0.08, shape).astype(np.float32))

    module = tf.Module()
    module.words, module.places = variable(words, width), variable(512, width)
    module.layers = [
        {
            "qkv": variable(width, 3 * width),
            "out": variable(width, width),
            "up": variable(width, 4 * width),
            "down": variable(4 * width, width),
            "scale": variable(2, width),
        }
        for _ in range(layers)
    ]

    def normed(x: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + 1e-6) * (1.0 + scale)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, "tokens"),
            tf.TensorSpec([None, None], tf.bool, "mask"),
        ]
    )
    def serve(tokens: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        batch, length = tf.shape(tokens)[0], tf.shape(tokens)[1]
        x = tf.gather(module.words, tokens) + module.places[:length]
        bias = tf.where(mask, 0.0, -1e9)[:, None, None, :]
        for layer in module.layers:
            qkv = tf.reshape(x @ layer["qkv"], [batch, length, 3, heads, width // heads])
            q, k, v = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]), 3)
            scores = tf.matmul(q, k, transpose_b=True) / (width // heads) ** 0.5 + bias
            mixed = tf.transpose(tf.nn.softmax(scores) @ v, [0, 2, 1, 3])
            x += tf.reshape(mixed, [batch, length, width]) @ layer["out"]
            x = normed(x, layer["scale"][0])
            x = normed(x + tf.nn.gelu(x @ layer["up"]) @ layer["down"], layer["scale"][1])
        return {"encoded": x, "pooled": tf.tanh(x[:, 0])}

    tf.saved_model.save(module, str(folder), serve)


def encoder(
    folder: Path,
    *,
    width: int = 256,
    heads: int = 4,
    layers: int = 4,
    words: int = 8000,
    length: int = 64,
) -> None:
    """An encoder as BERT has it, of Keras layers: attention, GELU by erf, layer norms."""
    import keras
    import tensorflow as tf
    from keras.layers import Dense, Embedding, LayerNormalization, MultiHeadAttention

    keras.utils.set_random_seed(1)

    def gelu(x: tf.Tensor) -> tf.Tensor:
        return 0.5 * x * (1.0 + tf.math.erf(x * 0.5**0.5))

    tokens = keras.Input((length,), dtype="int32", name="tokens")
    mask = keras.Input((length,), dtype="int32", name="mask")
    x = Embedding(words, width)(tokens)
    x = LayerNormalization(epsilon=1e-12)(x)
    seen = keras.ops.cast(mask, "bool")[:, None, :]
    for _ in range(layers):
        attended = MultiHeadAttention(heads, width // heads)(x, x, attention_mask=seen)
        x = LayerNormalization(epsilon=1e-12)(x + attended)
        wide = Dense(4 * width, activation=gelu)(x)
        x = LayerNormalization(epsilon=1e-12)(x + Dense(width)(wide))
    pooled = Dense(width, activation="tanh")(x[:, 0])
    model = keras.Model([tokens, mask], {"sequence": x, "pooled": pooled})
    model.export(str(folder), verbose=False)


def detection(folder: Path) -> None:
    """What follows a detector: boxes decoded, the best kept, the overlapping dropped."""
    import tensorflow as tf

    random = np.random.default_rng(1)
    anchors = tf.constant(random.uniform(0, 1, (200, 4)).astype(np.float32))

    @tf.function(
        input_signature=[
            tf.TensorSpec([200, 4], tf.float32, "offsets"),
            tf.TensorSpec([200, 10], tf.float32, "scores"),
        ]
    )
    def serve(offsets: tf.Tensor, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        y, x, h, w = tf.unstack(anchors + 0.1 * offsets, axis=1)
        h, w = tf.exp(h) * 0.2, tf.exp(w) * 0.2
        boxes = tf.stack([y - h, x - w, y + h, x + w], 1)
        best = tf.reduce_max(tf.sigmoid(scores), 1)
        kept = tf.image.non_max_suppression(boxes, best, 20, 0.5, 0.3)
        top, order = tf.math.top_k(tf.gather(best, kept), tf.minimum(5, tf.size(kept)))
        chosen = tf.gather(kept, order)
        return {
            "boxes": tf.gather(boxes, chosen),
            "scores": top,
            "classes": tf.gather(tf.argmax(scores, 1, tf.int32), chosen),
        }

    tf.saved_model.save(tf.Module(), str(folder), serve)


def audio(folder: Path) -> None:
    """A log-mel spectrogram of sound, and a small convolution over it."""
    import tensorflow as tf

    random = np.random.default_rng(1)
    module = tf.Module()
    module.kernel = tf.Variable(random.normal(0, 0.2, (5, 40, 8)).astype(np.float32))
    mel = tf.signal.linear_to_mel_weight_matrix(40, 129, 8000)

    @tf.function(input_signature=[tf.TensorSpec([None, 4000], tf.float32, "sound")])
    def serve(sound: tf.Tensor) -> dict[str, tf.Tensor]:
        spectrum = tf.abs(tf.signal.stft(sound, 256, 128, 256))
        features = tf.math.log(spectrum @ mel + 1e-3)
        x = tf.nn.relu(tf.nn.conv1d(features, module.kernel, 2, "SAME"))
        return {"embedding": tf.reduce_mean(x, 1)}

    tf.saved_model.save(module, str(folder), serve)


def builders() -> dict[str, Callable[[Path], None]]:
    """Name of a model to what writes it."""

    def of(make: Callable[[str, Path], None], name: str) -> Callable[[Path], None]:
        return lambda folder: make(name, folder)

    return {
        **{name: of(application, name) for name in APPLICATIONS},
        **{
            f"{kind} (Keras 3)": of(recurrent, kind)
            for kind in ("LSTM", "GRU", "bidirectional LSTM", "bidirectional GRU")
        },
        "transformer encoder": transformer,
        "BERT-like encoder (Keras 3)": encoder,
        "detection, after the network": detection,
        "audio, STFT and mel": audio,
    }
