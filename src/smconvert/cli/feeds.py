"""What ``run`` feeds: arrays from files and literals; nothing is unpickled or evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smconvert.cli.options import literal, pairs
from smconvert.errors import UsageError
from smconvert.model import Array, DType, SignatureInfo, TensorInfo

_KEYED = re.compile(r"(?P<file>.+)\[(?P<key>[^\[\]]+)\]")


def feeds_for(
    files: Sequence[str] | None, exprs: Sequence[str] | None, examples: Sequence[str] | None
) -> Callable[[SignatureInfo], Mapping[str, Array]]:
    """A function that makes the feeds of a signature from the three kinds of flags.

    Raises:
        UsageError: a flag cannot be read, or an input is given twice.
    """
    arrays = pairs(files, "--inputs", _array_of_file)
    literals = pairs(exprs, "--input-exprs", literal)
    records = pairs(examples, "--input-examples", literal)
    twice = sorted(name for name in arrays if name in literals or name in records)
    twice += sorted(name for name in literals if name in records)
    if twice:
        raise UsageError(f"{twice[0]!r} is given twice")

    def feeds(signature: SignatureInfo) -> Mapping[str, Array]:
        infos = {info.name: info for info in signature.inputs}
        return {
            **{name: _as_input(array, infos.get(name), name) for name, array in arrays.items()},
            **{name: _as_input(value, infos.get(name), name) for name, value in literals.items()},
            **{name: _serialized(value, name) for name, value in records.items()},
        }

    return feeds


def save_npz(outputs: Mapping[str, Array], path: Path) -> None:
    """Writes outputs as ``.npz``; strings become fixed-width bytes, so that nothing is pickled."""
    arrays: dict[str, Any] = {
        name: array.astype(bytes) if array.dtype == object else array
        for name, array in outputs.items()
    }
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


def _array_of_file(text: str, flag: str) -> Array:
    keyed = _KEYED.fullmatch(text)
    path = Path(keyed["file"] if keyed else text)
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(
            f"{path} is not a .npy or .npz file that can be read: {error}", where=flag
        ) from error
    if isinstance(loaded, np.ndarray):
        return loaded
    key = keyed["key"] if keyed else None
    if key is None and len(loaded.files) == 1:
        key = loaded.files[0]
    if key not in loaded.files:
        raise UsageError(
            f"{path} holds {', '.join(loaded.files) or 'nothing'}",
            where=flag,
            hint=f"choose one: NAME={path}[KEY]",
        )
    try:
        return np.asarray(loaded[key])
    except ValueError as error:
        raise UsageError(f"{path}[{key}] cannot be read: {error}", where=flag) from error


def _as_input(value: Any, info: TensorInfo | None, name: str) -> Array:
    try:
        array = np.asarray(value)
        if info is None:
            return array
        if info.dtype is DType.STRING:
            return _as_bytes(array)
        return array.astype(info.dtype.numpy, casting="unsafe" if array.size == 0 else "same_kind")
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the value of {name!r} does not fit: {error}", where=str(info or name)
        ) from error


def _as_bytes(array: Array) -> Array:
    flat = np.empty(array.size, object)
    flat[:] = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist()]
    return flat.reshape(array.shape)


def _serialized(records: Any, name: str) -> Array:
    """Serialized ``tf.Example`` protos, one for each dict of feature name to list of values."""
    from smconvert.graph.protos import example_pb2

    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise UsageError(f"the value of {name!r} is not a list of dicts", where="--input-examples")
    serialized = np.empty(len(records), object)
    for row, record in enumerate(records):
        example = example_pb2.Example()
        for key, value in record.items():
            values = value if isinstance(value, list) else [value]
            feature = example.features.feature[key]
            if all(isinstance(v, (bytes, str)) for v in values):
                feature.bytes_list.value.extend(
                    v if isinstance(v, bytes) else v.encode() for v in values
                )
            elif all(isinstance(v, int) for v in values):
                feature.int64_list.value.extend(int(v) for v in values)
            elif all(isinstance(v, (int, float)) for v in values):
                feature.float_list.value.extend(float(v) for v in values)
            else:
                raise UsageError(
                    f"feature {key!r} mixes strings and numbers", where="--input-examples"
                )
        serialized[row] = example.SerializeToString(deterministic=True)
    return serialized
