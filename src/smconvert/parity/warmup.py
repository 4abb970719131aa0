"""Inputs that a SavedModel brings along: the warm-up requests of TensorFlow Serving, in and out.

The file is a TFRecord (tensorflow/core/lib/io/record_writer.h) of ``PredictionLog`` messages
(tensorflow_serving/apis/prediction_log.proto). TensorFlow Serving's message modules are not
installed with TensorFlow, so the few fields that matter are read and written in the wire format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from smconvert.errors import SourceError
from smconvert.graph.protos import example_pb2, tensor_pb2
from smconvert.graph.tensors import array_of, proto_of
from smconvert.model import DEFAULT_SIGNATURE, Array, DType, SignatureInfo

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_REQUESTS = 8
"""Enough to compare on; TensorFlow Serving itself takes up to 1000."""
MAX_RECORD_BYTES = 64 << 20

_CLASSIFY, _REGRESS, _PREDICT = 2, 3, 6  # of PredictionLog
_REQUEST = 1  # of each log
_MODEL_SPEC, _INPUTS = 1, 2  # of PredictRequest; the second is `input` in the other two
_SIGNATURE_NAME = 3  # of ModelSpec
_EXAMPLES, _EXAMPLES_WITH_CONTEXT = 1, 2  # of Input
_KEY, _VALUE = 1, 2  # of a map's entry; of ExampleListWithContext, the examples and the context

Fields = dict[int, list[bytes]]


def requests(model: Path, signature: SignatureInfo) -> list[dict[str, Array]]:
    """The first warm-up requests for ``signature`` of the SavedModel folder ``model``.

    Requests for other signatures, or with other inputs than the signature has, are left out.

    Raises:
        SourceError: the file is there and damaged.
    """
    path = model / FILE
    if not path.is_file():
        return []
    calls: list[dict[str, Array]] = []
    try:
        for record in records(path):
            call = _call(record, signature)
            if call is not None:
                calls.append(call)
            if len(calls) == MAX_REQUESTS:
                break
    except (ValueError, IndexError, DecodeError) as error:
        raise SourceError(
            f"the warm-up requests are damaged: {error}",
            where=str(path),
            hint="the model itself does not need the file: move it away, or restore it",
        ) from error
    return calls


def write(
    model: Path, calls: Iterable[tuple[SignatureInfo, Sequence[Mapping[str, Array]]]]
) -> None:
    """Writes calls as the warm-up requests of the SavedModel folder ``model``.

    TensorFlow Serving makes each of them when it loads the model, before it serves it, and does not
    load a model that refuses one: so they should be calls that the model is known to take.
    """
    path = model / FILE
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as stream:
        for signature, made in calls:
            for call in made:
                stream.write(_record(_log(signature, call)))


def _log(signature: SignatureInfo, call: Mapping[str, Array]) -> bytes:
    """A PredictionLog with one PredictRequest."""
    request = _field(_MODEL_SPEC, _field(_SIGNATURE_NAME, signature.name.encode()))
    for name, value in sorted(call.items()):
        tensor = proto_of(value, signature.input(name).dtype).SerializeToString(deterministic=True)
        request += _field(_INPUTS, _field(_KEY, name.encode()) + _field(_VALUE, tensor))
    return _field(_PREDICT, _field(_REQUEST, request))


def _record(data: bytes) -> bytes:
    size = len(data).to_bytes(8, "little")
    return b"".join(
        (size, masked_crc(size).to_bytes(4, "little"), data, masked_crc(data).to_bytes(4, "little"))
    )


def _field(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    """A number as a varint."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file.

    Raises:
        ValueError: a record is cut off or does not match its checksum.
    """
    with path.open("rb") as stream:
        while header := stream.read(12):
            size = int.from_bytes(header[:8], "little")
            if len(header) < 12 or masked_crc(header[:8]) != int.from_bytes(header[8:], "little"):
                raise ValueError("the length of a record does not match its checksum")
            if size > MAX_RECORD_BYTES:
                raise ValueError(f"a record claims {size} bytes")
            data, crc = stream.read(size), stream.read(4)
            if len(data) < size or masked_crc(data) != int.from_bytes(crc, "little"):
                raise ValueError("a record does not match its checksum")
            yield data


def _call(record: bytes, signature: SignatureInfo) -> dict[str, Array] | None:
    log = fields(record)
    for kind in (_PREDICT, _CLASSIFY, _REGRESS):
        if kind not in log:
            continue
        request = fields(_last(fields(_last(log, kind)), _REQUEST))
        name = _last(fields(_last(request, _MODEL_SPEC)), _SIGNATURE_NAME).decode()
        if (name or DEFAULT_SIGNATURE) != signature.name:
            return None
        call = _tensors(request) if kind == _PREDICT else _examples(request, signature)
        return _complete(call, signature)
    return None


def _tensors(request: Fields) -> dict[str, Array]:
    entries = [fields(entry) for entry in request.get(_INPUTS, ())]
    return {
        _last(e, _KEY).decode(): array_of(tensor_pb2.TensorProto.FromString(_last(e, _VALUE)))
        for e in entries
    }


def _examples(request: Fields, signature: SignatureInfo) -> dict[str, Array]:
    """The one input of a classify or regress request: serialized tf.Examples, of shape [n]."""
    given = fields(_last(request, _INPUTS))
    listed = fields(_last(given, _EXAMPLES)).get(_KEY, [])
    if _EXAMPLES_WITH_CONTEXT in given:
        both = fields(_last(given, _EXAMPLES_WITH_CONTEXT))
        listed = [_merged(_last(both, _VALUE), e) for e in both.get(_KEY, [])]
    serialized = np.empty(len(listed), object)
    serialized[:] = listed
    return {info.name: serialized for info in signature.inputs[:1]}


def _merged(context: bytes, example: bytes) -> bytes:
    merged = example_pb2.Example.FromString(context)
    merged.MergeFromString(example)
    return merged.SerializeToString(deterministic=True)


def _complete(call: dict[str, Array], signature: SignatureInfo) -> dict[str, Array] | None:
    """The call with defaults for what it leaves out; None where it is not for these inputs."""
    known = {info.name: info for info in signature.inputs}
    for name, info in known.items():
        if name not in call and info.default is not None:
            call[name] = info.default
    fits = call.keys() == known.keys() and all(
        DType.from_numpy(value.dtype) is known[name].dtype for name, value in call.items()
    )
    return call if fits else None


def fields(message: bytes) -> Fields:
    """The length-delimited fields of a protobuf message, by number; others are passed over.

    Raises:
        ValueError: the message ends within a field, or uses an unknown wire type.
    """
    found: Fields = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            _, at = _varint(message, at)
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"a message has a field of the unknown kind {wire}")
        if at + size > len(message):
            raise ValueError("a message ends within a field")
        if wire == 2:
            found.setdefault(number, []).append(message[at : at + size])
        at += size
    return found


def _last(found: Fields, number: int) -> bytes:
    """The value of a field that is not repeated: the last one wins; empty where there is none."""
    return found.get(number, [b""])[-1]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a message ends within a number")


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as TFRecords hold it (tensorflow/core/lib/hash/crc32c.h)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_entry(byte) for byte in range(256))
