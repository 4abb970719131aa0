"""A bundle proves its model wherever it lands, and what is wrong with it is seen."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import smconvert as sm
from case import DATA
from smconvert.bundle.verify import verify
from smconvert.bundle.write import make
from smconvert.errors import DestinationError, ParityError, SourceError, UsageError
from smconvert.parity.comparison import Verdict
from smconvert.runtimes.places import places
from smconvert.runtimes.workers import Workers

IRIS = DATA / "tf1" / "iris_raw" / "export"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, workers: Workers) -> Path:
    return make(IRIS, tmp_path_factory.mktemp("bundle") / "iris.bundle", workers=workers).path


def test_it_proves_itself(bundle: Path) -> None:
    cpu, cuda = verify(bundle, places("ort:cpu,ort:cpu:fp16"))
    assert cpu.verdict is Verdict.PASSED
    assert {o.name for o in cpu.outputs} >= {"logits", "probabilities", "classes", "class_ids"}
    assert cuda.verdict is Verdict.NOT_RUN
    assert "no fp16 on cpu" in (cuda.reason or "")


def test_it_runs_without_smconvert_and_tensorflow(bundle: Path, tmp_path: Path) -> None:
    """In a new environment that sees numpy and onnxruntime of this one, and nothing else."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    visible = tmp_path / "packages"
    visible.mkdir()
    for package in ("numpy", "numpy.libs", "onnxruntime"):
        found = [Path(p) / package for p in sys.path if (Path(p) / package).is_dir()]
        if found:
            (visible / package).symlink_to(found[0])
    blocked = "import sys\nfor name in ('tensorflow', 'onnx', 'ml_dtypes', 'google'):\n"
    blocked += "    sys.modules[name] = None\n"
    (visible / "sitecustomize.py").write_text(blocked)
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "python", bundle, "--json"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(visible), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (proof,) = json.loads(done.stdout)
    assert proof["verdict"] == "passed"
    assert {o["name"] for o in proof["outputs"]} >= {"logits", "classes"}


def test_the_same_bundle_has_the_same_files(bundle: Path, tmp_path: Path, workers: Workers) -> None:
    again = make(IRIS, tmp_path / "again.bundle", workers=workers).path
    with zipfile.ZipFile(bundle) as one, zipfile.ZipFile(again) as other:
        assert one.namelist() == other.namelist()
        for name in one.namelist():
            if name != "bundle.json":
                assert one.read(name) == other.read(name), name


def rewritten(bundle: Path, path: Path, changes: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name, old.read(name)))
    return path


def test_a_changed_model_is_seen(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        model = onnx.load_from_string(archive.read("model.onnx"))
        manifest = json.loads(archive.read("bundle.json"))
    weight = next(t for t in model.graph.initializer if list(t.dims) == [10, 3])
    values = numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    changed = model.SerializeToString()
    path = rewritten(bundle, tmp_path / "x.bundle", {"model.onnx": changed})
    with pytest.raises(SourceError, match=r"'model.onnx' is not what the manifest says"):
        verify(path, places("ort:cpu"))
    import hashlib

    manifest["files"]["model.onnx"] = {
        "bytes": len(changed),
        "sha256": hashlib.sha256(changed).hexdigest(),
    }
    told = json.dumps(manifest).encode()
    path = rewritten(path, tmp_path / "y.bundle", {"bundle.json": told})
    (proof,) = verify(path, places("ort:cpu"))
    assert proof.verdict is Verdict.FAILED
    assert "out of tolerance" in (proof.reason or "")


def test_a_name_that_points_outside(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        manifest = json.loads(archive.read("bundle.json"))
    manifest["files"]["../../outside"] = manifest["files"]["model.onnx"]
    path = rewritten(bundle, tmp_path / "x.bundle", {"bundle.json": json.dumps(manifest).encode()})
    with pytest.raises(SourceError, match="points outside of it"):
        verify(path, places("ort:cpu"))


@pytest.mark.parametrize("content", [b"", b"PK", b"{}", b"\x00" * 1000])
def test_what_is_no_bundle(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.bundle").write_bytes(content)
    with pytest.raises(SourceError, match="not a bundle that can be read"):
        verify(tmp_path / "x.bundle", places("ort:cpu"))
    with pytest.raises(SourceError, match="not a bundle that can be read"):
        verify(tmp_path / "missing.bundle", places("ort:cpu"))


def test_external_weights_come_along(tmp_path: Path, workers: Workers) -> None:
    options = sm.TargetOptions(external_data=True)
    large = np.ones((4, 400), np.float32)
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 400])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [x],
        [y],
        [numpy_helper.from_array(large, "w")],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    assert (tmp_path / "m.data").exists()
    made = make(tmp_path / "m.onnx", tmp_path / "m.bundle", target_options=options, workers=workers)
    (tmp_path / "m.data").unlink()
    (proof,) = verify(made.path, places("ort:cpu"))
    assert proof.verdict is Verdict.PASSED


def test_refusals(bundle: Path, tmp_path: Path, workers: Workers) -> None:
    with pytest.raises(DestinationError, match="exists already"):
        make(IRIS, bundle, workers=workers)
    with pytest.raises(UsageError, match=r"holds one signature|has 3 signatures"):
        make(DATA / "tf1" / "iris_parsing" / "export", tmp_path / "x", workers=workers)
    other = tmp_path / "other.onnx"
    sm.convert(IRIS, other, checked=False)
    model = onnx.load(other)
    for tensor in model.graph.initializer:
        if list(tensor.dims) == [10, 3]:
            tensor.CopyFrom(numpy_helper.from_array(np.ones((10, 3), np.float32), tensor.name))
    onnx.save(model, other)
    with pytest.raises(ParityError, match="does not compute what the source computes"):
        make(IRIS, tmp_path / "x.bundle", model=other, workers=workers)
    assert not (tmp_path / "x.bundle").exists()
