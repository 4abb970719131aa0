"""Initializers whose values are not in the model: permuted and written one after the other.

Until the file is written, a weight is a graph input without a place in the signature. The value is
read when its bytes are written, permuted as the nodes that it went through would have, and let go.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import numpy_helper

from smconvert.graph.weights import Weight
from smconvert.model import Array
from smconvert.parity.onnx_graph import reads

ALIGNMENT = 4096
"""External data starts at a page, so that it can be mapped."""

_GRAPH_FIELD = 7  # ModelProto.graph
_INITIALIZER_FIELD = 5  # GraphProto.initializer
_RAW_DATA_FIELD = 9  # TensorProto.raw_data
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Initializer:
    """A tensor beside a graph.

    Attributes:
        name: The graph input that stands for it.
        data_type: An ``onnx.TensorProto.DataType``.
        shape: Of ``value()``.
        value: Gives the array.
    """

    name: str
    data_type: int
    shape: tuple[int, ...]
    value: Callable[[], Array]

    def raw(self) -> memoryview:
        """The elements in row-major order, little-endian (onnx.proto, TensorProto.raw_data)."""
        array = np.ascontiguousarray(self.value())
        if sys.byteorder == "big":
            array = array.byteswap()
        return array.reshape(-1).view(np.uint8).data

    @property
    def bytes(self) -> int:
        """Size of ``raw()``."""
        dtype = onnx.helper.tensor_dtype_to_np_dtype(self.data_type)
        return math.prod(self.shape) * int(dtype.itemsize)


def of_weights(weights: Iterable[Weight], names: Mapping[str, str]) -> list[Initializer]:
    """The initializers of a frozen graph's weights, under the names that they got in ONNX."""
    return [
        Initializer(
            names[weight.node],
            int(onnx.helper.np_dtype_to_tensor_dtype(weight.dtype.numpy)),
            weight.shape,
            weight.value,
        )
        for weight in weights
    ]


def fold(model: onnx.ModelProto, initializers: Sequence[Initializer]) -> list[Initializer]:
    """Takes out the nodes that only permute or reshape an initializer.

    Each result takes the name of the node's output, and becomes an input of the graph in place of
    the initializer that it came from. The model is changed.
    """
    graph = model.graph
    known = {i.name: i for i in initializers}
    constants = {t.name: t for t in graph.initializer}
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        folded = None
        if node.input and node.input[0] in known and not outputs & {*node.output}:
            folded = _folded(node, known[node.input[0]], constants)
        if folded is None:
            kept.append(node)
        else:
            known[folded.name] = folded
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)
    return settled(model, known.values())


def settled(model: onnx.ModelProto, initializers: Iterable[Initializer]) -> list[Initializer]:
    """Those that the graph still needs, which become its last inputs; the model is changed."""
    graph = model.graph
    known = {i.name: i for i in initializers}
    used = {name for node in graph.node for name in reads(node)} | {v.name for v in graph.output}
    left = [i for i in known.values() if i.name in used]
    signature = [v for v in graph.input if v.name not in known]
    defaults = {value.name for value in signature}
    own = [
        onnx.TensorProto.FromString(tensor.SerializeToString())
        for tensor in graph.initializer
        if tensor.name in used | defaults and tensor.name not in known
    ]
    del graph.initializer[:]
    graph.initializer.extend(own)
    del graph.input[:]
    graph.input.extend(signature)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(i.name, i.data_type, i.shape) for i in left
    )
    return left


def _folded(
    node: onnx.NodeProto, source: Initializer, constants: Mapping[str, onnx.TensorProto]
) -> Initializer | None:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Transpose":
        axes = tuple(attributes.get("perm", reversed(range(len(source.shape)))))
        shape = tuple(source.shape[axis] for axis in axes)
        return replace(
            source, name=node.output[0], shape=shape, value=lambda: source.value().transpose(axes)
        )
    if node.op_type == "Identity":
        return replace(source, name=node.output[0])
    if node.op_type not in {"Reshape", "Squeeze", "Unsqueeze"}:
        return None
    if len(node.input) > 1 and node.input[1] not in constants:
        return None
    given = numpy_helper.to_array(constants[node.input[1]]) if len(node.input) > 1 else None
    wanted = _reshaped(node.op_type, source.shape, None if given is None else given.tolist())
    if wanted is None or attributes.get("allowzero"):
        return None
    return replace(
        source, name=node.output[0], shape=wanted, value=lambda: source.value().reshape(wanted)
    )


