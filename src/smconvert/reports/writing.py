"""A report on disk, in the form that its suffix names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from smconvert.errors import DestinationError, UsageError
from smconvert.reports import html, junit

RENDERERS = {
    ".html": html.render,
    ".json": lambda document: json.dumps(document, indent=2, ensure_ascii=False) + "\n",
    ".xml": junit.render,
}


def ensure_writable(path: Path) -> None:
    """Refuses a report that could not be written, before the work is done.

    Raises:
        UsageError: the suffix names no form of report, or the folder is not there.
    """
    if path.suffix.lower() not in RENDERERS:
        raise UsageError(
            f"{path.name} names no form of report",
            where="--report",
            hint=f"use one of {', '.join(RENDERERS)}",
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of {path} is not there", where="--report")


def write(document: dict[str, Any], path: Path) -> None:
    """Writes the report; an old one is replaced.

    Raises:
        DestinationError: it cannot be written.
    """
    try:
        path.write_text(RENDERERS[path.suffix.lower()](document), encoding="utf-8")
    except OSError as error:
        raise DestinationError(
            f"the report cannot be written: {error.strerror}", where=str(path)
        ) from error
