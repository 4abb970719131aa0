"""ONNX files run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from smconvert.converters import Executable
from smconvert.errors import RuntimeFailure
from smconvert.model import Array, DType

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime:
    """Opens ``.onnx`` files."""

    def open(self, executable: Executable, device: str) -> OnnxSession:
        """A session on the device's execution provider."""
        return OnnxSession(executable, device)


class OnnxSession:
    """A session of ONNX Runtime."""

    def __init__(self, executable: Executable, device: str) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        self._signature = executable.signature
        self._names = executable.settings.get("output_names", {})
        self._session = onnxruntime.InferenceSession(
            str(executable.path), providers=[PROVIDERS[device]]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del self._session

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One run."""
        names = [self._names.get(o.name, o.name) for o in self._signature.outputs]
        fed = {name: _to_text(value) for name, value in feeds.items()}
        outputs = self._session.run(names, fed)
        return {
            o.name: _to_bytes(value) if o.dtype is DType.STRING else np.asarray(value)
            for o, value in zip(self._signature.outputs, outputs, strict=True)
        }


def _to_text(value: Array) -> Any:
    """ONNX strings are UTF-8; bytes that are not are refused, since they would be changed."""
    if value.dtype != object:
        return value
    flat = np.empty(value.size, object)
    try:
        flat[:] = [v.decode() for v in value.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise RuntimeFailure(
            f"ONNX holds text as UTF-8, and {error.object!r} is not",
            hint="feed UTF-8, or run the SavedModel or the frozen graph, which take any bytes",
        ) from error
    return flat.reshape(value.shape)


def _to_bytes(value: Any) -> Array:
    array = np.asarray(value, object)
    flat = np.empty(array.size, object)
    flat[:] = [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
    return flat.reshape(array.shape)
