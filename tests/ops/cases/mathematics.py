"""Functions of numbers, element by element."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import ml_dtypes
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import kernels

from proof import Case, Shapes, Tolerance
from smconvert.graph.tf_internals import registered_op
from smconvert.model import Array
from values import (
    BOOL,
    BRAIN,
    DOUBLE,
    FLOATS,
    HALF,
    INTEGERS,
    SIGNED,
    SINGLE,
    TEXT,
    UNSIGNED,
    edges,
    plain,
)

EXACT = (
    *("Abs", "Add", "AddV2", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Ceil", "Div", "DivNoNan"),
    *("Equal", "Floor", "FloorDiv", "FloorMod", "Greater", "GreaterEqual", "Invert", "IsFinite"),
    *("IsInf", "IsNan", "LeftShift", "Less", "LessEqual", "LogicalAnd", "LogicalNot"),
    *("LogicalOr", "Maximum", "Minimum", "Mod", "Mul", "MulNoNan", "Neg", "NotEqual"),
    *("PopulationCount", "RealDiv", "Relu", "Relu6", "RightShift", "Rint", "Round", "Sign"),
    *("Square", "SquaredDifference", "Sub", "TruncateDiv", "TruncateMod", "Xdivy"),
)
NEAR = (
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atan2", "Atanh", "BesselI0", "BesselI0e"),
    *("BesselI1", "BesselI1e", "Cos", "Cosh", "Digamma", "Elu", "EluGrad", "Erf", "Erfc"),
    *("Erfinv", "Exp", "Expm1", "Inv", "InvGrad", "Lgamma", "Log", "Log1p", "Ndtri", "Pow"),
    *("Reciprocal", "ReciprocalGrad", "Relu6Grad", "ReluGrad", "Rsqrt", "RsqrtGrad", "Selu"),
    *("SeluGrad", "Sigmoid", "SigmoidGrad", "Sin", "Sinh", "Softplus", "SoftplusGrad"),
    *("Softsign", "SoftsignGrad", "Sqrt", "SqrtGrad", "Tan", "Tanh", "TanhGrad", "Xlog1py"),
    "Xlogy",
)
INTEGER_DIVISION = ("Div", "FloorDiv", "FloorMod", "Mod", "TruncateDiv", "TruncateMod")
HALVES = frozenset({HALF, BRAIN})
NEARNESS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("BesselI0", "BesselI0e", "BesselI1", "BesselI1e"), (32, 0)),
    "Digamma": (16, 16),
    "Elu": (4, 1),
    **dict.fromkeys(("Acos", "Asin", "Atan", "Atan2", "Erf"), (16, 0)),
    "Erfc": (64, 0),
    "Lgamma": (16, 32),
    "Pow": (16, 0),
    "Selu": (4, 2),
    "Sigmoid": (4, 1),
    "Tan": (8, 0),
}
"""Units of the last place of a result, and of 1.

