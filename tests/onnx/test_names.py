"""An output that is called like an input keeps its name for whoever reads the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf

import smconvert as sm
from smconvert.runtimes.workers import Workers


def test_the_same_name_at_both_ends(tmp_path: Path, workers: Workers) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "scores")])
    def serve(scores: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": scores * 2.0, "rank": tf.argsort(scores)}

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"), serve)
    done = sm.convert(tmp_path / "model", tmp_path / "m.onnx", workers=workers)
    assert done.exit_code == 0
    written = {v.name for v in onnx.load(tmp_path / "m.onnx").graph.output}
    assert written == {"scores_out", "rank"}
    (signature,) = sm.inspect(tmp_path / "m.onnx").signatures
    assert {o.name for o in signature.outputs} == {"scores", "rank"}
    outputs = sm.run(tmp_path / "m.onnx", {"scores": np.float32([3.0, 1.0])}, workers=workers)
    assert outputs["scores"].tolist() == [6.0, 2.0]
    found = sm.compare(tmp_path / "model", tmp_path / "m.onnx", workers=workers)
    assert found.verdict is sm.Verdict.PASSED


@pytest.mark.parametrize("text", ["{", "[]", '{"output_names": 3}', '{"output_names": {"a": "b"}}'])
def test_metadata_that_does_not_fit_is_passed_over(text: str, tmp_path: Path) -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(graph)
    entry = model.metadata_props.add()
    entry.key, entry.value = "smconvert", text
    onnx.save(model, tmp_path / "m.onnx")
    (signature,) = sm.inspect(tmp_path / "m.onnx").signatures
    assert [o.name for o in signature.outputs] == ["y"]
