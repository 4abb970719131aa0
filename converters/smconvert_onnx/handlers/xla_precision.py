"""Numbers with fewer bits (XLA's ReducePrecision)."""

from __future__ import annotations

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor

_BITS = {
    DType.FLOAT32: (8, 23),
    DType.BFLOAT16: (8, 7),
    DType.FLOAT16: (5, 10),
    DType.FLOAT64: (11, 52),
}
"""Of the exponent and of the mantissa."""

_ROUNDOFF = 2.0**-53
_LARGE, _SMALL = 2.0**100, 2.0**-100


class ReducePrecision:
    """Rounded to even; beyond the largest infinite, below the smallest normal 0.

    As the CPU compiler does it on the bits (EmitReducePrecisionIR, elemental_ir_emitter.cc).
    """

    ops = ("XlaReducePrecision",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        exponent, mantissa = int(op.attr("exponent_bits")), int(op.attr("mantissa_bits"))
        own_exponent, own_mantissa = _BITS[x.dtype]
        wide = made = g.cast(x, DType.FLOAT64)
        if mantissa < own_mantissa:
            least = 2.0 ** max(2 - 2 ** (own_exponent - 1) - mantissa, -1074)
            step = g.Max(g.Mul(_leading(g, wide), 2.0**-mantissa), least)
            made = g.Mul(g.Round(g.Div(wide, step)), step)
        if exponent < own_exponent:
            bias = 2 ** (exponent - 1) - 1
            size = g.Abs(made)
            beyond = g.GreaterOrEqual(size, 2.0 ** (bias + 1))
            made = g.Where(beyond, g.Mul(made, float("inf")), made)
            made = g.Where(g.Less(size, 2.0 ** (1 - bias)), g.Mul(made, 0), made)
        elif mantissa >= own_mantissa:
            return x
        finite = g.Less(g.Abs(wide), float("inf"))
        return g.Where(finite, g.cast(made, x.dtype), x)


def _leading(g: Builder, x: Tensor) -> Tensor:
    """The power of two that is the first bit of float64, by four operations.

    S. M. Rump, "Error estimation of floating-point summation and dot product" (2012), Algorithm 3.
    """
    large = g.Greater(g.Abs(x), _LARGE)
    scaled = g.Mul(g.Where(large, g.Mul(x, _SMALL), x), 1 / (2 * _ROUNDOFF) + 1)
    # Not times 1 - 2^-53, which ONNX Runtime 1.31 takes for 1.
    leading = g.Abs(g.Sub(scaled, g.Sub(scaled, g.Mul(scaled, _ROUNDOFF))))
    return g.Where(large, g.Mul(leading, _LARGE), leading)


HANDLERS: tuple[Handler, ...] = (ReducePrecision(),)
