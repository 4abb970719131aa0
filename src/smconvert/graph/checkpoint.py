"""The names, types and shapes in a checkpoint, read without TensorFlow.

A V2 checkpoint (tensor_bundle.h) is an ``.index`` table of BundleEntryProtos and ``.data`` shards;
a V1 checkpoint (saved_tensor_slice.proto) is one table, or several shards of them. Both tables
are LevelDB's sorted-string tables (table_format.txt).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from smconvert.errors import SourceError
from smconvert.graph.protos import saved_tensor_slice_pb2, tensor_bundle_pb2
from smconvert.graph.tensors import shape_of
from smconvert.model import DType

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_UNCOMPRESSED = 0
_MAX_KEY_BYTES = 64 << 10
_KEY_RATIO = 100
"""Bytes of keys for each byte of a table: each entry repeats the start of the key before it, and a
few bytes could make it a long one a million times."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a checkpoint: its type, shape and size in bytes."""

    dtype: DType
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class CheckpointIndex:
    """What a checkpoint holds.

    Attributes:
        kind: ``V1``, ``V2`` or ``object-based``.
        entries: By key, in order.
        shards: The data files.
    """

    kind: str
    entries: Mapping[str, Entry]
    shards: tuple[Path, ...]


def read_index(prefix: str) -> CheckpointIndex:
    """Reads the index of a checkpoint; the prefix is text, since it may end in ``/``.

    Raises:
        SourceError: a file is missing, truncated or damaged.
    """
    index = Path(f"{prefix}.index")
    if _is_file(index):
        return _v2(prefix, index)
    shards = v1_files(prefix)
    if shards:
        return CheckpointIndex("V1", dict(_v1(shards)), shards)
    raise SourceError(f"there is no checkpoint {prefix}", hint=f"{index} is expected")


def exists(prefix: str) -> bool:
    """Whether a V2 or V1 checkpoint with this prefix is there."""
    return _is_file(Path(f"{prefix}.index")) or bool(v1_files(prefix))


def _is_file(path: Path) -> bool:
    """Whether a file is there; a name too long for the file system names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def v1_files(prefix: str) -> tuple[Path, ...]:
    """The files of a V1 checkpoint: one named by the prefix, or shards of it."""
    if is_table(Path(prefix)):
        return (Path(prefix),)
    folder, name = Path(prefix).parent, Path(prefix).name
    try:
        shards = sorted(folder.glob(f"{_escaped(name)}-?????-of-?????"))
    except (OSError, ValueError):
        return ()
    return tuple(shard for shard in shards if is_table(shard))


def is_table(path: Path) -> bool:
    """Whether a file ends as a sorted-string table does."""
    try:
        if not path.is_file() or path.stat().st_size < _FOOTER:
            return False
        with path.open("rb") as stream:
            stream.seek(-len(_MAGIC), 2)
            return stream.read() == _MAGIC
    except (OSError, ValueError):
        return False


def _v2(prefix: str, index: Path) -> CheckpointIndex:
    entries = {}
    header = tensor_bundle_pb2.BundleHeaderProto()
    for key, value in _table(index):
        try:
            if not key:
                header.ParseFromString(value)
                continue
            entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
            shape = tuple(d if isinstance(d, int) else 0 for d in shape_of(entry.shape) or ())
            entries[key.decode()] = Entry(DType.from_number(entry.dtype), shape, entry.size)
        except (DecodeError, ValueError) as error:
            raise _damaged(index) from error
    kind = "object-based" if OBJECT_GRAPH in entries else "V2"
    return CheckpointIndex(kind, entries, tuple(_shards(prefix, max(header.num_shards, 1))))


def _shards(prefix: str, count: int) -> Iterator[Path]:
    for number in range(count):
        shard = Path(f"{prefix}.data-{number:05d}-of-{count:05d}")
        if not shard.is_file():
            raise SourceError(f"the checkpoint's shard {shard.name} is missing", where=prefix)
        yield shard


def _v1(shards: tuple[Path, ...]) -> Iterator[tuple[str, Entry]]:
    for shard in shards:
        for key, value in _table(shard):
            if key:
                continue
            try:
                slices = saved_tensor_slice_pb2.SavedTensorSlices.FromString(value)
                yield from [_v1_entry(tensor) for tensor in slices.meta.tensor]
            except (DecodeError, ValueError) as error:
                raise _damaged(shard) from error


def _v1_entry(tensor: saved_tensor_slice_pb2.SavedSliceMeta) -> tuple[str, Entry]:
    dtype = DType.from_number(tensor.type)
    shape = tuple(d if isinstance(d, int) else 0 for d in shape_of(tensor.shape) or ())
    item = 0 if dtype is DType.STRING else dtype.numpy.itemsize
    return tensor.name, Entry(dtype, shape, math.prod(shape) * item)


def _table(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a sorted-string table."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"{path.name} cannot be read: {error.strerror or error}", where=str(path)
        ) from error
    if len(data) < _FOOTER or not data.endswith(_MAGIC):
        raise _damaged(path)
    try:
        footer = data[-_FOOTER:]
        position = _varint(footer, _varint(footer, 0)[1])[1]
        offset, position = _varint(footer, position)
        size, _ = _varint(footer, position)
        read = keys = 0
        for _, handle in _block(data, offset, size):
            start, position = _varint(handle, 0)
            length, _ = _varint(handle, position)
            read += length
            if read > len(data):
                raise ValueError("its blocks overlap")
            for key, value in _block(data, start, length):
                keys += len(key)
                if keys > _KEY_RATIO * len(data):
                    raise ValueError("its keys unpack to too much")
                yield key, value
    except (IndexError, struct.error, ValueError) as error:
        raise _damaged(path) from error


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if offset + size >= len(data) or data[offset + size] != _UNCOMPRESSED:
        raise ValueError("a block lies outside the file, or is compressed")
    block = data[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 - 4 * restarts
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        if shared > len(key) or position + unshared + length > end:
            raise ValueError("an entry reaches out of its block")
        if shared + unshared > _MAX_KEY_BYTES:
            raise ValueError("a key is too long")
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ValueError("a number is too long")


def _damaged(path: Path) -> SourceError:
    return SourceError(
        f"{path.name} is truncated or damaged",
        where=str(path),
        hint="compare its size with the original's",
    )


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
