"""Control flow; loops, branches and lists need graphs: ``tests/onnx/test_control_flow.py``."""

from __future__ import annotations

from collections.abc import Iterator

from proof import Case


def cases() -> Iterator[Case]:
    for names in (["GPU", "CPU"], ["CPU"], ["GPU", "TPU"], []):
        yield Case("DeviceIndex", {}, {"device_names": names})
