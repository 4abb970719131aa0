"""What cannot be converted is refused in words, and leaves nothing behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import smconvert as sm
from case import DATA, load_case
from smconvert.runtimes.workers import Workers

TF1 = DATA / "tf1"
TF2 = DATA / "tf2"


def refusal(kind: type[sm.SmconvertError], source: Path, tmp_path: Path, **options: object) -> str:
    """The words of the refusal, which must leave nothing behind."""
    folder = tmp_path / "results"
    folder.mkdir(exist_ok=True)
    with pytest.raises(kind) as refused:
        sm.convert(
            source, folder / "out.pb", checked=False, source_options=sm.SourceOptions(**options)
        )  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []
    return str(refused.value)


def copied(name: str, tmp_path: Path, source: str = "model") -> Path:
    shutil.copytree(TF1 / name / source, tmp_path / "copy")
    return tmp_path / "copy"


def test_python_function(tmp_path: Path) -> None:
    words = refusal(sm.ConversionError, TF1 / "py_func" / "model", tmp_path)
    assert "calls a Python function (PyFunc)" in words
    assert "node PyFunc" in words


def test_unknown_op(tmp_path: Path) -> None:
    case = load_case(TF1 / "unknown_op" / "case.json")
    with pytest.raises(sm.ConversionError) as refused:
        sm.convert(case.source, tmp_path / "o.pb", source_options=case.options)
    assert "does not know the op FooBarFromTheFuture" in str(refused.value)
    assert "--op-library" in str(refused.value)


def test_several_exports(tmp_path: Path) -> None:
    words = refusal(sm.SourceError, TF1 / "nested_exports" / "export", tmp_path)
    assert "contains 2 exports" in words
    assert "100, 200" in words


def test_several_tag_sets(tmp_path: Path) -> None:
    words = refusal(sm.UsageError, TF1 / "tag_sets" / "model", tmp_path)
    assert "{serve}; {gpu, serve}; {train}" in words
    assert "--tag" in words


def test_wrong_tag_set(tmp_path: Path) -> None:
    words = refusal(sm.UsageError, TF1 / "tag_sets" / "model", tmp_path, tags=frozenset({"gpu"}))
    assert "no graph has exactly the tags {gpu}" in words


def test_wrong_signature(tmp_path: Path) -> None:
    source = TF1 / "iris_raw" / "export"
    words = refusal(sm.UsageError, source, tmp_path, signatures=("serving",))
    assert "there is no signature 'serving'" in words
    assert "predict" in words


def test_several_signatures_in_one_file(tmp_path: Path) -> None:
    words = refusal(sm.UsageError, TF1 / "counter" / "model", tmp_path)
    assert "--signature" in words


def test_ambiguous_outputs(tmp_path: Path) -> None:
    words = refusal(sm.UsageError, TF1 / "ambiguous" / "graph.pb", tmp_path)
    assert "2 tensors could be its output" in words
    assert "first:0" in words
    assert "second:0" in words


def test_missing_graph(tmp_path: Path) -> None:
    words = refusal(sm.SourceError, TF1 / "checkpoint_no_graph" / "model.ckpt", tmp_path)
    assert "its graph model.ckpt.meta is missing" in words
    assert "--checkpoint" in words


def test_object_checkpoint_without_code(tmp_path: Path) -> None:
    words = refusal(sm.SourceError, TF2 / "object_checkpoint" / "ckpt", tmp_path)
    assert "--model package.module:factory" in words


def test_unfed_placeholder(tmp_path: Path) -> None:
    case = load_case(TF1 / "metagraph_train" / "case.json")
    words = refusal(
        sm.ConversionError,
        case.source,
        tmp_path,
        inputs=case.options.inputs,
        outputs=case.options.outputs,
    )
    assert "is not an input of the signature" in words
    assert "--set is_training=VALUE" in words or "--set keep_prob=VALUE" in words


def test_misspelt_tensor(tmp_path: Path) -> None:
    words = refusal(
        sm.UsageError, TF1 / "frozen_mlp" / "graph.pb", tmp_path, outputs={"y": "MatMull:0"}
    )
    assert "no node 'MatMull'" in words
    assert "did you mean MatMul" in words


def test_output_index_out_of_range(tmp_path: Path) -> None:
    words = refusal(sm.UsageError, TF1 / "frozen_mlp" / "graph.pb", tmp_path, outputs={"y": "y:3"})
    assert "'y' (Softmax) has no output 3" in words
    assert "its one output is y:0" in words


def test_fetch_that_is_an_operation(tmp_path: Path) -> None:
    words = refusal(
        sm.UsageError,
        TF1 / "metagraph_train" / "model.ckpt.meta",
        tmp_path,
        outputs={"y": "init"},
        inputs={"x": "x"},
    )
    assert "is an operation (NoOp) without outputs" in words


def test_wrong_fixed_value(tmp_path: Path) -> None:
    words = refusal(
        sm.UsageError,
        TF1 / "frozen_mlp" / "graph.pb",
        tmp_path,
        fixed_inputs={"training": False},
        outputs={"y": "y"},
    )
    assert "no placeholder 'training'" in words


def test_variable_missing_from_checkpoint(tmp_path: Path) -> None:
    case = load_case(TF1 / "graphdef_checkpoint" / "case.json")
    words = refusal(
        sm.SourceError,
        case.source,
        tmp_path,
        inputs=case.options.inputs,
        outputs=case.options.outputs,
        checkpoint=str(TF1 / "metagraph_var_kinds" / "model.ckpt"),
    )
    assert "the checkpoint has no 'w0'" in words
    assert "--map-variable w0=KEY" in words


def test_variable_of_another_shape(tmp_path: Path) -> None:
    case = load_case(TF1 / "graphdef_renamed" / "case.json")
    words = refusal(
        sm.SourceError,
        case.source,
        tmp_path,
        inputs=case.options.inputs,
        outputs=case.options.outputs,
        checkpoint=case.options.checkpoint,
        variable_map={"w0": "b0"},
    )
    assert "holds 'b0' as float32[4]" in words
    assert "float32[3, 4]" in words


def test_graph_with_variables_and_no_checkpoint(tmp_path: Path) -> None:
    case = load_case(TF1 / "graphdef_checkpoint" / "case.json")
    words = refusal(
        sm.SourceError,
        case.source,
        tmp_path,
        inputs=case.options.inputs,
        outputs=case.options.outputs,
    )
    assert "there is no checkpoint" in words


@pytest.mark.parametrize("content", [b"", b"\x0a\xff\xff\xff\x7f rubbish", b"<html>"])
def test_damaged_saved_model(content: bytes, tmp_path: Path) -> None:
    source = copied("savedmodel_builder_ref", tmp_path)
    (source / "saved_model.pb").write_bytes(content)
    words = refusal(sm.SourceError, source, tmp_path)
    assert "saved_model.pb" in words


def test_truncated_saved_model(tmp_path: Path) -> None:
    source = copied("savedmodel_builder_ref", tmp_path)
    file = source / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:2000])
    assert "damaged" in refusal(sm.SourceError, source, tmp_path)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    source = copied("savedmodel_builder_ref", tmp_path)
    (source / name).unlink()
    assert "saved_model.pb is missing" in (words := refusal(sm.SourceError, source, tmp_path)) or (
        "cannot be read" in words
    )


def test_truncated_variables(tmp_path: Path) -> None:
    source = copied("savedmodel_builder_ref", tmp_path)
    file = source / "variables" / "variables.data-00000-of-00001"
    file.write_bytes(file.read_bytes()[:5])
    assert "cannot be read" in refusal(sm.SourceError, source, tmp_path)


def test_missing_asset(tmp_path: Path) -> None:
    source = copied("table_vocab_dense", tmp_path)
    shutil.rmtree(source / "assets")
    assert "the asset 'words.txt' is missing" in refusal(sm.SourceError, source, tmp_path)


def test_truncated_text_graph(tmp_path: Path) -> None:
    source = tmp_path / "graph.pbtxt"
    text = (TF1 / "frozen_mlp_text" / "graph.pbtxt").read_text()
    source.write_text(text[: len(text) // 2])
    words = refusal(sm.SourceError, source, tmp_path)
    assert "graph.pbtxt is damaged" in words


def test_nothing_there(tmp_path: Path) -> None:
    assert "is not a model" in refusal(sm.SourceError, tmp_path / "nowhere", tmp_path)


def test_lambda_layer(tmp_path: Path) -> None:
    words = refusal(sm.ConversionError, TF2 / "keras3_lambda" / "model.keras", tmp_path)
    assert "the layer 'twice' is a Lambda" in words


def test_custom_layer(tmp_path: Path) -> None:
    words = refusal(sm.ConversionError, TF2 / "keras3_custom" / "model.keras", tmp_path)
    assert "the layer 'doubled' is of the class Doubled" in words
    assert "--custom-objects" in words


def test_weights_only(tmp_path: Path) -> None:
    words = refusal(sm.SourceError, TF2 / "keras3_weights" / "model.weights.h5", tmp_path)
    assert "holds weights only" in words


def test_archive_that_points_outside(tmp_path: Path) -> None:
    words = refusal(sm.SourceError, TF2 / "keras_traversal" / "model.keras", tmp_path)
    assert "points outside it" in words


def test_existing_destination(tmp_path: Path) -> None:
    destination = tmp_path / "out.onnx"
    destination.write_text("mine")
    with pytest.raises(sm.DestinationError, match="exists already"):
        sm.convert(TF1 / "iris_raw" / "export", destination)
    assert destination.read_text() == "mine"


def test_destination_without_known_suffix(tmp_path: Path) -> None:
    with pytest.raises(sm.UsageError, match="names no format"):
        sm.convert(TF1 / "iris_raw" / "export", tmp_path / "out.tflite")


def test_option_of_another_format(tmp_path: Path) -> None:
    with pytest.raises(sm.UsageError, match="--opset has no meaning for graphdef"):
        sm.convert(
            TF1 / "iris_raw" / "export",
            tmp_path / "out.pb",
            target_options=sm.TargetOptions(opset=17),
        )


def test_destination_inside_source(tmp_path: Path) -> None:
    source = copied("savedmodel_builder_ref", tmp_path)
    with pytest.raises(sm.UsageError, match="lies inside the source"):
        sm.convert(source, source / "out.onnx")


def test_source_that_changes_under_way(tmp_path: Path) -> None:
    source = copied("savedmodel_builder_ref", tmp_path)
    destination = tmp_path / "out.pb"

    def spoil(step: str) -> None:
        if step.startswith("writing"):
            (source / "variables" / "extra").write_text("x")

    with pytest.raises(sm.SourceError, match="changed while it was being converted"):
        sm.convert(source, destination, checked=False, progress=spoil)
    assert not destination.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_result_that_differs_is_not_handed_over(tmp_path: Path, workers: Workers) -> None:
    """The tolerance of 0 on a softmax that rounds differently: failed, and kept only aside."""
    x = {"image": np.linspace(-3, 3, 8 * 8 * 2 * 64, dtype=np.float32).reshape(64, 8, 8, 2)}
    data = tmp_path / "x.npz"
    np.savez(data, **x)
    with pytest.raises(sm.ParityError) as failed:
        sm.convert(
            TF1 / "frozen_no_names" / "graph.pb",
            tmp_path / "out.onnx",
            check_options=sm.CheckOptions(rtol=0.0, atol=0.0, data=data),
            keep_failed=tmp_path / "failed",
            workers=workers,
        )
    assert "out of tolerance" in str(failed.value)
    assert not (tmp_path / "out.onnx").exists()
    assert (tmp_path / "failed" / "out.onnx").is_file()


def test_python_function_in_a_bare_graph(tmp_path: Path) -> None:
    case = load_case(TF1 / "py_func_graph" / "case.json")
    words = refusal(
        sm.ConversionError,
        case.source,
        tmp_path,
        inputs=case.options.inputs,
        outputs=case.options.outputs,
    )
    assert "calls a Python function (PyFunc)" in words
