"""Puts a result in place whole, or not at all.

A result is written into a hidden folder beside its destination, so that the last step is a rename
on one file system. Whatever it refers to is moved first, what the user named last.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from smconvert.converters import Artifact
from smconvert.errors import DestinationError


def ensure_free(destination: Path, force: bool) -> None:
    """Raises DestinationError when something is at ``destination`` and may not be replaced."""
    if os.path.lexists(destination) and not force:
        raise DestinationError(
            f"{destination.name} exists already",
            where=str(destination),
            hint="--force replaces it, or name another destination",
        )


@contextlib.contextmanager
def staging_for(destination: Path) -> Iterator[Path]:
    """A private folder beside ``destination``; it is gone afterwards, whatever happened.

    Folders above ``destination`` that were missing are made, and removed again when they stay
    empty. Errors of the file system, TensorFlow's own among them, become DestinationErrors.
    """
    made = []
    folder = None
    try:
        for parent in reversed([p for p in destination.parents if not p.exists()]):
            parent.mkdir()
            made.append(parent)
        folder = Path(
            tempfile.mkdtemp(prefix=f".{destination.name}.smconvert-", dir=destination.parent)
        )
        yield folder
    except OSError as error:
        raise destination_error(error, destination) from error
    except Exception as error:
        # TensorFlow's file system raises its own errors, with the reason only in the text.
        if os.strerror(errno.ENOSPC) in str(error):
            raise destination_error(
                OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), destination
            ) from error
        raise
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in reversed(made):
            with contextlib.suppress(OSError):
                parent.rmdir()


def publish(artifact: Artifact, destination: Path, staging: Path) -> Artifact:
    """Moves ``artifact`` out of ``staging``: companions first, then the artifact itself.

    What was there before is kept aside until the new one is in place, and comes back if it fails.
    """
    moved = artifact.moved(destination)
    aside = staging / "replaced"
    aside.mkdir()
    done: list[tuple[Path, Path | None]] = []
    try:
        companions = zip(artifact.companions, moved.companions, strict=True)
        for old, new in (*companions, (artifact.path, moved.path)):
            kept = None
            if os.path.lexists(new):
                kept = aside / f"{len(done)}"
                new.rename(kept)
            done.append((new, kept))
            old.rename(new)
    except BaseException:
        for new, kept in reversed(done):
            if os.path.lexists(new):
                new.rename(aside / f"new-{new.name}")
            if kept is not None:
                kept.rename(new)
        raise
    return moved


def keep_aside(artifact: Artifact, folder: Path) -> Artifact:
    """Moves a failed result into the new folder ``folder``, for the user to look at."""
    ensure_free(folder, force=False)
    folder.mkdir(parents=True)
    moved = artifact.moved(folder / artifact.path.name)
    for old, new in zip(artifact.companions, moved.companions, strict=True):
        old.rename(new)
    artifact.path.rename(moved.path)
    return moved


def destination_error(error: OSError, destination: Path) -> DestinationError:
    """What the file system said, as a person should hear it."""
    reasons = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "writing is not permitted",
        errno.EPERM: "writing is not permitted",
        errno.EROFS: "the file system is read-only",
        errno.ENOTDIR: "a part of the path is a file, not a folder",
        errno.ENAMETOOLONG: "the name is too long",
        errno.EFBIG: "the file is larger than allowed",
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    return DestinationError(
        f"the result cannot be written: {reason}",
        where=str(destination),
        hint="free some space or name another destination; nothing was left behind",
    )
