"""Served models as artifacts: recognised by their URL, described by the server's metadata."""

from __future__ import annotations

from pathlib import Path

from smconvert.converters import Description, Executable, Match, SourceOptions
from smconvert.errors import UsageError
from smconvert.graph.protos import meta_graph_pb2
from smconvert.graph.signatures import resolve
from smconvert.model import SignatureInfo
from smconvert.served import prediction_service, rest
from smconvert.served.address import is_address, of_path


class ServedReader:
    """Reads models that TensorFlow Serving serves."""

    format = "served"

    def detect(self, path: Path) -> Match | None:
        """Claims URLs."""
        if not is_address(path):
            return None
        return Match(self.format, path, f"the URL {of_path(path)}")

    def describe(self, path: Path, options: SourceOptions) -> Description:
        """The signatures, as the server tells them."""
        address = of_path(path)
        if options.inputs or options.outputs:
            raise UsageError(
                "a served model is called by its signatures only",
                where=str(address),
                hint="choose one with --signature NAME",
            )
        asked = rest.signatures if address.is_rest else prediction_service.signatures
        meta_graph = meta_graph_pb2.MetaGraphDef()
        for name, definition in asked(address).items():
            meta_graph.signature_def[name].CopyFrom(definition)
        return Description(
            self.format,
            path,
            signatures=resolve(meta_graph, options),
            notes=(f"served at {address}",),
        )

    def executable(
        self, path: Path, options: SourceOptions, signature: SignatureInfo
    ) -> Executable:
        """By one request for each call."""
        address = of_path(path)
        settings = {"url": str(address), "takes_empty": not address.is_rest}
        return Executable("served", path, signature, settings)
