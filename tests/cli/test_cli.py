"""The command line as a user meets it: words, exit codes, stdout and stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from case import DATA, cases, close, load_case

TF1 = DATA / "tf1"
IRIS = TF1 / "iris_raw" / "export"


def smconvert(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-m", "smconvert.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_convert_says_what_it_did(tmp_path: Path) -> None:
    done = smconvert("convert", IRIS, tmp_path / "iris.onnx")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "check passed" in done.stdout
    assert "predict/probabilities: largest difference" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["iris.onnx"]


def test_run_gives_the_numbers_of_tf1(tmp_path: Path) -> None:
    smconvert("convert", IRIS, tmp_path / "iris.onnx", "--no-check")
    (call, *_) = load_case(TF1 / "iris_raw" / "case.json").signatures["predict"][1:]
    np.savez(tmp_path / "x.npz", **call.inputs)
    feeds = [f"--inputs={name}={tmp_path}/x.npz[{name}]" for name in call.inputs]
    for model in (IRIS, tmp_path / "iris.onnx"):
        done = smconvert("run", model, *feeds, "--json", "--save", tmp_path / "y.npz", "--force")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["class_ids"] == call.outputs["class_ids"].tolist()
        with np.load(tmp_path / "y.npz") as saved:
            assert close(saved["probabilities"], call.outputs["probabilities"])


def test_run_on_examples() -> None:
    expression = (
        "examples=[{'SepalLength': [5.1], 'SepalWidth': [3.3], "
        "'PetalLength': [1.7], 'PetalWidth': [0.5]}]"
    )
    source = TF1 / "iris_parsing" / "export"
    done = smconvert(
        "run", source, "--signature", "predict", "--input-examples", expression, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == [["0"]]


def test_nothing_is_evaluated(tmp_path: Path) -> None:
    done = smconvert("run", IRIS, "--input-exprs", f"x=open({str(tmp_path / 'x')!r}, 'w')")
    assert done.returncode == 2
    assert "is not a literal" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((DATA / "nowhere", "o.pb"), 3, "is not a model of any format known here"),
        ((TF1 / "tag_sets" / "model", "o.pb"), 2, "--tag"),
        ((TF1 / "py_func" / "model", "o.pb"), 4, "calls a Python function"),
        ((IRIS, "o.onnx", "--opset", "99"), 2, "choose one from 13 to 26"),
    ],
)
def test_errors_are_for_the_person(
    arguments: tuple[object, ...], code: int, words: str, tmp_path: Path
) -> None:
    done = smconvert("convert", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_unproven_results_say_so(tmp_path: Path) -> None:
    done = smconvert("convert", IRIS, tmp_path / "o.pb", "--no-check")
    assert done.returncode == 0
    assert "not checked" in done.stdout
    assert "without a check" in (tmp_path / "o.pb.json").read_text()


def test_a_random_model_is_not_called_proven(tmp_path: Path) -> None:
    source = TF1 / "random" / "model"
    done = smconvert("convert", source, tmp_path / "o", "--json")
    parity = json.loads(done.stdout)["parity"]
    verdicts = {o["name"]: o["verdict"] for o in parity["signatures"][0]["outputs"]}
    assert verdicts == {"noise": "not_run", "y": "passed"}


def test_inputs_that_the_source_refuses_leave_the_check_not_run(tmp_path: Path) -> None:
    case = load_case(TF1 / "while_loop" / "case.json")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 7), np.float32), n=np.int32(1))
    done = smconvert(
        "convert", case.source, tmp_path / "o.pb", "--inputs", "x=x,n=n", "--outputs", "y=y",
        "--data", tmp_path / "x.npz",
    )  # fmt: skip
    assert done.returncode == 6
    assert "check not run" in done.stdout
    assert "the check could not be run" in (tmp_path / "o.pb.json").read_text()


def test_inspect_reads_every_source_without_tensorflow() -> None:
    code = (
        "import sys, smconvert as sm\n"
        "from case import cases\n"
        "for c in cases():\n"
        "    try: sm.inspect(c.source, c.options)\n"
        "    except sm.SmconvertError as e: print(c.name)\n"
        "assert 'tensorflow.python' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(DATA.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"nested_exports", "keras3_weights", "keras_traversal"}


@pytest.mark.parametrize("case", [c for c in cases("tf1") if c.name == "iris_raw"])
def test_inspect_as_json(case: object) -> None:
    start = time.monotonic()
    done = smconvert("inspect", IRIS, "--json")
    took = time.monotonic() - start
    described = json.loads(done.stdout)
    assert described["producer"] == "1.15.5"
    assert [i["name"] for i in described["signatures"][0]["inputs"]] == [
        "PetalLength", "PetalWidth", "SepalLength", "SepalWidth",
    ]  # fmt: skip
    assert took < 5


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "smconvert.cli.main",
            "convert",
            str(IRIS),
            str(tmp_path / "o"),
            "-v",
        ],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("comparing"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; nothing was left behind" in errors
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples() -> None:
    for command in ("convert", "inspect", "run"):
        done = smconvert(command, "--help")
        assert done.returncode == 0
        assert f"smconvert {command} " in done.stdout