def _reshaped(
    op: str, shape: tuple[int, ...], given: Sequence[int] | None
) -> tuple[int, ...] | None:
    """The shape that an ONNX Reshape, Squeeze or Unsqueeze gives; None for what is not folded."""
    if op == "Squeeze":
        rank = len(shape)
        axes = [i for i, d in enumerate(shape) if d == 1] if given is None else given
        gone = {axis % rank for axis in axes}
        return tuple(d for i, d in enumerate(shape) if i not in gone)
    if given is None:
        return None
    if op == "Unsqueeze":
        rank = len(shape) + len(given)
        new = {axis % rank for axis in given}
        rest = iter(shape)
        return tuple(1 if i in new else next(rest) for i in range(rank))
    if math.prod(shape) == 0:
        return None
    sizes = [shape[i] if size == 0 else size for i, size in enumerate(given)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = math.prod(shape) // -math.prod(sizes)
    return tuple(sizes)


def write(model: onnx.ModelProto, initializers: Sequence[Initializer], path: Path) -> None:
    """Writes one file, in which the initializers' bytes follow the rest of the graph.

    The fields of a protobuf message may come in any order, so that the graph's last initializers
    are appended without building the message.
    """
    bare = _without_inputs(model, initializers)
    graph = bare.graph.SerializeToString(deterministic=True)
    bare.ClearField("graph")
    heads = [_head(i) for i in initializers]
    sizes = [len(h) + i.bytes for h, i in zip(heads, initializers, strict=True)]
    tags = [_tag(_INITIALIZER_FIELD, size) for size in sizes]
    with path.open("wb") as stream:
        stream.write(bare.SerializeToString(deterministic=True))
        stream.write(_tag(_GRAPH_FIELD, len(graph) + sum(sizes) + sum(map(len, tags))))
        stream.write(graph)
        for tag, head, initializer in zip(tags, heads, initializers, strict=True):
            stream.write(tag)
            stream.write(head)
            _stream(initializer, stream)


def write_external(
    model: onnx.ModelProto, initializers: Sequence[Initializer], path: Path, data: Path
) -> None:
    """Writes the graph to one file, and the initializers' bytes to another beside it."""
    bare = _without_inputs(model, initializers)
    with data.open("wb") as stream:
        for initializer in initializers:
            stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
            tensor = _tensor(initializer)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entries = {
                "location": data.name,
                "offset": str(stream.tell()),
                "length": str(initializer.bytes),
            }
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=value)
            bare.graph.initializer.append(tensor)
            _stream(initializer, stream)
    path.write_bytes(bare.SerializeToString(deterministic=True))


def taken_out(model: onnx.ModelProto, least: int) -> tuple[onnx.ModelProto, list[Initializer]]:
    """The model without its own initializers of at least ``least`` raw bytes, and these."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.initializer[:]
    out = []
    inputs = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) < least or tensor.name in inputs:
            result.graph.initializer.add().CopyFrom(tensor)
        else:
            out.append(
                Initializer(tensor.name, tensor.data_type, tuple(tensor.dims), _value_of(tensor))
            )
    return result, out


def _value_of(tensor: onnx.TensorProto) -> Callable[[], Array]:
    return lambda: numpy_helper.to_array(tensor)


def _without_inputs(model: onnx.ModelProto, initializers: Iterable[Initializer]) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    names = {i.name for i in initializers}
    inputs = [value for value in model.graph.input if value.name not in names]
    del result.graph.input[:]
    result.graph.input.extend(inputs)
    return result


def _stream(initializer: Initializer, stream: BinaryIO) -> None:
    raw = initializer.raw()
    if len(raw) != initializer.bytes:
        raise ValueError(f"{initializer.name} has {len(raw)} bytes, not {initializer.bytes}")
    for start in range(0, len(raw), _CHUNK):
        stream.write(raw[start : start + _CHUNK])


def _tensor(initializer: Initializer) -> onnx.TensorProto:
    return onnx.TensorProto(
        name=initializer.name, data_type=initializer.data_type, dims=initializer.shape
    )


def _head(initializer: Initializer) -> bytes:
    """A TensorProto up to the bytes of its raw_data."""
    tensor = _tensor(initializer).SerializeToString(deterministic=True)
    return tensor + _tag(_RAW_DATA_FIELD, initializer.bytes)


def _tag(field: int, size: int) -> bytes:
    """The start of a length-delimited field (protobuf.dev/programming-guides/encoding)."""
    return _varint(field << 3 | 2) + _varint(size)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
