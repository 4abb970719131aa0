"""The type that a function of floating-point numbers is computed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Op, Tensor

HALVES = frozenset({DType.FLOAT16, DType.BFLOAT16})
FLOATS = HALVES | {DType.FLOAT32, DType.FLOAT64}
UNSIGNED = frozenset({DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64})


def single(g: Builder, x: Tensor) -> Tensor:
    """``x`` as float32 if it is narrower."""
    return g.cast(x, DType.FLOAT32) if x.dtype in HALVES else x


def in_double(g: Builder, function: Callable[..., Tensor], *given: Tensor) -> Tensor:
    """What ``function`` gives for float64, in the type of its arguments."""
    made = function(g, *(g.cast(x, DType.FLOAT64) for x in given))
    return g.cast(made, given[0].dtype)


def in_digits(g: Builder, x: Tensor, dtype: DType) -> Tensor:
    """A float32 number to the digits of a half (Veltkamp's splitting).

    It stays float32: of two casts in a row ONNX Runtime leaves none.
    """
    if dtype not in HALVES:
        return x
    wide = g.Mul(x, 2.0 ** (13 if dtype is DType.FLOAT16 else 16) + 1)
    short = g.Sub(wide, g.Sub(wide, x))
    return g.Where(g.Or(g.IsInf(wide), g.IsNaN(wide)), x, short)


@dataclass(frozen=True)
class Elementwise:
    """An op that is a function of floating-point numbers; halves are computed in float32.

    Rounding halves once, at the end, is at least as near as what Eigen does: it rounds them after
    each of the operations that a function is made of.
    """

    op: str
    function: Callable[..., Tensor]

    @property
    def ops(self) -> tuple[str, ...]:
        return (self.op,)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> Tensor:
        made = self.function(g, *(single(g, x) for x in given))
        return g.cast(made, given[0].dtype)
