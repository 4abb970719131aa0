"""TensorFlow Serving over gRPC: its PredictionService, on the protos of tensorflow-serving-api."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from google.protobuf.message import DecodeError

from smconvert.errors import RuntimeFailure, SourceError, Unavailable
from smconvert.graph.protos import meta_graph_pb2
from smconvert.graph.tensors import array_of, proto_of
from smconvert.model import Array, SignatureInfo
from smconvert.served.address import Address

TIMEOUT = 300.0
_APIS = "tensorflow_serving.apis"
_UNLIMITED = -1
_OPTIONS = [
    ("grpc.max_receive_message_length", _UNLIMITED),
    ("grpc.max_send_message_length", _UNLIMITED),
]


def signatures(address: Address) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures of a served model.

    Raises:
        Unavailable: the server does not answer, or ``smconvert[serving]`` is not installed.
        SourceError: it has no such model, or its answer is not understood.
    """
    messages = _api("get_model_metadata_pb2")
    request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
    _specify(request.model_spec, address)
    try:
        answer = _asked(address, "GetModelMetadata", request)
    except RuntimeFailure as error:
        if isinstance(error, Unavailable):
            raise
        raise SourceError(error.message, where=error.where, hint=error.hint) from error
    found = messages.SignatureDefMap()
    try:
        # Its type is another class of the same message, where TensorFlow was not imported yet.
        found.ParseFromString(answer.metadata["signature_def"].value)
        return {
            name: meta_graph_pb2.SignatureDef.FromString(definition.SerializeToString())
            for name, definition in found.signature_def.items()
        }
    except DecodeError as error:
        raise SourceError("the server's metadata are not understood", where=str(address)) from error


def predict(
    address: Address, signature: SignatureInfo, feeds: Mapping[str, Array]
) -> dict[str, Array]:
    """One call.

    Raises:
        Unavailable: the server does not answer, or ``smconvert[serving]`` is not installed.
        RuntimeFailure: it refuses the call, or its answer does not fit the signature.
    """
    request = _api("predict_pb2").PredictRequest()
    _specify(request.model_spec, address)
    request.model_spec.signature_name = signature.name
    for name, value in feeds.items():
        encoded = proto_of(value, signature.input(name).dtype).SerializeToString()
        request.inputs[name].ParseFromString(encoded)
    answer = _asked(address, "Predict", request)
    missing = [o.name for o in signature.outputs if o.name not in answer.outputs]
    if missing:
        raise RuntimeFailure(f"the server's answer lacks {', '.join(missing)}", where=str(address))
    try:
        return {o.name: array_of(answer.outputs[o.name]) for o in signature.outputs}
    except (SourceError, ValueError) as error:
        raise RuntimeFailure(
            f"the server's answer is not understood: {error}", where=str(address)
        ) from error


def _asked(address: Address, method: str, request: Any) -> Any:
    import grpc

    stubs = _api("prediction_service_pb2_grpc")
    with _channel(grpc, address) as channel:
        try:
            return getattr(stubs.PredictionServiceStub(channel), method)(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            code, details = error.code(), str(error.details())[:400]
            if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise Unavailable(
                    f"the server does not answer: {details}",
                    where=str(address),
                    hint="see whether it runs, and whether the port is that of its gRPC interface "
                    "(8500)",
                ) from error
            raise RuntimeFailure(
                f"the server refuses ({code.name.lower()}): {details}", where=str(address)
            ) from error


def _channel(grpc: Any, address: Address) -> AbstractContextManager[Any]:
    if address.scheme == "grpcs":
        secured: AbstractContextManager[Any] = grpc.secure_channel(
            address.server, grpc.ssl_channel_credentials(), _OPTIONS
        )
        return secured
    plain: AbstractContextManager[Any] = grpc.insecure_channel(address.server, _OPTIONS)
    return plain


def _specify(spec: Any, address: Address) -> None:
    spec.name = address.model
    if address.version is not None:
        spec.version.value = address.version
    if address.label is not None:
        spec.version_label = address.label


def _api(module: str) -> Any:
    try:
        return importlib.import_module(f"{_APIS}.{module}")
    except ImportError as error:
        raise Unavailable(
            "the messages of TensorFlow Serving's gRPC interface are not installed",
            hint="pip install 'smconvert[serving]', or use its REST interface: http://...",
        ) from error
