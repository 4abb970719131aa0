"""The commands of docs/serving.md, as they are written there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow_serving", reason="needs smconvert[serving]")

import smconvert as sm
from case import DATA
from model_server import serving
from smconvert.parity import warmup

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.slow
def test_the_commands_do_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "iris_export").symlink_to(DATA / "tf1" / "iris_raw" / "export")
    parsing = sm.detect(DATA / "tf1" / "iris_parsing" / "export").path
    with serving(sm.detect(tmp_path / "iris_export").path) as urls, serving(parsing) as examples:
        for line in commands():
            told = line.replace("http://localhost:8501/v1/models/iris_examples", examples.rest)
            told = told.replace("http://localhost:8501/v1/models/iris", urls.rest)
            told = told.replace("grpc://localhost:8500/iris", urls.grpc)
            program, *words = shlex.split(told)
            assert program == "smconvert"
            ran = subprocess.run(
                [sys.executable, "-m", "smconvert.cli.main", *words],
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    assert (tmp_path / "served" / "iris" / "1" / warmup.FILE).is_file()
