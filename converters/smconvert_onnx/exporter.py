"""ONNX out: one file for a signature, or a folder with one for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from smconvert.converters import Artifact, Executable, TargetOptions
from smconvert.errors import UsageError
from smconvert.graph.freeze import freeze
from smconvert.graph.names import legal_names
from smconvert.graph.sole import sole_signature
from smconvert.model import CanonicalModel, Signature, SignatureInfo
from smconvert_onnx import audit
from smconvert_onnx.initializers import (
    Initializer,
    taken_out,
    write,
    write_external,
)
from smconvert_onnx.lowering import lower
from smconvert_onnx.metadata import METADATA
from smconvert_onnx.opsets import NEWEST
from smconvert_onnx.tf2onnx_engine import MAX_OPSET, MIN_OPSET

SUFFIX = ".onnx"
DATA_SUFFIX = ".data"
MAX_BYTES = (1 << 31) - (1 << 20)
EXTERNAL_BYTES = 1024
"""Smaller initializers stay in the model file, for shape inference to see them."""

LOOPS = frozenset(
    {"Enter", "While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}
)


@dataclass(frozen=True)
class Written:
    """One written file, the name each output got, and what was done."""

    path: Path
    companions: tuple[Path, ...]
    output_names: Mapping[str, str]
    facts: Mapping[str, Any]


class OnnxExporter:
    """Writes ``.onnx`` files."""

    format = "onnx"
    suffixes = (SUFFIX,)
    accepts = frozenset({"opset", "external_data"})

    def destination(self, path: Path, options: TargetOptions) -> Path:
        """The file or folder itself."""
        return path

    def save(self, model: CanonicalModel, path: Path, options: TargetOptions) -> Artifact:
        """Writes one signature to a ``.onnx`` file, or each to a file of a folder.

        Raises:
            UsageError: several signatures for one file, or an opset that cannot be written.
            ConversionError: the model cannot be expressed in ONNX.
        """
        opset = MAX_OPSET if options.opset is None else options.opset
        if not MIN_OPSET <= opset <= NEWEST:
            raise UsageError(
                f"opset {opset} cannot be written",
                where="--opset",
                hint=f"choose one from {MIN_OPSET} to {NEWEST}",
            )
        if path.suffix.lower() == SUFFIX:
            signature = sole_signature(model, "an ONNX file")
            written = _write(signature, model, path, opset, options)
            return Artifact(
                self.format,
                path,
                written.companions,
                {signature.name: _executable(signature, written)},
                written.facts,
            )
        path.mkdir()
        names = legal_names(list(model.signatures))
        executables, facts = {}, {}
        for name, signature in model.signatures.items():
            file = path / (names[name].replace("/", "_") + SUFFIX)
            written = _write(signature, model, file, opset, options)
            executables[name] = _executable(signature, written)
            facts[name] = {"file": file.name, **written.facts}
        return Artifact(self.format, path, (), executables, {"signatures": facts})


def _write(
    signature: Signature, model: CanonicalModel, path: Path, opset: int, options: TargetOptions
) -> Written:
    frozen = freeze(signature)
    lowered = lower(frozen, opset)
    finished, output_names = lowered.model, lowered.output_names
    facts = {
        "opset": opset,
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
    return Written(path, companions, output_names, facts)


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


def _executable(signature: Signature, written: Written) -> Executable:
    info = SignatureInfo(signature.name, signature.inputs, signature.outputs, signature.method)
    renamed = {k: v for k, v in written.output_names.items() if k != v}
    return Executable("ort", written.path, info, {"output_names": renamed})
