"""Fourier transforms as products with their matrices (fft_ops.cc)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smconvert.graph.names import full, node_of
from smconvert.graph.protos import node_def_pb2
from smconvert.model import Array, DType, Shape
from smconvert_onnx.real_nodes import Nodes, Pair

CONSTANT = 2048
"""The longest transform whose matrix is a constant; a longer one is computed in the graph."""

_RANKS = {
    f"{prefix}FFT{suffix}": rank
    for prefix in ("", "I", "R", "IR")
    for suffix, rank in (("", 1), ("2D", 2), ("3D", 3))
}


@dataclass(frozen=True)
class _Length:
    """The length of a transform: known, or a scalar of the graph."""

    known: int | None
    tensor: str


class Transforms:
    """Writes the transforms of one graph."""

    def __init__(
        self, write: Nodes, shapes: Mapping[str, Shape | None], arrays: Mapping[str, Array]
    ) -> None:
        self._write = write
        self._shapes = shapes
        self._arrays = arrays

    def knows(self, op: str) -> bool:
        """Whether the op is a Fourier transform."""
        return op in _RANKS

    def of(self, node: node_def_pb2.NodeDef, x: Pair) -> Pair | str:
        """The transform of a pair; of its real part, where the op takes real numbers.

        Of several axes, the last is the one whose transform is of real numbers.
        """
        rank = _RANKS[node.op]
        shape = self._shapes[full(node.input[0])]
        sizes = {
            axis: self._size(x.real, axis, shape[axis] if shape else None)
            for axis in range(-rank, 0)
        }
        flat = shape is None or len(shape) == 1
        if not node.op.startswith(("R", "IR")):
            for axis, size in sizes.items():
                x = self._complex(x, axis, size, size, flat, inverse=node.op.startswith("I"))
            return x
        lengths = {axis: self._given(node.input[1], axis) for axis in sizes}
        last = sizes.pop(-1), lengths.pop(-1)
        if node.op.startswith("R"):
            x = self._forward(x.real, *last, flat)
        for axis, size in sizes.items():
            inverse = node.op.startswith("I")
            x = self._complex(x, axis, size, lengths[axis], flat, inverse=inverse)
        return x if node.op.startswith("R") else self._backward(x, *last, flat)

    def _complex(
        self, x: Pair, axis: int, size: _Length, n: _Length, flat: bool, *, inverse: bool
    ) -> Pair:
        write, rows = self._write, self._least(size, n)
        x = Pair(*(self._cropped(part, axis, size, rows) for part in (x.real, x.imag)))
        cosine, sine = (
            self._matrix(f, rows, n, n, n, scale="1/n" if inverse else "1") for f in ("Cos", "Sin")
        )

        def times(part: str, matrix: str) -> str:
            return self._times(part, matrix, axis, flat)

        straight = times(x.real, cosine), times(x.imag, cosine)
        crossed = times(x.imag, sine), times(x.real, sine)
        kinds = ("Sub", "AddV2") if inverse else ("AddV2", "Sub")
        return Pair(
            write.of(kinds[0], straight[0], crossed[0]),
            write.of(kinds[1], straight[1], crossed[1]),
        )

    def _forward(self, x: str, size: _Length, n: _Length, flat: bool) -> Pair:
        """The transform of real numbers: the half that is not conjugate to the other."""
        rows, columns = self._least(size, n), self._half(n)
        x = self._cropped(x, -1, size, rows)
        cosine, sine = (self._matrix(f, rows, n, columns, n, scale="1") for f in ("Cos", "Sin"))
        real, imag = (self._times(x, matrix, -1, flat) for matrix in (cosine, sine))
        return Pair(real, self._write.of("Neg", imag))

    def _backward(self, x: Pair, size: _Length, n: _Length, flat: bool) -> str:
        """Real numbers of half of their transform, the other being its conjugate."""
        most = self._half(n)
        rows = self._least(size, most)
        x = Pair(*(self._cropped(part, -1, size, rows) for part in (x.real, x.imag)))
        cosine, sine = (self._matrix(f, rows, most, n, n, scale="w/n") for f in ("Cos", "Sin"))
        return self._write.of(
            "Sub",
            self._times(x.real, cosine, -1, flat),
            self._times(x.imag, sine, -1, flat),
        )

    def _times(self, x: str, matrix: str, axis: int, flat: bool) -> str:
        """The sum of products along an axis."""
        write = self._write
        if axis == -1 and not flat:
            return write.of("BatchMatMulV2", x, matrix)
        if axis == -1:
            row = write.constant(-2, DType.INT32)
            made = write.of("BatchMatMulV2", write.of("ExpandDims", x, row), matrix)
            return write.of("Squeeze", made, squeeze_dims=[-2])
        if axis == -2:
            return write.of("BatchMatMulV2", matrix, x, adj_x=True)
        return write.of("Einsum", x, matrix, N=2, equation="...ijk,il->...ljk")

    def _matrix(
        self,
        function: str,
        rows: _Length,
        most: _Length,
        columns: _Length,
        n: _Length,
        *,
        scale: str,
    ) -> str:
        """``function(2 pi i j / n)`` times ``scale``; the first ``rows`` of ``most`` rows.

        The weight ``w`` is how often a row occurs in the whole transform.
        """
        write = self._write
        if n.known is None or n.known > CONSTANT:
            return self._computed(function, rows, columns, n, scale)
        row, column = np.arange(most.known or 0)[:, None], np.arange(columns.known or 0)
        values = {"Cos": np.cos, "Sin": np.sin}[function](
            2 * np.pi * (row * column % n.known) / n.known
        )
        weight = np.where((row == 0) | (2 * row == n.known), 1, 2)
        values = values * {"1": 1, "1/n": 1 / n.known, "w/n": weight / n.known}[scale]
        if rows.known is not None:
            return write.constant(values[: rows.known], write.dtype)
        whole = write.constant(values, write.dtype)
        count = write.of("Pack", rows.tensor, self._number(-1), T=DType.INT64, N=2, axis=0)
        start = write.constant([0, 0], DType.INT64)
        return write.of("Slice", whole, start, count, Index=DType.INT64)

    def _computed(
        self, function: str, rows: _Length, columns: _Length, n: _Length, scale: str
    ) -> str:
        whole, wide = self._write.typed(DType.INT64), self._write.typed(DType.FLOAT64)

        def wider(x: str) -> str:
            return wide.of("Cast", x, T=None, SrcT=DType.INT64, DstT=DType.FLOAT64)

        row = whole.of("ExpandDims", self._range(rows), self._write.constant(1, DType.INT32))
        turns = whole.of("FloorMod", whole.of("Mul", row, self._range(columns)), n.tensor)
        step = wide.of("RealDiv", wide.constant(2 * np.pi, DType.FLOAT64), wider(n.tensor))
        values = wide.of(function, wide.of("Mul", wider(turns), step))
        if scale == "w/n":
            ends = [
                whole.of("Equal", row, self._number(0)),
                whole.of("Equal", whole.of("Mul", row, self._number(2)), n.tensor),
            ]
            once = whole.of("LogicalOr", *ends, T=None)
            weight = whole.of("SelectV2", once, self._number(1), self._number(2))
            values = wide.of("Mul", values, wider(weight))
        if scale != "1":
            values = wide.of("RealDiv", values, wider(n.tensor))
        return wide.of("Cast", values, T=None, SrcT=DType.FLOAT64, DstT=self._write.dtype)

    def _size(self, x: str, axis: int, known: int | str | None) -> _Length:
        """The size of an axis."""
        if isinstance(known, int):
            return _Length(known, self._number(known))
        write = self._write
        shape = write.of("Shape", x, out_type=DType.INT64)
        end = write.constant([axis + 1], DType.INT32)
        made = write.of(
            "StridedSlice",
            shape,
            write.constant([axis], DType.INT32),
            end,
            write.constant([1], DType.INT32),
            T=DType.INT64,
            Index=DType.INT32,
            shrink_axis_mask=1,
            **({"end_mask": 1} if axis == -1 else {}),
        )
        return _Length(None, made)

    def _given(self, lengths: str, axis: int) -> _Length:
        """What ``fft_length`` says of an axis."""
        array = self._arrays.get(node_of(lengths))
        if array is not None:
            return _Length(int(array[axis]), self._number(int(array[axis])))
        write = self._write
        place = write.constant(axis, DType.INT32)
        # From the end, in which Gather has no say.
        count = write.of("Size", lengths, T=DType.INT32, out_type=DType.INT32)
        place = write.of("AddV2", count, place, T=DType.INT32)
        found = write.of(
            "GatherV2",
            lengths,
            place,
            write.constant(0, DType.INT32),
            T=None,
            Tparams=DType.INT32,
            Tindices=DType.INT32,
            Taxis=DType.INT32,
        )
        return _Length(None, write.of("Cast", found, T=None, SrcT=DType.INT32, DstT=DType.INT64))

    def _number(self, value: int) -> str:
        return self._write.constant(value, DType.INT64)

    def _range(self, count: _Length) -> str:
        return self._write.of(
            "Range", self._number(0), count.tensor, self._number(1), T=None, Tidx=DType.INT64
        )

    def _least(self, a: _Length, b: _Length) -> _Length:
        if a.known is not None and b.known is not None:
            return a if a.known <= b.known else b
        return _Length(None, self._write.of("Minimum", a.tensor, b.tensor, T=DType.INT64))

    def _half(self, n: _Length) -> _Length:
        if n.known is not None:
            return _Length(n.known // 2 + 1, self._number(n.known // 2 + 1))
        half = self._write.of("FloorDiv", n.tensor, self._number(2), T=DType.INT64)
        return _Length(None, self._write.of("AddV2", half, self._number(1), T=DType.INT64))

    def _cropped(self, x: str, axis: int, size: _Length, rows: _Length) -> str:
        """Without what lies behind the transform's length."""
        if size.known is not None and rows.known == size.known:
            return x
        return self._write.of(
            "GatherV2",
            x,
            self._range(rows),
            self._write.constant(axis, DType.INT32),
            T=None,
            Tparams=self._write.dtype,
            Tindices=DType.INT64,
            Taxis=DType.INT32,
        )
