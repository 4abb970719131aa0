"""Imports all that a conversion does, and runs none of it: for a process that is to be forked.

ONNX Runtime is left out. It is fast to import, and starts a thread.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from importlib.metadata import entry_points

from smconvert.converters import EXPORTERS, READERS

LEFT_OUT = ("onnxruntime", "onnxruntime_extensions")
_LAZY = (
    "tensorflow.python.saved_model.load",
    "tensorflow.python.framework.convert_to_constants",
    "tensorflow.python.tools.optimize_for_inference_lib",
    "tensorflow.compat.v1",
    "keras",
    "tf2onnx.tf_loader",
    "tf2onnx.tfonnx",
    "smconvert.runtimes.tf1_session",
    "smconvert.runtimes.tensorflow",
)
"""What is imported late on the way; one that a version lacks is passed by."""


def _import(name: str) -> None:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


def _packages() -> set[str]:
    points = [*entry_points(group=READERS), *entry_points(group=EXPORTERS)]
    return {point.module.partition(".")[0] for point in points}


_import("tensorflow")
for _name in _LAZY:
    _import(_name)
for _package in sorted(_packages()):
    _found = importlib.import_module(_package)
    for _module in pkgutil.walk_packages(_found.__path__, f"{_package}."):
        if not _module.name.endswith(("__main__", ".runtime")):
            _import(_module.name)
