"""Functions of numbers, element by element."""

from __future__ import annotations

from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor


class Erfc:
    """``1 - erf(x)`` (cwise_op_erfc.cc)."""

    ops = ("Erfc",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return g.Sub(1, g.Erf(x))


class Expm1:
    """``exp(x) - 1`` as ``2 sinh(x/2) exp(x/2)``, which keeps the digits of small ``x``."""

    ops = ("Expm1",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        half = g.Mul(x, 0.5)
        exact = g.Mul(g.Mul(g.Sinh(half), g.Exp(half)), 2)
        # Beyond, sinh overflows before the product does.
        return g.Where(g.Less(g.Abs(half), 30), exact, g.Sub(g.Exp(x), 1))


class NoNan:
    """0 where one argument is 0, whatever the other is (cwise_ops.h: xlogy, xdivy, mul_no_nan)."""

    ops = ("Xlogy", "Xdivy", "Xlog1py", "MulNoNan", "DivNoNan")

    def emit(self, g: Builder, op: Op, x: Tensor, y: Tensor) -> Tensor:
        value = {
            "Xlogy": lambda: g.Mul(x, g.Log(y)),
            "Xdivy": lambda: g.Div(x, y),
            "Xlog1py": lambda: g.Mul(x, g.Log(g.Add(y, 1))),
            "MulNoNan": lambda: g.Mul(x, y),
            "DivNoNan": lambda: g.Div(x, y),
        }[op.type]()
        zero = g.Equal(y if op.type in {"MulNoNan", "DivNoNan"} else x, 0)
        return g.Where(zero, 0, value)


HANDLERS: tuple[Handler, ...] = (Erfc(), Expm1(), NoNan())
