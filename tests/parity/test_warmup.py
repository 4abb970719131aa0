"""Warm-up requests, written by TensorFlow's record writer, read back without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from case import DATA
from smconvert.converters import Executable
from smconvert.errors import SourceError
from smconvert.model import CanonicalModel, DType, Provenance, Signature, SignatureInfo, TensorInfo
from smconvert.parity import warmup
from smconvert.parity.check import CheckOptions, Verdict, check
from smconvert.runtimes.workers import Workers

X = SignatureInfo("serving_default", (TensorInfo("x", DType.FLOAT32, (None, 2)),), ())
EXAMPLES = SignatureInfo("classify", (TensorInfo("inputs", DType.STRING, (None,)),), ())

# As tensorflow_serving/apis/*.proto have them.
MESSAGES: dict[str, list[tuple[str, int, str]]] = {
    "PredictionLog": [
        ("classify_log", 2, "ClassifyLog"),
        ("predict_log", 6, "PredictLog"),
    ],
    "ClassifyLog": [("request", 1, "ClassificationRequest")],
    "PredictLog": [("request", 1, "PredictRequest")],
    "PredictRequest": [("model_spec", 1, "ModelSpec"), ("inputs", 2, "Entry*")],
    "Entry": [("key", 1, ""), ("value", 2, "bytes")],
    "ClassificationRequest": [("model_spec", 1, "ModelSpec"), ("input", 2, "Input")],
    "Input": [("example_list", 1, "ExampleList"), ("with_context", 2, "WithContext")],
    "ExampleList": [("examples", 1, "bytes*")],
    "WithContext": [("examples", 1, "bytes*"), ("context", 2, "bytes")],
    "ModelSpec": [("name", 1, ""), ("signature_name", 3, "")],
}


def messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="warmup.proto", package="w", syntax="proto3")
    for message, members in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in members:
            field = described.field.add(name=name, number=number)
            field.label = 3 if kind.endswith("*") else 1
            plain = kind.rstrip("*")
            field.type = {"": 9, "bytes": 12}.get(plain, 11)
            if field.type == 11:
                field.type_name = f".w.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {m: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"w.{m}"))
            for m in MESSAGES}  # fmt: skip


def predict(signature: str = "", **inputs: Any) -> bytes:
    log = messages()["PredictionLog"]()
    request = log.predict_log.request
    request.model_spec.name = "model"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs.add(key=name, value=tf.make_tensor_proto(value).SerializeToString())
    return log.SerializeToString()


def example(**features: float) -> bytes:
    made = tf.train.Example()
    for name, value in features.items():
        made.features.feature[name].float_list.value.append(value)
    return made.SerializeToString(deterministic=True)


def write(model: Path, *records: bytes) -> Path:
    path = model / warmup.FILE
    path.parent.mkdir(exist_ok=True, parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def test_predict_requests_in_order(tmp_path: Path) -> None:
    values = [np.float32([[1, 2]]), np.float32([[3, 4], [5, 6]])]
    write(tmp_path, *(predict(x=v) for v in values), predict("serving_default", x=values[0]))
    found = warmup.requests(tmp_path, X)
    assert [f["x"].tolist() for f in found] == [v.tolist() for v in [*values, values[0]]]


def test_requests_of_others_are_left_out(tmp_path: Path) -> None:
    value = np.float32([[1, 2]])
    write(tmp_path, predict("other", x=value), predict(z=value), predict(x=value.astype(int)))
    assert warmup.requests(tmp_path, X) == []


def test_classify_requests_are_examples(tmp_path: Path) -> None:
    log = messages()["PredictionLog"]()
    request = log.classify_log.request
    request.model_spec.signature_name = "classify"
    request.input.example_list.examples.extend([example(a=1), example(a=2)])
    other = messages()["PredictionLog"]()
    other.classify_log.request.model_spec.signature_name = "classify"
    other.classify_log.request.input.with_context.examples.append(example(a=1))
    other.classify_log.request.input.with_context.context = example(b=2)
    write(tmp_path, log.SerializeToString(), other.SerializeToString())
    listed, merged = warmup.requests(tmp_path, EXAMPLES)
    assert listed["inputs"].tolist() == [example(a=1), example(a=2)]
    assert merged["inputs"].tolist() == [example(a=1, b=2)]


def test_only_the_first_few(tmp_path: Path) -> None:
    write(tmp_path, *[predict(x=np.float32([[1, 2]]))] * 20)
    assert len(warmup.requests(tmp_path, X)) == warmup.MAX_REQUESTS


def test_none(tmp_path: Path) -> None:
    assert warmup.requests(tmp_path, X) == []


@pytest.mark.parametrize("at", [0, 9, 30, -1])
def test_damage_is_found(at: int, tmp_path: Path) -> None:
    path = write(tmp_path, predict(x=np.float32([[1, 2]])))
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="warm-up requests are damaged"):
        warmup.requests(tmp_path, X)


def test_truncation_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, predict(x=np.float32([[1, 2]])))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SourceError, match="does not match its checksum"):
        warmup.requests(tmp_path, X)


def test_a_record_that_is_no_message(tmp_path: Path) -> None:
    write(tmp_path, b"\x32\x7fabc")
    with pytest.raises(SourceError, match="ends within a field"):
        warmup.requests(tmp_path, X)


def test_the_check_runs_on_them(tmp_path: Path, workers: Workers) -> None:
    """The values decide: result and source differ above 1000 only, where no generated input is."""
    info = SignatureInfo(
        "serving_default",
        (TensorInfo("x", DType.FLOAT32, (None, 2), "x:0"),),
        (TensorInfo("y", DType.FLOAT32, (None, 2), "y:0"),),
    )
    executables = []
    for name, top in (("source", 1e9), ("result", 1e3)):
        folder = tmp_path / name
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            x = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
            y = tf.minimum(x, top, "y")
            tf.compat.v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
        settings = {"graph": "savedmodel", "tags": ["serve"]}
        executables.append(Executable("tf1-session", folder, info, settings))
    write(tmp_path / "source", predict(x=np.float32([[5000, 1]])))
    signature = Signature(info.name, info.inputs, info.outputs, function=None)
    model = CanonicalModel({info.name: signature}, tf.Module(), Provenance("", ""))
    references, results = ({info.name: e} for e in executables)
    parity = check(model, references, results, CheckOptions(), workers)
    assert parity.verdict is Verdict.FAILED
    assert parity.signatures[0].outputs[0].expected == 5000


def test_real_models_have_none() -> None:
    assert warmup.requests(DATA / "tf1" / "iris_raw" / "export", X) == []
