"""A worker that dies, hangs or refuses is an error of the run, never of the caller."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from case import DATA, Case, cases, close
from smconvert.converters import Executable, reader_for
from smconvert.errors import RuntimeFailure
from smconvert.model import SignatureInfo
from smconvert.runtimes import arrays
from smconvert.runtimes.places import Place
from smconvert.runtimes.worker import to_json
from smconvert.runtimes.workers import Workers

CHECKPOINT = DATA / "tf2" / "object_checkpoint" / "ckpt"


def object_with(factory: str, folder: Path) -> Executable:
    settings = {"factory": factory, "checkpoint": str(CHECKPOINT), "folder": str(folder)}
    return Executable("tf-object", CHECKPOINT, SignatureInfo("serving_default", (), ()), settings)


def module(folder: Path, code: str) -> Path:
    (folder / "broken_factory.py").write_text(f"import os, time\ndef build():\n    {code}\n")
    return folder


def test_crash(tmp_path: Path) -> None:
    with Workers() as workers, pytest.raises(RuntimeFailure, match="ended by signal 6"):
        workers.run(object_with("broken_factory:build", module(tmp_path, "os.abort()")), [{}])


def test_out_of_memory(tmp_path: Path) -> None:
    code = (
        "import resource, numpy; resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34)); "
        "return numpy.ones(1 << 36)"
    )
    with Workers() as workers, pytest.raises(RuntimeFailure, match=r"MemoryError: .*allocate"):
        workers.run(object_with("broken_factory:build", module(tmp_path, code)), [{}])


def test_ended_by_the_system_for_its_memory(tmp_path: Path) -> None:
    code = "os.kill(os.getpid(), 9)"
    with Workers() as workers, pytest.raises(RuntimeFailure, match="ended by signal 9") as ended:
        workers.run(object_with("broken_factory:build", module(tmp_path, code)), [{}])
    assert "memory runs out" in str(ended.value)


def test_hang(tmp_path: Path) -> None:
    executable = object_with("broken_factory:build", module(tmp_path, "time.sleep(1000)"))
    with Workers() as workers, pytest.raises(RuntimeFailure, match="did not answer within"):
        workers.measure(executable, [{}], Place("tf"), timeout=15)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_ends_with_its_parent(end: signal.Signals, tmp_path: Path) -> None:
    """Even in the middle of a run that would never end."""
    told = tmp_path / "pid"
    factory = f"open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    executable = object_with("broken_factory:build", module(tmp_path, factory))
    code = (
        "import json, sys\n"
        "from smconvert.runtimes.worker import from_json\n"
        "from smconvert.runtimes.workers import Workers\n"
        "with Workers() as workers: workers.run(from_json(json.loads(sys.argv[1])), [{}])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, json.dumps(to_json(executable))])
    wait_until(lambda: told.is_file() and told.read_text() != "", 120)
    parent.send_signal(end)
    parent.wait(10)
    worker = Path("/proc") / told.read_text()
    wait_until(lambda: not worker.is_dir(), 10)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_refusal_leaves_the_worker_usable(workers: Workers) -> None:
    case = next(c for c in cases("tf1") if c.name == "frozen_mlp")
    reader, match = reader_for(case.source)
    (signature,) = reader.describe(match.path, case.options).signatures
    executable = reader.executable(match.path, case.options, signature)
    with pytest.raises(RuntimeFailure, match="shape"):
        workers.run(executable, [{"x": np.zeros((1, 99), np.float32)}])
    call = case.signatures["serving_default"][0]
    (result,) = workers.run(executable, [call.inputs])
    assert close(result["y"], call.outputs["y"])


@pytest.mark.parametrize(
    "case", [c for c in cases("tf1") if c.signatures], ids=lambda case: case.name
)
def test_reference_computes_what_tf1_recorded(case: Case, workers: Workers) -> None:
    """The source run by this TensorFlow, without any of our importers."""
    reader, match = reader_for(case.source, case.format)
    declared = {s.name: s for s in reader.describe(match.path, case.options).signatures}
    for name, calls in case.signatures.items():
        executable = reader.executable(match.path, case.options, declared[name])
        results = workers.run(executable, [call.inputs for call in calls])
        for call, result in zip(calls, results, strict=True):
            for output, expected in call.outputs.items():
                assert close(result[output], expected), output


@pytest.mark.parametrize("dtype", [">f4", ">i2", ">f8", ">c8"])
def test_arrays_of_another_byte_order_keep_their_values(dtype: str, tmp_path: Path) -> None:
    value = np.array([1, 2, 300], dtype)
    found = arrays.read(arrays.write({"x": value}, tmp_path, "x"), tmp_path)["x"]
    assert found.tolist() == value.tolist()


def test_arrays_travel_unchanged(tmp_path: Path) -> None:
    values = {
        "float": np.float32([[1.5, np.nan]]),
        "brain": np.array([1.5, -2], ml_dtypes.bfloat16),
        "empty": np.zeros((0, 3), np.int64),
        "scalar": np.array(True),
        "strings": np.array([[b"", b"a\0", "ü".encode()]], object),
        "no strings": np.empty((0, 2), object),
    }
    found = arrays.read(arrays.write(values, tmp_path, "x"), tmp_path)
    assert found.keys() == values.keys()
    for name, value in values.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes() or found[name].tolist() == value.tolist()
