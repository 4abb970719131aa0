"""Arithmetic, comparisons and choices, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from smconvert.model import DType, Shape
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.matrices import reshaped
from smconvert_onnx.handlers.precision import FLOATS, UNSIGNED, in_digits, single


class Add:
    """``x + y``; strings one after the other (cwise_op_add_1.cc)."""

    ops = ("Add",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        return g.StringConcat(x, y) if x.dtype is DType.STRING else g.Add(x, y)


class AddN:
    """The first few from left to right, and then the sum of each 8 more (aggregate_ops.cc)."""

    ops = ("AddN",)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> Tensor:
        if op.outputs[0].dtype is DType.VARIANT:
            op.refuse("it adds lists of tensors")
        first = len(given) % 8
        first += 8 * (first < 2 and len(given) > 1)
        total = _sum(g, given[:first])
        for start in range(first, len(given), 8):
            total = g.Add(total, _sum(g, given[start : start + 8]))
        return total


def _sum(g: Builder, given: Sequence[Tensor]) -> Tensor:
    return reduce(g.Add, given)


class Divide:
    """Division and its remainder, of numbers of any type (cwise_ops.h).

    Of integers, ONNX's ``Div`` truncates and its ``Mod`` is that of a division that floors; by 0
    both are an error, as they are in TensorFlow.
    """

    ops = ("Div", "RealDiv", "FloorDiv", "FloorMod", "TruncateDiv", "Mod", "TruncateMod")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        return (_of_floats if x.dtype in FLOATS else _of_integers)(g, op.type, x, y)


def _of_floats(g: Builder, op: str, x: Tensor, y: Tensor) -> Tensor:
    if op in {"Div", "RealDiv"}:
        return g.Div(x, y)
    if op in {"FloorDiv", "TruncateDiv"}:
        ratio = in_digits(g, g.Div(single(g, x), single(g, y)), x.dtype)
        floor = g.Floor(ratio)
        if op == "TruncateDiv":
            floor = g.Where(g.Less(ratio, 0), g.Ceil(ratio), floor)
        return g.cast(floor, x.dtype)
    rest = g.Mod(x, y, fmod=1)
    if op in {"Mod", "TruncateMod"}:
        return rest
    unlike = g.Xor(g.Less(y, 0), g.Less(rest, 0))
    return g.Where(g.And(unlike, g.Not(g.Equal(rest, 0))), g.Add(rest, y), rest)


def _of_integers(g: Builder, op: str, x: Tensor, y: Tensor) -> Tensor:
    # The least number by -1 overflows, and takes the process down with it.
    overflows = _overflows(y)
    safe = g.Where(g.Equal(y, -1), 1, y) if overflows else y
    if op == "FloorMod":
        return g.Mod(x, safe)
    ratio = g.Div(x, safe)
    if overflows:
        ratio = g.Where(g.Equal(y, -1), g.Neg(x), ratio)
    if op in {"Mod", "TruncateMod"}:
        return g.Sub(x, g.Mul(ratio, y))
    if op != "FloorDiv" or x.dtype in UNSIGNED:
        return ratio
    unlike = g.Xor(g.Less(x, 0), g.Less(y, 0))
    inexact = g.And(unlike, g.Not(g.Equal(g.Mod(x, safe), 0)))
    return g.Sub(ratio, g.cast(inexact, x.dtype))


def _overflows(divisor: Tensor) -> bool:
    """Whether the divisor may be -1, of a type for which that overflows."""
    if divisor.dtype in UNSIGNED:
        return False
    return divisor.value is None or bool(np.any(divisor.value == -1))


class NoNan:
    """0 where ``y`` is 0, whatever ``x`` is (cwise_ops.h: no_nan_op)."""

    ops = ("MulNoNan", "DivNoNan")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        value = g.Mul(x, y) if op.type == "MulNoNan" else g.Div(x, y)
        return g.Where(g.Equal(y, 0), 0, value)


class Xdivy:
    """``x / y``, and 0 where ``x`` is 0 (cwise_ops.h: xdivy_op)."""

    ops = ("Xdivy",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        return g.Where(g.Equal(x, 0), 0, g.Div(x, y))


class Extremum:
    """The larger or smaller of two; NaN where either is (cwise_ops.h: maximum, minimum)."""

    ops = ("Maximum", "Minimum")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        return g.Max(x, y) if op.type == "Maximum" else g.Min(x, y)


class ClipByValue:
    """``max(min(t, upper), lower)``; the bounds may be tensors (cwise_op_clip.cc).

    A bound that is NaN does not count, where in ONNX's ``Max`` and ``Min`` it does.
    """

    ops = ("ClipByValue",)

    def emit(self, g: Builder, op: Op, t: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        if not _may_be_nan(lower) and not _may_be_nan(upper):
            return g.Max(g.Min(t, upper), lower)
        below = g.Where(g.Greater(t, upper), upper, t)
        return g.Where(g.Less(below, lower), lower, below)


def _may_be_nan(x: Tensor) -> bool:
    if x.dtype not in FLOATS:
        return False
    return x.value is None or bool(np.any(np.isnan(x.value.astype(np.float64))))


class Relu:
    """``max(x, 0)``, and at most 6 for Relu6; NaN stays (relu_op_functor.h)."""

    ops = ("Relu", "Relu6")

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        if op.type == "Relu6":
            return g.Clip(x, 0, 6)
        if x.dtype in UNSIGNED:
            return x
        return g.Relu(x) if x.dtype in FLOATS else g.Max(x, 0)


class Sign:
    """-1, 0 or 1; NaN of NaN (scalar_sign_op in Eigen)."""

    ops = ("Sign",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        # ONNX Runtime's own kernel for float16 gives 0 for NaN.
        return g.cast(g.Sign(single(g, x)), x.dtype)


class Round:
    """To the nearest, of two the even one (cwise_ops.h: scalar_round_half_to_even_op)."""

    ops = ("Round", "Rint")

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        if x.dtype not in FLOATS:
            op.refuse("of integers, TensorFlow's own kernel makes 0", "leave it out: tf.round does")
        return g.cast(g.Round(single(g, x)), x.dtype)


class Floats:
    """Whether a number is NaN, infinite or neither."""

    ops = ("IsNan", "IsInf", "IsFinite")

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        x = single(g, x)
        if op.type == "IsNan":
            return g.IsNaN(x)
        return g.IsInf(x) if op.type == "IsInf" else g.Not(g.Or(g.IsInf(x), g.IsNaN(x)))


class Compare:
    """Which of two numbers is larger; never, where one is NaN."""

    ops = ("Less", "LessEqual", "Greater", "GreaterEqual")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        if op.type == "Less":
            return g.Less(x, y)
        if op.type == "Greater":
            return g.Greater(x, y)
        return g.LessOrEqual(x, y) if op.type == "LessEqual" else g.GreaterOrEqual(x, y)


class Equal:
    """Whether two numbers, booleans or strings are the same (cwise_op_equal_to_1.cc).

    With ``incompatible_shape_error`` off, shapes that do not go together make one ``False`` in all.
    """

    ops = ("Equal", "NotEqual")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        if not op.attr("incompatible_shape_error") and _unlike(x.shape, y.shape):
            return g.Identity(np.array(op.type == "NotEqual"))
        if x.dtype is DType.STRING and g.opset < 19:
            x, y = _numbered(g, x, y)
        same = g.Equal(x, y)
        return g.Not(same) if op.type == "NotEqual" else same


def _unlike(one: Shape | None, other: Shape | None) -> bool:
    """Whether two shapes cannot be broadcast to one."""
    return (
        one is not None
        and other is not None
        and any(
            isinstance(a, int) and isinstance(b, int) and a != b and 1 not in {a, b}
            for a, b in zip(reversed(one), reversed(other), strict=False)
        )
    )


def _numbered(g: Builder, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A number for each string, equal where the strings are; ``Equal`` takes none before 19."""
    # ``Unique`` does not take an empty tensor.
    flat = [g.Reshape(x, [-1]), g.Reshape(y, [-1]), g.constant([b""], DType.STRING)]
    *_, numbers, _ = g.Unique(g.Concat(*flat, axis=0), outputs=4)
    end = g.Reshape(g.Size(x), [1])
    first = g.Slice(numbers, [0], end)
    second = g.Slice(numbers, end, [-1])
    return reshaped(g, first, g.shape(x)), reshaped(g, second, g.shape(y))