Else it is 4 and 0; for halves 4 and 1, for Eigen rounds them after each step of a function.
"""


def cases() -> Iterator[Case]:
    for op in (*EXACT, *NEAR):
        arguments = [a.name for a in registered_op(op).input_arg]
        for dtype in types(op):
            for values in uses(op, dtype, len(arguments)):
                given = dict(zip(arguments, map(np.asarray, values), strict=True))
                yield Case(op, given, tolerance=tolerance(op, dtype))
    yield from constant_cases()
    yield from attribute_cases()
    yield from clip_cases()
    yield from select_cases()
    yield from cast_cases()
    yield from bitcast_cases()


def constant_cases() -> Iterator[Case]:
    """A second argument that is known: -1 among divisors, exponents of integers, shifts."""
    known = frozenset({"y"})
    for op, values in (
        *((op, (3, -3, [2, -1, 5])) for op in INTEGER_DIVISION),
        ("Pow", (2, 0, [0, 1, 13])),
        ("LeftShift", (2,)),
        ("RightShift", (2,)),
    ):
        for dtype in types(op):
            for value in values:
                if dtype in UNSIGNED and np.min(value) < 0:
                    continue
                x, y = edges(dtype)[:15].reshape(-1, 3), np.array(value).astype(dtype)
                kept = np.where(underflows(op, x, np.broadcast_to(y, x.shape)), 1, x).astype(dtype)
                yield Case(op, {"x": kept, "y": y}, {}, known, tolerance(op, dtype))
    for op in ("Equal", "NotEqual"):
        for one, other in (((2, 3), (4,)), ((2,), (2,))):
            given = {"x": plain(SINGLE, one), "y": plain(SINGLE, other)}
            attributes = {"incompatible_shape_error": False}
            yield Case(op, given, attributes, shapes=(Shapes.STATIC,))


def attribute_cases() -> Iterator[Case]:
    for dtype in FLOATS:
        for alpha in (0.0, 0.01, 1.0, 3.0, -0.5):
            near = tolerance("LeakyRelu", dtype)
            x = edges(dtype)
            yield Case("LeakyRelu", {"features": x}, {"alpha": alpha}, tolerance=near)
            given = {"gradients": plain(dtype, x.shape), "features": x}
            yield Case("LeakyReluGrad", given, {"alpha": alpha}, tolerance=near)
        for op in ("CheckNumerics", "CheckNumericsV2"):
            yield Case(op, {"tensor": plain(dtype, (2, 3))}, {"message": "no"})
    for dtype in (SINGLE, DOUBLE):
        x, y = np.meshgrid(edges(dtype), edges(dtype))
        for apart in (1e-5, 0.0, 0.5):
            yield Case("ApproximateEqual", {"x": x, "y": y}, {"tolerance": apart})
    for dtype in (*FLOATS, *INTEGERS):
        several = [plain(dtype, (2, 3), seed) for seed in range(10)]
        for count in (1, 2, 10):
            sums = Tolerance(ulps=2 if dtype in HALVES else 0, atol=float(dtype in HALVES) * 0.05)
            yield Case("AddN", {"inputs": several[:count]}, tolerance=sums)
        yield Case("AddN", {"inputs": [edges(dtype)] * 2})
    for dtype in (SINGLE, DOUBLE, *SIGNED, np.dtype(np.uint8), BOOL, TEXT):
        for shape in ((), (0,), (2, 3), (1,)):
            shapes = (Shapes.STATIC, Shapes.DIMENSIONS)
            yield Case("ToBool", {"input": np.asarray(plain(dtype, shape))}, shapes=shapes)


def clip_cases() -> Iterator[Case]:
    for dtype in types("ClipByValue"):
        t = edges(dtype)
        one, ten = np.array(1, dtype), np.array(10, dtype)
        for lower, upper in (
            (one, ten),
            (ten, one),
            (plain(dtype, t.shape), plain(dtype, t.shape, 1)),
        ):
            yield Case("ClipByValue", {"t": t, "clip_value_min": lower, "clip_value_max": upper})
        if dtype in FLOATS:
            nan = np.array(np.nan, dtype)
            yield Case("ClipByValue", {"t": t, "clip_value_min": nan, "clip_value_max": ten})
            yield Case("ClipByValue", {"t": t, "clip_value_min": one, "clip_value_max": nan})


def select_cases() -> Iterator[Case]:
    for dtype in (*FLOATS, *INTEGERS, BOOL, TEXT):
        for shape in ((), (3,), (3, 2), (3, 0), (3, 2, 4)):
            t, e = np.asarray(plain(dtype, shape)), np.asarray(plain(dtype, shape, 1))
            conditions = {(), shape, shape[:1]}
            for size in sorted(conditions):
                condition = np.asarray(plain(BOOL, size, 2))
                yield Case("Select", {"condition": condition, "x": t, "y": e})
        t, e = plain(dtype, (2, 1)), plain(dtype, (3,), 1)
        for size in ((), (1, 3), (4, 1, 1)):
            condition = np.asarray(plain(BOOL, size, 2))
            yield Case("SelectV2", {"condition": condition, "t": t, "e": e})
        if dtype in FLOATS:
            finite = np.isfinite(edges(dtype).astype(np.float64))
            t, e = edges(dtype), np.zeros_like(edges(dtype))
            yield Case("Select", {"condition": finite, "x": t, "y": e})
            yield Case("SelectV2", {"condition": finite, "t": t, "e": e})
            yield Case("SelectV2", {"condition": ~finite, "t": e, "e": t})


def cast_cases() -> Iterator[Case]:
    every = (*FLOATS, *INTEGERS, BOOL)
    for source in every:
        for target in every:
            x = edges(source)
            if source in FLOATS and target in INTEGERS:
                wide = x.astype(np.float64)
                limits = np.iinfo(target)
                kept = (wide > float(limits.min) - 1) & (wide < float(limits.max))
                x = x[kept & (wide >= 0) if target in UNSIGNED else kept]
            if source in FLOATS and target in FLOATS:
                # What is subnormal in the target may become 0 in TensorFlow.
                wide = np.abs(x.astype(np.float64))
                least = float(ml_dtypes.finfo(target).smallest_normal)
                x = x[(wide == 0) | ~(wide < least)]
            for value in (x, plain(source, (0, 2)), np.asarray(plain(BOOL, ()), source)):
                yield Case("Cast", {"x": value}, {"DstT": tf.as_dtype(target)})
    for truncate in (False, True):
        attributes = {"DstT": tf.bfloat16, "Truncate": truncate}
        yield Case("Cast", {"x": plain(SINGLE, (20,))}, attributes, refusable=truncate)


def bitcast_cases() -> Iterator[Case]:
    for source in (*FLOATS, *INTEGERS):
        for target in (*FLOATS, *INTEGERS):
            ratio = target.itemsize // source.itemsize
            x = plain(source, (2, 3, ratio) if ratio > 1 else (2, 3))
            shapes = tuple(Shapes) if ratio <= 1 else (Shapes.STATIC,)
            refusable = source in FLOATS or target in FLOATS
            attributes = {"type": tf.as_dtype(target)}
            yield Case("Bitcast", {"input": x}, attributes, shapes=shapes, refusable=refusable)


def types(op: str) -> list[np.dtype]:
    """The types that TensorFlow has a CPU kernel for, but for complex numbers."""
    definition = registered_op(op)
    own = [a for a in definition.attr if a.name == "T"]
    if not own:
        return [BOOL if definition.input_arg[0].type == tf.bool else np.dtype(np.float32)]
    found = {
        number
        for kernel in kernels.get_registered_kernels_for_op(op).kernel
        if kernel.device_type == "CPU"
        for constraint in kernel.constraint
        if constraint.name == "T"
        for number in constraint.allowed_values.list.type
    }
    allowed = set(own[0].allowed_values.list.type)
    known = {
        tf.as_dtype(d if d != TEXT else tf.string): d for d in (*FLOATS, *INTEGERS, BOOL, TEXT)
    }
    numbers = {t.as_datatype_enum: dtype for t, dtype in known.items()}
    return [
        dtype
        for number, dtype in numbers.items()
        if number in found and (not allowed or number in allowed)
    ]


def uses(op: str, dtype: np.dtype, count: int) -> Iterator[tuple[Array, ...]]:
    """Values for an op of one or two arguments: its edges, broadcast, scalar, empty."""
    if count == 1:
        yield (edges(dtype),)
        for shape in ((2, 3), (), (0, 2)):
            yield (plain(dtype, shape),)
        return
    x, y = (a.ravel() for a in np.meshgrid(edges(dtype), accepted(op, edges(dtype))))
    kept = ~underflows(op, x, y)
    if op == "SqrtGrad" or ("Grad" in op and dtype in HALVES):
        # What overflows or is subnormal halfway, in one and not in the other.
        size = np.abs(x.astype(np.float64))
        kept &= (size < 100) & (np.abs(y.astype(np.float64)) < 100) & ((x == 0) | (size > 1e-4))
    yield x[kept], y[kept]
    for one, other in (((2, 1), (3,)), ((), (2, 3)), ((4,), ()), ((2, 0, 1), (2, 1, 3))):
        first = plain(dtype, other if "Grad" in op else one)
        yield first, accepted(op, plain(dtype, other, 1))


def accepted(op: str, y: Array) -> Array:
    """The values of a second argument that TensorFlow takes, or others in their places."""
    if y.dtype.kind in "iu" and op in INTEGER_DIVISION:
        return np.where(y == 0, y.dtype.type(1), y)
    if y.dtype.kind == "i" and op == "Pow":
        return np.where(y < 0, y.dtype.type(5), y)
    return y


def underflows(op: str, x: Array, y: Array) -> Array:
    """Where a quotient is subnormal, which TensorFlow makes 0 in some threads but not in all."""
    if x.dtype not in FLOATS or op not in {"FloorDiv", "TruncateDiv"}:
        return np.zeros(x.shape, bool)
    with np.errstate(all="ignore"):
        ratio = np.abs(x / y).astype(np.float64)
        least = np.float64(ml_dtypes.finfo(x.dtype).smallest_normal)
        return (x != 0) & (ratio < least) & np.isfinite(y)


def tolerance(op: str, dtype: np.dtype) -> Tolerance:
    """How near a result must be."""
    if dtype not in FLOATS:
        return Tolerance()
    tiny = float(ml_dtypes.finfo(dtype).smallest_normal)
    if op in EXACT:
        return Tolerance(ulps=2 * (op == "SquaredDifference" and dtype in HALVES), atol=tiny)
    ulps, atol = NEARNESS.get(op, (4, dtype in HALVES))
    return Tolerance(ulps=ulps, atol=max(tiny, atol * float(ml_dtypes.finfo(dtype).eps)))
