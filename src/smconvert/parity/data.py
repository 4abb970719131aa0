"""Inputs that the user gives: ``.npz``, ``.npy``, JSON, or a TFRecord of ``tf.Example``."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from google.protobuf.message import DecodeError

from smconvert.errors import UsageError
from smconvert.graph.protos import example_pb2
from smconvert.model import Array, DType, SignatureInfo, TensorInfo
from smconvert.parity.warmup import records

MAX_RECORDS = 64
"""Of a TFRecord; they become one batch."""

_RECORDS = (".tfrecord", ".tfrecords", ".record")


def calls_from(path: Path, signature: SignatureInfo) -> list[dict[str, Array]]:
    """The calls of a file, by its suffix; each input by name, defaults filled in.

    ``.npz``: one call, arrays by input name or ``signature/input``. ``.npy``: the one input.
    ``.json``: ``{"x": ...}``, a list of such, or what TensorFlow Serving takes (``inputs``,
    ``instances``, strings as ``{"b64": ...}``). ``.tfrecord``: ``tf.Example``s in one batch, whole
    for an input of strings, else feature by feature.

    Raises:
        UsageError: the file cannot be read, or does not fit the signature.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        given = [_only_input(path, _load(path), signature)]
    elif suffix == ".json":
        given = _json_calls(path, signature)
    elif suffix in _RECORDS:
        given = [_examples(path, signature)]
    else:
        loaded = _load(path)
        if isinstance(loaded, np.ndarray):
            given = [_only_input(path, loaded, signature)]
        else:
            given = [loaded]
    return [_fitted(path, call, signature) for call in given]


def _load(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, BadZipFile) as error:
        raise UsageError(
            f"{path} is not an .npz file that can be read: {error}", where="--data"
        ) from error


def _only_input(path: Path, value: Any, signature: SignatureInfo) -> dict[str, Any]:
    needed = [i for i in signature.inputs if i.default is None] or list(signature.inputs)
    if len(needed) != 1:
        raise UsageError(
            f"{path.name} holds one array, and the signature has {len(needed)} inputs",
            where="--data",
            hint=f"an .npz names them: {', '.join(i.name for i in signature.inputs)}",
        )
    return {needed[0].name: value}


def _json_calls(path: Path, signature: SignatureInfo) -> list[dict[str, Any]]:
    try:
        read = json.loads(path.read_bytes(), object_hook=_bytes)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON that can be read: {error}", where="--data") from error
    if isinstance(read, dict) and read.keys() & {"instances"}:
        rows = read["instances"]
        if rows and all(isinstance(row, dict) for row in rows):
            return [{name: [row.get(name) for row in rows] for name in rows[0]}]
        return [_only_input(path, rows, signature)]
    if isinstance(read, dict) and read.keys() & {"inputs"} and not _has(signature, "inputs"):
        read = read["inputs"]
    calls = read if isinstance(read, list) and all(isinstance(c, dict) for c in read) else [read]
    return [c if isinstance(c, dict) else _only_input(path, c, signature) for c in calls]


def _has(signature: SignatureInfo, name: str) -> bool:
    return any(i.name == name for i in signature.inputs)


def _bytes(value: dict[str, Any]) -> Any:
    if value.keys() != {"b64"}:
        return value
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"a b64 value is not base64: {error}") from error


def _examples(path: Path, signature: SignatureInfo) -> dict[str, Any]:
    try:
        read = [record for record, _ in zip(records(path), range(MAX_RECORDS), strict=False)]
        examples = [example_pb2.Example.FromString(record) for record in read]
    except (OSError, ValueError, DecodeError) as error:
        raise UsageError(
            f"{path} is not a TFRecord of tf.Examples: {error}", where="--data"
        ) from error
    strings = [i for i in signature.inputs if i.dtype is DType.STRING]
    if len(signature.inputs) == 1 and strings:
        return {strings[0].name: read}
    return {
        i.name: [_feature(e, i) for e in examples]
        for i in signature.inputs
        if any(i.name in e.features.feature for e in examples)
    }


def _feature(example: Any, info: TensorInfo) -> Any:
    feature = example.features.feature[info.name]
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    inner = [d for d in (info.shape or ())[1:] if isinstance(d, int)]
    if info.shape is not None and len(info.shape) == 1:
        return values[0] if values else 0
    if info.shape is not None and len(inner) == len(info.shape) - 1:
        return np.array(values, object).reshape(inner).tolist()
    return values


def _fitted(path: Path, given: Mapping[str, Any], signature: SignatureInfo) -> dict[str, Array]:
    call = {}
    taken = set()
    for info in signature.inputs:
        names = (f"{signature.name}/{info.name}", info.name)
        name = next((n for n in names if n in given), None)
        if name is None and info.default is not None:
            call[info.name] = info.default
        elif name is None:
            raise UsageError(
                f"{path.name} has no array for the input {info.name!r}",
                where="--data",
                hint=f"it has {', '.join(given) or 'nothing'}",
            )
        else:
            taken.add(name)
            call[info.name] = _as(info, np.asarray(given[name]))
    unknown = sorted(n for n in given.keys() - taken if "/" not in n)
    if unknown:
        raise UsageError(
            f"{path.name} has {unknown[0]!r}, which is not an input",
            where="--data",
            hint=f"the inputs are {', '.join(i.name for i in signature.inputs)}",
        )
    return call


def _as(info: TensorInfo, array: Array) -> Array:
    if info.dtype is DType.STRING:
        flat = np.empty(array.size, object)
        flat[:] = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist()]
        return flat.reshape(array.shape)
    wanted = info.dtype.numpy
    if array.dtype.kind == "V" and array.dtype.itemsize == wanted.itemsize:
        # NumPy saves a type that it does not know, such as bfloat16, as bytes of that width.
        return array.view(wanted)
    try:
        with np.errstate(all="ignore"):
            converted = array.astype(wanted)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the array for {info.name!r} is no {wanted}", where="--data") from error
    exact = info.dtype is DType.BOOL or info.dtype.label.startswith(("int", "uint"))
    if exact and not np.array_equal(converted, array):
        raise UsageError(
            f"the array for {info.name!r} is {array.dtype}, and {info.dtype.label} cannot hold "
            "its values",
            where="--data",
        )
    return converted
