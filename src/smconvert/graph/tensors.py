"""TensorProtos, shapes and attributes as plain values, without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from smconvert.errors import SourceError
from smconvert.graph.names import node_of
from smconvert.model import Array, DType, Shape

if TYPE_CHECKING:
    from smconvert.graph.protos import graph_pb2, tensor_pb2

MAX_BYTES = 1 << 31
"""A TensorProto cannot hold more than a protobuf can (2 GiB); a larger claim is hostile."""

_FIELDS = {
    DType.FLOAT32: "float_val",
    DType.FLOAT64: "double_val",
    DType.INT64: "int64_val",
    DType.BOOL: "bool_val",
    DType.UINT32: "uint32_val",
    DType.UINT64: "uint64_val",
    DType.STRING: "string_val",
    DType.FLOAT16: "half_val",
    DType.BFLOAT16: "half_val",
    DType.COMPLEX64: "scomplex_val",
    DType.COMPLEX128: "dcomplex_val",
}


def shape_of(proto: Any) -> Shape | None:
    """The dimensions of a TensorShapeProto; None where the rank is unknown."""
    if proto.unknown_rank:
        return None
    return tuple(dim.size if dim.size >= 0 else None for dim in proto.dim)


def array_of(proto: Any) -> Array:
    """The value of a TensorProto; a short list of values repeats its last one.

    One value for all is not written out: it takes no memory, and cannot be written to.

    Follows tensorflow/core/framework/tensor.proto.

    Raises:
        SourceError: the proto's content does not fit its shape.
    """
    dtype = DType.from_number(proto.dtype)
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * max(dtype.numpy.itemsize, 1) > MAX_BYTES:
        raise SourceError(f"a constant claims the shape {list(shape)}")
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.numpy.itemsize:
            raise SourceError("a constant's content does not fit its shape")
        return np.frombuffer(proto.tensor_content, dtype.numpy).reshape(shape)
    raw: Any = list(getattr(proto, _FIELDS.get(dtype, "int_val")))
    if dtype in {DType.FLOAT16, DType.BFLOAT16}:
        values = np.array(raw, np.uint16).view(dtype.numpy)
    elif dtype in {DType.COMPLEX64, DType.COMPLEX128}:
        values = np.array(raw[0::2]) + 1j * np.array(raw[1::2])
    else:
        values = np.empty(len(raw), dtype.numpy)
        values[:] = raw
    if len(values) > count or (count and not len(values) and dtype is DType.STRING):
        raise SourceError("a constant's values do not fit its shape")
    if len(values) <= 1:
        return np.broadcast_to(values[0] if len(values) else np.zeros((), dtype.numpy), shape)
    full = np.empty(count, dtype.numpy)
    full[: len(values)] = values
    full[len(values) :] = values[-1]
    return full.reshape(shape)


def proto_of(value: Array, dtype: DType) -> tensor_pb2.TensorProto:
    """The TensorProto of a value."""
    from smconvert.graph.protos import tensor_pb2

    proto = tensor_pb2.TensorProto(dtype=dtype.number)
    proto.tensor_shape.SetInParent()
    for size in value.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype is DType.STRING:
        proto.string_val.extend(v if isinstance(v, bytes) else str(v).encode() for v in value.flat)
    else:
        proto.tensor_content = value.astype(dtype.numpy).tobytes()
    return proto


def default_of(tensor: str, nodes: Mapping[str, graph_pb2.NodeDef]) -> Array | None:
    """The constant that a PlaceholderWithDefault falls back to; None for anything else."""
    node = nodes.get(node_of(tensor))
    if node is None or node.op != "PlaceholderWithDefault" or not node.input:
        return None
    source, passed = nodes.get(node_of(node.input[0])), {node.name}
    while source is not None and source.op == "Identity" and source.input:
        if source.name in passed:
            return None
        passed.add(source.name)
        source = nodes.get(node_of(source.input[0]))
    if source is None or source.op != "Const":
        return None
    return array_of(source.attr["value"].tensor)
