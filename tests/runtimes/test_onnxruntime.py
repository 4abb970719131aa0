"""Where ONNX Runtime says that its nodes ran, and what it has no way to do."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from smconvert.errors import Unavailable
from smconvert.runtimes import probes
from smconvert.runtimes.onnxruntime import DRIVER, OnnxRuntime, nodes_by_provider
from smconvert.runtimes.places import place
from smconvert.runtimes.workers import Workers


def has_driver() -> bool:
    try:
        return bool(ctypes.CDLL(DRIVER).cuInit(0) == 0)
    except OSError:
        return False


def test_nodes_are_counted_from_a_real_profile(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    with probes.folder() as models:
        session = onnxruntime.InferenceSession(
            str(models["ort"].path), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(3):
            session.run(None, probes.FEEDS)
        assert nodes_by_provider(Path(session.end_profiling())) == {"CPUExecutionProvider": 1}


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("ort:cpu:tf32", "no tf32 on cpu"),
        ("ort:cpu:xla", "ONNX Runtime has no XLA"),
        ("ort:cuda:bf16", "no bf16 on cuda"),
    ],
)
def test_what_there_is_no_way_to_do(where: str, reason: str) -> None:
    with probes.folder() as models, pytest.raises(Unavailable, match=reason):
        OnnxRuntime().open(models["ort"], place(where))


@pytest.mark.parametrize("where", ["ort:cuda", "ort:cuda:tf32"])
@pytest.mark.skipif(not has_driver(), reason="there is no NVIDIA driver or GPU here")
def test_cuda(where: str, workers: Workers) -> None:
    with probes.folder() as models:
        ran = workers.measure(models["ort"], [probes.FEEDS], place(where))
    assert ran.placement.get("CUDAExecutionProvider", 0) >= 1
    np.testing.assert_allclose(ran.outputs[0]["y"], np.eye(4), rtol=1e-3)
