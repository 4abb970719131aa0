"""``--warmup``: what the check fed becomes requests that TensorFlow Serving makes of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import smconvert as sm
from case import DATA, load_case
from smconvert.parity import warmup
from smconvert.runtimes.workers import Workers

WARM = sm.TargetOptions(warmup=True)


def source(name: str) -> Path:
    return load_case(DATA / "tf1" / name / "case.json").source


def test_the_official_messages_read_the_requests(tmp_path: Path, workers: Workers) -> None:
    messages = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs smconvert[serving]"
    )
    import tensorflow as tf

    for name in ("iris_raw", "iris_parsing"):
        made = sm.convert(source(name), tmp_path / name, target_options=WARM, workers=workers)
        signatures = {s.name: s for s in sm.inspect(tmp_path / name).signatures}
        told = dict.fromkeys(signatures, 0)
        for record in tf.data.TFRecordDataset([str(tmp_path / name / warmup.FILE)]):
            request = messages.PredictionLog.FromString(record.numpy()).predict_log.request
            signature = signatures[request.model_spec.signature_name]
            feeds = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            assert feeds.keys() == {i.name for i in signature.inputs}
            options = sm.SourceOptions(signatures=(signature.name,))
            sm.run(tmp_path / name, feeds, options, workers=workers)
            told[signature.name] += 1
        assert all(count >= 2 for count in told.values())
        assert "warm-up requests are written: 2 for " in made.changes[-1]


def test_the_next_check_takes_them(tmp_path: Path, workers: Workers) -> None:
    given = {n: np.full((2, 1), 1.5, np.float32) for n in _features()}
    np.savez(tmp_path / "x.npz", **given)
    options = sm.SourceOptions(signatures=("predict",))
    sm.convert(
        source("iris_raw"),
        tmp_path / "m",
        source_options=options,
        target_options=WARM,
        check_options=sm.CheckOptions(data=tmp_path / "x.npz"),
        workers=workers,
    )
    (signature,) = sm.inspect(tmp_path / "m").signatures
    (call,) = warmup.requests(tmp_path / "m", signature)
    assert {n: v.tolist() for n, v in call.items()} == {n: v.tolist() for n, v in given.items()}


def _features() -> list[str]:
    (signature,) = sm.inspect(
        source("iris_raw"), sm.SourceOptions(signatures=("predict",))
    ).signatures
    return [i.name for i in signature.inputs]


def test_a_signature_that_counts_is_not_warmed(tmp_path: Path, workers: Workers) -> None:
    made = sm.convert(source("counter"), tmp_path / "m", target_options=WARM, workers=workers)
    names = {s.name for s in sm.inspect(tmp_path / "m").signatures}
    told = made.changes[-1]
    warmed = {s for s in names if f"for {s}" in told}
    assert warmed < names
    for signature in sm.inspect(tmp_path / "m").signatures:
        assert bool(warmup.requests(tmp_path / "m", signature)) == (signature.name in warmed)


@pytest.mark.parametrize(
    ("target", "checked", "words"),
    [("m", False, "leave --no-check away"), ("m.onnx", True, "--warmup has no meaning for onnx")],
)
def test_where_there_is_nothing_to_write(
    target: str, checked: bool, words: str, tmp_path: Path
) -> None:
    with pytest.raises(sm.UsageError) as error:
        sm.convert(source("iris_raw"), tmp_path / target, target_options=WARM, checked=checked)
    assert words in str(error.value)
