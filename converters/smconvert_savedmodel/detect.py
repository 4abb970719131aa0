"""Recognises SavedModel folders."""

from __future__ import annotations

from pathlib import Path

from smconvert.converters import Match
from smconvert.errors import SourceError

FILES = ("saved_model.pb", "saved_model.pbtxt")


def proto_file(folder: Path) -> Path | None:
    """The file that makes a folder a SavedModel; None where there is none."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def detect(path: Path) -> Match | None:
    """Claims a SavedModel folder, its proto file, or a folder that contains one export.

    Raises:
        SourceError: the folder contains several exports.
    """
    if path.name in FILES and path.is_file():
        path = path.parent
    if not path.is_dir():
        return None
    file = proto_file(path)
    if file is not None:
        return Match("savedmodel", path, f"{file.name} is there")
    exports = sorted(p for p in path.iterdir() if p.is_dir() and proto_file(p) is not None)
    if len(exports) > 1:
        raise SourceError(
            f"{path.name} contains {len(exports)} exports",
            where=", ".join(p.name for p in exports),
            hint=f"name one: {exports[-1]}",
        )
    if exports:
        return Match("savedmodel", exports[0], f"the one export in {path.name}")
    if (path / "variables").is_dir() and (path / "variables" / "variables.index").is_file():
        raise SourceError(
            "the folder has a SavedModel's variables, but its saved_model.pb is missing",
            where=str(path),
        )
    return None
