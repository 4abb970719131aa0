"""Arrays in another order; and where in an array something is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.axes import around, flat
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.indexing import gathered
from smconvert_onnx.handlers.matrices import reshaped, size

_END = 2**62
_NONZERO = frozenset({DType.BOOL, DType.FLOAT32, DType.INT32, DType.INT64, DType.UINT8})


class Transpose:
    """Axes in another order (transpose_op.cc); conjugates of what is real are itself."""

    ops = ("Transpose", "ConjugateTranspose")

    def emit(self, g: Builder, op: Op, x: Tensor, perm: Tensor | None = None) -> Tensor:
        if perm is None:
            # tf2onnx has seen that it is the reverse order, which is ONNX's default.
            return g.Transpose(x)
        if perm.value is not None:
            order = [int(axis) % len(perm.value) for axis in perm.value]
            return x if order == sorted(order) else g.Transpose(x, perm=order)
        count = x.rank if x.rank is not None else perm.sizes[0] if perm.sizes is not None else None
        if count is not None and count < 2:
            return x
        perm = g.cast(perm, DType.INT64)
        shape = g.shape(x)
        target = g.Gather(shape, perm)
        places = self._places(g, shape, target, perm)
        return reshaped(g, gathered(g, g.Reshape(x, [-1]), places, 0), target)

    def _places(self, g: Builder, shape: Tensor, target: Tensor, perm: Tensor) -> Tensor:
        """For each element of the result, its place in the flat input: axis by axis."""

        def step(b: Builder, i: Tensor, go: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
            axis = b.Gather(perm, b.Reshape(i, [1]))
            next_axis = b.Add(axis, b.Where(b.Less(axis, 0), b.Add(b.Size(shape), 1), 1))
            behind = b.Slice(shape, next_axis, [_END])
            stride = b.ReduceProd(behind, keepdims=1)
            along = b.Mul(b.Range(0, b.Gather(target, i), 1), stride)
            grid = b.Add(b.Unsqueeze(places, [1]), b.Unsqueeze(along, [0]))
            return go, b.Reshape(grid, [-1])

        body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (DType.INT64, (None,))], step)
        start = g.constant([0], DType.INT64)
        made = g.Loop(g.Size(perm), g.constant(True), start, body=body, dtype=DType.INT64)
        return replace_shape(made, (None,))


class Reverse:
    """Backwards along some axes (reverse_op.cc): named, or marked with a bool for each."""

    ops = ("Reverse", "ReverseV2")

    def emit(self, g: Builder, op: Op, x: Tensor, which: Tensor) -> Tensor:
        if x.rank == 0 or which.sizes == (0,):
            return x
        if which.value is not None:
            marked = which.dtype is DType.BOOL
            axes = np.flatnonzero(which.value) if marked else np.asarray(which.value)
            if not axes.size:
                return x
            backward = [-1] * len(axes)
            return g.Slice(x, [_END] * len(axes), [-_END] * len(axes), axes.tolist(), backward)
        if which.dtype is DType.BOOL:
            axes_of = g.Squeeze(g.NonZero(which), [0])
        else:
            axes_of = g.cast(which, DType.INT64)
        # One more dimension in front, for ONNX Runtime refuses to slice a scalar.
        forward = g.Where(g.Less(axes_of, 0), 0, 1)
        axes_of = g.Add(axes_of, forward)
        count = g.Shape(axes_of)
        starts, ends, steps = (g.Expand(v, count) for v in (_END, -_END, -1))
        sliced = g.Slice(g.Unsqueeze(x, [0]), starts, ends, axes_of, steps)
        return g.Squeeze(sliced, [0])


class Roll:
    """Shifted along some axes, the last elements to the front (roll_op.cc)."""

    ops = ("Roll",)

    def emit(self, g: Builder, op: Op, x: Tensor, shift: Tensor, axis: Tensor) -> Tensor:
        count = next((t.sizes for t in (shift, axis) if t.sizes is not None), None)
        if count is None:
            return self._in_loop(g, x, shift, axis)
        number = count[0] if count else 1
        if shift.value is not None and axis.value is not None and x.rank is not None:
            return self._static(g, x, np.ravel(shift.value), np.ravel(axis.value))
        for i in range(number):
            x = self._along(g, x, self._item(g, shift, i), self._item(g, axis, i))
        return x

    def _static(self, g: Builder, x: Tensor, shifts: Array, axes: Array) -> Tensor:
        total: dict[int, int] = {}
        for by, axis in zip(shifts.tolist(), axes.tolist(), strict=True):
            total[axis % (x.rank or 1)] = total.get(axis % (x.rank or 1), 0) + by
        for axis, by in total.items():
            x = self._along(g, x, g.constant(by), g.constant(axis))
        return x

    def _item(self, g: Builder, t: Tensor, i: int) -> Tensor:
        if t.value is not None:
            return g.constant(int(np.ravel(t.value)[i]), DType.INT64)
        return g.Gather(g.cast(flat(g, t), DType.INT64), i)

    def _along(self, g: Builder, x: Tensor, by: Tensor, axis: Tensor) -> Tensor:
        if axis.value is not None:
            at = int(axis.value)
            known = x.shape[at] if x.shape is not None else None
            if isinstance(known, int) and by.value is not None:
                if known == 0 or int(by.value) % known == 0:
                    return x
                return self._two_slices(g, x, at, int(by.value) % known)
            moved = gathered(g, x, self._places(g, size(g, x, at), by), at)
            return replace_shape(moved, x.shape)
        blocks, _, _ = around(g, x, axis)
        count = g.Squeeze(g.Slice(g.Shape(blocks), [1], [2]), [0])
        moved = gathered(g, blocks, self._places(g, count, by), 1)
        return replace_shape(reshaped(g, moved, g.shape(x)), x.shape)

    def _two_slices(self, g: Builder, x: Tensor, axis: int, by: int) -> Tensor:
        parts = g.Slice(x, [-by], [_END], [axis]), g.Slice(x, [0], [-by], [axis])
        return replace_shape(g.Concat(*parts, axis=axis), x.shape)

    def _places(self, g: Builder, count: Tensor, by: Tensor) -> Tensor:
        # Modulo 0 ends the process.
        return g.Mod(g.Sub(g.Range(0, count, 1), by), g.Max(count, 1))

    def _in_loop(self, g: Builder, x: Tensor, shift: Tensor, axis: Tensor) -> Tensor:
        shifts, axes = (g.cast(flat(g, t), DType.INT64) for t in (shift, axis))

        def step(b: Builder, i: Tensor, go: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return go, self._along(b, state, b.Gather(shifts, i), b.Gather(axes, i))

        body = g.body([(DType.INT64, ()), (DType.BOOL, ()), (x.dtype, x.shape)], step)
        made = g.Loop(g.Size(axes), g.constant(True), x, body=body, dtype=x.dtype)
        return replace_shape(made, x.shape)


class ReverseSequence:
    """The first elements of each row backwards (reverse_sequence_op.cc).

    ONNX's has the batch and the sequence as the first two axes.
    """

    ops = ("ReverseSequence",)

    def emit(self, g: Builder, op: Op, x: Tensor, lengths: Tensor) -> Tensor:
        time, batch = op.attr("seq_dim"), op.attr("batch_dim")
        lengths = g.cast(lengths, DType.INT64)
        if x.rank is not None:
            time, batch = time % x.rank, batch % x.rank
        if {time, batch} == {0, 1}:
            return self._turned(g, x, lengths, batch, time)
        if x.rank is not None:
            rest = [a for a in range(x.rank) if a not in (time, batch)]
            perm = [batch, time, *rest]
            turned = self._turned(g, g.Transpose(x, perm=perm), lengths)
            return g.Transpose(turned, perm=np.argsort(perm).tolist())
        first, second = sorted((time, batch))
        shape = g.shape(x)
        bounds = [0, first, first + 1, second, second + 1, _END]
        sizes = (g.ReduceProd(g.Slice(shape, [a], [b]), keepdims=1) for a, b in pairwise(bounds))
        five = reshaped(g, x, g.Concat(*sizes, axis=0))
        perm = [1, 3, 0, 2, 4] if batch < time else [3, 1, 0, 2, 4]
        turned = self._turned(g, g.Transpose(five, perm=perm), lengths)
        return reshaped(g, g.Transpose(turned, perm=np.argsort(perm).tolist()), shape)

    def _turned(
        self, g: Builder, x: Tensor, lengths: Tensor, batch: int = 0, time: int = 1
    ) -> Tensor:
        wide = g.cast(x, DType.FLOAT32) if x.dtype is DType.BFLOAT16 else x
        made = g.ReverseSequence(wide, lengths, batch_axis=batch, time_axis=time)
        return g.cast(made, x.dtype)


class InvertPermutation:
    """Where each number stands (inverse_permutation in lookup of array ops)."""

    ops = ("InvertPermutation",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        zero, one = g.constant(0, x.dtype), g.constant(1, x.dtype)
        numbers = g.Range(zero, g.cast(g.Size(x), x.dtype), one)
        return g.ScatterElements(numbers, x, numbers, axis=0)


class UnravelIndex:
    """The coordinates of flat indices (unravel_index_op.cc)."""

    ops = ("UnravelIndex",)

    def emit(self, g: Builder, op: Op, indices: Tensor, dims: Tensor) -> Tensor:
        def step(b: Builder, rest: Tensor, dim: Tensor) -> tuple[Tensor, Tensor]:
            return b.Div(rest, dim), b.Mod(rest, dim)

        flattened = replace_shape(g.Reshape(indices, [-1]), (None,))
        body = g.body([(indices.dtype, (None,)), (dims.dtype, ())], step)
        _, rows = g.Scan(
            flattened,
            dims,
            body=body,
            num_scan_inputs=1,
            scan_input_directions=[1],
            scan_output_directions=[1],
            outputs=2,
        )
        if indices.rank == 1:
            return rows
        return reshaped(g, rows, g.Concat(g.Shape(dims), g.shape(indices), axis=0))


class ListDiff:
    """What of one list is not in another, and where it stood (listdiff_op.cc)."""

    ops = ("ListDiff",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self._comparable(g, x, y)
        same = g.cast(g.Equal(g.Unsqueeze(a, [1]), g.Unsqueeze(b, [0])), DType.INT32)
        kept = g.Equal(g.ReduceSum(same, [1], keepdims=0), 0)
        places = g.Squeeze(g.NonZero(kept), [0])
        return gathered(g, x, places, 0), g.cast(places, op.attr("out_idx"))

    def _comparable(self, g: Builder, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Texts as numbers, which are equal where they are: Equal takes texts from opset 19 on."""
        if x.dtype is not DType.STRING:
            return x, y
        _, _, numbers, _ = g.Unique(
            g.Concat(x, y, [""], axis=0),
            outputs=4,
            dtype=[DType.STRING, DType.INT64, DType.INT64, DType.INT64],
        )
        count = g.Shape(x)
        return g.Slice(numbers, [0], count), g.Slice(numbers, count, [-1])


