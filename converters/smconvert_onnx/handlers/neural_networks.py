"""Normalizations, losses and biases of neural networks."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped, size
from smconvert_onnx.handlers.reducing import Along, total
from smconvert_onnx.handlers.windows import channels_last, to_first, to_last

_HALVES = frozenset({DType.FLOAT16, DType.BFLOAT16})


class Bias:
    """Adds one number to each channel: the last axis, or the second (bias_op.cc)."""

    ops = ("BiasAdd", "BiasAddV1")

    def emit(self, g: Builder, op: Op, x: Tensor, bias: Tensor) -> Tensor:
        if op.type == "BiasAddV1" or channels_last(op):
            return g.Add(x, bias)
        if x.rank is not None:
            after = list(range(1, x.rank - 1))
            return g.Add(x, g.Unsqueeze(bias, after) if after else bias)
        ones = g.Expand(np.int64(1), g.Sub(g.Shape(g.Shape(x)), 2))
        return g.Add(x, g.Reshape(bias, g.Concat([-1], ones, axis=0)))


class BiasGradient:
    """The sum over all but the channels (bias_op.cc)."""

    ops = ("BiasAddGrad",)

    def emit(self, g: Builder, op: Op, grad: Tensor) -> Tensor:
        wide = DType.FLOAT32 if grad.dtype in _HALVES else grad.dtype
        if channels_last(op):
            shape, axes = _rows(g, grad), [0]
        else:
            after = g.ReduceProd(g.Slice(g.shape(grad), [2], [2**31]), keepdims=1)
            shape, axes = g.Concat(g.Slice(g.shape(grad), [0], [2]), after, axis=0), [0, 2]
        flat = replace_shape(reshaped(g, g.cast(grad, wide), shape), None)
        summed = total(g, Along(g, op, g.constant(axes), keep=False), flat)
        return g.cast(replace_shape(summed, None), grad.dtype)


def _rows(g: Builder, x: Tensor) -> Tensor:
    """The shape of ``x`` with all axes but the last as one."""
    count = g.ReduceProd(g.Slice(g.shape(x), [0], [-1]), keepdims=1)
    return g.Concat(count, g.Slice(g.shape(x), [-1], [2**31]), axis=0)


class Softmax:
    """Over the last axis (softmax_op_functor.h)."""

    ops = ("Softmax", "LogSoftmax")

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        if op.type == "LogSoftmax" and x.dtype is DType.FLOAT64:
            # ONNX Runtime's kernel gives -inf beside an infinity, and not NaN.
            from_largest, power, _ = _shares(g, reshaped(g, x, _rows(g, x)))
            return replace_shape(
                reshaped(g, g.Sub(from_largest, g.Log(power)), g.shape(x)), x.shape
            )
        made: Tensor = g.node(op.type, x, axis=-1)
        return made


class CrossEntropy:
    """The loss and its gradient, of rows that broadcast (xent_op.h)."""

    ops = ("SoftmaxCrossEntropyWithLogits",)

    def emit(self, g: Builder, op: Op, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if logits.sizes is None or logits.sizes != labels.sizes:
            logits, labels = (
                g.Expand(logits, g.shape(labels)),
                g.Expand(labels, g.shape(logits)),
            )
        exact = DType.FLOAT32 if logits.dtype in _HALVES else logits.dtype
        from_largest, power, share = _shares(g, g.cast(logits, exact))
        wide = g.cast(labels, exact)
        loss = g.ReduceSum(g.Mul(wide, g.Sub(g.Log(power), from_largest)), [1], keepdims=0)
        return g.cast(loss, labels.dtype), g.cast(g.Sub(share, wide), labels.dtype)


class SparseCrossEntropy:
    """The same, where a label is the number of a class (sparse_xent_op.h)."""

    ops = ("SparseSoftmaxCrossEntropyWithLogits",)

    def emit(self, g: Builder, op: Op, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        exact = DType.FLOAT32 if logits.dtype in _HALVES else logits.dtype
        from_largest, power, share = _shares(g, g.cast(logits, exact))
        label = g.Unsqueeze(g.cast(labels, DType.INT64), [1])
        own = g.GatherElements(from_largest, label, axis=1)
        loss = g.Squeeze(g.Sub(g.Log(power), own), [1])
        classes = g.Range(0, size(g, logits, 1), 1)
        back = g.Sub(share, g.cast(replace_shape(g.Equal(classes, label), None), exact))
        return g.cast(loss, logits.dtype), g.cast(back, logits.dtype)


def _shares(g: Builder, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What rows lack to their largest, the sum of its exponentials, and each one's part of it."""
    largest = g.Unsqueeze(_max(g, logits, 1), [1])
    from_largest = g.Sub(logits, largest)
    power = g.Exp(from_largest)
    summed = g.ReduceSum(power, [1], keepdims=1)
    return from_largest, summed, g.Div(power, summed)


