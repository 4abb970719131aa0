"""Borders around arrays, and blocks of them moved between axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.indexing import gathered
from smconvert_onnx.handlers.matrices import reshaped, size

Size: TypeAlias = "int | Tensor"
"""A number of elements: known, or an int64 vector of one."""

_END = 2**62


class Pad:
    """A value, zero or given, before and after the elements of each axis (pad_op.cc)."""

    ops = ("Pad", "PadV2")

    def emit(
        self, g: Builder, op: Op, x: Tensor, paddings: Tensor, value: Tensor | None = None
    ) -> Tensor:
        if x.rank == 0 or paddings.sizes == (0, 2) or _is_zero(paddings):
            return x
        if x.dtype is DType.STRING:
            return self._texts(g, x, paddings, value)
        if value is not None and value.value is not None and not value.value:
            value = None
        return _padded(g, x, paddings, value)

    def _texts(self, g: Builder, x: Tensor, paddings: Tensor, value: Tensor | None) -> Tensor:
        """ONNX Runtime pads no texts, but it pads their numbers."""
        numbers = reshaped(g, g.Range(0, g.Size(x), 1), g.shape(x))
        numbers = g.Pad(numbers, _pads(g, paddings), -1)
        last = g.constant([""], DType.STRING) if value is None else g.Reshape(value, [1])
        return g.Gather(g.Concat(g.Reshape(x, [-1]), last, axis=0), numbers)


def _is_zero(paddings: Tensor) -> bool:
    return paddings.value is not None and not np.any(paddings.value)


def _padded(
    g: Builder, x: Tensor, paddings: Tensor, value: Tensor | None, mode: str | None = None
) -> Tensor:
    if x.rank is not None or paddings.sizes is not None:
        return g.Pad(x, _pads(g, paddings), value, mode=mode)
    # ONNX Runtime pads no scalars.
    pads = _pads(g, g.Pad(g.cast(paddings, DType.INT64), [1, 0, 0, 0]))
    return g.Squeeze(g.Pad(g.Unsqueeze(x, [0]), pads, value, mode=mode), [0])


def _pads(g: Builder, paddings: Tensor) -> Tensor:
    """TensorFlow's pairs as ONNX's befores and afters."""
    if paddings.value is not None:
        return g.constant(paddings.value.T.reshape(-1), DType.INT64)
    pads = g.Reshape(g.Transpose(paddings, perm=[1, 0]), [-1])
    return g.cast(pads, DType.INT64)


class MirrorPad:
    """The elements themselves, mirrored, with or without the one at the edge (mirror_pad_op.cc)."""

    ops = ("MirrorPad",)

    def emit(self, g: Builder, op: Op, x: Tensor, paddings: Tensor) -> Tensor:
        if x.rank == 0 or paddings.sizes == (0, 2) or _is_zero(paddings):
            return x
        texts = x.dtype is DType.STRING
        if op.attr("mode") == "REFLECT" and not texts:
            return _padded(g, x, paddings, None, mode="reflect")
        numbers = reshaped(g, g.Range(0, g.Size(x), 1), g.shape(x)) if texts else x
        count = paddings.sizes[0] if paddings.sizes is not None else x.rank
        if count is None:
            op.refuse(
                "the number of axes that it pads is not known", "give its input a shape: --inputs"
            )
        for axis in range(count):
            places = self._places(g, op, x, paddings, axis)
            if places is not None:
                numbers = g.Gather(numbers, places, axis=axis)
        return gathered(g, g.Reshape(x, [-1]), numbers, 0) if texts else numbers

    def _places(self, g: Builder, op: Op, x: Tensor, paddings: Tensor, axis: int) -> Tensor | None:
        """Which element of an axis stands in each place of the padded one."""
        edge = op.attr("mode") == "SYMMETRIC"
        known = x.shape[axis] if x.shape is not None else None
        if paddings.value is not None:
            before, after = (int(p) for p in paddings.value[axis])
            if before == after == 0:
                return None
            if isinstance(known, int):
                inside, around = np.arange(known), (before, after)
                made = (
                    np.pad(inside, around, "symmetric")
                    if edge
                    else np.pad(inside, around, "reflect")
                )
                return g.constant(made)
            first, behind = g.constant(-before), g.constant(after)
        else:
            pair = g.cast(g.Gather(paddings, axis), DType.INT64)
            first, behind = g.Neg(g.Gather(pair, 0)), g.Gather(pair, 1)
        count = size(g, x, axis)
        places = g.Abs(g.Range(first, g.Add(count, behind), 1))
        if edge:
            places = g.Range(first, g.Add(count, behind), 1)
            places = g.Max(places, g.Sub(-1, places))
            back = g.Sub(g.Mul(count, 2), 1)
        else:
            back = g.Mul(g.Sub(count, 1), 2)
        return g.Min(places, g.Sub(back, places))


class MirrorPadGrad:
    """What MirrorPad repeated, summed up where it came from, axis after axis."""

    ops = ("MirrorPadGrad",)

    def emit(self, g: Builder, op: Op, x: Tensor, paddings: Tensor) -> Tensor:
        count = paddings.sizes[0] if paddings.sizes is not None else x.rank
        if count is None:
            op.refuse(
                "the number of axes that it pads is not known", "give its input a shape: --inputs"
            )
        edge = int(op.attr("mode") == "SYMMETRIC")
        for axis in range(count):
            if paddings.value is not None and not np.any(paddings.value[axis]):
                continue
            x = self._along(g, x, paddings, axis, count, edge)
        return x

    def _along(
        self, g: Builder, x: Tensor, paddings: Tensor, axis: int, rank: int, edge: int
    ) -> Tensor:
        pair = g.cast(g.Gather(paddings, axis), DType.INT64)
        before, after = g.Gather(pair, [0]), g.Gather(pair, [1])
        stop = g.Sub(g.Gather(g.Shape(x), [axis]), after)
        inside = g.Slice(x, before, stop, [axis])
        count = g.Sub(stop, before)
        left = g.Slice(g.Slice(x, [0], before, [axis]), [_END], [-_END], [axis], [-1])
        right = g.Slice(x, [_END], g.Sub(stop, 1), [axis], [-1])
        offset = 1 - edge
        left = self._placed(g, left, axis, rank, [offset], g.Sub(g.Sub(count, before), offset))
        start = g.Sub(g.Sub(count, after), offset)
        right = self._placed(g, right, axis, rank, start, [offset])
        return g.Add(inside, g.Add(left, right))

    def _placed(
        self,
        g: Builder,
        x: Tensor,
        axis: int,
        rank: int,
        before: Tensor | Sequence[int],
        after: Tensor | Sequence[int],
    ) -> Tensor:
        none = g.constant([0] * axis, DType.INT64), g.constant([0] * (rank - axis - 1), DType.INT64)
        parts = (none[0], before, none[1], none[0], after, none[1])
        tensors = (p if isinstance(p, Tensor) else g.constant(list(p)) for p in parts)
        return g.Pad(x, g.Concat(*tensors, axis=0))


def _shape(g: Builder, sizes: Sequence[Size]) -> Tensor:
    """Sizes as one vector: a constant, with -1 where one is not known, if that is possible."""
    unknown = [s for s in sizes if isinstance(s, Tensor)]
    if not unknown or (len(unknown) == 1 and 0 not in sizes):
        return g.constant([-1 if isinstance(s, Tensor) else s for s in sizes], DType.INT64)
    return g.Concat(*(s if isinstance(s, Tensor) else g.constant([s]) for s in sizes), axis=0)


def _size(g: Builder, x: Tensor, axis: int) -> Size:
    known = x.shape[axis] if x.shape is not None else None
    return known if isinstance(known, int) else g.Gather(g.shape(x), [axis])


def _product(g: Builder, sizes: Sequence[Size]) -> Size:
    known = prod(s for s in sizes if not isinstance(s, Tensor))
    made: Size = known
    for s in sizes:
        if isinstance(s, Tensor):
            made = s if isinstance(made, int) and made == 1 else g.Mul(s, made)
    return made


def _quotient(g: Builder, a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if isinstance(b, int) and b == 1:
        return a
    return g.Div(a, b) if isinstance(a, Tensor) else g.Div(g.constant([a]), b)


def _sum(g: Builder, *sizes: Size) -> Size:
    total: Size = sum(s for s in sizes if isinstance(s, int))
    for s in sizes:
        if isinstance(s, Tensor):
            total = s if isinstance(total, int) and total == 0 else g.Add(s, total)
    return total


class _Blocks:
    """What the blocks of SpaceToBatch and BatchToSpace have in common.

    The axes behind those with blocks are one here, so that their number may be unknown.
    """

    def blocks(self, g: Builder, op: Op, given: Sequence[Tensor]) -> tuple[list[Size], Tensor]:
        """The size of the blocks along each axis, and the paddings or crops."""
        if len(given) == 1:
            block = op.attr("block_size")
            return [block, block], given[0]
        block_shape, edges = given
        if block_shape.value is not None:
            return [int(b) for b in block_shape.value], edges
        count = next((t.sizes[0] for t in (block_shape, edges) if t.sizes is not None), None)
        if count is None:
            op.refuse("its number of blocks is not known", "give block_shape a shape: --inputs")
        wide = g.cast(block_shape, DType.INT64)
        return [g.Slice(wide, [i], [i + 1]) for i in range(count)], edges

    def rest(self, g: Builder, x: Tensor, count: int) -> list[Size] | Tensor:
        """The sizes of the axes behind the blocks."""
        if x.rank is None:
            return g.Slice(g.shape(x), [count + 1], [_END])
        return [_size(g, x, axis) for axis in range(count + 1, x.rank)]

    def inner(self, g: Builder, rest: list[Size] | Tensor) -> Size:
        """How many elements a block holds in each place."""
        if isinstance(rest, Tensor):
            return g.ReduceProd(rest, keepdims=1)
        return _product(g, rest)

    def final(
        self, g: Builder, x: Tensor, sizes: Sequence[Size], rest: list[Size] | Tensor
    ) -> Tensor:
        """``x`` with its axes behind the blocks as they were."""
        if isinstance(rest, list):
            return reshaped(g, x, _shape(g, [*sizes, *rest]))
        head = g.Concat(
            *(s if isinstance(s, Tensor) else g.constant([s]) for s in sizes), rest, axis=0
        )
        return reshaped(g, x, head)


class SpaceToBatch(_Blocks):
    """Blocks of space as one more factor of the batch (spacetobatch_op.cc)."""

    ops = ("SpaceToBatch", "SpaceToBatchND")

    def emit(self, g: Builder, op: Op, x: Tensor, *given: Tensor) -> Tensor:
        blocks, paddings = self.blocks(g, op, given)
        count = len(blocks)
        if not count:
            return x
        rest = self.rest(g, x, count)
        inner = self.inner(g, rest)
        batch = _size(g, x, 0)
        space = [_size(g, x, i + 1) for i in range(count)]
        if x.rank != count + 2:
            x = reshaped(g, x, _shape(g, [batch, *space, inner]))
        if not _is_zero(paddings):
            x = g.Pad(x, self._pads(g, paddings))
            space = [_sum(g, s, *_pair(g, paddings, i)) for i, s in enumerate(space)]
        counts = [_quotient(g, s, b) for s, b in zip(space, blocks, strict=True)]
        pairs = [size for pair in zip(counts, blocks, strict=True) for size in pair]
        parts = reshaped(g, x, _shape(g, [batch, *pairs, inner]))
        perm = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), 2 * count + 1]
        moved = g.Transpose(parts, perm=perm)
        return self.final(g, moved, [_product(g, [batch, *blocks]), *counts], rest)

    def _pads(self, g: Builder, paddings: Tensor) -> Tensor:
        if paddings.value is not None:
            around = np.pad(np.asarray(paddings.value, np.int64), ((1, 1), (0, 0)))
            return g.constant(around.T.reshape(-1))
        around = g.Pad(g.cast(paddings, DType.INT64), [1, 0, 1, 0])
        return g.Reshape(g.Transpose(around, perm=[1, 0]), [-1])


def _pair(g: Builder, edges: Tensor, i: int) -> tuple[Size, Size]:
    if edges.value is not None:
        before, after = edges.value[i]
        return int(before), int(after)
    row = g.cast(g.Gather(edges, i), DType.INT64)
    return g.Slice(row, [0], [1]), g.Slice(row, [1], [2])


class BatchToSpace(_Blocks):
    """Factors of the batch as blocks of space (batchtospace_op.cc)."""

    ops = ("BatchToSpace", "BatchToSpaceND")

    def emit(self, g: Builder, op: Op, x: Tensor, *given: Tensor) -> Tensor:
        blocks, crops = self.blocks(g, op, given)
        count = len(blocks)
        if not count:
            return x
        rest = self.rest(g, x, count)
        inner = self.inner(g, rest)
        batch = _quotient(g, _size(g, x, 0), _product(g, blocks))
        counts = [_size(g, x, i + 1) for i in range(count)]
        parts = reshaped(g, x, _shape(g, [*blocks, batch, *counts, inner]))
        pairs = [axis for i in range(count) for axis in (count + 1 + i, i)]
        moved = g.Transpose(parts, perm=[count, *pairs, 2 * count + 1])
        space = [_product(g, [c, b]) for c, b in zip(counts, blocks, strict=True)]
        made = self.final(g, moved, [batch, *space], rest)
        if _is_zero(crops):
            return made
        edges = [_pair(g, crops, i) for i in range(count)]
        starts = [before for before, _ in edges]
        ends = [
            _sum(g, s, g.Neg(after) if isinstance(after, Tensor) else -after)
            for s, (_, after) in zip(space, edges, strict=True)
        ]
        axes = list(range(1, count + 1))
        return g.Slice(made, _vector(g, starts), _vector(g, ends), axes)


def _vector(g: Builder, sizes: Sequence[Size]) -> Tensor:
    if all(isinstance(s, int) for s in sizes):
        return g.constant(list(sizes), DType.INT64)
    return g.Concat(*(s if isinstance(s, Tensor) else g.constant([s]) for s in sizes), axis=0)


class Depth:
    """Blocks of space as depth, and back (spacetodepth_op.cc, depthtospace_op.cc)."""

    ops = ("SpaceToDepth", "DepthToSpace")

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        block, last = op.attr("block_size"), op.attr("data_format") == "NHWC"
        if x.dtype not in _IN_BLOCKS:
            return self._reshaped(g, op, x, block, last)
        if last:
            x = g.Transpose(x, perm=[0, 3, 1, 2])
        made = g.node(op.type, x, blocksize=block)
        return g.Transpose(made, perm=[0, 2, 3, 1]) if last else made

    def _reshaped(self, g: Builder, op: Op, x: Tensor, block: int, last: bool) -> Tensor:
        """For the types that ONNX Runtime has no kernel for."""
        n, first, second, third = (_size(g, x, i) for i in range(4))
        h, w, c = (first, second, third) if last else (second, third, first)
        if op.type == "SpaceToDepth":
            h, w = _quotient(g, h, block), _quotient(g, w, block)
            inner = [n, h, block, w, block, c] if last else [n, c, h, block, w, block]
            perm = [0, 1, 3, 2, 4, 5] if last else [0, 3, 5, 1, 2, 4]
            c = _product(g, [c, block * block])
        else:
            c = _quotient(g, c, block * block)
            inner = [n, h, w, block, block, c] if last else [n, block, block, c, h, w]
            perm = [0, 1, 3, 2, 4, 5] if last else [0, 3, 4, 1, 5, 2]
            h, w = _product(g, [h, block]), _product(g, [w, block])
        moved = g.Transpose(reshaped(g, x, _shape(g, inner)), perm=perm)
        return reshaped(g, moved, _shape(g, [n, h, w, c] if last else [n, c, h, w]))


_IN_BLOCKS = frozenset(
    {DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16, DType.INT8, DType.UINT8}
)

HANDLERS: tuple[Handler, ...] = (
    Pad(),
    MirrorPad(),
    MirrorPadGrad(),
    SpaceToBatch(),
    BatchToSpace(),
    Depth(),
)
