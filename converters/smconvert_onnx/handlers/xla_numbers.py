"""Which axis is what: the messages of XLA's ops that say so (xla/xla_data.proto)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Op


@dataclass(frozen=True)
class DotNumbers:
    """Axes of the left and right factor: those of the batch, and those that are summed over."""

    batch: tuple[list[int], list[int]]
    contracted: tuple[list[int], list[int]]


@dataclass(frozen=True)
class ConvolutionNumbers:
    """Axes of the input and result [batch, space, channels], and the kernel [window, in, out]."""

    given: list[int]
    kernel: list[int]
    made: list[int]


@dataclass(frozen=True)
class WindowNumbers:
    """How windows of a tensor are picked by an array of places.

    Attributes:
        offset: Axes of the windows in the result, or in the updates.
        collapsed: Axes of the tensor that a window has one element of, and not as an axis.
        places: The axis of the tensor that each number of a place belongs to.
        vector: The axis of the array along which a place lies; its rank where that is no axis.
        batch: Axes of the tensor that go along with axes of the array.
        places_batch: These axes of the array.
    """

    offset: list[int]
    collapsed: list[int]
    places: list[int]
    vector: int
    batch: list[int]
    places_batch: list[int]


def dot_numbers(op: Op) -> DotNumbers:
    """What a DotDimensionNumbers says."""
    m = _message(op, "DotDimensionNumbers")
    return DotNumbers(
        (list(m.lhs_batch_dimensions), list(m.rhs_batch_dimensions)),
        (list(m.lhs_contracting_dimensions), list(m.rhs_contracting_dimensions)),
    )


def convolution_numbers(op: Op) -> ConvolutionNumbers:
    """What a ConvolutionDimensionNumbers says."""
    m = _message(op, "ConvolutionDimensionNumbers")
    return ConvolutionNumbers(
        [m.input_batch_dimension, *m.input_spatial_dimensions, m.input_feature_dimension],
        [
            *m.kernel_spatial_dimensions,
            m.kernel_input_feature_dimension,
            m.kernel_output_feature_dimension,
        ],
        [m.output_batch_dimension, *m.output_spatial_dimensions, m.output_feature_dimension],
    )


def gather_numbers(op: Op) -> WindowNumbers:
    """What a GatherDimensionNumbers says."""
    m = _message(op, "GatherDimensionNumbers")
    return WindowNumbers(
        list(m.offset_dims),
        list(m.collapsed_slice_dims),
        list(m.start_index_map),
        m.index_vector_dim,
        list(m.operand_batching_dims),
        list(m.start_indices_batching_dims),
    )


def scatter_numbers(op: Op) -> WindowNumbers:
    """What a ScatterDimensionNumbers says."""
    m = _message(op, "ScatterDimensionNumbers")
    return WindowNumbers(
        list(m.update_window_dims),
        list(m.inserted_window_dims),
        list(m.scatter_dims_to_operand_dims),
        m.index_vector_dim,
        list(m.input_batching_dims),
        list(m.scatter_indices_batching_dims),
    )


def _message(op: Op, kind: str) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.compiler.xla import xla_data_pb2

    data = op.node.attr["dimension_numbers"].s
    try:
        return getattr(xla_data_pb2, kind).FromString(data)
    except DecodeError:
        op.refuse("its dimension numbers cannot be read")


def wide_type(*types: DType) -> DType:
    """The widest of some types, in which products are summed."""
    floats = [t for t in types if t.numpy.kind in "fV" or t is DType.BFLOAT16]
    among = floats or list(types)
    return max(among, key=lambda t: (np.dtype(t.numpy).itemsize, t is not DType.BFLOAT16))
