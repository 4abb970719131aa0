"""One signature as one ``.onnx`` file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from smconvert.converters import Executable, TargetOptions
from smconvert.graph.freeze import FrozenGraph, freeze
from smconvert.model import CanonicalModel, Signature, SignatureInfo
from smconvert_onnx import audit
from smconvert_onnx.initializers import Initializer, taken_out, write, write_external
from smconvert_onnx.lowering import Lowered, lower
from smconvert_onnx.metadata import METADATA, uses_extensions
from smconvert_onnx.opsets import NotRaised
from smconvert_onnx.tf2onnx_engine import MAX_OPSET as ENGINE_OPSET

DEFAULT_OPSET = 21
"""The newest operator set that every onnxruntime released this year or the last runs (1.20.2)."""

DATA_SUFFIX = ".data"
MAX_BYTES = (1 << 31) - (1 << 20)
EXTERNAL_BYTES = 1024
"""Smaller initializers stay in the model file, for shape inference to see them."""


@dataclass(frozen=True)
class Written:
    """One written file, the name each output got, and what was done."""

    path: Path
    companions: tuple[Path, ...]
    output_names: Mapping[str, str]
    extensions: bool
    facts: Mapping[str, Any]

    def executable(self, signature: Signature) -> Executable:
        """How ONNX Runtime runs the file."""
        info = SignatureInfo(signature.name, signature.inputs, signature.outputs, signature.method)
        return Executable("ort", self.path, info, self.settings)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the runtime has to know beside the signature."""
        renamed = {k: v for k, v in self.output_names.items() if k != v}
        extended = {"extensions": True} if self.extensions else {}
        return {"output_names": renamed, **extended}


def write_signature(
    signature: Signature, model: CanonicalModel, path: Path, options: TargetOptions
) -> Written:
    """Writes a signature of ``model``; weights go beside it where asked, or where they must.

    Raises:
        ConversionError: it cannot be expressed in ONNX.
    """
    frozen = freeze(signature)
    lowered = _lowered(frozen, options)
    finished, output_names = lowered.model, lowered.output_names
    facts = {
        "opset": lowered.opset,
        "nodes_in": frozen.nodes_before,
        "nodes_out": len(finished.graph.node),
        "provenance": asdict(replace(model.provenance, changes=())),
        "changes": [*model.provenance.changes, *frozen.changes],
        "signature": signature.name,
        "method": signature.method,
        "output_names": {k: v for k, v in output_names.items() if k != v},
    }
    _describe(finished, facts)
    audit.ensure_valid(finished)
    companions = _save(finished, lowered.initializers, path, options)
    return Written(path, companions, output_names, uses_extensions(finished), facts)


def _lowered(frozen: FrozenGraph, options: TargetOptions) -> Lowered:
    extensions = bool(options.extensions)
    if options.opset is not None:
        return lower(frozen, options.opset, extensions=extensions)
    try:
        return lower(frozen, DEFAULT_OPSET, extensions=extensions)
    except NotRaised:
        return lower(frozen, ENGINE_OPSET, extensions=extensions)


def _describe(model: onnx.ModelProto, facts: Mapping[str, Any]) -> None:
    """Names the signature and puts the provenance into the model."""
    model.graph.name = str(facts["signature"])
    model.producer_name = "smconvert"
    model.producer_version = version("smconvert")
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key = METADATA
    entry.value = json.dumps(facts, ensure_ascii=False, sort_keys=True)


def _save(
    model: onnx.ModelProto,
    initializers: Sequence[Initializer],
    path: Path,
    options: TargetOptions,
) -> tuple[Path, ...]:
    """Writes the file; weights beside it when they are asked to be, or do not fit."""
    size = model.ByteSize() + sum(i.bytes for i in initializers)
    if not options.external_data and size <= MAX_BYTES:
        write(model, initializers, path)
        return ()
    model, own = taken_out(model, EXTERNAL_BYTES)
    if not (own or initializers):
        write(model, (), path)
        return ()
    data = path.with_name(path.name + DATA_SUFFIX)
    write_external(model, [*own, *initializers], path, data)
    return (data,)
