"""Reports say what was found, to people, programs and CI."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from smconvert.comparison import CompareOptions, Comparison, compare
from smconvert.errors import UsageError
from smconvert.reports import html, junit
from smconvert.reports.document import SCHEMA, document
from smconvert.reports.writing import ensure_writable
from smconvert.runtimes.workers import Workers

HOSTILE = "</script><img src=x onerror=alert(1)>"


def scaled(path: Path, factor: float) -> Path:
    """A model with a hostile output name."""
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])
    y = onnx.helper.make_tensor_value_info(HOSTILE, onnx.TensorProto.FLOAT, ["n", 3])
    factors = numpy_helper.from_array(np.array([factor, 1, 1], np.float32), "factor")
    node = onnx.helper.make_node("Mul", ["x", "factor"], [HOSTILE])
    graph = onnx.helper.make_graph([node], "g", [x], [y], [factors])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, workers: Workers) -> Comparison:
    folder = tmp_path_factory.mktemp("models")
    return compare(
        scaled(folder / "a.onnx", 2.0),
        scaled(folder / "b.onnx", 2.5),
        CompareOptions(on="ort:cpu,ort:cpu:fp16"),
        workers=workers,
    )


def test_json_follows_its_schema(failed: Comparison) -> None:
    told = json.loads(json.dumps(document(failed)))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(told)
    assert told["verdict"] == "failed"
    columns = {(c["artifact"], c["place"]): c for c in told["signatures"][0]["columns"]}
    assert columns["B", "ort:cpu"]["verdict"] == "failed"
    assert columns["B", "ort:cpu:fp16"]["verdict"] == "not_run"
    cell = next(c for c in columns["B", "ort:cpu"]["cells"] if c["call"] == "batch 3")
    assert cell["share_out"] == pytest.approx(1 / 3)
    assert cell["actual"] == pytest.approx(cell["expected"] * 1.25)
    spread = columns["B", "ort:cpu"]["distributions"][HOSTILE]
    assert spread["exact"] + sum(d["count"] for d in spread["decades"]) > 0


def test_html_is_one_file_and_holds_no_foreign_code(failed: Comparison) -> None:
    page = html.render(document(failed))
    assert "<h1>Failed</h1>" in page
    assert "ort:cpu:fp16" in page
    assert "not run" in page
    assert HOSTILE not in page
    assert "&lt;/script&gt;" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert page.count("<svg") == 2


def test_junit_is_counted(failed: Comparison) -> None:
    root = ElementTree.fromstring(junit.render(document(failed)))
    suite = root[0]
    assert suite.attrib["tests"] == "3"
    assert suite.attrib["failures"] == "1"
    assert suite.attrib["skipped"] == "2"
    failure = root.find(".//failure")
    assert failure is not None
    assert "out of tolerance" in failure.attrib["message"]


def test_a_report_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no form of report"):
        ensure_writable(tmp_path / "report.pdf")
    with pytest.raises(UsageError, match="is not there"):
        ensure_writable(tmp_path / "missing" / "report.html")
