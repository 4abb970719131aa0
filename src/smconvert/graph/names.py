"""Tensor names, and how names of one format are made to fit another."""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Container, Iterable, Mapping, Sequence

from smconvert.errors import SourceError

_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_FOREIGN = re.compile(r"[^A-Za-z0-9_.\\/-]")


def node_of(tensor: str) -> str:
    """The node of an input or tensor name: ``x`` of ``x``, ``x:1`` and ``^x``."""
    return tensor.lstrip("^").split(":", 1)[0]


def port_of(tensor: str) -> int:
    """The output index: 1 of ``x:1``, 0 of ``x``.

    Raises:
        SourceError: it has none.
    """
    _, _, port = tensor.partition(":")
    if port and not (port.isascii() and port.isdigit() and len(port) < 10):
        raise SourceError(f"{tensor[:80]!r} is not the name of a tensor")
    return int(port) if port else 0


def is_control(tensor: str) -> bool:
    """Whether an input is a control edge."""
    return tensor.startswith("^")


def full(tensor: str) -> str:
    """The name with its port: ``x:0`` of ``x``."""
    return f"{node_of(tensor)}:{port_of(tensor)}"


def short(tensor: str) -> str:
    """The name as GraphDefs write it, without port 0: ``x`` of ``x:0``."""
    port = port_of(tensor)
    return f"{node_of(tensor)}:{port}" if port else node_of(tensor)


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The names most like ``name``: by spelling, or because one ends with the other."""
    known = list(choices)
    close = difflib.get_close_matches(name, known, count, 0.6)
    tail = [k for k in known if k.rpartition("/")[2] == name.rpartition("/")[2]]
    return list(dict.fromkeys([*close, *tail]))[:count]


def legal(name: str) -> bool:
    """Whether ``name`` can be the name of a node (tensorflow/core/graph/node_builder)."""
    return _SCOPE.fullmatch(name) is not None


def keywords(names: Sequence[str]) -> Mapping[str, str]:
    """For each name, itself if Python takes it as a keyword, else the nearest free one it takes."""
    used = {name for name in names if _is_keyword(name)}
    found = {}
    for name in names:
        candidate = name
        if not _is_keyword(name):
            base = re.sub(r"[^A-Za-z0-9_]", "_", name)
            base = base if _is_keyword(base) else f"arg_{base}"
            candidate, number = base, 1
            while candidate in used:
                candidate, number = f"{base}_{number}", number + 1
            used.add(candidate)
        found[name] = candidate
    return found


def _is_keyword(name: str) -> bool:
    return name.isascii() and name.isidentifier() and name[0] != "_" and not keyword.iskeyword(name)


def legal_names(names: Sequence[str], taken: Iterable[str] = ()) -> Mapping[str, str]:
    """For each name, itself if it can name a node, otherwise the nearest free one that can."""
    used = set(taken) | {name for name in names if legal(name)}
    found = {}
    for name in names:
        if legal(name) and name not in taken:
            found[name] = name
            continue
        base = _FOREIGN.sub("_", name)
        base = base if legal(base) else f"x{base}"
        found[name] = unused_name(base, used)
        used.add(found[name])
    return found


def unused_name(base: str, taken: Container[str], mark: str = "_") -> str:
    """``base``, or the first of ``base_1``, ``base_2``, ... that is not taken."""
    candidate, number = base, 1
    while candidate in taken:
        candidate, number = f"{base}{mark}{number}", number + 1
    return candidate