class Where:
    """The coordinates of what is not zero, in order (where_op.cc)."""

    ops = ("Where",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        if x.dtype not in _NONZERO:
            x = g.cast(x, DType.BOOL)
        if x.rank:
            return g.Transpose(g.NonZero(x), perm=[1, 0])
        # For a scalar NonZero gives one coordinate, and Where none.
        found = g.Transpose(g.NonZero(g.Unsqueeze(x, [0])), perm=[1, 0])
        return g.Slice(found, [1], [_END], [1])


class DataFormat:
    """Axes, and what is listed by axis, of one layout in another (data_format_ops.cc)."""

    ops = ("DataFormatDimMap", "DataFormatVecPermute")

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        source, target = op.attr("src_format"), op.attr("dst_format")
        if op.type == "DataFormatDimMap":
            return g.Gather(g.constant([target.index(a) for a in source], x.dtype), x)
        every = [source.index(a) for a in target]
        space = [a for a in source if a not in "NC"]
        inner = [space.index(a) for a in target if a not in "NC"]
        known = x.shape[0] if x.shape else None
        if isinstance(known, int):
            return g.Gather(x, every if known == len(every) else inner)
        both = g.constant([*every, *inner])
        return g.Gather(x, self._chosen(g, both, size(g, x, 0), len(every), len(inner)))

    def _chosen(self, g: Builder, both: Tensor, count: Tensor, most: int, least: int) -> Tensor:
        whole = g.Equal(g.Reshape(count, [1]), most)
        start = g.Where(whole, 0, most)
        return g.Slice(both, start, g.Where(whole, most, most + least))


HANDLERS: tuple[Handler, ...] = (
    Transpose(),
    Reverse(),
    Roll(),
    ReverseSequence(),
    InvertPermutation(),
    UnravelIndex(),
    ListDiff(),
    Where(),
    DataFormat(),
)
