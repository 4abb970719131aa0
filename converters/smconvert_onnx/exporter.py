"""ONNX out: one file for a signature, or a folder with one for each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from smconvert.converters import Artifact, Obstacle, TargetOptions
from smconvert.errors import UsageError
from smconvert.graph.names import legal_names
from smconvert.graph.sole import sole_signature
from smconvert.model import CanonicalModel
from smconvert_onnx.support import obstacles

if TYPE_CHECKING:
    from smconvert.graph.protos import node_def_pb2

SUFFIX = ".onnx"
MIN_OPSET = 13
MAX_OPSET = 26
"""The newest operator set that onnxruntime 1.31 runs."""


class OnnxExporter:
    """Writes ``.onnx`` files."""

    format = "onnx"
    suffixes = (SUFFIX,)
    accepts = frozenset({"opset", "external_data", "extensions"})
    live = False

    def destination(self, path: Path, options: TargetOptions) -> Path:
        """The file or folder itself."""
        return path

    def obstacles(self, nodes: Iterable[node_def_pb2.NodeDef]) -> list[Obstacle]:
        """The ops that standard ONNX cannot say, or that smconvert does not write yet."""
        return obstacles(nodes)

    def save(self, model: CanonicalModel, path: Path, options: TargetOptions) -> Artifact:
        """Writes one signature to a ``.onnx`` file, or each to a file of a folder.

        Raises:
            UsageError: several signatures for one file, or an opset that cannot be written.
            ConversionError: the model cannot be expressed in ONNX.
        """
        from smconvert_onnx.writing import write_signature

        opset = options.opset
        if opset is not None and not MIN_OPSET <= opset <= MAX_OPSET:
            raise UsageError(
                f"opset {opset} cannot be written",
                where="--opset",
                hint=f"choose one from {MIN_OPSET} to {MAX_OPSET}",
            )
        if path.suffix.lower() == SUFFIX:
            signature = sole_signature(model, "an ONNX file")
            written = write_signature(signature, model, path, options)
            return Artifact(
                self.format,
                path,
                written.companions,
                {signature.name: written.executable(signature)},
                written.facts,
            )
        path.mkdir()
        names = legal_names(list(model.signatures))
        executables, facts = {}, {}
        for name, signature in model.signatures.items():
            file = path / (names[name].replace("/", "_") + SUFFIX)
            written = write_signature(signature, model, file, options)
            executables[name] = written.executable(signature)
            facts[name] = {"file": file.name, **written.facts}
        return Artifact(self.format, path, (), executables, {"signatures": facts})
