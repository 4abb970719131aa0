"""Text that standard ONNX cannot say, in ops of onnxruntime-extensions, when the user allows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf

import smconvert as sm
from smconvert.runtimes.workers import Workers

EXTENDED = sm.TargetOptions(extensions=True)
PATTERNS = [
    (r"\s+", " "),
    (r"[^\w\s]", ""),
    (r"(\d+)-(\d+)", r"\2.\1"),
    (r"^\s+|\s+$", ""),
    (r"(?i)hello", "X"),
    (r"a*", "b"),
    (r"\p{L}", "L"),
]
TEXTS = ["Hello,  World! ", "12-34 foo", "\té\n", "aaa baac", "", "日本。語"]


def saved(folder: Path, pattern: str, rewrite: str, everywhere: bool = True) -> Path:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def serve(text: tf.Tensor) -> dict[str, tf.Tensor]:
        replaced = tf.strings.regex_replace(text, pattern, rewrite, replace_global=everywhere)
        stripped = tf.strings.strip(text)
        return {
            "replaced": replaced,
            "stripped": stripped,
            "length": tf.strings.length(stripped, "UTF8_CHAR"),
        }

    tf.saved_model.save(tf.Module(), str(folder), serve)
    return folder


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize(("pattern", "rewrite"), PATTERNS)
def test_equal(
    pattern: str, rewrite: str, everywhere: bool, tmp_path: Path, workers: Workers
) -> None:
    source = saved(tmp_path / "model", pattern, rewrite, everywhere)
    target = tmp_path / "model.onnx"
    done = sm.convert(source, target, target_options=EXTENDED, workers=workers)
    assert done.exit_code == 0
    assert any(node.domain == "ai.onnx.contrib" for node in onnx.load(target).graph.node)
    feeds = {"text": np.array([t.encode() for t in TEXTS], object)}
    found = sm.run(target, feeds, workers=workers)
    wanted = sm.run(source, feeds, workers=workers)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


def test_refused_without(tmp_path: Path) -> None:
    source = saved(tmp_path / "model", r"(\d+)-(\d+)", r"\2.\1")
    with pytest.raises(sm.ConversionError, match="StringLength") as refused:
        sm.convert(source, tmp_path / "model.onnx")
    assert "--extensions" in str(refused.value)


def test_what_it_does_not_have_equal(tmp_path: Path) -> None:
    """Its StringToHashBucketFast gives other numbers."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def serve(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"bucket": tf.strings.to_hash_bucket_fast(text, 1000)}

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"), serve)
    with pytest.raises(sm.ConversionError, match="it hashes the bytes of texts"):
        sm.convert(tmp_path / "model", tmp_path / "model.onnx", target_options=EXTENDED)
