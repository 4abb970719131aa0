"""What can be computed before the graph runs, by the same words that write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from smconvert.model import Array
from smconvert_onnx.handlers.builder import (
    ONNX_TYPES,
    Builder,
    Tensor,
    counter,
    replace_shape,
)

_OPSET = 18


def folded(
    g: Builder, write: Callable[..., Sequence[Tensor]], *inputs: Tensor
) -> tuple[Tensor, ...]:
    """What ``write`` gives for the inputs: constants where all of them are, else nodes.

    Args:
        g: Where it goes.
        write: Takes a builder and the inputs; its outputs depend on nothing else.
        inputs: What it is given.
    """
    if any(tensor.value is None for tensor in inputs):
        return tuple(write(g, *inputs))
    inner = Builder(min(g.opset, _OPSET), counter())
    outputs = write(inner, *(inner.constant(t.value, t.dtype) for t in inputs))
    values = _computed(inner, outputs)
    return tuple(g.constant(v, t.dtype) for v, t in zip(values, outputs, strict=True))


def _computed(builder: Builder, outputs: Sequence[Tensor]) -> list[Array]:
    nodes = [
        onnx.helper.make_node(
            n.op_type,
            n.inputs,
            n.outputs,
            domain=n.domain,
            **n.attributes,
        )
        for n in builder.nodes
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "folded",
        [],
        [onnx.helper.make_tensor_value_info(o.name, ONNX_TYPES[o.dtype], None) for o in outputs],
        [onnx.numpy_helper.from_array(a, name) for name, a in builder.constants.items()],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", builder.opset)]
    )
    with np.errstate(all="ignore"):
        return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, {})]


def dimension(g: Builder, x: Tensor, axis: int) -> Tensor:
    """The size of one axis, an int64 scalar: constant where it is known."""
    size = x.shape[axis] if x.shape is not None else None
    if isinstance(size, int):
        return g.constant(np.int64(size))
    return replace_shape(g.Gather(g.shape(x), np.int64(axis)), ())


def element(g: Builder, vector: Tensor, position: int) -> Tensor:
    """One element of a vector, a scalar: constant where the vector is."""
    if vector.value is not None:
        return g.constant(np.asarray(vector.value).reshape(-1)[position], vector.dtype)
    return replace_shape(g.Gather(vector, np.int64(position)), ())