def _max(g: Builder, x: Tensor, axis: int) -> Tensor:
    made: Tensor
    if g.opset >= 18:
        made = g.ReduceMax(x, [axis], keepdims=0)
    else:
        made = g.ReduceMax(x, axes=[axis], keepdims=0)
    return made


class LocalResponse:
    """``x / (bias + alpha * squares) ** beta`` (lrn_op.cc); ONNX takes alpha times their number."""

    ops = ("LRN",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        size = 2 * int(op.attr("depth_radius")) + 1
        y = g.LRN(
            to_first(g, x, 2),
            size=size,
            alpha=op.attr("alpha") * size,
            beta=op.attr("beta"),
            bias=op.attr("bias"),
        )
        return to_last(g, y, 2)


class BatchNormalization:
    """By the given mean and variance, or by the batch's own (fused_batch_norm_op.cc).

    Of an empty batch the statistics are NaN, and what is reserved for the gradient is 0.
    """

    ops = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        scale: Tensor,
        offset: Tensor,
        mean: Tensor,
        variance: Tensor,
    ) -> tuple[Tensor, ...]:
        old = (mean, variance)
        if op.attr("is_training"):
            y, statistics = _by_own(g, op, x, scale, offset, old)
        else:
            y = _by_given(g, op, x, scale, offset, old)
            statistics = _or_empty(g, x, old, old)
        reserved = (g.constant(np.zeros(0), DType.FLOAT32),) if len(op.outputs) > 5 else ()
        return (y, *statistics, *reserved)


def _by_given(
    g: Builder, op: Op, x: Tensor, scale: Tensor, offset: Tensor, statistics: tuple[Tensor, Tensor]
) -> Tensor:
    last, rank = channels_last(op), len(op.attr("data_format")) - 2
    given = to_first(g, x, rank) if last else x
    wide = g.cast(given, DType.FLOAT32)
    y = g.BatchNormalization(wide, scale, offset, *statistics, epsilon=op.attr("epsilon"))
    y = g.cast(g.shaped(y, given.shape), x.dtype)
    return to_last(g, y, rank) if last else y


