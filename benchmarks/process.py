"""A command as a whole process, measured."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MEASURE = Path(__file__).parent / "measure.py"
TIMEOUT = 3600


@dataclass(frozen=True)
class Process:
    """What a command did.

    Attributes:
        code: Its exit code; negative where a signal ended it.
        output: Its stdout and stderr.
        seconds: Wall time.
        cpu: CPU seconds, its children's included.
        memory: Peak resident bytes, of the largest of its processes.
    """

    code: int
    output: str
    seconds: float
    cpu: float
    memory: int


def run(command: Sequence[str]) -> Process:
    """Runs a command without a GPU, and waits for it.

    Raises:
        subprocess.TimeoutExpired: it took more than an hour.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        log, figures = Path(name) / "log", Path(name) / "figures"
        with log.open("wb") as stream:
            code = subprocess.call(
                [sys.executable, "-S", str(MEASURE), str(figures), *command],
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                timeout=TIMEOUT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
            )
        output = log.read_text(errors="replace")
        seconds, cpu, memory = map(float, figures.read_text().split())
    return Process(code, output, seconds, cpu, int(memory))
