"""Two artifacts compared: agreement passes, planted faults fail, what cannot run is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import numpy_helper

import smconvert as sm
from case import DATA
from smconvert.comparison import CompareOptions, compare
from smconvert.errors import UsageError
from smconvert.parity.comparison import Verdict
from smconvert.reports import html
from smconvert.reports.document import document
from smconvert.runtimes.places import Place, place
from smconvert.runtimes.workers import Workers

IRIS = DATA / "tf1" / "iris_raw" / "export"


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iris") / "iris.onnx"
    sm.convert(IRIS, path, checked=False)
    return path


def with_fault(model: Path, path: Path) -> Path:
    """The same model with one weight of its last layer moved by a hundredth."""
    loaded = onnx.load(model)
    weight = next(t for t in loaded.graph.initializer if list(t.dims) == [10, 3])
    values = numpy_helper.to_array(weight).copy()
    values[2, 1] += 0.01
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(loaded, path)
    return path


def test_places() -> None:
    assert place("tf") == Place("tf")
    assert place("ort:gpu:TF32") == Place("ort", "cuda", "tf32")
    assert str(place("tf:cpu:xla")) == "tf:cpu:xla"
    assert str(place("ort:trt:fp16")) == "ort:tensorrt:fp16"
    for wrong in ("ort:abacus", "", "ort:cpu:cuda"):
        with pytest.raises(UsageError, match="names no place to run"):
            place(wrong)


def test_agreement_on_every_place(iris: Path, workers: Workers) -> None:
    on = "tf:cpu,tf:cpu:xla,ort:cpu"
    found = compare(IRIS, iris, CompareOptions(on=on, special=True), workers=workers)
    assert found.verdict is Verdict.PASSED
    (matrix,) = found.matrices
    assert [str(c.contender) for c in matrix.columns] == ["A on tf:cpu:xla", "B on ort:cpu"]
    assert {c.label for c in matrix.calls} >= {
        "batch 1",
        "batch 3",
        "batch 7",
        "zeros",
        "special values",
    }
    assert all(c.verdict is Verdict.PASSED for c in matrix.columns)
    assert set(matrix.noise) == {o.name for o in matrix.signature.outputs}


def test_what_cannot_run_is_not_passed(iris: Path, workers: Workers) -> None:
    found = compare(IRIS, iris, CompareOptions(on="ort:cpu:fp16,ort:cpu:xla"), workers=workers)
    assert found.verdict is Verdict.NOT_RUN
    reasons = [c.reason or "" for c in found.matrices[0].columns]
    assert "no fp16 on cpu" in reasons[0]
    assert "ONNX Runtime has no XLA" in reasons[1]
    assert found.missing(["cuda"]) == ["cuda"]


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU here")
def test_no_gpu_says_why(iris: Path, workers: Workers) -> None:
    found = compare(IRIS, iris, CompareOptions(on="tf:cuda,tf:cpu,ort:cuda"), workers=workers)
    matrix = found.matrices[0]
    assert matrix.reason is not None
    assert "TensorFlow sees no GPU" in matrix.reason
    found = compare(IRIS, iris, CompareOptions(on="tf:cpu,tf:cuda,ort:cuda"), workers=workers)
    reasons = [c.reason or "" for c in found.matrices[0].columns]
    assert "TensorFlow sees no GPU" in reasons[0]
    assert "no NVIDIA driver" in reasons[1] or "built without" in reasons[1]


def test_a_planted_fault_fails_and_shrinks(iris: Path, tmp_path: Path, workers: Workers) -> None:
    wrong = with_fault(iris, tmp_path / "wrong.onnx")
    found = compare(IRIS, wrong, smallest=True, workers=workers)
    assert found.verdict is Verdict.FAILED
    (column,) = found.matrices[0].columns
    worst = column.worst
    assert worst is not None
    assert worst.parity.name in {"logits", "probabilities"}
    assert worst.parity.share_out > 0
    assert found.smallest is not None
    assert all(value.shape == (1, 1) for value in found.smallest.values())
    assert sum(int(np.count_nonzero(v)) for v in found.smallest.values()) <= 2


def test_a_wrong_type_and_shape_fail(tmp_path: Path, workers: Workers) -> None:
    def model(name: str, op: str) -> Path:
        x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])
        y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
        graph = onnx.helper.make_graph([onnx.helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
        path = tmp_path / name
        opset = [onnx.helper.make_opsetid("", 17)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
        return path

    same, turned = model("a.onnx", "Identity"), model("b.onnx", "Transpose")
    assert compare(same, same, workers=workers).verdict is Verdict.PASSED
    found = compare(same, turned, workers=workers)
    assert found.verdict is Verdict.FAILED
    assert "its shape is [2, 1]" in (found.matrices[0].columns[0].reason or "")


def test_an_input_that_one_does_not_take_fails_alone(tmp_path: Path, workers: Workers) -> None:
    helper = onnx.helper
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])
    opset = [helper.make_opsetid("", 17)]
    for name, node in (
        ("a.onnx", helper.make_node("Identity", ["x"], ["y"])),
        ("b.onnx", helper.make_node("Reshape", ["x", "shape"], ["y"])),
    ):
        shape = [numpy_helper.from_array(np.array([1, 2]), "shape")]
        graph = helper.make_graph([node], "g", [x], [y], shape)
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / name)
    found = compare(tmp_path / "a.onnx", tmp_path / "b.onnx", workers=workers)
    (column,) = found.matrices[0].columns
    assert column.verdict is Verdict.FAILED
    assert (column.reason or "").startswith("batch 3: it did not run: ")
    verdicts = {cell.call: cell.parity.verdict for cell in column.cells}
    assert verdicts["batch 1"] is Verdict.PASSED
    assert verdicts["batch 3"] is Verdict.FAILED
    assert "batch 3" in html.render(document(found))


def test_other_names_are_paired_or_asked_for(iris: Path, tmp_path: Path, workers: Workers) -> None:
    loaded = onnx.load(iris)
    for node in loaded.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = {"SepalLength": "a:0", "logits": "scores"}.get(name, name)
    for value in (*loaded.graph.input, *loaded.graph.output):
        value.name = {"SepalLength": "a:0", "logits": "scores"}.get(value.name, value.name)
    onnx.save(loaded, tmp_path / "renamed.onnx")
    with pytest.raises(UsageError, match="'SepalLength' of A has no counterpart") as refused:
        compare(IRIS, tmp_path / "renamed.onnx", workers=workers)
    assert "--map NAME_IN_A=NAME_IN_B" in str(refused.value)
    names = {"SepalLength": "a:0", "logits": "scores"}
    found = compare(IRIS, tmp_path / "renamed.onnx", CompareOptions(names=names), workers=workers)
    assert found.verdict is Verdict.PASSED


def test_a_place_for_neither_is_refused(iris: Path, workers: Workers) -> None:
    with pytest.raises(UsageError, match="nothing here runs at tf:cpu") as refused:
        compare(iris, iris, CompareOptions(on="tf:cpu"), workers=workers)
    assert "the two run in ort" in str(refused.value)


def test_no_signature_in_common(workers: Workers) -> None:
    with pytest.raises(UsageError, match="no signature in common") as refused:
        compare(
            DATA / "tf1" / "iris_parsing" / "export",
            DATA / "tf2" / "module_signatures" / "model",
            first_options=sm.SourceOptions(signatures=("classification", "predict")),
            workers=workers,
        )
    assert "A has classification, predict; B has embed, serving_default" in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        {
            "SepalLength": [[5.1]],
            "SepalWidth": [[3.3]],
            "PetalLength": [[1.7]],
            "PetalWidth": [[0.5]],
        },
        {
            "instances": [
                {
                    "SepalLength": [5.1],
                    "SepalWidth": [3.3],
                    "PetalLength": [1.7],
                    "PetalWidth": [0.5],
                }
            ]
            * 3
        },
    ],
    ids=["named", "instances"],
)
def test_inputs_from_json(content: object, iris: Path, tmp_path: Path, workers: Workers) -> None:
    (tmp_path / "x.json").write_text(json.dumps(content))
    found = compare(IRIS, iris, CompareOptions(data=tmp_path / "x.json"), workers=workers)
    assert found.verdict is Verdict.PASSED
    assert [c.label for c in found.matrices[0].calls] == ["x.json[0]"]


def test_inputs_from_examples(iris: Path, tmp_path: Path, workers: Workers) -> None:
    path = str(tmp_path / "rows.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for row in range(4):
            features = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=[row + 1.0]))
                for name in ("SepalLength", "SepalWidth", "PetalLength", "PetalWidth")
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    found = compare(IRIS, iris, CompareOptions(data=Path(path)), workers=workers)
    assert found.verdict is Verdict.PASSED
    parsing = DATA / "tf1" / "iris_parsing" / "export"
    options = sm.SourceOptions(signatures=("predict",))
    found = compare(
        parsing,
        parsing,
        CompareOptions(data=Path(path)),
        first_options=options,
        second_options=options,
        workers=workers,
    )
    assert found.verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.json", b"{", "is not JSON"),
        ("x.npz", b"PK", "is not an .npz file"),
        ("x.tfrecord", b"\x01" * 40, "is not a TFRecord"),
        ("x.json", b'{"SepalLength": [[1.0]]}', "has no array for the input"),
        ("x.npy", b"", "is not an .npz file"),
    ],
)
def test_inputs_that_cannot_be_read(
    name: str, content: bytes, words: str, iris: Path, tmp_path: Path, workers: Workers
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        compare(IRIS, iris, CompareOptions(data=tmp_path / name), workers=workers)
