"""A custom op, compiled here: named without its library, converted with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import smconvert as sm
from case import DATA
from smconvert.graph.protos import graph_pb2
from smconvert.runtimes.workers import Workers

OP = "SmconvertDoubled"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed, and the op must be compiled")
    path = tmp_path_factory.mktemp("op") / "doubled.so"
    flags = [*tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags()]
    command = [compiler, "-shared", "-fPIC", "-O1", "-w", str(DATA / "doubled.cc"), "-o", str(path)]
    subprocess.run([*command, *flags], check=True)
    return path


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    made = graph_pb2.GraphDef()
    x = made.node.add(name="x", op="Placeholder")
    x.attr["dtype"].type = 1
    x.attr["shape"].shape.dim.add(size=-1)
    made.node.add(name="y", op=OP, input=["x"])
    path = tmp_path / "graph.pb"
    path.write_bytes(made.SerializeToString())
    return path


def test_it_is_named_without_its_library(graph: Path, tmp_path: Path) -> None:
    options = sm.SourceOptions(inputs={"x": "x"}, outputs={"y": "y"})
    with pytest.raises(sm.ConversionError, match=OP) as refused:
        sm.convert(graph, tmp_path / "out", source_options=options)
    assert "--op-library" in str(refused.value)


def test_it_is_converted_with_it(
    library: Path, graph: Path, tmp_path: Path, workers: Workers
) -> None:
    options = sm.SourceOptions(inputs={"x": "x"}, outputs={"y": "y"}, op_libraries=(library,))
    for name in ("out", "out.pb"):
        done = sm.convert(graph, tmp_path / name, source_options=options, workers=workers)
        assert done.exit_code == 0, name
        (executable,) = done.artifact.executables.values()
        (result,) = workers.run(executable, [{"x": np.float32([1.5, -2.0])}])
        assert result["y"].tolist() == [3.0, -4.0]
    with pytest.raises(sm.ConversionError, match=OP):
        sm.convert(graph, tmp_path / "out.onnx", source_options=options, workers=workers)


def test_a_library_that_is_none(graph: Path, tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"\x7fELF")
    options = sm.SourceOptions(
        inputs={"x": "x"}, outputs={"y": "y"}, op_libraries=(tmp_path / "x.so",)
    )
    with pytest.raises(sm.UsageError, match=r"x\.so"):
        sm.convert(graph, tmp_path / "out", source_options=options)
