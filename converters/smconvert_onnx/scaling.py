"""Scales and offsets after a convolution, taken into its weights and its bias.

They are what an inference graph leaves of a batch normalisation. The products are rounded once, to
the type of the weights, when they are written.

1. ``Mul(Conv(x, w, b), s)`` is ``Conv(x, s w, s b)``, for a constant ``s`` of one number for each
   output channel, or of one number in all.
2. ``Add(Conv(x, w, b), t)`` is ``Conv(x, w, b + t)``.

Nothing else may read what the convolution gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from smconvert.model import Array
from smconvert.parity.onnx_graph import reads
from smconvert_onnx.initializers import Initializer, settled


def scaled(model: onnx.ModelProto, initializers: Sequence[Initializer]) -> list[Initializer]:
    """Takes the nodes out, and gives the initializers that are left; the model is changed."""
    graph = model.graph
    defaults = {value.name for value in graph.input}
    constants = {t.name: t for t in graph.initializer if t.name not in defaults}
    beside = {i.name: i for i in initializers}
    weights = {**beside, **{name: _held(t) for name, t in constants.items()}}
    uses = Counter(name for node in graph.node for name in reads(node))
    uses.update(value.name for value in graph.output)
    convolutions: dict[str, onnx.NodeProto] = {}
    inside: dict[str, Initializer] = {}
    gone = []
    for number, node in enumerate(graph.node):
        if node.op_type == "Conv" and {*node.input[1:]} <= {*weights}:
            convolutions[node.output[0]] = node
            continue
        found = _scaling(node, convolutions, constants, weights)
        if found is None or uses[found[0].output[0]] != 1:
            continue
        convolution, values = found
        for new, source in _taken(node.op_type, convolution, values, weights):
            weights[new.name] = new
            (beside if source in beside else inside)[new.name] = new
        convolution.output[0] = node.output[0]
        convolutions[node.output[0]] = convolution
        gone.append(number)
    for number in reversed(gone):
        del graph.node[number]
    if not gone:
        return list(initializers)
    graph.initializer.extend(numpy_helper.from_array(i.value(), i.name) for i in inside.values())
    return settled(model, beside.values())


def _scaling(
    node: onnx.NodeProto,
    convolutions: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
    weights: Mapping[str, Initializer],
) -> tuple[onnx.NodeProto, Array] | None:
    """The convolution that a node scales or moves, and by how much: float64 [channels]."""
    if node.op_type not in {"Mul", "Add"}:
        return None
    for result, given in (node.input, node.input[::-1]):
        if result in convolutions and given in constants:
            weight = weights[convolutions[result].input[1]]
            values = _by_channel(numpy_helper.to_array(constants[given]), weight.shape)
            return None if values is None else (convolutions[result], values)
    return None


def _held(tensor: onnx.TensorProto) -> Initializer:
    """A small initializer, whose value is in the model."""
    return Initializer(
        tensor.name,
        tensor.data_type,
        tuple(tensor.dims),
        lambda: numpy_helper.to_array(tensor),
    )


def _by_channel(values: Array, weight: tuple[int, ...]) -> Array | None:
    """Float64 [channels] of what broadcasts over [batch, channels, height, width]; else None."""
    rank, channels = len(weight), weight[0]
    if values.ndim > rank or values.dtype.kind != "f":
        return None
    whole = values.reshape((1,) * (rank - values.ndim) + values.shape)
    if whole.shape not in {(1,) * rank, (1, channels, *(1,) * (rank - 2))}:
        return None
    return np.broadcast_to(whole.reshape(-1).astype(np.float64), (channels,))


def _computed(name: str, source: Initializer, compute: Callable[[Array], Array]) -> Initializer:
    """One of the source's type and shape, computed in float64 when its value is asked for."""

    def value() -> Array:
        array = source.value()
        return compute(array.astype(np.float64)).astype(array.dtype)

    return replace(source, name=name, value=value)


def _taken(
    op: str, convolution: onnx.NodeProto, values: Array, weights: Mapping[str, Initializer]
) -> Iterator[tuple[Initializer, str]]:
    """The convolution's new weights and bias, which it now reads, and what each is made of."""
    weight, *biases = (weights[name] for name in convolution.input[1:])
    name = convolution.output[0]
    if op == "Mul":
        column = values.reshape(-1, *(1,) * (len(weight.shape) - 1))
        made = _computed(f"{name}/weight", weight, lambda w: w * column)
        convolution.input[1] = made.name
        yield made, weight.name
    for bias in biases:
        made = _computed(f"{name}/bias", bias, lambda b: b * values if op == "Mul" else b + values)
        convolution.input[2] = made.name
        yield made, bias.name
    if op == "Add" and not biases:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(weight.data_type)
        array = np.array(values, dtype)
        convolution.input.append(f"{name}/bias")
        yield Initializer(f"{name}/bias", weight.data_type, array.shape, lambda: array), ""
