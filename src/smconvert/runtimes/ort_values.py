"""Arrays through an ONNX Runtime session and back, bfloat16 and text included."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smconvert.errors import RuntimeFailure
from smconvert.model import Array, DType

_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


def run(session: Any, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
    """What a session computes; strings are ``bytes`` in UTF-8, as ONNX holds them.

    Raises:
        RuntimeFailure: bytes that are not UTF-8, which would be changed.
    """
    if "tensor(bfloat16)" in {v.type for v in (*session.get_inputs(), *session.get_outputs())}:
        # NumPy has no bfloat16, so that session.run takes and gives none.
        given = {name: _to_ort(value) for name, value in feeds.items()}
        return [_from_ort(value) for value in session.run_with_ort_values(list(outputs), given)]
    texts = {name: _text(v) if v.dtype == object else v for name, v in feeds.items()}
    return [_bytes(value) for value in session.run(list(outputs), texts)]


def _to_ort(array: Array) -> Any:
    import onnxruntime

    if array.dtype.name == DType.BFLOAT16.label:
        bits = np.ascontiguousarray(array).reshape(array.shape).view(np.uint16)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))


def _from_ort(value: Any) -> Array:
    if value.element_type() != _BFLOAT16:
        return np.asarray(value.numpy())
    shape = tuple(value.shape())
    size = value.tensor_size_in_bytes()
    bits = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(bits, DType.BFLOAT16.numpy).reshape(shape)


def _text(value: Array) -> Array:
    flat = np.empty(value.size, object)
    try:
        flat[:] = [v.decode() for v in value.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise RuntimeFailure(
            f"ONNX holds text as UTF-8, and {error.object!r} is not",
            hint="feed UTF-8, or run the SavedModel or the frozen graph, which take any bytes",
        ) from error
    return flat.reshape(value.shape)


def _bytes(value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "OUS":
        return array
    flat = np.empty(array.size, object)
    flat[:] = [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
    return flat.reshape(array.shape)
