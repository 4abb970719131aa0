"""The quick starts of the docs, as written."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import IRIS, Server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "service.md").read_text()


def block(language: str, holding: str) -> str:
    """The code block with some words in it."""
    found = [b for b in re.findall(rf"```{language}\n(.*?)```", PAGE, re.S) if holding in b]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("service"), "--open", workers=1) as started:
        yield started


def command_line(folder: Path) -> dict[str, str]:
    """An environment where ``smconvert`` is this one."""
    script = folder / "bin" / "smconvert"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m smconvert.cli.main "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"}


def test_tokens_are_made_listed_and_ended(tmp_path: Path) -> None:
    environment = command_line(tmp_path)

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    refused = run("smconvert serve")
    assert refused.returncode == 2
    assert "nobody could use the service: it has no tokens" in refused.stderr
    make, _ = block("sh", "serve token alice").splitlines()
    made = run(make)
    assert re.fullmatch(r"smc_[0-9a-f]{16}_\S{43}\n", made.stdout), made.stderr
    listed = run("smconvert serve tokens").stdout
    assert "alice" in listed
    assert "20 jobs, 10 GiB" in listed
    assert run(f"smconvert serve revoke {listed.split()[0]}").returncode == 0
    assert "revoked" in run("smconvert serve tokens").stdout
    refused = run("smconvert serve revoke nobody")
    assert refused.returncode == 2
    assert "no token has the id 'nobody'" in refused.stderr


def test_the_client_as_written(server: Server, tmp_path: Path) -> None:
    code = block("python", "sm.Client").replace("http://127.0.0.1:8000", server.url)
    shutil.copytree(IRIS, tmp_path / "iris_export")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "packing"
    assert done.stdout.splitlines()[-1] == f"Verdict.PASSED {tmp_path}/iris.onnx"


@pytest.mark.slow
def test_the_requests_as_written(server: Server, tmp_path: Path) -> None:
    code = block("sh", "Upload-Offset").replace("http://127.0.0.1:8000", server.url)
    code = code.replace("/tmp/", f"{tmp_path}/")
    done = subprocess.run(
        ["sh", "-eu", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"verdict":"passed"' in done.stdout
    assert (tmp_path / "iris.onnx").stat().st_size > 1000
    assert "Passed" in (tmp_path / "iris.html").read_text()
