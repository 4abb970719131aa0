"""Finds artifacts by name below a folder, a glob, a file or a bucket, through fsspec.

Names alone decide what is tried; whether the bytes are a model is found when they are read. A
folder with ``saved_model.pb`` is one artifact with all that is below it, and so is a folder with
TensorFlow's ``checkpoint`` file with the checkpoints in it.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smconvert.errors import SourceError, UsageError

_SAVED_MODELS = ("saved_model.pb", "saved_model.pbtxt")
_SUFFIXES = (".keras", ".h5", ".hdf5", ".pb", ".pbtxt", ".meta")
_MAGIC = "*?["


@dataclass(frozen=True)
class File:
    """A file of an artifact.

    Attributes:
        url: Where it is.
        path: Where it belongs, relative to the folder that the artifact is in.
        bytes: Its size.
        version: Changes when its content does: an ETag, or the time of its last change.
    """

    url: str
    path: str
    bytes: int
    version: str


@dataclass(frozen=True)
class Found:
    """An artifact.

    Attributes:
        url: Where it is: a path of this machine, or an fsspec URL.
        name: Its path below what was searched, without its suffix.
        path: Its own path, relative to the folder that it is in.
        files: All its files.
    """

    url: str
    name: str
    path: str
    files: tuple[File, ...]

    @property
    def suffix(self) -> str:
        """What ``name`` lacks."""
        suffix = posixpath.splitext(self.path)[1]
        return suffix if suffix in (*_SUFFIXES, ".index") else ""


def is_local(url: str) -> bool:
    """Whether ``url`` is a path of this machine."""
    return "://" not in url


def find(place: str) -> list[Found]:
    """All artifacts at ``place``, by path.

    Raises:
        SourceError: nothing is there, or it cannot be listed.
        UsageError: no file system of the URL's kind is installed.
    """
    system, root = opened(place)
    try:
        tops = sorted(system.glob(root)) if _is_pattern(root) else [root]
        files = {path: info for top in tops for path, info in _listed(system, top).items()}
    except OSError as error:
        raise SourceError(f"it cannot be listed: {error}", where=place) from error
    base = _base(system, root)
    found = [_found(system, base, files, artifact) for artifact in _artifacts(files, tops)]
    if not found:
        raise SourceError(
            "no model is there",
            where=place,
            hint="SavedModel and checkpoint folders and files ending in "
            f"{', '.join(_SUFFIXES)} are looked for, in folders at any depth",
        )
    return found


def one(url: str, path_below: str) -> tuple[File, ...]:
    """The files of a checkpoint's prefix or of any other file, to lie in ``path_below``.

    Raises:
        SourceError: nothing is there.
    """
    system, path = opened(url)
    files = _with_prefix(system, path)
    if not files:
        raise SourceError("nothing is there", where=url)
    folder = posixpath.dirname(path)
    return tuple(_file(system, p, i, folder, path_below) for p, i in sorted(files.items()))


def opened(url: str) -> tuple[Any, str]:
    """The file system of a URL or path, and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise UsageError("batch needs fsspec", hint="pip install 'smconvert[batch]'") from error
    try:
        system, path = fsspec.core.url_to_fs(os.path.expanduser(url))
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"no file system for this URL: {error}",
            where=url,
            hint="pip install the fsspec package of its kind, such as gcsfs or s3fs",
        ) from error
    return system, path


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in _MAGIC)


def _listed(system: Any, top: str) -> dict[str, Mapping[str, Any]]:
    files: dict[str, Mapping[str, Any]] = system.find(top, detail=True)
    return files or _with_prefix(system, top)


def _with_prefix(system: Any, prefix: str) -> dict[str, Mapping[str, Any]]:
    folder = posixpath.dirname(prefix)
    if not system.isdir(folder):
        return {}
    listed = system.ls(folder, detail=True)
    return {
        info["name"]: info
        for info in listed
        if info["type"] == "file"
        and info["name"].startswith(prefix)
        and info["name"][len(prefix) :][:1] in {"", ".", "-"}
    }


def _base(system: Any, root: str) -> str:
    if _is_pattern(root):
        plain = root[: min(root.index(sign) for sign in _MAGIC if sign in root)]
        return posixpath.dirname(plain)
    return root if system.isdir(root) else posixpath.dirname(root)


def _artifacts(files: Mapping[str, Any], tops: Sequence[str]) -> Iterator[str]:
    """The artifacts among these files: folders, or files without what belongs to them."""
    exports = {posixpath.dirname(p) for p in files if posixpath.basename(p) in _SAVED_MODELS}
    trained = {posixpath.dirname(p) for p in files if posixpath.basename(p) == "checkpoint"}
    found = exports | trained
    for path in files:
        folders = [posixpath.dirname(path)]
        while folders[-1] not in {"", "/"}:
            folders.append(posixpath.dirname(folders[-1]))
        if exports.intersection(folders) or folders[0] in trained:
            continue
        stem, suffix = posixpath.splitext(path)
        if suffix in _SUFFIXES or (suffix == ".index" and f"{stem}.meta" not in files):
            found.add(path)
    # What was named itself is an artifact whatever it is called.
    found |= {top for top in tops if _matches(top, files) and not _covers(top, found)}
    yield from sorted(found)


def _matches(top: str, files: Mapping[str, Any]) -> bool:
    return any(path.startswith(top) and not path.startswith(f"{top}/") for path in files)


def _covers(top: str, found: set[str]) -> bool:
    return any(path == top or path.startswith((f"{top}/", f"{top}.")) for path in found)


def _found(system: Any, base: str, files: Mapping[str, Any], artifact: str) -> Found:
    folder = posixpath.dirname(artifact)
    if any(path.startswith(f"{artifact}/") for path in files):
        own = {p: i for p, i in files.items() if p.startswith(f"{artifact}/")}
        if f"{artifact}/checkpoint" in own and not any(
            f"{artifact}/{name}" in own for name in _SAVED_MODELS
        ):
            own = {p: i for p, i in own.items() if posixpath.dirname(p) == artifact}
    else:
        stem, suffix = posixpath.splitext(artifact)
        prefix = stem if suffix in {".meta", ".index"} else artifact
        own = {
            p: i
            for p, i in files.items()
            if p == prefix or p.startswith((f"{prefix}.", f"{prefix}-"))
        }
    relative = posixpath.relpath(artifact, base)
    if relative == ".":
        relative = posixpath.basename(artifact)
    stem, suffix = posixpath.splitext(relative)
    return Found(
        _url(system, artifact),
        stem if suffix in (*_SUFFIXES, ".index") else relative,
        posixpath.relpath(artifact, folder),
        tuple(_file(system, p, i, folder, "") for p, i in sorted(own.items())),
    )


def _file(system: Any, path: str, info: Mapping[str, Any], folder: str, below: str) -> File:
    keys = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
    version = next((str(info[key]) for key in keys if info.get(key) is not None), "")
    inside = posixpath.join(below, posixpath.relpath(path, folder))
    return File(_url(system, path), inside, int(info["size"]), version)


def _url(system: Any, path: str) -> str:
    import fsspec.implementations.local

    if isinstance(system, fsspec.implementations.local.LocalFileSystem):
        return str(Path(path))
    return str(system.unstrip_protocol(path))
