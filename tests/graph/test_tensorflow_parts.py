"""What ``smconvert.graph.tensorflow_parts`` relies on in TensorFlow; each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smconvert.graph.tensorflow_parts import PARTS

INSTALLED = "from smconvert.graph import tensorflow_parts as parts; parts.install();"
MODEL = Path(__file__).parent.parent / "data" / "savedmodel" / "tf2"


def run(code: str) -> list[str]:
    command = [sys.executable, "-c", INSTALLED + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_part_is_the_public_one() -> None:
    code = """
import functools, tensorflow as tf
def named(name): return functools.reduce(getattr, name.split("."), tf)
before = {name: named(name) for name in parts.PARTS}
assert isinstance(tf, parts._Parts)
parts.whole()
print([name for name, value in before.items() if value is not named(name)], tf.__name__)
"""
    # TensorFlow wraps these two once more for weak types, which no graph has.
    assert run(code) == ["['constant', 'identity'] tensorflow"]


@pytest.mark.parametrize(
    "use",
    [
        "tf.linalg.matmul([[2.0]], [[3.0]]).numpy()",
        "tf.errors.NotFoundError.__name__",
        "__import__('tensorflow.keras').keras.layers.Dense.__name__",
        "tf.compat.v1.train.Saver.__name__",
    ],
)
def test_an_unknown_name_makes_it_whole(use: str) -> None:
    loaded = "print(type(tf) is type(parts))"
    assert run(f"import tensorflow as tf; tf.Graph; print({use}); {loaded}")[-1] == "True"


def test_version_2_behaviour_is_on() -> None:
    code = """
import tensorflow as tf
v = tf.Variable([1.0, 2.0])
print(tf.function(lambda x: x * v)(tf.constant(2.0)).numpy().tolist(), type(v).__name__)
g = tf.Graph()
with g.as_default():
    x = tf.compat.v1.placeholder(tf.Graph and "float32", [])
print(x.shape, isinstance(tf, parts._Parts))
"""
    assert run(code) == ["[2.0, 4.0] ResourceVariable", "() True"]


def test_a_name_that_there_is_not() -> None:
    code = """
import tensorflow as tf
try: tf.no_such_name
except AttributeError as error: print(error)
"""
    (line,) = run(code)
    assert line == "module 'tensorflow' has no attribute 'no_such_name'"


def test_what_is_imported_already_stays() -> None:
    code = "import sys; print(sys.modules['tensorflow'] is tf)"
    done = subprocess.run(
        [sys.executable, "-c", f"import tensorflow as tf; {INSTALLED} {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True"]


def test_parts_are_named_in_order() -> None:
    assert list(PARTS) == sorted(PARTS)
