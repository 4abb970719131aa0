"""``--compat tf1``: the result is loaded by TensorFlow 1.15 itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import smconvert as sm
from case import DATA, Case, cases, close, decode

PYTHON = os.environ.get("SMCONVERT_TF1_PYTHON")
NAMES = {
    "iris_raw",
    "iris_parsing",
    "multi_signature",
    "partitioned",
    "table_vocab",
    "cond_var",
    "rnn",
    "odd_aliases",
    "default_input",
    "module_signatures",
}


@pytest.mark.tf1
@pytest.mark.skipif(
    PYTHON is None, reason="SMCONVERT_TF1_PYTHON names no Python with TensorFlow 1.15"
)
@pytest.mark.parametrize("case", [c for c in cases() if c.name in NAMES], ids=lambda c: c.name)
def test_tensorflow_1_15_loads_the_result(case: Case, tmp_path: Path) -> None:
    sm.convert(
        case.source,
        tmp_path / "out",
        source_options=case.options,
        target_options=sm.TargetOptions(compat="tf1"),
        checked=False,
    )
    for name, calls in case.signatures.items():
        for number, call in enumerate(calls):
            recorded = json.loads(case.file.read_text())
            request = recorded["signatures"][name]["calls"][number]["inputs"]
            done = subprocess.run(
                [str(PYTHON), str(DATA / "run_tf1.py"), str(tmp_path / "out"), name],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONPATH": str(DATA), "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
            outputs = json.loads(done.stdout.splitlines()[-1])
            for output, expected in call.outputs.items():
                assert close(decode(outputs[output]), expected), output