def _by_own(
    g: Builder, op: Op, x: Tensor, scale: Tensor, offset: Tensor, old: tuple[Tensor, Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Without transposes; of the variance that is given out, Bessel's correction is made."""
    last, rank = channels_last(op), len(op.attr("data_format")) - 2
    axes = list(range(rank + 1)) if last else [0, *range(2, rank + 2)]
    inner = list(range(1, rank + 1))
    wide = g.cast(x, DType.FLOAT32)
    count = g.cast(g.Div(g.Size(x), size(g, x, -1 if last else 1)), DType.FLOAT32)
    mean = g.Div(g.ReduceSum(wide, axes, keepdims=1), count)
    rest = g.Sub(wide, mean)
    variance = g.Div(g.ReduceSum(g.Mul(rest, rest), axes, keepdims=1), count)
    scale, offset = (t if last else g.Unsqueeze(t, inner) for t in (scale, offset))
    factor = g.Div(scale, g.Sqrt(g.Add(variance, op.attr("epsilon"))))
    y = g.cast(replace_shape(g.Add(g.Mul(rest, factor), offset), x.shape), x.dtype)
    mean, variance = g.Squeeze(mean, axes), g.Squeeze(variance, axes)
    corrected = g.Mul(variance, g.Div(count, g.Max(g.Sub(count, 1), np.float32(1))))
    part = 1.0 if op.type != "FusedBatchNormV3" else float(op.attr("exponential_avg_factor"))
    new = (mean, corrected)
    if part != 1:
        new = tuple(
            g.Add(g.Mul(before, np.float32(1) - np.float32(part)), g.Mul(now, part))
            for before, now in zip(old, new, strict=True)
        )
    return y, _or_empty(g, x, new, (mean, variance))


def _or_empty(
    g: Builder, x: Tensor, given: tuple[Tensor, ...], kept: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The statistics; of an empty batch they are NaN, and those kept for the gradient are 0."""
    if x.sizes is not None and 0 not in x.sizes:
        return (*given, *kept)
    empty = g.Equal(g.Size(x), 0)
    return (
        *(g.Where(empty, np.float32(np.nan), t) for t in given),
        *(g.Where(empty, np.float32(0), t) for t in kept),
    )


class GreedyDecoder:
    """The likeliest class of each step, less blanks and, if wanted, repetitions (ctc_decoder.h)."""

    ops = ("CTCGreedyDecoder",)

    def emit(self, g: Builder, op: Op, logits: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        steps, classes = size(g, logits, 0), size(g, logits, 2)
        best = g.ArgMax(logits, axis=2, keepdims=0)
        place = g.Unsqueeze(g.Range(0, steps, 1), [1])
        within = g.Less(place, g.cast(lengths, DType.INT64))
        blank = int(op.attr("blank_index"))
        kept = g.And(within, g.Not(g.Equal(best, g.Add(classes, blank) if blank < 0 else blank)))
        if op.attr("merge_repeated"):
            before = g.Slice(g.Pad(best, [1, 0, 0, 0], np.int64(-1)), [0], [-1], [0])
            kept = g.And(kept, g.Not(g.Equal(best, before)))
        kept, best = g.Transpose(kept, perm=[1, 0]), g.Transpose(best, perm=[1, 0])
        found = g.cast(replace_shape(kept, None), DType.INT64)
        row, step = g.Split(g.NonZero(kept), axis=0, outputs=2, **_halves(g))
        number = g.Sub(g.CumSum(found, 1), 1)
        pairs = g.Transpose(g.Concat(row, step, axis=0), perm=[1, 0])
        position = g.Unsqueeze(g.GatherND(number, pairs), [1])
        indices = g.Concat(g.Transpose(row, perm=[1, 0]), position, axis=1)
        longest = _longest(g, g.ReduceSum(found, [1], keepdims=1))
        shape = g.Concat(g.Slice(g.shape(logits), [1], [2]), longest, axis=0)
        top = g.Where(within, _max(g, logits, 2), g.constant(0, logits.dtype))
        score = g.Unsqueeze(g.Neg(g.ReduceSum(top, [0], keepdims=0)), [1])
        return indices, g.GatherND(best, pairs), shape, score


def _halves(g: Builder) -> dict[str, int]:
    return {"num_outputs": 2} if g.opset >= 18 else {}


def _longest(g: Builder, lengths: Tensor) -> Tensor:
    all_lengths = g.Concat(g.Reshape(lengths, [-1]), [0], axis=0)
    made: Tensor = g.ReduceMax(all_lengths, keepdims=1)
    return made


HANDLERS: tuple[Handler, ...] = (
    Bias(),
    BiasGradient(),
    Softmax(),
    CrossEntropy(),
    SparseCrossEntropy(),
    LocalResponse(),
    BatchNormalization(),
    GreedyDecoder(),
)
