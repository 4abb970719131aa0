"""Unpacks archives from strangers: ``.zip``, ``.tar.gz`` and ``.tar``, into a folder of their own.

What an archive says of itself is not believed. Names are judged before anything is written, and
sizes are counted as the bytes arrive, so that a bomb ends at its bound, not at the disk's. Links
and devices are refused, never followed; a failure leaves the folder as it was. Files are read in
blocks: the memory taken depends on the bounds, not on the archive.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from smconvert import staging
from smconvert.errors import SourceError

BLOCK = 64 << 10
"""Bytes read at once; also the most that a tar header may claim for a long name."""

_MAX_GZIP_PARTS = 1_000_000
_MAX_NAME_BYTES = 1024
_MAX_PART_BYTES = 255
_MAX_DEPTH = 32
_ZIP_ENTRY_BYTES = 256
"""What an entry of a zip file's directory takes, names included, in all but odd archives."""

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    IndexError,
    OverflowError,
    RecursionError,
    NotImplementedError,
)
"""What the readers of the standard library raise on damaged archives."""


@dataclass(frozen=True)
class Bounds:
    """How much an archive may unpack to.

    Attributes:
        entries: Files and folders.
        bytes: All files together.
        ratio: Bytes unpacked for each byte of the archive, from ``ratio_from`` bytes on: small
            files may well be all zeros.
        ratio_from: See ``ratio``.
    """

    entries: int = 10_000
    bytes: int = 64 << 30
    ratio: int = 200
    ratio_from: int = 64 << 20


