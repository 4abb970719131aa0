"""With what, and on what machine, something was measured."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("smconvert", "tensorflow", "keras", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy")


def provenance() -> dict[str, Any]:
    """Time (ISO 8601, UTC), machine and versions, as JSON values."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "packages": {name: v for name in PACKAGES if (v := _version(name)) is not None},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
