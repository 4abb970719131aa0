"""Damaged and hostile files: only errors for the person come out of the readers."""

from __future__ import annotations

import contextlib
import random
import shutil
import zipfile
from pathlib import Path

import pytest

import smconvert as sm
from case import DATA
from smconvert.graph.protos import graph_pb2, saved_model_pb2

SOURCES = [
    ("tf1/iris_parsing/export/1570635853", "saved_model.pb"),
    ("tf1/savedmodel_builder_ref/model", "variables/variables.index"),
    ("tf1/pbtxt/model", "saved_model.pbtxt"),
    ("tf2/module_signatures/model", "saved_model.pb"),
    ("tf1/frozen_with_training", "graph.pb"),
    ("tf1/frozen_mlp_text", "graph.pbtxt"),
    ("tf1/metagraph_train", "model.ckpt.meta"),
    ("tf1/metagraph_train", "model.ckpt.index"),
    ("tf1/checkpoint_v1", "model.ckpt"),
    ("tf2/keras3_functional", "model.keras"),
    ("tf2/keras3_h5", "model.h5"),
]


def ids(parameter: object) -> str:
    return str(parameter).replace("/", "-")


@pytest.mark.parametrize(("source", "file"), SOURCES, ids=ids)
def test_damage(source: str, file: str, tmp_path: Path) -> None:
    """Truncated anywhere, with bits flipped, with runs of other bytes, empty, and made of noise."""
    copy = tmp_path / "copy"
    shutil.copytree(DATA / source, copy)
    whole = (copy / file).read_bytes()
    chance = random.Random(0)
    for number in range(60):
        data = bytearray(whole)
        kind = number % 4
        if kind == 0:
            del data[chance.randrange(len(data)) :]
        elif kind == 1:
            for _ in range(1 + number // 4):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif kind == 2:
            start = chance.randrange(len(data))
            data[start : start + 40] = chance.randbytes(40)
        else:
            data = bytearray(chance.randbytes(chance.randrange(200)))
        (copy / file).write_bytes(data)
        for path in (copy / file, copy):
            with contextlib.suppress(sm.SmconvertError):
                sm.inspect(path)
        assert (copy / file).read_bytes() == data


def test_a_constant_that_claims_a_terabyte(tmp_path: Path) -> None:
    graph = graph_pb2.GraphDef.FromString((DATA / "tf1/frozen_mlp/graph.pb").read_bytes())
    for node in graph.node:
        if node.op == "Const":
            node.attr["value"].tensor.tensor_shape.dim.add(size=1 << 40)
    (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
    sm.inspect(tmp_path / "graph.pb")
    with pytest.raises(sm.SmconvertError):
        sm.convert(tmp_path / "graph.pb", tmp_path / "out.pb", checked=False)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ""])
def test_asset_that_points_outside(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(DATA / "tf2/module_signatures/model", copy)
    saved = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes())
    saved.meta_graphs[0].asset_file_def[0].filename = name
    (copy / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(sm.SourceError, match="points outside the model's folder"):
        sm.inspect(copy)
    with pytest.raises(sm.SourceError, match="points outside the model's folder"):
        sm.load(copy)


def test_a_bomb_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("config.json", " " * (100 << 20))
    with pytest.raises(sm.SourceError, match="times its size"):
        sm.inspect(tmp_path / "m.keras")


def test_a_config_nested_to_hurt(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("config.json", "[" * 100_000)
    with pytest.raises(sm.SourceError):
        sm.inspect(tmp_path / "m.keras")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"smconvert": 1}', '{"smconvert": 9}', "null"])
def test_a_manifest_that_is_none(text: str, tmp_path: Path) -> None:
    shutil.copy(DATA / "tf1/frozen_mlp/graph.pb", tmp_path / "graph.pb")
    (tmp_path / "graph.pb.json").write_text(text)
    with pytest.raises(sm.SourceError, match="is not a manifest of smconvert"):
        sm.inspect(tmp_path / "graph.pb")


def test_a_state_file_that_points_elsewhere(tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(DATA / "tf1/checkpoint_folder/run", copy)
    shutil.copytree(DATA / "tf1/metagraph_train", tmp_path / "other")
    (copy / "checkpoint").write_text('model_checkpoint_path: "../other/model.ckpt"\n')
    with pytest.raises(sm.SourceError, match="which is not there"):
        sm.inspect(copy)
