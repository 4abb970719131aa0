"""Verdicts on real graphs: what is random or stateful is told apart from what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from smconvert.converters import Executable
from smconvert.model import (
    CanonicalModel,
    DType,
    Provenance,
    Signature,
    SignatureInfo,
    TensorInfo,
)
from smconvert.parity.check import CheckOptions, Parity, Verdict, check
from smconvert.runtimes.workers import Workers

Build = Callable[[Any], dict[str, Any]]


def executable(build: Build, path: Path, default: float | None = None) -> Executable:
    with tf.Graph().as_default() as graph:
        if default is None:
            x = tf.compat.v1.placeholder(tf.float32, [3], "x")
        else:
            x = tf.compat.v1.placeholder_with_default(np.full(3, default, np.float32), [3], "x")
        outputs = {n: tf.identity(v, n) for n, v in build(x).items()}
    path.write_bytes(graph.as_graph_def().SerializeToString())
    fallback = None if default is None else np.full(3, default, np.float32)
    info = SignatureInfo(
        "s",
        (TensorInfo("x", DType.FLOAT32, (3,), "x:0", fallback),),
        tuple(TensorInfo(n, DType.FLOAT32, None, f"{n}:0") for n in outputs),
    )
    return Executable("tf1-session", path, info, {"graph": "graphdef"})


def compared(source: Build, result: Build, folder: Path, workers: Workers) -> Parity:
    reference = executable(source, folder / "source.pb")
    converted = executable(result, folder / "result.pb")
    info = reference.signature
    model = CanonicalModel(
        {"s": Signature("s", info.inputs, info.outputs, function=None)},
        tf.Module(),
        Provenance("", ""),
    )
    np.savez(folder / "x.npz", x=np.float32([1, 2, 3]))
    options = CheckOptions(data=folder / "x.npz")
    return check(model, {"s": reference}, {"s": converted}, options, workers)


def noise(x: Any) -> Any:
    return tf.random.uniform(tf.shape(x))


def test_jitter_in_the_source_does_not_excuse_a_wrong_result(
    tmp_path: Path, workers: Workers
) -> None:
    parity = compared(
        lambda x: {"y": x * (1 + 1e-6 * noise(x)), "z": x},
        lambda x: {"y": x * 3, "z": x},
        tmp_path,
        workers,
    )
    assert parity.verdict is Verdict.FAILED
    assert parity.reason is not None
    assert "'y'" in parity.reason


def test_random_outputs_are_told_and_the_others_compared(tmp_path: Path, workers: Workers) -> None:
    parity = compared(
        lambda x: {"noise": noise(x), "z": x},
        lambda x: {"noise": noise(x), "z": x},
        tmp_path,
        workers,
    )
    assert parity.verdict is Verdict.PASSED
    assert parity.signatures[0].outputs[0].verdict is Verdict.NOT_RUN
    assert parity.reason == "s: noise not compared, being random"


def test_nothing_but_random_outputs_is_not_run(tmp_path: Path, workers: Workers) -> None:
    parity = compared(lambda x: {"y": noise(x)}, lambda x: {"y": noise(x)}, tmp_path, workers)
    assert parity.verdict is Verdict.NOT_RUN


def test_a_wrong_output_beside_a_random_one_fails(tmp_path: Path, workers: Workers) -> None:
    parity = compared(
        lambda x: {"noise": noise(x), "z": x},
        lambda x: {"noise": noise(x), "z": x + 1},
        tmp_path,
        workers,
    )
    assert parity.verdict is Verdict.FAILED


@pytest.mark.parametrize(("kept", "verdict"), [(5, Verdict.PASSED), (6, Verdict.FAILED)])
def test_the_sources_own_default_counts(
    kept: float, verdict: Verdict, tmp_path: Path, workers: Workers
) -> None:
    """The source isn't fed; a default that was misread in the conversion shows."""
    reference = executable(lambda x: {"y": x + 0}, tmp_path / "source.pb", 5)
    result = executable(lambda x: {"y": x + 0}, tmp_path / "result.pb", kept)
    signature = Signature("s", result.signature.inputs, result.signature.outputs, function=None)
    np.savez(tmp_path / "x.npz")
    parity = check(
        CanonicalModel({"s": signature}, tf.Module(), Provenance("", "")),
        {"s": reference},
        {"s": result},
        CheckOptions(data=tmp_path / "x.npz"),
        workers,
    )
    assert parity.verdict is verdict
