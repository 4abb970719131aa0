"""Gradients of normalizations; and the first of them, which TensorFlow has replaced."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.matrices import reshaped, size
from smconvert_onnx.handlers.precision import single
from smconvert_onnx.handlers.windows import channels_last


class BatchGradient:
    """Of batch normalization, by its input, its scale and its offset (fused_batch_norm_op.cc).

    What is reserved for nothing yet has no elements; oneDNN's kernels give a 0 there.
    """

    ops = ("FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3")

    def emit(
        self,
        g: Builder,
        op: Op,
        grad: Tensor,
        x: Tensor,
        scale: Tensor,
        mean: Tensor,
        variance: Tensor,
        *_: Tensor,
    ) -> tuple[Tensor, ...]:
        last, rank = channels_last(op), len(op.attr("data_format")) - 2
        axes = list(range(rank + 1)) if last else [0, *range(2, rank + 2)]

        def along(vector: Tensor) -> Tensor:
            return vector if last else g.Unsqueeze(vector, list(range(1, rank + 1)))

        back = g.cast(grad, DType.FLOAT32)
        spread = g.Add(variance, op.attr("epsilon"))
        inverse = g.Reciprocal(g.Sqrt(spread))
        rest = g.Sub(g.cast(x, DType.FLOAT32), along(mean))
        of_offset = g.ReduceSum(back, axes, keepdims=0)
        product = g.ReduceSum(g.Mul(back, rest), axes, keepdims=0)
        if op.attr("is_training"):
            count = g.cast(g.Div(g.Size(x), size(g, x, -1 if last else 1)), DType.FLOAT32)
            share = g.Div(g.Div(product, count), spread)
            back = g.Sub(back, along(g.Div(of_offset, count)))
            back = g.Sub(back, g.Mul(rest, along(share)))
        of_x = g.Mul(back, along(g.Mul(scale, inverse)))
        nothing = g.constant(np.zeros(0), DType.FLOAT32)
        of_x = g.cast(replace_shape(of_x, x.shape), x.dtype)
        return of_x, g.Mul(product, inverse), of_offset, nothing, nothing


class Batch:
    """``(x - mean) / deviation``, scaled if wanted, and moved (batch_norm_op.h)."""

    ops = ("BatchNormWithGlobalNormalization",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, mean: Tensor, variance: Tensor, *given: Tensor
    ) -> Tensor:
        offset, scale = given
        factor = _inverse_deviation(g, op, variance)
        if op.attr("scale_after_normalization"):
            factor = g.Mul(factor, single(g, scale))
        moved = g.Mul(g.Sub(single(g, x), single(g, mean)), factor)
        return g.cast(g.Add(moved, single(g, offset)), x.dtype)


class OldBatchGradient:
    """The same by its input, its mean, its variance, its offset and its scale (batch_norm_op.h)."""

    ops = ("BatchNormWithGlobalNormalizationGrad",)

    def emit(
        self, g: Builder, op: Op, x: Tensor, mean: Tensor, variance: Tensor, *given: Tensor
    ) -> tuple[Tensor, ...]:
        scale, grad = (single(g, t) for t in given)
        inverse = _inverse_deviation(g, op, variance)
        scaled = op.attr("scale_after_normalization")
        factor = g.Mul(inverse, scale) if scaled else inverse
        rest = g.Sub(single(g, x), single(g, mean))
        axes = [0, 1, 2]
        of_offset = g.ReduceSum(grad, axes, keepdims=0)
        product = g.ReduceSum(g.Mul(grad, rest), axes, keepdims=0)
        spread = g.Add(single(g, variance), op.attr("variance_epsilon"))
        steep = g.Div(g.Mul(factor, -0.5), spread)
        of_scale = g.Mul(product, inverse)
        if not scaled:
            of_scale = g.Expand(g.constant(0, scale.dtype), g.Shape(scale))
        made = (
            g.Mul(grad, factor),
            g.Neg(g.Mul(of_offset, factor)),
            g.Mul(product, steep),
            of_offset,
            of_scale,
        )
        return tuple(g.cast(value, x.dtype) for value in made)


def _inverse_deviation(g: Builder, op: Op, variance: Tensor) -> Tensor:
    spread = g.Add(single(g, variance), op.attr("variance_epsilon"))
    made: Tensor = g.Reciprocal(g.Sqrt(spread))
    return made


class LocalResponseGradient:
    """Each channel counts in the divisors of those around it (lrn_op.cc).

    The channels within reach of one are a band around the diagonal of a matrix.
    """

    ops = ("LRNGrad",)

    def emit(self, g: Builder, op: Op, grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
        alpha, beta = op.attr("alpha"), op.attr("beta")
        grad, wide, y = (_in_rows(g, single(g, t)) for t in (grad, x, y))
        number = g.Range(0, size(g, x, 3), 1)
        apart = g.Abs(g.Sub(number, g.Unsqueeze(number, [1])))
        band = g.cast(g.LessOrEqual(apart, op.attr("depth_radius")), wide.dtype)
        norm = g.Add(g.Mul(g.MatMul(g.Mul(wide, wide), band), alpha), op.attr("bias"))
        shared = g.MatMul(g.Mul(grad, g.Div(y, norm)), band)
        own = g.Mul(grad, g.Pow(norm, g.constant(-beta, norm.dtype)))
        made = g.Sub(own, g.Mul(g.Mul(wide, 2 * alpha * beta), shared))
        return g.cast(reshaped(g, made, g.shape(x)), x.dtype)


def _in_rows(g: Builder, x: Tensor) -> Tensor:
    """All pixels [N, H, W, C] as the rows of a matrix."""
    count = g.ReduceProd(g.Slice(g.shape(x), [0], [3]), keepdims=1)
    rows = reshaped(g, x, g.Concat(count, g.Slice(g.shape(x), [3], [4]), axis=0))
    return replace_shape(rows, (None, None))


HANDLERS: tuple[Handler, ...] = (
    BatchGradient(),
    Batch(),
    OldBatchGradient(),
    LocalResponseGradient(),
)
