"""What is to be converted, as a YAML file says it, or a folder, glob or URL alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smconvert.batch.discovery import is_local
from smconvert.batch.settings import FILES, ensure_valid
from smconvert.errors import SourceError, UsageError

_TOP = ("to", "into", "options", "models")
_OWN = ("source", "name")


@dataclass(frozen=True)
class Request:
    """One entry of a manifest: every artifact at a place, all with the same settings.

    Attributes:
        place: A file, prefix, folder, glob or URL.
        settings: Options by the names of the flags (see :mod:`smconvert.batch.settings`).
        name: The result's name, where ``place`` is one artifact and another name is wanted.
    """

    place: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A batch as asked for.

    Attributes:
        requests: What to convert.
        into: Folder or URL for the results, if it says.
    """

    requests: tuple[Request, ...]
    into: str | None = None


def read(place: str, settings: Mapping[str, Any] | None = None) -> Manifest:
    """The manifest at ``place``; or all artifacts there, where it is no YAML file.

    Args:
        place: A ``.yaml`` or ``.yml`` file, or what a manifest's ``source`` may be.
        settings: Options over those of the whole manifest; an entry's own win.

    Raises:
        SourceError: the file cannot be read.
        UsageError: it says what no manifest may.
    """
    given = dict(settings or {})
    ensure_valid(given, "the command line")
    if is_local(place) and place.endswith((".yaml", ".yml")):
        return _read_yaml(Path(place), given)
    return Manifest((Request(place, given),))


def _read_yaml(path: Path, given: Mapping[str, Any]) -> Manifest:
    content = _parsed(path)
    if not isinstance(content, dict):
        raise UsageError("a manifest is a mapping", where=str(path), hint=_example())
    _ensure_known(content, _TOP, str(path))
    models = content.get("models")
    if not isinstance(models, list) or not models:
        raise UsageError("models is no list of what to convert", where=str(path), hint=_example())
    common = content.get("options") or {}
    if not isinstance(common, dict):
        raise UsageError("options is no mapping", where=str(path), hint=_example())
    if "to" in content:
        common = {"to": content["to"], **common}
    ensure_valid(common, f"{path}: options")
    common = {**common, **given}
    requests = tuple(
        _request(entry, common, path, f"{path}: models[{number}]")
        for number, entry in enumerate(models)
    )
    into = content.get("into")
    return Manifest(requests, None if into is None else _beside(str(into), path))


def _request(entry: Any, common: Mapping[str, Any], path: Path, where: str) -> Request:
    if isinstance(entry, str):
        entry = {"source": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("source"), str):
        raise UsageError("an entry is a place, or has a source", where=where, hint=_example())
    name = entry.get("name")
    if name is not None and not _is_below(name):
        raise UsageError(f"{name!r} is no name below the folder of the results", where=where)
    own = {key: value for key, value in entry.items() if key not in _OWN}
    ensure_valid(own, where)
    settings = {**common, **own}
    for key in FILES:
        if key in settings:
            value = settings[key]
            settings[key] = (
                [_beside(v, path) for v in value]
                if isinstance(value, list)
                else _beside(value, path)
            )
    return Request(_beside(entry["source"], path), settings, name)


def _parsed(path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise UsageError(
            "a manifest needs PyYAML", hint="pip install 'smconvert[batch]'"
        ) from error
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(
            f"the manifest cannot be read: {error.strerror}", where=str(path)
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise SourceError(f"the manifest is no YAML: {what}", where=str(path)) from error


def _beside(place: str, manifest: Path) -> str:
    """A relative path counts from the manifest's folder."""
    place = os.path.expanduser(place)
    if not is_local(place) or os.path.isabs(place):
        return place
    return os.path.normpath(manifest.absolute().parent / place)


def _is_below(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and not {"..", "/"} & {*Path(name).parts}


def _ensure_known(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            raise UsageError(
                f"{key!r} is nothing that a manifest says",
                where=where,
                hint=f"one of {', '.join(known)}; options of conversions belong below options",
            )


def _example() -> str:
    return "to: onnx, and below models: a list of paths, globs or URLs"
