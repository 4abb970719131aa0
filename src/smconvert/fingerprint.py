"""Which files a source is made of, and whether they stayed the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smconvert.errors import SourceError


@dataclass(frozen=True)
class Fingerprint:
    """The state of a source's files at one moment.

    Attributes:
        sha256: Digest over relative name, size and content of each file, in sorted order.
        stats: For each file: path, size in bytes, modification time in ns, inode.
    """

    sha256: str
    stats: tuple[tuple[str, int, int, int], ...]


def source_files(path: Path, checkpoint: str | None = None) -> tuple[Path, ...]:
    """All files of an artifact: below a folder, or a file with its companions by prefix.

    ``path`` may also be a checkpoint prefix, which is no file itself.
    """
    return tuple(sorted({*_files_of(path), *(_with_prefix(checkpoint) if checkpoint else ())}))


def take(path: Path, checkpoint: str | None = None) -> Fingerprint:
    """Reads and hashes the files of a source.

    Raises:
        SourceError: a file cannot be read.
    """
    digest = hashlib.sha256()
    files = source_files(path, checkpoint)
    root = path if path.is_dir() else path.parent
    try:
        for file in files:
            digest.update(os.fsencode(os.path.relpath(file, root)) + b"\0")
            digest.update(file.stat().st_size.to_bytes(8, "little"))
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return Fingerprint(digest.hexdigest(), _stats(files))
    except OSError as error:
        raise SourceError(
            f"the source cannot be read: {error.strerror or error}",
            where=str(error.filename or path),
        ) from error


def ensure_unchanged(before: Fingerprint, path: Path, checkpoint: str | None = None) -> None:
    """Raises SourceError when the source's files are no longer those of ``before``."""
    try:
        now = _stats(source_files(path, checkpoint))
    except OSError:
        now = ()
    if now != before.stats:
        raise SourceError(
            "the source changed while it was being converted, so the result was thrown away",
            where=str(path),
            hint="convert again when nothing writes to it",
        )


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, _, names in os.walk(path):
            yield from (file for name in names if (file := Path(folder, name)).is_file())
        return
    yield from _with_prefix(str(path))
    if path.suffix in {".meta", ".index"}:
        yield from _with_prefix(str(path.with_suffix("")))


def _with_prefix(prefix: str) -> Iterator[Path]:
    """A prefix's own file, if there is one, and the files that continue it with a dot or dash."""
    folder, name = os.path.split(prefix)
    parent = Path(folder or ".")
    if not parent.is_dir():
        return
    for file in parent.iterdir():
        rest = file.name.removeprefix(name)
        if file.name.startswith(name) and rest[:1] in {"", ".", "-"} and file.is_file():
            yield file


def _stats(files: tuple[Path, ...]) -> tuple[tuple[str, int, int, int], ...]:
    found = ((file, file.stat()) for file in files)
    return tuple((str(f), s.st_size, s.st_mtime_ns, s.st_ino) for f, s in found)
