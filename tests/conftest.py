import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE / n) for n in ("data", "ops", "served", "untrusted"))]
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(HERE / "data"), os.environ.get("PYTHONPATH")])
)

from smconvert.runtimes.workers import Workers  # noqa: E402 - the environment is set first


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """Runtimes that live for the whole test run, so that TensorFlow starts once for each."""
    with Workers() as running:
        yield running
