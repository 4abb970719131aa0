"""ONNX files, to inspect and to run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from onnx import checker, external_data_helper, numpy_helper

from smconvert.converters import Description, Executable, Match, SourceOptions, VariableInfo
from smconvert.errors import SourceError
from smconvert.graph.messages import read_bytes
from smconvert.model import DEFAULT_SIGNATURE, Array, DType, SignatureInfo, TensorInfo
from smconvert_onnx.metadata import output_names, uses_extensions

SUFFIX = ".onnx"


class OnnxReader:
    """Reads ``.onnx`` files."""

    format = "onnx"

    def detect(self, path: Path) -> Match | None:
        """Claims a ``.onnx`` file."""
        if path.is_file() and path.suffix.lower() == SUFFIX:
            return Match(self.format, path, f"the suffix {SUFFIX}")
        return None

    def describe(self, path: Path, options: SourceOptions) -> Description:
        """Inputs, outputs, weights and ops."""
        model = _model(path)
        opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
        return Description(
            format=self.format,
            path=path,
            signatures=(_signature(model, path),),
            variables=tuple(_weights(model, path)),
            ops=dict(Counter(n.op_type for n in model.graph.node)),
            notes=(f"opset {opsets}", f"made by {model.producer_name or 'unknown'}"),
        )

    def executable(
        self, path: Path, options: SourceOptions, signature: SignatureInfo
    ) -> Executable:
        """In ONNX Runtime."""
        model = _model(path)
        settings: dict[str, object] = {"output_names": dict(output_names(model))}
        if uses_extensions(model):
            settings["extensions"] = True
        return Executable("ort", path, signature, settings)


def _model(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.ModelProto.FromString(read_bytes(path))
    except DecodeError as error:
        raise SourceError(f"{path.name} is damaged or not ONNX", where=str(path)) from error
    if not model.HasField("graph"):
        raise SourceError(f"{path.name} holds no graph", where=str(path))
    if not _is_text(model):
        raise SourceError(
            f"{path.name} is damaged: it holds names that are no text", where=str(path)
        )
    for tensor in external_data_helper._get_all_tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location" and not _is_inside(entry.value, path.parent):
                raise SourceError(
                    f"the weights of {tensor.name!r} point outside the model's folder",
                    where=entry.value[:200],
                )
    return model


def _is_text(message: Message) -> bool:
    """Whether all strings are UTF-8; a message of ONNX's kind gives others as bytes."""
    for field, value in message.ListFields():
        if field.type not in {field.TYPE_STRING, field.TYPE_MESSAGE}:
            continue
        for one in (value,) if isinstance(value, (str, bytes, Message)) else value:
            if not (_is_text(one) if isinstance(one, Message) else isinstance(one, str)):
                return False
    return True


def _is_inside(location: str, folder: Path) -> bool:
    """Whether a file lies in a folder; a name that no file system takes does not."""
    try:
        return (folder / location).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def _signature(model: onnx.ModelProto, path: Path) -> SignatureInfo:
    defaults = {t.name: t for t in model.graph.initializer}
    inputs = tuple(
        TensorInfo(
            value.name,
            _dtype(value),
            _shape(value),
            default=_default(defaults[value.name], path) if value.name in defaults else None,
        )
        for value in model.graph.input
    )
    names = {name: output for output, name in output_names(model).items()}
    outputs = tuple(
        TensorInfo(names.get(v.name, v.name), _dtype(v), _shape(v)) for v in model.graph.output
    )
    return SignatureInfo(model.graph.name or DEFAULT_SIGNATURE, inputs, outputs)


def _default(tensor: onnx.TensorProto, path: Path) -> Array:
    try:
        return np.asarray(numpy_helper.to_array(tensor, str(path.parent)))
    except (OSError, ValueError, TypeError, checker.ValidationError) as error:
        raise SourceError(
            f"the default of the input {tensor.name!r} cannot be read: {str(error)[:120]}",
            where=str(path),
        ) from error


def _dtype(value: onnx.ValueInfoProto) -> DType:
    number = value.type.tensor_type.elem_type
    if number == onnx.TensorProto.STRING:
        return DType.STRING
    try:
        return DType.from_numpy(onnx.helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, ValueError) as error:
        raise SourceError(f"{value.name!r} has an element type that is not known here") from error


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str | None, ...] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or None
        for d in value.type.tensor_type.shape.dim
    )


def _weights(model: onnx.ModelProto, path: Path) -> Iterator[VariableInfo]:
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data) or tensor.ByteSize()
        for entry in tensor.external_data:
            if entry.key == "length" and entry.value.isdigit():
                size = int(entry.value)
        try:
            label = DType.from_numpy(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).label
        except (KeyError, ValueError):
            label = "string" if tensor.data_type == onnx.TensorProto.STRING else "unknown"
        yield VariableInfo(tensor.name, label, tuple(tensor.dims), size)
