"""What users find in a result: names, variables, provenance, layout; and that it stands alone."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import smconvert as sm
from case import DATA, close, load_case
from smconvert.runtimes.workers import Workers

TF1 = DATA / "tf1"
TF2 = DATA / "tf2"
CONVERT = [sys.executable, "-m", "smconvert.cli.main", "convert"]
IRIS = TF1 / "iris_raw" / "export"


def test_python_api() -> None:
    case = load_case(TF1 / "iris_raw" / "case.json")
    assert sm.detect(IRIS).path.name == "1570635853"
    assert [s.name for s in sm.inspect(IRIS).signatures] == ["predict"]
    model = sm.load(IRIS)
    call = case.signatures["predict"][1]
    outputs = model.signatures["predict"](**call.inputs)
    assert close(outputs["probabilities"].numpy(), call.outputs["probabilities"])
    assert model.provenance.producer == "1.15.5"
    assert len(model.provenance.sha256) == 64


def test_saving_a_loaded_model(tmp_path: Path) -> None:
    artifact = sm.save(sm.load(IRIS), tmp_path / "iris.onnx")
    assert artifact.path == tmp_path / "iris.onnx"
    assert list(tmp_path.iterdir()) == [artifact.path]
    with pytest.raises(sm.DestinationError):
        sm.save(sm.load(IRIS), tmp_path / "iris.onnx")


def test_variables_stay_variables_and_gradients_flow(tmp_path: Path) -> None:
    import tensorflow as tf

    sm.convert(TF1 / "savedmodel_builder_ref" / "model", tmp_path / "out", checked=False)
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    function = loaded.signatures["serving_default"]
    assert len(function.trainable_variables) == 4
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(function(x=tf.ones([2, 3]))["y"][:, 0])
    gradients = tape.gradient(loss, function.trainable_variables)
    assert all(g is not None and np.any(g.numpy()) for g in gradients)


def test_signatures_share_their_variables(tmp_path: Path) -> None:
    import tensorflow as tf

    sm.convert(TF1 / "counter" / "model", tmp_path / "out", checked=False)
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    before = loaded.signatures["serving_default"]()["count"].numpy()
    loaded.signatures["add"]()
    assert loaded.signatures["serving_default"]()["count"].numpy() == before + 1


def test_manifest_says_where_gradients_stop(tmp_path: Path) -> None:
    sm.convert(TF1 / "rnn" / "model", tmp_path / "out", checked=False)
    manifest = json.loads((tmp_path / "out" / "assets.extra" / "smconvert.json").read_text())
    assert any("gradients do not flow" in change for change in manifest["changes"])


@pytest.mark.parametrize("target", ["out.pb", "out.onnx"])
def test_a_write_that_is_left_out_is_told(target: str, tmp_path: Path) -> None:
    source = TF1 / "batchnorm_assign" / "model"
    conversion = sm.convert(source, tmp_path / target, checked=False)
    assert any("AssignMovingAvg" in c and "is left out" in c for c in conversion.changes)


@pytest.mark.parametrize("target", ["out", "out.pb", "out.onnx"])
def test_source_folder_can_go_away(target: str, tmp_path: Path, workers: Workers) -> None:
    case = load_case(TF1 / "table_vocab_dense" / "case.json")
    shutil.copytree(case.source, tmp_path / "source")
    conversion = sm.convert(tmp_path / "source", tmp_path / target, workers=workers)
    shutil.rmtree(tmp_path / "source")
    (executable,) = conversion.artifact.executables.values()
    call = case.signatures["serving_default"][1]
    (result,) = workers.run(executable, [call.inputs])
    assert close(result["y"], call.outputs["y"])


@pytest.mark.parametrize("name", ["iris_raw", "table_vocab", "while_loop", "odd_aliases"])
def test_frozen_graph_reads_back_without_words(name: str, tmp_path: Path, workers: Workers) -> None:
    case = load_case(TF1 / name / "case.json")
    sm.convert(
        case.source, tmp_path / "a.pb", source_options=case.options, checked=False, workers=workers
    )
    conversion = sm.convert(tmp_path / "a.pb", tmp_path / "b", workers=workers)
    (executable,) = conversion.artifact.executables.values()
    (calls,) = case.signatures.values()
    (result,) = workers.run(executable, [calls[0].inputs])
    for output, expected in calls[0].outputs.items():
        assert close(result[output], expected)


def test_exported_saved_model_reads_back(tmp_path: Path, workers: Workers) -> None:
    case = load_case(TF1 / "odd_aliases" / "case.json")
    sm.convert(case.source, tmp_path / "a", checked=False)
    conversion = sm.convert(tmp_path / "a", tmp_path / "b.onnx", workers=workers)
    assert conversion.exit_code == 0
    graph = onnx.load(tmp_path / "b.onnx").graph
    (call,) = case.signatures["my sig/1"]
    assert {i.name for i in graph.input} == set(call.inputs)
    assert {o.name for o in graph.output} == set(call.outputs)


def test_onnx_says_where_it_comes_from(tmp_path: Path) -> None:
    sm.convert(IRIS, tmp_path / "iris.onnx", checked=False)
    model = onnx.load(tmp_path / "iris.onnx")
    facts = json.loads({p.key: p.value for p in model.metadata_props}["smconvert"])
    assert facts["provenance"]["producer"] == "1.15.5"
    assert "--no-check" in " ".join(facts["changes"])
    assert model.producer_name == "smconvert"
    first = model.graph.input[0]
    assert first.type.tensor_type.shape.dim[0].dim_param == f"{first.name}_dim0"


@pytest.mark.parametrize("opset", [13, 15, 17])
def test_opset(opset: int, tmp_path: Path, workers: Workers) -> None:
    options = sm.TargetOptions(opset=opset)
    sm.convert(IRIS, tmp_path / "iris.onnx", target_options=options, workers=workers)
    imported = {o.domain: o.version for o in onnx.load(tmp_path / "iris.onnx").opset_import}
    assert imported[""] == opset


def test_external_data(tmp_path: Path, workers: Workers) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.w = tf.Variable(tf.random.stateless_normal([64, 64], [1, 2]))
    spec = tf.TensorSpec([None, 64], name="x")
    serve = tf.function(lambda x: {"y": tf.matmul(x, module.w)}).get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path / "source"), serve)
    conversion = sm.convert(
        tmp_path / "source",
        tmp_path / "m.onnx",
        target_options=sm.TargetOptions(external_data=True),
        workers=workers,
    )
    assert conversion.exit_code == 0
    assert conversion.artifact.companions == (tmp_path / "m.onnx.data",)
    assert (tmp_path / "m.onnx.data").stat().st_size >= 64 * 64 * 4
    assert (tmp_path / "m.onnx").stat().st_size < 64 * 64 * 4


def test_onnx_weights_outside_its_folder_are_refused(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", dims=[1], data_type=1, data_location=1)
    tensor.external_data.add(key="location", value="../secret.bin")
    node = onnx.helper.make_node("Constant", [], ["y"], value=tensor)
    y = onnx.helper.make_tensor_value_info("y", 1, [1])
    graph = onnx.helper.make_graph([node], "g", [], [y])
    (tmp_path / "m.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(sm.SourceError, match="point outside"):
        sm.inspect(tmp_path / "m.onnx")


def test_each_signature_in_a_folder(tmp_path: Path, workers: Workers) -> None:
    conversion = sm.convert(
        TF2 / "module_signatures" / "model",
        tmp_path / "models",
        target_format="onnx",
        workers=workers,
    )
    assert conversion.exit_code == 0
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [
        "embed.onnx",
        "serving_default.onnx",
    ]


def test_version_layout(tmp_path: Path) -> None:
    for version in (3, 4):
        sm.convert(
            IRIS,
            tmp_path / "served",
            target_options=sm.TargetOptions(version=version),
            checked=False,
        )
    assert sorted(p.name for p in (tmp_path / "served").iterdir()) == ["3", "4"]
    assert (tmp_path / "served" / "3" / "saved_model.pb").is_file()


def test_force_replaces_the_whole(tmp_path: Path) -> None:
    destination = tmp_path / "out"
    destination.mkdir()
    (destination / "old").write_text("x")
    sm.convert(IRIS, destination, checked=False, force=True)
    assert not (destination / "old").exists()
    assert (destination / "saved_model.pb").is_file()
    assert list(tmp_path.iterdir()) == [destination]


REPEATED = {
    "tf1": IRIS,
    "tf1_loops": TF1 / "nested_while" / "graph.pb",
    "tf2": TF2 / "keras2_saved_model" / "model",
    "tf2_loops": TF2 / "keras3_lstm" / "model.keras",
}


@pytest.mark.parametrize("target", ["out", "out.pb", "out.onnx"])
@pytest.mark.parametrize("source", REPEATED.values(), ids=REPEATED)
def test_same_bytes_from_another_process(source: Path, target: str, tmp_path: Path) -> None:
    results = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        subprocess.run(
            [*CONVERT, source, folder / target, "--no-check", "--quiet"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        results.append({p.relative_to(folder): p.read_bytes() for p in files})
    assert results[0].keys() == results[1].keys()
    assert [n for n in results[0] if results[0][n] != results[1][n]] == []


def test_disk_full_leaves_nothing(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = subprocess.run(
        [*CONVERT, IRIS, tmp_path / "out.onnx", "--no-check"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "the result cannot be written" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_destination_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(sm.DestinationError, match="cannot be written"):
        sm.convert(IRIS, tmp_path / "file" / "out.onnx", checked=False)
