"""Every operator set that can be asked for: declared, runnable, and with the same numbers."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import smconvert as sm
from case import DATA, load_case
from smconvert.errors import ConversionError
from smconvert.runtimes.workers import Workers
from smconvert_onnx.exporter import MAX_OPSET
from smconvert_onnx.opsets import raised

IRIS = DATA / "tf1" / "iris_raw" / "export"


@pytest.mark.parametrize("opset", range(13, MAX_OPSET + 1))
def test_each_opset(opset: int, tmp_path: Path, workers: Workers) -> None:
    done = sm.convert(
        IRIS,
        tmp_path / "iris.onnx",
        target_options=sm.TargetOptions(opset=opset),
        workers=workers,
    )
    assert done.exit_code == 0
    model = onnx.load(tmp_path / "iris.onnx")
    assert {o.domain: o.version for o in model.opset_import}[""] == opset
    assert done.manifest["opset"] == opset


@pytest.mark.parametrize("name", ["nested_while", "dynamic_rnn", "cond"])
def test_loops_in_the_newest_opset(name: str, tmp_path: Path, workers: Workers) -> None:
    case = load_case(DATA / "tf1" / name / "case.json")
    done = sm.convert(
        case.source,
        tmp_path / "m.onnx",
        source_options=case.options,
        target_options=sm.TargetOptions(opset=MAX_OPSET),
        workers=workers,
    )
    assert done.exit_code == 0


def test_an_op_that_changed_inside_a_branch_is_refused() -> None:
    helper = onnx.helper
    axis = helper.make_node("DFT", ["x"], ["spectrum"], "dft", axis=1)
    info = helper.make_tensor_value_info("spectrum", onnx.TensorProto.FLOAT, None)
    branch = helper.make_graph([axis], "branch", [], [info])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8, 1])
    c = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x, c], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(ConversionError, match="DFT in a loop or branch is another op in opset 20"):
        raised(model, 20)


def test_an_opset_that_is_not_there(tmp_path: Path) -> None:
    for opset in (12, MAX_OPSET + 1):
        with pytest.raises(sm.UsageError, match=f"opset {opset} cannot be written"):
            sm.convert(IRIS, tmp_path / "m.onnx", target_options=sm.TargetOptions(opset=opset))
