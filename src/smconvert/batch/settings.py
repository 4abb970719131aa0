"""The options of one conversion as a manifest says them: the flags' names, with JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smconvert.converters import SourceOptions, TargetOptions
from smconvert.errors import UsageError
from smconvert.parity.check import CheckOptions

_KINDS: dict[str, tuple[type, ...]] = {
    "from": (str,),
    "tag": (str,),
    "signature": (str, list),
    "inputs": (dict,),
    "outputs": (dict,),
    "set": (dict,),
    "checkpoint": (str,),
    "map-variable": (dict,),
    "cut-examples": (bool,),
    "op-library": (str, list),
    "model": (str,),
    "custom-objects": (str, list),
    "to": (str,),
    "opset": (int,),
    "external-data": (bool,),
    "extensions": (bool,),
    "compat": (str,),
    "version": (int,),
    "check": (bool,),
    "data": (str,),
    "rtol": (float, int),
    "atol": (float, int),
    "seed": (int,),
}
_WORDS = {str: "text", list: "a list", dict: "a mapping", bool: "true or false", int: "a number"}

FILES = ("checkpoint", "data", "op-library")
"""Settings that name files beside the model."""


@dataclass(frozen=True)
class Options:
    """What :func:`smconvert.pipeline.convert` takes."""

    source: SourceOptions
    target: TargetOptions
    check: CheckOptions
    checked: bool
    source_format: str | None


def ensure_valid(settings: Mapping[str, Any], where: str) -> None:
    """Refuses what a manifest may not say.

    Raises:
        UsageError: a key that is not known, or a value of another type.
    """
    for key, value in settings.items():
        kinds = _KINDS.get(key)
        if kinds is None:
            raise UsageError(
                f"{key!r} is not an option of a conversion",
                where=where,
                hint=f"one of {', '.join(_KINDS)}",
            )
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            words = " or ".join(dict.fromkeys(_WORDS.get(k, "a number") for k in kinds))
            raise UsageError(f"{key} is {value!r}, and must be {words}", where=where)


def options(settings: Mapping[str, Any]) -> Options:
    """The options that valid settings mean."""
    get = settings.get
    source = SourceOptions(
        tags=frozenset(filter(None, get("tag", "").split(","))) if "tag" in settings else None,
        signatures=_texts(get("signature")),
        inputs=get("inputs", {}),
        outputs=get("outputs", {}),
        fixed_inputs=get("set", {}),
        checkpoint=get("checkpoint"),
        variable_map=get("map-variable", {}),
        cut_examples=get("cut-examples", False),
        op_libraries=tuple(map(Path, _texts(get("op-library")))),
        factory=get("model"),
        custom_objects=_texts(get("custom-objects")),
    )
    target = TargetOptions(
        opset=get("opset"),
        external_data=get("external-data") or None,
        extensions=get("extensions") or None,
        compat=get("compat"),
        version=get("version"),
    )
    data = Path(settings["data"]) if "data" in settings else None
    check = CheckOptions(rtol=get("rtol"), atol=get("atol"), seed=get("seed", 0), data=data)
    return Options(source, target, check, get("check", True), get("from"))


def _texts(value: str | list[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())
