"""Where finished uploads and results lie: a folder, or object storage through fsspec.

Each thing is one file under a key such as ``uploads/ID/iris.zip``. A file that is put is whole or
not there at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from smconvert.errors import UsageError
from smconvert.service.settings import Settings

BLOCK = 1 << 20


class Storage(Protocol):
    """Files by key."""

    def put(self, file: Path, key: str) -> None:
        """Takes ``file``, which is gone from where it was; what is at ``key`` is replaced."""

    def holds(self, key: str) -> bool:
        """Whether something is at ``key``."""

    def file(self, key: str) -> Path | None:
        """Where ``key`` lies, if that is a file of this machine; it need not be there."""

    def local(self, key: str, folder: Path) -> Path:
        """A file to read with the content of ``key``: the stored one, or a copy in ``folder``."""

    def blocks(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The content from ``start`` on, in blocks. Raises FileNotFoundError before the first."""

    def delete(self, prefix: str) -> None:
        """Deletes everything below ``prefix``, if there is anything."""


class FolderStorage:
    """Files in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def put(self, file: Path, key: str) -> None:
        """Renames the file, after its bytes have reached the disk."""
        place = self._folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        file.replace(place)
        _sync_folder(place.parent)

    def holds(self, key: str) -> bool:
        """Whether the file is there."""
        return (self._folder / key).exists()

    def file(self, key: str) -> Path:
        """Where the file is, or would be."""
        return self._folder / key

    def local(self, key: str, folder: Path) -> Path:
        """The stored file itself."""
        return self._folder / key

    def blocks(self, key: str, start: int = 0) -> Iterator[bytes]:
        """Reads the file."""
        file = (self._folder / key).open("rb")
        file.seek(start)
        return _until_end(file)

    def delete(self, prefix: str) -> None:
        """Removes the folder."""
        shutil.rmtree(self._folder / prefix, ignore_errors=True)


class ObjectStorage:
    """Objects below a URL that fsspec knows."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._system, self._root = fsspec.core.url_to_fs(url)

    def put(self, file: Path, key: str) -> None:
        """Uploads the file, then removes it; an object appears when its upload has ended."""
        place = self._place(key)
        self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
        self._system.put_file(str(file), place)
        file.unlink()

    def holds(self, key: str) -> bool:
        """Whether the object is there."""
        return bool(self._system.exists(self._place(key)))

    def file(self, key: str) -> None:
        """Nowhere on this machine."""

    def local(self, key: str, folder: Path) -> Path:
        """Downloads the object into ``folder``."""
        copy = folder / key.rpartition("/")[2]
        folder.mkdir(parents=True, exist_ok=True)
        self._system.get_file(self._place(key), str(copy))
        return copy

    def blocks(self, key: str, start: int = 0) -> Iterator[bytes]:
        """Reads the object as it is sent on."""
        file = self._system.open(self._place(key), "rb")
        file.seek(start)
        return _until_end(file)

    def delete(self, prefix: str) -> None:
        """Deletes the objects."""
        with contextlib.suppress(FileNotFoundError):
            self._system.rm(self._place(prefix), recursive=True)

    def _place(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"


def open_storage(settings: Settings) -> Storage:
    """The place that the settings name.

    Raises:
        UsageError: fsspec, or its package for such URLs, is not installed.
    """
    if settings.storage_url is None:
        return FolderStorage(settings.folder / "stored")
    try:
        return ObjectStorage(settings.storage_url)
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"the storage cannot be opened: {error}",
            where=settings.storage_url,
            hint="pip install fsspec and its package for such URLs (s3fs, gcsfs, adlfs)",
        ) from error


def _until_end(file: Any) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