class ApproximateEqual:
    """Whether two numbers are at most ``tolerance`` apart (cwise_op_approximate_equal)."""

    ops = ("ApproximateEqual",)

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        return g.LessOrEqual(g.Abs(g.Sub(x, y)), op.attr("tolerance"))


class Select:
    """``t`` where the condition holds, else ``e`` (cwise_op_select.cc).

    The condition of ``Select`` is a scalar, of the same shape, or a vector along the first axis.
    """

    ops = ("Select", "SelectV2")

    def emit(self, g: Builder, op: Op, condition: Tensor, t: Tensor, e: Tensor) -> Tensor:
        if t.dtype in {DType.VARIANT, DType.RESOURCE}:
            op.refuse("it chooses between what is no tensor")
        if op.type == "Select" and condition.rank != 0 and not _same_rank(condition, t):
            condition = _along_first_axis(g, condition, t)
        return g.Where(condition, t, e)


def _same_rank(condition: Tensor, t: Tensor) -> bool:
    return condition.rank is not None and condition.rank == t.rank


def _along_first_axis(g: Builder, condition: Tensor, t: Tensor) -> Tensor:
    """A vector with as many axes of size 1 behind it as ``t`` has more."""
    if condition.rank is not None and t.rank is not None:
        return g.Unsqueeze(condition, list(range(condition.rank, t.rank)))
    more = g.Sub(g.Size(g.shape(t)), g.Size(g.shape(condition)))
    ones = g.Expand(g.constant([1]), g.Reshape(more, [1]))
    shape = g.Concat(g.shape(condition), ones, axis=0)
    return reshaped(g, condition, shape)


class CheckNumerics:
    """``tensor`` itself, where no element is NaN or infinite (check_numerics_op.cc).

    What TensorFlow refuses goes through: ONNX has no op that fails.
    """

    ops = ("CheckNumerics", "CheckNumericsV2")

    def emit(self, g: Builder, op: Op, tensor: Tensor) -> Tensor:
        return tensor


HANDLERS: tuple[Handler, ...] = (
    Add(),
    AddN(),
    Divide(),
    NoNan(),
    Xdivy(),
    Extremum(),
    ClipByValue(),
    Relu(),
    Sign(),
    Round(),
    Floats(),
    Compare(),
    Equal(),
    ApproximateEqual(),
    Select(),
    CheckNumerics(),
)
