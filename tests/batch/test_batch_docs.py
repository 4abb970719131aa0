"""The quick start of docs/batch.md, as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from test_batch import smconvert

from case import DATA

ROOT = DATA.parents[1]
PAGE = (ROOT / "docs" / "batch.md").read_text()


def block(kind: str, number: int) -> str:
    blocks = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
    return [text for found, text in blocks if found == kind][number]


def test_the_quick_start(tmp_path: Path) -> None:
    (tmp_path / "batch.yaml").write_text(block("yaml", 0))
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    command = block("sh", 1).split()
    assert command[0] == "smconvert"
    done = smconvert(*command[1:], cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    for line in block("", 0).splitlines():
        assert line.split() in said
    assert (tmp_path / "converted" / "batch.html").exists()


def test_every_option_and_code_is_named() -> None:
    from smconvert.batch.settings import _KINDS

    for name in _KINDS:
        assert f"`{name}`" in PAGE


def test_flags_exist() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smconvert.cli.main", "batch", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    ours = re.sub(r"`python -m benchmarks[^`]*`", "", PAGE)
    for flag in set(re.findall(r"--[a-z][a-z-]+", ours)):
        assert flag in done.stdout, flag
