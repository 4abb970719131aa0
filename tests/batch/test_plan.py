"""What a manifest, folder, glob or URL comes down to."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import pytest

from case import DATA
from smconvert.batch import discovery, manifest
from smconvert.batch.local import Capacity, LocalEngine
from smconvert.batch.plan import Job, plan
from smconvert.cli.batch import size
from smconvert.errors import SmconvertError, SourceError, UsageError

TF1 = DATA / "tf1"
TF2 = DATA / "tf2"


def names(place: object) -> list[str]:
    return [found.name for found in discovery.find(str(place))]


def planned(text: str, folder: Path) -> tuple[Job, ...]:
    (folder / "batch.yaml").write_text(text)
    return plan(manifest.read(str(folder / "batch.yaml")))


def test_artifacts_are_found_once_each() -> None:
    assert names(TF1 / "sharded") == ["model.ckpt"]
    assert names(TF1 / "iris_raw") == ["export/1570635853"]
    assert names(TF1 / "tag_sets" / "model") == ["model"]
    assert names(TF1 / "checkpoint_folder") == ["run"]
    assert names(TF1 / "nested_exports") == ["export/100", "export/200"]
    assert len(names(TF1)) > 60


def test_one_that_is_named_may_be_called_anything(tmp_path: Path) -> None:
    shutil.copy(TF1 / "frozen_mlp" / "graph.pb", tmp_path / "model")
    shutil.copy(TF1 / "frozen_mlp" / "graph.pb", tmp_path / "other")
    assert names(tmp_path / "model") == ["model"]
    (found,) = discovery.find(str(TF1 / "sharded" / "model.ckpt"))
    assert sorted(Path(file.path).suffix for file in found.files)[-1] == ".meta"


def test_globs() -> None:
    found = names(TF1 / "frozen_*" / "*.pb*")
    assert found[0] == "frozen_mlp/graph"
    assert len(found) == 4


def test_buckets() -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(TF1 / "iris_raw" / "export"), "/bucket/old/iris", recursive=True)
    memory.put_file(str(TF1 / "frozen_mlp" / "graph.pb"), "/bucket/old/mlp.pb")
    found = discovery.find("memory://bucket/old")
    assert {f.name.split("/")[0] for f in found} == {"iris", "mlp"}
    assert all(file.url.startswith("memory://") for f in found for file in f.files)
    memory.rm("/bucket", recursive=True)


def test_a_manifest(tmp_path: Path) -> None:
    shutil.copytree(TF1 / "frozen_mlp", tmp_path / "a")
    shutil.copytree(TF1 / "graphdef_checkpoint", tmp_path / "b")
    jobs = planned(
        """
        to: onnx
        options: {opset: 18}
        models:
          - a/*.pb
          - source: b/graph.pbtxt
            checkpoint: b/model.ckpt
            name: with_weights
            to: savedmodel
            inputs: {x: x}
        """,
        tmp_path,
    )
    by_name = {job.name: job for job in jobs}
    assert set(by_name) == {"graph.onnx", "with_weights"}
    assert by_name["graph.onnx"].settings == {"to": "onnx", "opset": 18}
    settings = by_name["with_weights"].settings
    assert settings["checkpoint"] == ".checkpoint-0/model.ckpt"
    assert settings["inputs"] == {"x": "x"}
    assert len(by_name["with_weights"].files) == 3


def test_names_that_differ_in_the_suffix_only_keep_it(tmp_path: Path) -> None:
    shutil.copy(TF1 / "frozen_mlp" / "graph.pb", tmp_path / "m.pb")
    shutil.copy(TF1 / "frozen_mlp_text" / "graph.pbtxt", tmp_path / "m.pbtxt")
    jobs = plan(manifest.read(str(tmp_path), {"to": "onnx"}))
    assert {job.name for job in jobs} == {"m.pb.onnx", "m.pbtxt.onnx"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "a manifest is a mapping"),
        ("models: []", "models is no list"),
        ("models: [{name: x}]", "an entry is a place"),
        ("too: onnx\nmodels: [a]", "'too' is nothing that a manifest says"),
        ("models: [{source: a, opsets: 1}]", "'opsets' is not an option of a conversion"),
        ("models: [{source: a, opset: new}]", "opset is 'new', and must be a number"),
        ("models: [{source: a, opset: true}]", "must be a number"),
        ("{", "the manifest is no YAML"),
        ("models: [nowhere]", "no model is there"),
        ("models: [a.pb]", "it is not said what to convert to"),
        ("to: onnx\nmodels: [{source: a.pb, name: ../x}]", "is no name below"),
        ("to: onnx\nmodels: [{source: a.pb, name: x}, {source: b.pb, name: x}]", "written to x"),
    ],
)
def test_errors_are_for_the_person(text: str, words: str, tmp_path: Path) -> None:
    for name in ("a.pb", "b.pb"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises((UsageError, SourceError), match=words):
        planned(text, tmp_path)


def job(name: str, memory: int) -> Job:
    return Job(name, name, name, (), {}, memory)


def test_two_big_models_do_not_meet() -> None:
    engine = LocalEngine(Capacity(jobs=4, memory=10, wall_seconds=1))
    big, other, small, huge = job("b", 7), job("o", 6), job("s", 3), job("h", 20)
    assert engine._fitting([big, other, small], {}) == [big, small]
    assert engine._fitting([other], {"b": 7}) == []
    assert engine._fitting([huge], {"s": 3}) == []
    assert engine._fitting([huge, small], {}) == [huge]
    assert engine._fitting([small] * 9, {}) == [small] * 3


def test_weights_decide_what_a_model_needs(tmp_path: Path) -> None:
    (tmp_path / "small.pb").write_bytes(b"x")
    with (tmp_path / "large.pb").open("wb") as stream:
        stream.truncate(200 << 20)
    large, small = plan(manifest.read(str(tmp_path), {"to": "onnx"}))
    assert large.name == "large.onnx"
    assert large.memory - small.memory == 5 * ((200 << 20) - 1)


@pytest.mark.parametrize(("text", "expected"), [("12G", 12 * 10**9), ("1.5 gb", 15 * 10**8)])
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


def test_every_error_has_words() -> None:
    with pytest.raises(SmconvertError) as raised:
        discovery.find("nothing-of-this-name")
    assert "are looked for" in str(raised.value)
