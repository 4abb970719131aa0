"""Numbers as numbers of another type, by their value or by their bits."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import ONNX_TYPES, Builder, Handler, Op, Tensor, dtype_of
from smconvert_onnx.handlers.precision import FLOATS

_BITCAST_SINCE = 26
_SAME_BITS = {
    DType.FLOAT32: DType.INT32,
    DType.FLOAT64: DType.INT64,
    DType.FLOAT16: DType.INT16,
    DType.BFLOAT16: DType.INT16,
}


class Cast:
    """The number nearest to it, or for integers towards 0 (cast_op.cc).

    What lies outside the range of an integer type is undefined in C++, and so in both.
    """

    ops = ("Cast",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        to = op.attr("DstT")
        if to not in ONNX_TYPES or x.dtype not in ONNX_TYPES:
            op.refuse(f"ONNX has no {to.label if to not in ONNX_TYPES else x.dtype.label}")
        if op.attr("Truncate") and x.dtype in FLOATS and to in FLOATS:
            op.refuse("it cuts digits off, where ONNX rounds")
        return g.cast(x, dtype_of(ONNX_TYPES[to]))


class Bitcast:
    """The same bits as another type (bitcast_op.cc).

    To a narrower type there is one axis more, from the lowest bits to the highest (little-endian);
    to a wider one, one less. Integers are taken to pieces by arithmetic; the bits of
    floating-point numbers are seen by an op of opset 26.
    """

    ops = ("Bitcast",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        to = op.attr("type")
        if to not in ONNX_TYPES or x.dtype not in ONNX_TYPES:
            op.refuse(f"ONNX has no {to.label if to not in ONNX_TYPES else x.dtype.label}")
        if DType.BOOL in {x.dtype, to} and x.dtype is not to:
            op.refuse("a byte that is neither 0 nor 1 is no boolean")
        to = dtype_of(ONNX_TYPES[to])
        if x.dtype is to:
            return x
        if g.opset < _BITCAST_SINCE and {x.dtype, to} & FLOATS:
            op.refuse("ONNX sees the bits of such numbers since opset 26", "--opset 26")
        whole = _bits(g, x)
        target = _SAME_BITS.get(to, to)
        return _as(g, _resized(g, whole, target), to)


def _bits(g: Builder, x: Tensor) -> Tensor:
    """The bits of a number of any type, as an integer."""
    if x.dtype not in FLOATS:
        return x
    to = _SAME_BITS[x.dtype]
    return g.BitCast(x, to=ONNX_TYPES[to], dtype=to)


def _as(g: Builder, bits: Tensor, to: DType) -> Tensor:
    return g.BitCast(bits, to=ONNX_TYPES[to], dtype=to) if to in FLOATS else g.cast(bits, to)


def _resized(g: Builder, x: Tensor, to: DType) -> Tensor:
    """The bits of integers in integers of another width."""
    before, after = x.dtype.numpy.itemsize * 8, to.numpy.itemsize * 8
    if before == after:
        return g.cast(x, to)
    if before > after:
        places = np.arange(0, before, after, dtype=np.uint64)
        wide = g.Unsqueeze(_unsigned(g, x), [-1])
        return g.cast(g.BitShift(wide, places, direction="RIGHT"), to)
    low = g.cast(g.Mod(_unsigned(g, x), 2**before), DType.INT64)
    weights = np.left_shift(np.int64(1), np.arange(0, after, before, dtype=np.int64))
    return g.cast(g.Squeeze(g.MatMul(low, weights[:, None]), [-1]), to)


def _unsigned(g: Builder, x: Tensor) -> Tensor:
    return g.cast(g.cast(x, DType.INT64), DType.UINT64)


class ToBool:
    """Whether a scalar is not 0 or not empty, or a tensor has elements (functional_ops.cc)."""

    ops = ("ToBool",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        rank = op.rank(x)
        if rank:
            return g.Greater(g.Size(x), 0)
        if x.dtype is DType.STRING:
            return g.Not(g.Equal(x, b""))
        return g.cast(x, DType.BOOL)


HANDLERS: tuple[Handler, ...] = (Cast(), Bitcast(), ToBool())
