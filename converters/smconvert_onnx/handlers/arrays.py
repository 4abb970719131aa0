"""Shapes of arrays, and what passes arrays on as they are."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor
from smconvert_onnx.handlers.filling import filled
from smconvert_onnx.handlers.matrices import reshaped


class Same:
    """The first input itself; what else the op does, such as to print, is not of the model."""

    ops = (
        "Copy",
        "CopyHost",
        "DebugGradientIdentity",
        "DeepCopy",
        "GuaranteeConst",
        "PreventGradient",
        "Print",
        "SleepIdentityOp",
        "Snapshot",
    )

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> Tensor:
        return inputs[1] if op.type == "SleepIdentityOp" else inputs[0]


class Reshape:
    """The same elements in another shape, in which 0 is a size, not a sign (reshape_op.h)."""

    ops = ("Reshape",)

    def emit(self, g: Builder, op: Op, x: Tensor, shape: Tensor) -> Tensor:
        if shape.value is None:
            return reshaped(g, x, g.cast(shape, DType.INT64))
        target = [int(d) for d in shape.value]
        if x.sizes is not None and list(x.sizes) == target:
            return x
        wanted = g.constant(target, DType.INT64)
        if 0 not in target:
            return g.Reshape(x, wanted)
        if -1 not in target:
            return filled(g, wanted, np.array(b"" if x.dtype is DType.STRING else 0), x.dtype)
        return reshaped(g, x, wanted)


class ShapeN:
    """The shapes of several arrays, or of a variable."""

    ops = ("ShapeN", "VariableShape")

    def emit(self, g: Builder, op: Op, *arrays: Tensor) -> tuple[Tensor, ...]:
        if arrays[0].dtype is DType.RESOURCE:
            op.refuse("its variable is not frozen")
        return tuple(g.cast(g.shape(x), op.attr("out_type")) for x in arrays)


class Rank:
    """The number of axes."""

    ops = ("Rank",)

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        if x.rank is not None:
            return g.constant(x.rank, DType.INT32)
        return g.cast(g.Size(g.shape(x)), DType.INT32)


HANDLERS: tuple[Handler, ...] = (Same(), Reshape(), ShapeN(), Rank())
