"""Arrays as ONNX Runtime's values and back, bfloat16 and text included."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from smconvert.errors import RuntimeFailure
from smconvert.model import Array, DType

_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


def to_ort(array: Array) -> Any:
    """The OrtValue of an array; strings are ``bytes`` in UTF-8, as ONNX holds them.

    Raises:
        RuntimeFailure: bytes that are not UTF-8, which would be changed.
    """
    import onnxruntime

    make = onnxruntime.OrtValue
    if array.dtype == object:
        return make.ortvalue_from_numpy(_text(array))
    if array.dtype.name == DType.BFLOAT16.label:
        bits = np.ascontiguousarray(array).reshape(array.shape).view(np.uint16)
        return make.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16)
    return make.ortvalue_from_numpy(np.ascontiguousarray(array).reshape(array.shape))


def from_ort(value: Any) -> Array:
    """The array of an OrtValue; strings become ``bytes``."""
    if value.element_type() == _BFLOAT16:
        shape = tuple(value.shape())
        # NumPy has no such type, and OrtValue.numpy() refuses it.
        size = value.tensor_size_in_bytes()
        bits = ctypes.string_at(value.data_ptr(), size) if size else b""
        return np.frombuffer(bits, DType.BFLOAT16.numpy).reshape(shape)
    array = np.asarray(value.numpy())
    if array.dtype != object and array.dtype.kind not in "US":
        return array
    flat = np.empty(array.size, object)
    flat[:] = [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
    return flat.reshape(array.shape)


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
