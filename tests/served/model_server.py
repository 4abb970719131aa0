"""A small model server that speaks as TensorFlow Serving does, for tests of the clients.

REST by the documented paths (https://www.tensorflow.org/tfx/serving/api_rest), gRPC on the official
protos. What it answers is computed by TensorFlow. It is not TensorFlow Serving: what
is written of that in its documents is what is followed here.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from smconvert.model import Array, DType

NAME, VERSION, LABEL = "iris", 7, "stable"


@dataclass(frozen=True)
class Urls:
    rest: str
    grpc: str


class Model:
    """A SavedModel in a session, as TensorFlow Serving itself runs it."""

    def __init__(self, path: Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        self.definitions = dict(loaded.signature_def)

    def close(self) -> None:
        self._session.close()

    def definition(self, name: str) -> Any:
        if name not in self.definitions:
            raise ValueError(f'Serving signature key "{name}" not found.')
        return self.definitions[name]

    def __call__(self, name: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        definition = self.definition(name)
        if feeds.keys() != definition.inputs.keys():
            raise ValueError(f"input must be {sorted(definition.inputs)}, got {sorted(feeds)}")
        fetched = {n: info.name for n, info in definition.outputs.items()}
        fed = {definition.inputs[n].name: value for n, value in feeds.items()}
        outputs: dict[str, Array] = self._session.run(fetched, fed)
        return outputs


@contextmanager
def serving(path: Path) -> Iterator[Urls]:
    model = Model(path)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    rpc = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Service(model), rpc)
    port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    try:
        yield Urls(
            f"http://127.0.0.1:{http.server_address[1]}/v1/models/{NAME}",
            f"grpc://127.0.0.1:{port}/{NAME}",
        )
    finally:
        http.shutdown()
        http.server_close()
        rpc.stop(None).wait()
        model.close()


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: Model) -> None:
        self._model = model

    def Predict(self, request: Any, context: Any) -> Any:
        _ensure_served(request.model_spec, context)
        try:
            feeds = {n: _of_proto(p) for n, p in request.inputs.items()}
            outputs = self._model(request.model_spec.signature_name, feeds)
        except (ValueError, tf.errors.OpError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        _ensure_served(request.model_spec, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(_definitions(self._model))
        return response


def _definitions(model: Model) -> Any:
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in model.definitions.items():
        found.signature_def[name].ParseFromString(definition.SerializeToString())
    return found


def _of_proto(proto: Any) -> Array:
    value = tf.make_ndarray(proto)
    return value.astype(object) if value.dtype.kind in "SO" else value


def _ensure_served(spec: Any, context: Any) -> None:
    version = spec.version.value if spec.HasField("version") else VERSION
    if spec.name != NAME or version != VERSION or spec.version_label not in {"", LABEL}:
        context.abort(
            grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {spec.name}, {version}"
        )


def _handler(model: Model) -> type[BaseHTTPRequestHandler]:
    ours = {
        f"/v1/models/{NAME}{version}"
        for version in ("", f"/versions/{VERSION}", f"/labels/{LABEL}")
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.removesuffix("/metadata") not in ours:
                return self._tell(404, {"error": f"Servable not found for request: {self.path}"})
            definitions = json_format.MessageToDict(
                _definitions(model), preserving_proto_field_name=True
            )
            spec = {"name": NAME, "signature_name": "", "version": str(VERSION)}
            return self._tell(200, {"model_spec": spec, "metadata": {"signature_def": definitions}})

        def do_POST(self) -> None:
            path, _, verb = self.path.partition(":")
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if path not in ours or verb != "predict":
                return self._tell(404, {"error": f"Servable not found for request: {self.path}"})
            try:
                return self._tell(200, _predicted(model, request))
            except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
                return self._tell(400, {"error": str(error)})

        def _tell(self, code: int, answer: Any) -> None:
            body = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    return Handler


def _predicted(model: Model, request: Mapping[str, Any]) -> dict[str, Any]:
    name = request.get("signature_name", "serving_default")
    inputs = model.definition(name).inputs
    by_rows = "instances" in request
    given = request["instances"] if by_rows else request["inputs"]
    names = list(inputs)
    if by_rows:
        rows = [r if _is_named(r, names) else {names[0]: r} for r in given]
        columns = {n: [row[n] for row in rows] for n in names}
    else:
        columns = given if _is_named(given, names) else {names[0]: given}
    feeds = {n: _tensor(columns[n], DType.from_number(inputs[n].dtype)) for n in names}
    outputs = {n: _values(n, v) for n, v in model(name, feeds).items()}
    if not by_rows:
        return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}
    told = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    return {"predictions": [r.popitem()[1] for r in told] if len(outputs) == 1 else told}


def _is_named(value: Any, names: list[str]) -> bool:
    return isinstance(value, dict) and value.keys() <= set(names)


def _tensor(value: Any, dtype: DType) -> Array:
    if dtype is not DType.STRING:
        return np.array(value, dtype.numpy)
    return np.array(_bytes(value), object)


def _bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_bytes(v) for v in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()


def _values(name: str, value: Array) -> list[Any]:
    """Strings are base64 where the output's name ends in ``_bytes``, as documented."""

    def told(item: Any) -> Any:
        if isinstance(item, list):
            return [told(i) for i in item]
        if isinstance(item, bytes):
            b64 = name.endswith("_bytes")
            return {"b64": base64.b64encode(item).decode()} if b64 else item.decode()
        return item

    listed: list[Any] = told(value.tolist())
    return listed
