"""``compare``, ``bundle``, ``verify`` and ``doctor`` as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import onnx
import pytest
from test_cli import smconvert

from case import DATA
from smconvert.doctor import combination
from smconvert.reports.document import SCHEMA

IRIS = DATA / "tf1" / "iris_raw" / "export"


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iris") / "iris.onnx"
    assert smconvert("convert", IRIS, path, "--no-check").returncode == 0
    return path


def test_compare(iris: Path, tmp_path: Path) -> None:
    reports = [tmp_path / f"r{suffix}" for suffix in (".html", ".json", ".xml")]
    flags = [f"--report={path}" for path in reports]
    done = smconvert("compare", IRIS, iris, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("passed\n")
    assert "B on ort:cpu: passed" in done.stdout
    assert "probabilities" in done.stdout
    assert all(path.stat().st_size for path in reports)
    told = json.loads(reports[1].read_text())
    jsonschema.validate(told, json.loads(SCHEMA.read_text()))


def test_compare_says_by_its_exit_code_what_was_not_run(iris: Path) -> None:
    done = smconvert("compare", iris, iris, "--on", "ort:cpu:fp16,ort:cpu", "--require", "cuda")
    assert done.returncode == 6
    assert "required, and not run: cuda" in done.stdout
    done = smconvert("compare", iris, iris, "--on", "ort:abacus")
    assert done.returncode == 2
    assert "'ort:abacus' names no place to run" in done.stderr
    done = smconvert("compare", iris, iris, "--report", "r.pdf")
    assert done.returncode == 2
    assert "use one of .html, .json, .xml" in done.stderr


def test_bundle_and_verify(tmp_path: Path) -> None:
    done = smconvert("bundle", IRIS, tmp_path / "iris.bundle")
    assert done.returncode == 0, done.stderr
    assert "proved here on ort:cpu" in done.stdout
    done = smconvert("verify", tmp_path / "iris.bundle")
    assert done.returncode == 0, done.stderr
    assert "ort:cpu: passed" in done.stdout
    done = smconvert("verify", tmp_path / "iris.bundle", "--require", "tensorrt", "--json")
    assert done.returncode == 6
    assert json.loads(done.stdout)[0]["verdict"] == "passed"
    done = smconvert("verify", IRIS)
    assert done.returncode == 3
    assert "this is not a bundle that can be read" in done.stderr


def test_doctor_runs_what_it_reports() -> None:
    done = smconvert("doctor", "--json")
    found = {f["subject"]: f for f in json.loads(done.stdout)}
    assert found["tensorflow"]["state"] == "ok"
    assert found["tf:cpu"]["state"] == "ok"
    assert found["ort:cpu"]["state"] == "ok"
    assert found["ort:cuda"]["state"] in {"ok", "absent", "problem"}
    assert done.returncode == (1 if any(f["state"] == "problem" for f in found.values()) else 0)


@pytest.mark.parametrize(
    ("onnxruntime", "driver", "problem"),
    [("1.26.0", 12, False), ("1.26.0", 13, False), ("1.31.1", 13, False), ("1.31.1", 12, True)],
)
def test_doctor_knows_bad_combinations(onnxruntime: str, driver: int, problem: bool) -> None:
    found = list(combination(onnxruntime, driver))
    assert bool(found) == problem
    if problem:
        assert "built for CUDA 13, and the driver runs CUDA 12" in found[0].detail
        assert "smconvert[cuda12]" in (found[0].hint or "")


def test_bisect_says_where(iris: Path, tmp_path: Path) -> None:
    model = onnx.load(iris)
    node = next(n for n in model.graph.node if n.op_type == "Relu")
    node.op_type = "Tanh"
    onnx.save(model, tmp_path / "wrong.onnx")
    part = tmp_path / "part.bundle"
    done = smconvert("bisect", IRIS, tmp_path / "wrong.onnx", "--reproducer", part)
    assert done.returncode == 5, done.stderr
    assert "the difference is born at" in done.stdout
    assert f"in B: Tanh {node.name!r}" in done.stdout
    assert "in A: Relu" in done.stdout
    alone = subprocess.run([sys.executable, part], capture_output=True, text=True, check=False)
    assert alone.returncode == 5
    assert "ort:cpu: failed" in alone.stdout
    done = smconvert("bisect", IRIS, iris)
    assert done.returncode == 0
    assert done.stdout == "they agree\n"
    report = tmp_path / "r.html"
    done = smconvert("compare", IRIS, tmp_path / "wrong.onnx", "--bisect", "--report", report)
    assert done.returncode == 5
    assert done.stdout.startswith("failed\n")
    assert "the difference is born at" in done.stdout
    assert "Where they part" in report.read_text()
