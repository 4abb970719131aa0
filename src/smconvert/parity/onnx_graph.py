"""ONNX graphs opened up: inner tensors as outputs, and as inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx

from smconvert.model import Array, DType

RECOMPUTED = "/recomputed"


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Tensor to the node of the main graph that makes it, in the graph's order."""
    return {name: node for node in model.graph.node for name in node.output if name}


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads: its inputs, and what its subgraphs take from around them."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            own |= {name for inner in graph.node for name in inner.output}
            for inner in graph.node:
                yield from (name for name in reads(inner) if name not in own)
            yield from (v.name for v in graph.output if v.name not in own)


def loop_inputs(loop: onnx.NodeProto) -> Iterator[str]:
    """The tensors that a Loop's own variables start from."""
    yield from loop.input[2:]


def outer_reads(loop: onnx.NodeProto) -> list[str]:
    """What a node's subgraphs take from around them."""
    taken = list(reads(loop))[sum(map(bool, loop.input)) :]
    return list(dict.fromkeys(taken))


def body(
    model: onnx.ModelProto, loop: onnx.NodeProto, values: Mapping[str, Array]
) -> onnx.ModelProto:
    """A Loop's body as a model of its own.

    Its inputs are the iteration number, the condition, the variables, and what it takes from around
    it, of the types of ``values``; initializers come along.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.CopyFrom(next(a.g for a in loop.attribute if a.name == "body"))
    wanted = set(outer_reads(loop))
    constants = [t for t in model.graph.initializer if t.name in wanted]
    result.graph.initializer.extend(constants)
    left = sorted(wanted - {t.name for t in constants})
    result.graph.input.extend(_input(name, values[name]) for name in left if name in values)
    return result


def exposed(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """The model with ``tensors`` as its only outputs, of whatever type they have."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.output[:]
    result.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tensors)
    return result


def forced(model: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    """The model with inner tensors as inputs, each computed anew as ``NAME/recomputed``.

    What reads such a tensor reads the input; so each one is computed from the given values of
    those just before it, whatever is wrong further up.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name in values:
                node.output[i] = name + RECOMPUTED
    graph.input.extend(_input(name, value) for name, value in values.items())
    del graph.output[:]
    graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name + RECOMPUTED) for name in values
    )
    return result


def segment(model: onnx.ModelProto, tensor: str, given: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that compute a tensor from ``given`` ones and the model's inputs, in order."""
    makers = producers(model)
    stops = set(given) - {tensor}
    needed: set[str] = set()
    pending = [tensor]
    while pending:
        name = pending.pop()
        if name in makers and name not in stops and name not in needed:
            needed.add(name)
            pending += reads(makers[name])
    return [node for node in model.graph.node if needed & set(node.output)]


def alone(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], tensor: str, feeds: Mapping[str, Array]
) -> onnx.ModelProto:
    """A model of these nodes alone, with the initializers that they read."""
    wanted = {name for node in nodes for name in reads(node)}
    graph = onnx.helper.make_graph(
        list(nodes),
        "reproducer",
        [_input(name, value) for name, value in feeds.items()],
        [onnx.helper.make_empty_tensor_value_info(tensor)],
        [t for t in model.graph.initializer if t.name in wanted and t.name not in feeds],
    )
    return onnx.helper.make_model(
        graph, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )


def _input(name: str, value: Array) -> onnx.ValueInfoProto:
    dtype = DType.from_numpy(value.dtype)
    kind = (
        onnx.TensorProto.STRING
        if dtype is DType.STRING
        else onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    )
    return onnx.helper.make_tensor_value_info(name, kind, [None] * value.ndim)


def described(node: onnx.NodeProto) -> str:
    """A node in one line: op, name, attributes, inputs."""
    attributes = ", ".join(
        f"{a.name}={_short(onnx.helper.get_attribute_value(a))}"
        for a in node.attribute
        if a.type not in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
    )
    inputs = ", ".join(name or "-" for name in node.input)
    return f"{node.op_type} {node.name!r} ({attributes or 'no attributes'}) of {inputs}"


def _short(value: object) -> str:
    text = repr(value.decode() if isinstance(value, bytes) else value)
    return text if len(text) <= 60 else text[:57] + "..."
