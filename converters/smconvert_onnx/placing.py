"""Between a builder and tf2onnx's graph: what it knows of a tensor, and new nodes in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from smconvert.model import Array, DType, Shape
from smconvert_onnx.handlers.builder import ONNX_TYPES, Body, Builder, Emitted, Tensor, dtype_of

_UNKNOWN = -1


LAYOUT_OPS = frozenset(
    {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LRN", "Resize", "BatchNormalization"}
)
"""Ops that are written between transposes, which come to nothing between two of them."""


def put(ctx: Any, node: Any, builder: Builder, outputs: Sequence[Tensor]) -> None:
    """Puts what a builder recorded in the place of a node of tf2onnx's graph ``ctx``.

    The outputs have the names that they had. What an op of another layout gives has the name before
    it is transposed back: the Transpose is soon taken out, and the name would go with it.
    """
    shapes = [
        # Of a list TensorFlow gives the shape of the variant that holds it.
        _merged(given if dtype else None, tensor.shape)
        for given, dtype, tensor in zip(
            node.output_shapes, node.output_dtypes, outputs, strict=True
        )
    ]
    results = list(zip(node.output, node.output_dtypes, shapes, outputs, strict=True))
    ctx.remove_node(node.name)
    own = {name for made in builder.nodes for name in made.outputs}
    renamed: dict[str, str] = {}
    for name, _, _, tensor in results:
        if tensor.name in own:
            renamed.setdefault(tensor.name, name)
    turned = _turned(ctx, builder, outputs, renamed)
    _place(ctx, builder, renamed)
    if turned is not None:
        _name_before(ctx, turned, results[0])
        return
    for i, (name, dtype, shape, tensor) in enumerate(results):
        if renamed.get(tensor.name) == name:
            ctx.set_shape(name, shape)
            ctx.set_dtype(name, dtype or _type(tensor))
            continue
        ctx.make_node(
            "Identity",
            [renamed.get(tensor.name, tensor.name)],
            outputs=[name],
            name=node.name if i == 0 else fresh(node.name),
            shapes=[shape],
            dtypes=[dtype or _type(tensor)],
        )


def _turned(
    ctx: Any, builder: Builder, outputs: Sequence[Tensor], renamed: dict[str, str]
) -> str | None:
    """Gives the output's name to what the last Transpose reads; returns what that is called now."""
    makers = {name: made for made in builder.nodes for name in made.outputs}
    last = makers.get(outputs[0].name)
    if len(outputs) != 1 or last is None or last.op_type != "Transpose":
        return None
    name, inner = renamed[outputs[0].name], makers.get(last.inputs[0])
    if inner is None or inner.op_type not in LAYOUT_OPS or name in ctx.outputs:
        return None
    if ctx.contained_graphs or sum(last.inputs[0] in made.inputs for made in builder.nodes) != 1:
        return None
    renamed[last.inputs[0]] = name
    renamed[outputs[0].name] = fresh(name)
    return renamed[outputs[0].name]


def _name_before(ctx: Any, turned: str, result: tuple[str, Any, Any, Tensor]) -> None:
    """Has all that read a tensor read it transposed back."""
    name, dtype, shape, tensor = result
    transpose = ctx.get_node_by_output(turned)
    readers = [n for n in ctx.find_output_consumers(name) if n is not transpose]
    ctx.replace_all_inputs(name, turned, ops=readers)
    for own in (name, turned):
        ctx.set_dtype(own, dtype or _type(tensor))
    ctx.set_shape(turned, shape)


def tensor_of(ctx: Any, name: str, declared: DType | None = None) -> Tensor:
    """A tensor of tf2onnx's graph, as handlers see it; ``declared`` is TensorFlow's own type."""
    from tf2onnx import utils

    maker = ctx.get_node_by_output(name)
    value: Array | None = None
    if maker is not None and maker.is_const():
        value = np.asarray(maker.get_tensor_value(as_list=False))
        if value.dtype == object:
            value = np.array(
                [v.encode() if isinstance(v, str) else v for v in value.ravel()], object
            ).reshape(value.shape)
    shape = shape_of(ctx.get_shape(name)) if value is None else tuple(value.shape)
    number = ctx.get_dtype(name)
    if isinstance(number, utils.SeqType):
        return Tensor(name, dtype_of(number.dtype), sequence=True)
    return Tensor(name, dtype_in(ctx, name, declared), shape, value)


