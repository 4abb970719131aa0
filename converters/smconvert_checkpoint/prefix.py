"""Finds the prefix that a path to a checkpoint means."""

from __future__ import annotations

import re
from pathlib import Path

from smconvert.errors import SourceError
from smconvert.graph.checkpoint import exists, is_table
from smconvert.graph.messages import read_bytes

STATE_FILE = "checkpoint"
_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_LATEST = re.compile(r'^\s*model_checkpoint_path:\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)


def prefix_of(path: Path) -> str | None:
    """The checkpoint prefix behind a prefix, ``.index``, ``.data-*`` file or folder.

    Raises:
        SourceError: a folder's ``checkpoint`` file names a checkpoint that is not there.
    """
    text = str(path)
    if path.is_dir():
        return _latest(path)
    if text.endswith(".index") and path.is_file():
        return text.removesuffix(".index")
    if _DATA.search(text) and path.is_file():
        return _DATA.sub("", text)
    if path.is_file():
        shard = re.sub(r"-\d{5}-of-\d{5}$", "", text)
        return shard if is_table(path) else None
    return text if exists(text) else None


def _latest(folder: Path) -> str | None:
    if (folder / ".index").is_file():
        return f"{folder}/"
    state = folder / STATE_FILE
    if not state.is_file():
        indexes = sorted(folder.glob("*.index"))
        if len(indexes) > 1:
            raise SourceError(
                f"{folder.name} holds {len(indexes)} checkpoints",
                where=", ".join(i.name.removesuffix(".index") for i in indexes),
                hint=f"name one: {str(indexes[-1]).removesuffix('.index')}",
            )
        return str(indexes[0]).removesuffix(".index") if indexes else None
    found = _LATEST.search(read_bytes(state).decode(errors="replace"))
    if found is None:
        raise SourceError("the file 'checkpoint' names no checkpoint", where=str(state))
    name = found[1].replace('\\"', '"').replace("\\\\", "\\")
    for candidate in (folder / name, folder / Path(name).name):
        if _is_inside(candidate, folder) and exists(str(candidate)):
            return str(candidate)
    raise SourceError(
        f"the file 'checkpoint' names {name[:200]!r}, which is not there",
        where=str(state),
        hint="name the prefix of a checkpoint that is",
    )


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in a folder; one that no file system takes does not."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False
