"""Protobuf messages from files, in binary or text form, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from smconvert.errors import SourceError

M = TypeVar("M", bound=Message)

MAX_TEXT_BYTES = 512 << 20
"""Text is parsed into many small objects; larger files are refused before memory is taken."""


def read_binary(path: Path, kind: type[M]) -> M:
    """Parses a binary message.

    Raises:
        SourceError: the file is unreadable, empty or no such message.
    """
    data = read_bytes(path)
    if not data:
        raise SourceError(f"{path.name} is empty", where=str(path))
    try:
        return kind.FromString(data)
    except (DecodeError, RecursionError) as error:
        raise SourceError(
            f"{path.name} is damaged or not a {kind.DESCRIPTOR.name}",
            where=str(path),
            hint="it may be truncated: compare its size with the original's",
        ) from error


def read_text(path: Path, kind: type[M]) -> M:
    """Parses a text message; fields of a newer TensorFlow are left out.

    Raises:
        SourceError: the file is unreadable, empty, too large or no such message.
    """
    if path.is_file() and path.stat().st_size > MAX_TEXT_BYTES:
        raise SourceError(
            f"{path.name} is a text file of more than {MAX_TEXT_BYTES >> 20} MiB",
            where=str(path),
            hint="save it in binary form",
        )
    data = read_bytes(path)
    if not data.strip():
        raise SourceError(f"{path.name} is empty", where=str(path))
    try:
        return text_format.Parse(data, kind(), allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(
            f"{path.name} is damaged or not a {kind.DESCRIPTOR.name} in text form: "
            f"{str(error)[:120]}",
            where=str(path),
        ) from error


def read(path: Path, kind: type[M]) -> M:
    """Parses a message in text form where the suffix or the content says so, else in binary."""
    return read_text(path, kind) if is_text(path) else read_binary(path, kind)


def is_text(path: Path) -> bool:
    """Whether a file looks like a text message: by its suffix, or by printable first bytes."""
    if path.suffix in {".pbtxt", ".prototxt"}:
        return True
    head = head_of(path)
    return bool(head) and all(32 <= b < 127 or b in b"\t\r\n" for b in head)


def read_bytes(path: Path) -> bytes:
    """A file's content; raises SourceError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"{path.name} cannot be read: {error.strerror or error}", where=str(path)
        ) from error


def head_of(path: Path, size: int = 256) -> bytes:
    """The first bytes of a file; raises SourceError where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise SourceError(
            f"{path.name} cannot be read: {error.strerror or error}", where=str(path)
        ) from error


def parsed_or_none(path: Path, kind: Any) -> Any:
    """The message, or None where the file is not one (for detection)."""
    try:
        return read(path, kind)
    except SourceError:
        return None
