"""What ``smconvert.graph.protos`` relies on: message modules that need nothing of TensorFlow."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_messages_come_without_the_runtime() -> None:
    loaded = run(
        "import sys; from smconvert.graph import protos;"
        "print([m for m in sys.modules if m.startswith('tensorflow.python')],"
        "'tensorflow' in sys.modules)"
    )
    assert loaded == "[] False"


def test_the_real_tensorflow_comes_afterwards_and_shares_the_classes() -> None:
    same = run(
        "from smconvert.graph.protos import graph_pb2; import tensorflow as tf;"
        "print(tf.compat.v1.GraphDef is graph_pb2.GraphDef, bool(tf.__version__))"
    )
    assert same.splitlines()[-1] == "True True"


def test_the_real_tensorflow_may_come_before() -> None:
    same = run(
        "import tensorflow as tf; from smconvert.graph.protos import graph_pb2;"
        "print(tf.compat.v1.GraphDef is graph_pb2.GraphDef)"
    )
    assert same.splitlines()[-1] == "True"
