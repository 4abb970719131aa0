"""Arrays as files, for passing them between processes: mapped, never pickled.

Numbers are ``.npy`` files. Types that NumPy does not know travel as bytes of the same width, and
strings as their bytes in a row with the offsets between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from smconvert.model import Array, DType

MAPPED_BYTES = 1 << 16
"""Smaller files are read: a mapping costs more than their copy."""


def write(arrays: Mapping[str, Array], folder: Path, stem: str) -> list[dict[str, Any]]:
    """Writes arrays into ``folder``; the result is what :func:`read` needs, as JSON values."""
    return [
        {"name": name, **_write(np.asarray(array), folder, f"{stem}-{i}")}
        for i, (name, array) in enumerate(arrays.items())
    ]


def read(entries: list[dict[str, Any]], folder: Path) -> dict[str, Array]:
    """The arrays that were written, in order."""
    return {entry["name"]: _read(entry, folder) for entry in entries}


def _write(array: Array, folder: Path, stem: str) -> dict[str, Any]:
    dtype = DType.from_numpy(array.dtype)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    entry = {"file": f"{stem}.npy", "dtype": dtype.label, "shape": list(array.shape)}
    if dtype is DType.STRING:
        flat = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist()]
        offsets = np.cumsum([0, *map(len, flat)], dtype=np.int64)
        np.save(folder / f"{stem}.npy", np.frombuffer(b"".join(flat), np.uint8))
        np.save(folder / f"{stem}.offsets.npy", offsets)
    elif array.dtype.isbuiltin == 1:
        np.save(folder / f"{stem}.npy", np.ascontiguousarray(array), allow_pickle=False)
    else:
        raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        np.save(folder / f"{stem}.npy", raw)
    return entry


def _read(entry: dict[str, Any], folder: Path) -> Array:
    file = folder / entry["file"]
    dtype = DType.from_label(entry["dtype"])
    shape = tuple(entry["shape"])
    if dtype is DType.STRING:
        data = np.load(file, allow_pickle=False).tobytes()
        offsets = np.load(file.with_suffix(".offsets.npy"), allow_pickle=False)
        flat = np.empty(len(offsets) - 1, object)
        flat[:] = [data[a:b] for a, b in pairwise(offsets)]
        return flat.reshape(shape)
    array: Array = _mapped(file)
    if array.dtype != dtype.numpy:
        array = np.frombuffer(array.tobytes(), dtype.numpy)
    return array.reshape(shape)


def _mapped(file: Path) -> Array:
    """The array of a file, which may be taken away afterwards: the pages stay."""
    if file.stat().st_size < MAPPED_BYTES:
        return np.load(file, allow_pickle=False)
    return np.load(file, mmap_mode="r", allow_pickle=False).view(np.ndarray)
