"""The models that are timed, each made by a process of its own:
``python -m benchmarks.speed.models NAME FOLDER``.

Nothing is fetched: weights are random, and so no two are equal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.parity import zoo

Builder = Callable[[Path], None]


def bert(folder: Path) -> None:
    """An encoder of 12 Keras layers of width 768, with a vocabulary of 30,522."""
    zoo.encoder(folder, width=768, heads=12, layers=12, words=30522, length=128)


def dense(gigabytes: float) -> Builder:
    """A chain of products with weights of so many bytes, 64 MB each."""

    def build(folder: Path) -> None:
        import tensorflow as tf

        random = np.random.default_rng(1)
        module = tf.Module()
        module.weights = [
            tf.Variable(random.normal(0, 0.02, (4096, 4096)).astype(np.float32))
            for _ in range(round(gigabytes * 1e9 / (4 * 4096**2)))
        ]

        @tf.function(input_signature=[tf.TensorSpec([None, 4096], tf.float32, "x")])
        def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
            for weight in module.weights:
                x = tf.tanh(x @ weight)
            return {"y": x}

        tf.saved_model.save(module, str(folder), serve)

    return build


def small_nodes(count: int) -> Builder:
    """A chain of so many products and sums with small constants."""

    def build(folder: Path) -> None:
        import tensorflow as tf

        numbers = np.random.default_rng(1).normal(1, 0.01, (count // 4, 8)).astype(np.float32)

        @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, "x")])
        def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
            for number in numbers:
                x = tf.tanh(x * number)
            return {"y": x}

        tf.saved_model.save(tf.Module(), str(folder), serve)

    return build


def tables(folder: Path) -> None:
    """A vocabulary of 50,000 words before an embedding."""
    import tensorflow as tf

    words = folder.with_name("words.txt")
    words.write_text("\n".join(f"word{n}" for n in range(50_000)) + "\n")
    random = np.random.default_rng(1)
    module = tf.Module()
    initializer = tf.lookup.TextFileInitializer(
        str(words),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    module.table = tf.lookup.StaticHashTable(initializer, 0)
    module.embedding = tf.Variable(random.normal(0, 1, (50_000, 64)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, "words")])
    def serve(words: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.gather(module.embedding, module.table.lookup(words))
        return {"mean": tf.reduce_mean(rows, 1)}

    tf.saved_model.save(module, str(folder), serve)


def v1_loops(folder: Path) -> None:
    """A TF1 graph beside a checkpoint of 0.5 GB, with a V1 loop over products of its variables."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    random = np.random.default_rng(1)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 2048], "x")
        for layer in range(32):
            value = random.normal(0, 0.02, (2048, 2048)).astype(np.float32)
            weight = tf.get_variable(f"layer{layer}", [2048, 2048], use_resource=False)
            fed = tf.placeholder(tf.float32, [2048, 2048])
            session.run(weight.assign(fed), {fed: value})
            x = tf.tanh(x @ weight)
        steps = tf.while_loop(
            lambda i, y: i < 4, lambda i, y: (i + 1, tf.tanh(y * 1.5)), [tf.constant(0), x]
        )
        tf.identity(steps[1], "y")
        tf.train.Saver().save(session, str(folder / "model"))


def lstm(folder: Path) -> None:
    """Two layers of LSTM."""
    zoo.recurrent("LSTM", folder)


def _application(name: str) -> Builder:
    return lambda folder: zoo.application(name, folder)


BUILDERS: dict[str, Builder] = {
    **{n: _application(n) for n in ("ResNet50", "NASNetMobile", "EfficientNetB7")},
    "bert": bert,
    "lstm": lstm,
    "tables": tables,
    "v1_loops": v1_loops,
    "nodes_10000": small_nodes(10_000),
    "nodes_20000": small_nodes(20_000),
    "dense_0.5": dense(0.5),
    "dense_1.5": dense(1.5),
    "dense_4": dense(4.0),
}


if __name__ == "__main__":
    BUILDERS[sys.argv[1]](Path(sys.argv[2]))
