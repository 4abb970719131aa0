import shutil
from pathlib import Path

import pytest

from case import DATA

TF1 = DATA / "tf1"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five models: three that can be converted, two that cannot."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("frozen_mlp", "py_func", "unknown_rank"):
        shutil.copytree(TF1 / name, folder / name)
    shutil.copytree(TF1 / "savedmodel_builder_ref", folder / "deep" / "down")
    (folder / "broken.pb").write_bytes(b"\xff" * 100)
    return folder
