"""The file beside a frozen graph that names its feeds and fetches.

A GraphDef has no signatures; ``model.pb.json`` says what ``model.pb`` cannot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smconvert.errors import SourceError
from smconvert.model import DType, SignatureInfo, TensorInfo

VERSION = 1
MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Manifest:
    """What the file holds: the signature, the init op, and what was done.

    Attributes:
        signature: Names of the feeds and fetches, with their tensors.
        init_op: Node to run before the first call (tables), or None.
        facts: Provenance and counts, as JSON values.
    """

    signature: SignatureInfo
    init_op: str | None
    facts: Mapping[str, Any] = field(default_factory=dict)


def manifest_path(graph: Path) -> Path:
    """Where the manifest of a graph file lies."""
    return graph.with_name(graph.name + ".json")


def write(manifest: Manifest, graph: Path) -> Path:
    """Writes the manifest beside ``graph`` and returns its path."""
    path = manifest_path(graph)
    signature = manifest.signature
    content = {
        "smconvert": VERSION,
        "format": "graphdef",
        "signature": {
            "name": signature.name,
            "method": signature.method,
            "inputs": [_tensor(i) for i in signature.inputs],
            "outputs": [_tensor(o) for o in signature.outputs],
        },
        "init_op": manifest.init_op,
        **manifest.facts,
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def read(graph: Path) -> Manifest | None:
    """The manifest beside ``graph``; None where there is no file.

    Raises:
        SourceError: there is one, and it cannot be understood.
    """
    path = manifest_path(graph)
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text())
        if content["smconvert"] != VERSION:
            raise ValueError(f"its version is {content['smconvert']}")
        signature = content["signature"]
        return Manifest(
            SignatureInfo(
                str(signature["name"]),
                tuple(_info(i) for i in signature["inputs"]),
                tuple(_info(o) for o in signature["outputs"]),
                str(signature["method"]),
            ),
            content["init_op"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise SourceError(
            f"{path.name} is not a manifest of smconvert: {error}",
            where=str(path),
            hint="mend or remove it; --inputs and --outputs can name the tensors instead",
        ) from error


def _tensor(info: TensorInfo) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": info.name,
        "tensor": info.tensor,
        "dtype": info.dtype.label,
        "shape": None if info.shape is None else list(info.shape),
    }
    if info.default is not None:
        entry["optional"] = True
    return entry


def _info(entry: Mapping[str, Any]) -> TensorInfo:
    shape = entry["shape"]
    return TensorInfo(
        str(entry["name"]),
        DType.from_label(entry["dtype"]),
        None if shape is None else tuple(None if d is None else int(d) for d in shape),
        str(entry["tensor"]),
    )