@dataclass(frozen=True)
class _Entry:
    """A file or folder of an archive; ``blocks`` reads it, before the next entry is asked for."""

    name: str
    is_folder: bool
    size: int
    blocks: Callable[[], Iterator[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file is one that :func:`unpack` takes; a ``.keras`` file, a zip too, is a model."""
    return path.suffix.lower() != ".keras" and _entries_of(path) is not None


def unpack(archive: Path, folder: Path, bounds: Bounds = Bounds()) -> Path:
    """Unpacks an archive into ``folder``, which is made, or must be empty.

    Returns:
        The artifact: the file or folder that is all the archive holds, else ``folder``.

    Raises:
        SourceError: the archive is damaged, of another kind, too large, or holds names or kinds of
            files that have no place in a model.
        DestinationError: ``folder`` is not empty, or the disk is full.
    """
    entries = _entries_of(archive)
    if entries is None:
        raise SourceError(
            f"{archive.name} is no archive that is unpacked here",
            where=str(archive),
            hint="pack the model as .zip or .tar.gz",
        )
    with _left_empty_on_failure(folder):
        tally = _Tally(archive, bounds)
        for entry in entries(archive, bounds):
            place = tally.admitted(entry)
            if not _is_finder_note(place):
                _write(entry, folder / place, tally)
        if not tally.files:
            raise SourceError(f"{archive.name} holds no files", where=str(archive))
        return _artifact(folder)


@dataclass
class _Tally:
    """What was unpacked so far, against the bounds."""

    archive: Path
    bounds: Bounds
    entries: int = 0
    files: int = 0
    bytes: int = 0
    places: dict[str, bool] = field(default_factory=dict)
    """Each name as file systems that fold case and accents see it, and whether it is a folder."""

    def admitted(self, entry: _Entry) -> PurePosixPath:
        """Where an entry goes; raises SourceError where it may not be."""
        self.entries += 1
        if self.entries > self.bounds.entries:
            raise self._refused(f"holds more than {self.bounds.entries:,} files and folders")
        place = self._place(entry)
        self._remember(place, entry)
        if not entry.is_folder:
            self.files += 1
            if entry.size < 0:
                raise self._refused(f"holds {entry.name!r} of a negative size")
            self._ensure_within(self.bytes + entry.size)
        return place

    def count(self, size: int) -> None:
        """Counts bytes that arrived; raises SourceError where they are too many."""
        self.bytes += size
        self._ensure_within(self.bytes)

    def _ensure_within(self, total: int) -> None:
        if total > self.bounds.bytes:
            raise self._refused(f"unpacks to more than {self.bounds.bytes:,} bytes")
        packed = max(self.archive.stat().st_size, 1)
        if total > self.bounds.ratio_from and total > self.bounds.ratio * packed:
            raise self._refused(f"unpacks to more than {self.bounds.ratio} times its size")

    def _place(self, entry: _Entry) -> PurePosixPath:
        name = entry.name
        parts = PurePosixPath(name).parts
        odd = (
            ("points outside it", name.startswith("/") or ".." in name.split("/")),
            ("has a drive, a backslash or a control character in its name", _is_odd(name)),
            ("has no name", not parts and not entry.is_folder),
            (
                "has a name that is too long or too deep",
                len(name.encode(errors="surrogateescape")) > _MAX_NAME_BYTES
                or len(parts) > _MAX_DEPTH
                or any(len(p.encode(errors="surrogateescape")) > _MAX_PART_BYTES for p in parts),
            ),
        )
        for reason, is_so in odd:
            if is_so:
                raise self._refused(f"holds {name[:80]!r}, which {reason}")
        return PurePosixPath(*parts)

    def _remember(self, place: PurePosixPath, entry: _Entry) -> None:
        folded = _folded(place)
        if folded in self.places and not (entry.is_folder and self.places[folded]):
            raise self._refused(
                f"holds {entry.name[:80]!r} twice, or names that differ in case only"
            )
        self.places[folded] = entry.is_folder
        for parent in place.parents:
            if not self.places.setdefault(_folded(parent), True):
                raise self._refused(f"holds {str(parent)[:80]!r} as a file and as a folder")

    def _refused(self, what: str) -> SourceError:
        return SourceError(
            f"{self.archive.name} {what}",
            where=str(self.archive),
            hint="pack the model's own files only, each once, by relative names",
        )


def _folded(place: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(place)).casefold()


def _is_odd(name: str) -> bool:
    # Surrogates stand for bytes that are not UTF-8.
    return (
        "\\" in name
        or name[1:3] == ":/"
        or any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in name)
    )


def _is_finder_note(place: PurePosixPath) -> bool:
    """Whether a file is one that macOS adds to archives."""
    return (
        place.parts[:1] == ("__MACOSX",) or place.name == ".DS_Store" or place.name.startswith("._")
    )


def _artifact(folder: Path) -> Path:
    """Down through folders with one entry: ``export/1589/`` is the artifact, or ``model.pb``."""
    found = folder
    while found.is_dir():
        inside = list(found.iterdir())
        if len(inside) != 1:
            break
        found = inside[0]
    # One file says little of a SavedModel, whose variables may be none.
    return found.parent if found.name.startswith("saved_model.") else found


@contextlib.contextmanager
def _left_empty_on_failure(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        staging.ensure_free(folder, force=False)
    try:
        yield
    except BaseException as error:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            raise staging.destination_error(error, folder) from error
        raise


def _write(entry: _Entry, path: Path, tally: _Tally) -> None:
    if entry.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        for block in entry.blocks():
            tally.count(len(block))
            stream.write(block)


def _entries_of(path: Path) -> Callable[[Path, Bounds], Iterator[_Entry]] | None:
    """What reads an archive of this kind, by its first bytes; None for all others."""
    try:
        with path.open("rb") as stream:
            head = stream.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise SourceError(
            f"{path.name} cannot be read: {error.strerror or error}", where=str(path)
        ) from error
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_entries
    if head.startswith(b"\x1f\x8b"):
        return _tar_gz_entries
    if head[257:262] == b"ustar":
        return _tar_entries
    return None


def _zip_entries(archive: Path, bounds: Bounds) -> Iterator[_Entry]:
    with _damage_told(archive), archive.open("rb") as raw:
        # zipfile reads the whole directory at once, however large it says it is.
        stream = _Guarded(raw, max(bounds.entries * _ZIP_ENTRY_BYTES, 2 * BLOCK))
        with zipfile.ZipFile(cast("BinaryIO", stream)) as opened:
            for member in opened.infolist():
                _ensure_plain_zip_member(member, archive)
                yield _Entry(
                    member.filename.rstrip("/") if member.is_dir() else member.filename,
                    member.is_dir(),
                    member.file_size,
                    lambda member=member: _zip_blocks(opened, member, archive),  # type: ignore[misc]
                )


def _zip_blocks(opened: zipfile.ZipFile, member: zipfile.ZipInfo, archive: Path) -> Iterator[bytes]:
    with _damage_told(archive), opened.open(member) as stream:
        while block := stream.read(BLOCK):
            yield block


def _ensure_plain_zip_member(member: zipfile.ZipInfo, archive: Path) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise _odd_kind(member.filename, archive)
    if member.flag_bits & 0x1:
        raise SourceError(f"{archive.name} is encrypted", where=str(archive))
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise SourceError(
            f"{archive.name} is packed by an unusual method ({member.compress_type})",
            where=str(archive),
            hint="pack the model as a plain .zip or .tar.gz",
        )


def _tar_gz_entries(archive: Path, bounds: Bounds) -> Iterator[_Entry]:
    with _damage_told(archive), archive.open("rb") as raw:
        yield from _tar_members(_Forward(_gunzipped(raw), bounds.bytes), archive)


def _tar_entries(archive: Path, bounds: Bounds) -> Iterator[_Entry]:
    with _damage_told(archive), archive.open("rb") as raw:
        blocks = iter(lambda: raw.read(BLOCK), b"")
        yield from _tar_members(_Forward(blocks, bounds.bytes), archive)


def _tar_members(stream: _Forward, archive: Path) -> Iterator[_Entry]:
    with tarfile.TarFile(fileobj=cast("BinaryIO", stream), errors="surrogateescape") as opened:
        while (member := opened.next()) is not None:
            # Iterating keeps all members; only the count's bound would end that.
            opened.members.clear()  # type: ignore[attr-defined]
            if member.issparse() or not (member.isreg() or member.isdir()):
                raise _odd_kind(member.name, archive)
            yield _Entry(
                member.name,
                member.isdir(),
                member.size,
                lambda member=member: _tar_blocks(opened, member, archive),  # type: ignore[misc]
            )
    # Only at its end does a gzip file say whether it is whole.
    while stream.read(BLOCK):
        pass


def _tar_blocks(opened: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> Iterator[bytes]:
    with _damage_told(archive):
        stream = opened.extractfile(member)
        while stream is not None and (block := stream.read(BLOCK)):
            yield block


def _gunzipped(raw: BinaryIO) -> Iterator[bytes]:
    """The contents of a gzip file, which may have several parts, in blocks of a bounded size."""
    pending = raw.read(BLOCK)
    for _ in range(_MAX_GZIP_PARTS):
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not unpacker.eof:
            block = unpacker.decompress(pending, BLOCK)
            pending = unpacker.unconsumed_tail
            if block:
                yield block
            elif not pending and not unpacker.eof:
                pending = raw.read(BLOCK)
                if not pending:
                    raise EOFError("it ends too early")
        pending = (unpacker.unused_data or raw.read(BLOCK)).lstrip(b"\0")
        if not pending:
            return
    raise ValueError("it has too many parts")


class _Guarded:
    """A file that refuses to be read in pieces above a limit, whatever its contents ask for."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        found = self._stream.read(size if 0 <= size <= self._limit else self._limit + 1)
        if len(found) > self._limit:
            raise ValueError(f"it asks for more than {self._limit} bytes at once")
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Whoever opened it closes it."""


class _Forward:
    """Blocks as a file that is read once, from front to end, in bounded pieces.

    tarfile reads a long name as a whole, and goes back where a header has a negative size.
    """

    def __init__(self, blocks: Iterator[bytes], limit: int) -> None:
        self._blocks = blocks
        # Headers and padding come on top of the files; empty ones are bounded by their number.
        self._limit = 2 * limit + (64 << 20)
        self._pending = b""
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= BLOCK:
            raise ValueError(f"it asks for {size} bytes at once")
        while len(self._pending) < size:
            block = next(self._blocks, b"")
            if not block:
                break
            self._pending += block
        found, self._pending = self._pending[:size], self._pending[size:]
        self._at += len(found)
        if self._at > self._limit:
            raise ValueError("it is longer than its files")
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._at:
            raise ValueError("it points backwards")
        while self._at < offset and self.read(min(offset - self._at, BLOCK)):
            pass
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        """Whoever opened it closes it."""


@contextlib.contextmanager
def _damage_told(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise SourceError(
            f"{archive.name} is truncated or damaged: {str(error)[:120] or type(error).__name__}",
            where=str(archive),
            hint="compare its size with the original's, and pack it again",
        ) from error


def _odd_kind(name: str, archive: Path) -> SourceError:
    return SourceError(
        f"{archive.name} holds {name[:80]!r}, which is a link, a device or a sparse file",
        where=str(archive),
        hint="pack plain files: zip and tar -h store what links point to",
    )