def recorded(graph: Any, new_builder: Callable[[], Builder]) -> Body:
    """A graph of tf2onnx as a builder would have recorded it."""
    builder = new_builder()
    for node in graph.get_nodes():
        if node.is_graph_input():
            continue
        if node.is_const():
            value = tensor_of(graph, node.output[0]).value
            if value is not None:
                builder.constants[node.output[0]] = value
            continue
        bodies = {k: recorded(v, new_builder) for k, v in (node.get_body_graphs() or {}).items()}
        attributes = {k: v for k, v in node.attr.items() if k not in bodies}
        builder.nodes.append(
            Emitted(
                node.type,
                node.domain,
                tuple(node.input),
                tuple(node.output),
                {**attributes, **bodies},
                node.name,
            )
        )
        shapes = {name: shape_of(graph.get_shape(name)) for name in node.output}
        builder.shapes.update((n, shape) for n, shape in shapes.items() if shape is not None)
    inputs = tuple(tensor_of(graph, name) for name in graph.input_names)
    return Body(builder, inputs, tuple(tensor_of(graph, name) for name in graph.outputs))


def dtype_in(ctx: Any, name: str, declared: DType | None) -> DType:
    """The type of a tensor, as far as tf2onnx knows it."""
    number = ctx.get_dtype(name)
    if not isinstance(number, int):
        return declared or DType.VARIANT
    if declared is not None and (
        not number or declared.label.startswith("q") or declared in {DType.RESOURCE, DType.VARIANT}
    ):
        return declared
    return dtype_of(number) if number else DType.VARIANT


def shape_of(sizes: Any) -> Shape | None:
    """A shape as tf2onnx holds it."""
    if sizes is None:
        return None
    return tuple(None if size == _UNKNOWN else int(size) for size in sizes)


def fresh(base: str) -> str:
    """A new name."""
    from tf2onnx import utils

    return str(utils.make_name(base))


def _place(ctx: Any, builder: Builder, renamed: Mapping[str, str]) -> None:
    """Makes the recorded nodes those of tf2onnx's graph, with other names for some values."""
    for name, array in builder.constants.items():
        ctx.make_node(
            "Const",
            [],
            outputs=[name],
            name=name,
            attr={"value": _proto(name, array)},
            shapes=[list(array.shape)],
            dtypes=[_proto(name, array).data_type],
        )
    for node in builder.nodes:
        bodies = {
            k: _graph(ctx, v, renamed) for k, v in node.attributes.items() if isinstance(v, Body)
        }
        ctx.make_node(
            node.op_type,
            [renamed.get(name, name) for name in node.inputs],
            outputs=[renamed.get(name, name) for name in node.outputs],
            attr={k: v for k, v in node.attributes.items() if not isinstance(v, Body)},
            domain=node.domain,
            name=node.name or renamed.get(node.outputs[0], node.outputs[0]).removesuffix(":0"),
            branches=bodies,
            infer_shape_dtype=False,
        )
        for name in node.outputs:
            if name in builder.shapes:
                known = [_size(d) for d in builder.shapes[name]]
                ctx.set_shape(renamed.get(name, name), known)


def _proto(name: str, array: Array) -> onnx.TensorProto:
    if array.dtype != object:
        return numpy_helper.from_array(array, name)
    return onnx.helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, array.ravel())


def _graph(ctx: Any, body: Body, renamed: Mapping[str, str]) -> Any:
    graph = ctx.create_new_graph_with_same_config()
    graph.parent_graph = ctx
    for tensor in body.inputs:
        sizes = None if tensor.shape is None else [_size(d) for d in tensor.shape]
        graph.add_graph_input(tensor.name, _type(tensor), sizes)
    _place(graph, body.builder, renamed)
    for tensor in body.outputs:
        # Not add_graph_output, which wants to know the shape.
        graph.outputs.append(tensor.name)
        graph.set_dtype(tensor.name, _type(tensor))
    return graph


def _type(tensor: Tensor) -> Any:
    """The type of a tensor or sequence, as tf2onnx writes it."""
    from tf2onnx import utils

    number = ONNX_TYPES[tensor.dtype]
    return utils.SeqType(number) if tensor.sequence else number


def _merged(sizes: list[int] | None, shape: Shape | None) -> list[int] | None:
    """What is known of a shape from either side."""
    if shape is None or (sizes is not None and len(sizes) != len(shape)):
        return sizes
    known = [_size(d) for d in shape]
    return known if sizes is None else [max(pair) for pair in zip(sizes, known, strict=True)]


def _size(dimension: int | str | None) -> int:
    return dimension if isinstance(dimension, int) else _UNKNOWN
