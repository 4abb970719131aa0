"""TensorFlow Serving over REST (https://www.tensorflow.org/tfx/serving/api_rest).

A call goes in rows (``instances``) where all inputs have the same number of rows, as most clients
do it, and in columns (``inputs``) otherwise. Strings go as ``{"b64": ...}``, serialized
``tf.Example``s among them; NaN and infinities by the names that JSON libraries give them.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import json_format

from smconvert.errors import RuntimeFailure, SourceError, Unavailable
from smconvert.graph.protos import meta_graph_pb2
from smconvert.model import Array, DType, SignatureInfo, TensorInfo
from smconvert.served.address import Address

TIMEOUT = 300.0
MAX_ANSWER_BYTES = 1 << 30


def signatures(address: Address) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures of a served model.

    Raises:
        Unavailable: the server does not answer.
        SourceError: it has no such model, or its answer is not understood.
    """
    try:
        answer = _asked(f"{address}/metadata", None)
    except RuntimeFailure as error:
        if isinstance(error, Unavailable):
            raise
        raise SourceError(error.message, where=error.where, hint=error.hint) from error
    try:
        found = answer["metadata"]["signature_def"]["signature_def"]
        return {
            str(name): json_format.ParseDict(
                definition, meta_graph_pb2.SignatureDef(), ignore_unknown_fields=True
            )
            for name, definition in found.items()
        }
    except (KeyError, TypeError, AttributeError, json_format.ParseError, RecursionError) as error:
        raise SourceError(
            f"the server's metadata are not understood: {str(error)[:120]}", where=str(address)
        ) from error


def predict(
    address: Address, signature: SignatureInfo, feeds: Mapping[str, Array]
) -> dict[str, Array]:
    """One call.

    Raises:
        Unavailable: the server does not answer.
        RuntimeFailure: it refuses the call, or its answer does not fit the signature.
    """
    rows = _rows(signature, feeds)
    values = {name: _plain(value.tolist()) for name, value in feeds.items()}
    request: dict[str, Any] = {"signature_name": signature.name}
    if rows is None:
        request["inputs"] = values
    else:
        request["instances"] = [{name: v[row] for name, v in values.items()} for row in range(rows)]
    answer = _asked(f"{address}:predict", request)
    try:
        told = answer["outputs"] if rows is None else answer["predictions"]
        return {o.name: _array(_values(told, o, signature, rows), o) for o in signature.outputs}
    except (KeyError, TypeError, ValueError, IndexError, binascii.Error) as error:
        raise RuntimeFailure(
            f"the server's answer does not fit the signature: {type(error).__name__}: "
            f"{str(error)[:120]}",
            where=str(address),
        ) from error


def _rows(signature: SignatureInfo, feeds: Mapping[str, Array]) -> int | None:
    """The number of rows, where all inputs and outputs have a free batch; None for columns."""
    infos = (*signature.inputs, *signature.outputs)
    batched = all(i.shape and not isinstance(i.shape[0], int) for i in infos)
    counts = {len(value) if value.ndim else 0 for value in feeds.values()}
    return counts.pop() if batched and len(counts) == 1 and counts != {0} else None


def _values(told: Any, output: TensorInfo, signature: SignatureInfo, rows: int | None) -> Any:
    """The values of one output; where there is only one, the server leaves its name away."""
    if len(signature.outputs) == 1:
        return told
    return told[output.name] if rows is None else [row[output.name] for row in told]


def _array(value: Any, output: TensorInfo) -> Array:
    if output.dtype is DType.STRING:
        return _strings(value)
    return np.array(value, output.dtype.numpy)


def _strings(value: Any) -> Array:
    if isinstance(value, list):
        parts = [_strings(v) for v in value]
        result = np.empty((len(parts), *(parts[0].shape if parts else ())), object)
        for row, part in enumerate(parts):
            result[row] = part[()] if part.ndim == 0 else part
        return result
    result = np.empty((), object)
    result[()] = base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


def _asked(url: str, request: Mapping[str, Any] | None) -> Any:
    data = None if request is None else json.dumps(request).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:
            body = answer.read(MAX_ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise RuntimeFailure(
            f"the server refuses ({error.code}): {_reason(error.read(1 << 16))}", where=url
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(
            f"the server does not answer: {reason}",
            where=url,
            hint="see whether it runs, and whether the port is that of its REST interface (8501)",
        ) from error
    if len(body) > MAX_ANSWER_BYTES:
        raise RuntimeFailure(f"the server answers more than {MAX_ANSWER_BYTES:,} bytes", where=url)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RuntimeFailure(
            "the server's answer is not JSON", where=url, hint="is it TensorFlow Serving's?"
        ) from error


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])[:400]
    except (ValueError, KeyError, TypeError, RecursionError):
        return body.decode(errors="replace").strip()[:200] or "no reason given"
