"""Our handlers in the place where tf2onnx looks for its own. Tested with tf2onnx 1.17.

Two of its functions are replaced for a while: the one that makes the table from op to handler, and
the one that reads the attributes of a TensorFlow node, of which it drops some that handlers need;
the whole NodeDef travels along as one more attribute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from smconvert.errors import SmconvertError
from smconvert.graph.ops import input_args
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.tf_internals import registered_op
from smconvert.model import Array, DType, Shape
from smconvert_onnx.handlers import handlers
from smconvert_onnx.handlers.builder import (
    ONNX_TYPES,
    Body,
    Builder,
    Handler,
    Op,
    Result,
    Tensor,
    dtype_of,
)

NODE = "smconvert_node"
_UNKNOWN = -1


@contextlib.contextmanager
def own_handlers(opset: int, *, extensions: bool) -> Iterator[None]:
    """Has tf2onnx call our handlers; they write for ``opset``, which may be newer than its own."""
    from tf2onnx import tf_utils
    from tf2onnx.handler import tf_op

    create, read = tf_op.create_mapping, tf_utils.read_tf_node_attrs
    own = handlers()

    def create_mapping(*args: Any) -> dict[str, Any]:
        mapping = dict(create(*args))
        for name, handler in own.items():
            theirs = mapping.get(name)
            mapping[name] = (partial(_emit, handler, theirs, opset, extensions), {})
        tf_op._MAPPING = mapping
        return mapping

    def read_tf_node_attrs(node: Any) -> Any:
        attributes, counts = read(node)
        if node.type in own:
            attributes[NODE] = node.node_def.SerializeToString()
        return attributes, counts

    tf_op.create_mapping = staticmethod(create_mapping)
    tf_utils.read_tf_node_attrs = read_tf_node_attrs
    try:
        yield
    finally:
        tf_op.create_mapping = staticmethod(create)
        tf_utils.read_tf_node_attrs = read


def _emit(
    handler: Handler, theirs: Any, opset: int, extensions: bool, ctx: Any, node: Any, **given: Any
) -> None:
    """What tf2onnx calls: ``ctx`` is its graph."""
    if node.get_attr(NODE) is None:
        # tf2onnx made this node itself, as it is in the habit of.
        function, options = theirs
        function(ctx, node, **options, **given)
        return
    op = _op(ctx, node)
    builder = Builder(opset, _fresh, extensions=extensions)
    try:
        made = handler.emit(builder, op, *op.inputs)
    except SmconvertError:
        raise
    except Exception as error:
        raise SmconvertError(
            f"smconvert's own handler of {op.type} failed: {type(error).__name__}: {error}",
            where=f"node {op.node.name}",
        ) from error
    outputs = (made,) if isinstance(made, Tensor) else tuple(made)
    names, types, shapes = list(node.output), node.output_dtypes, node.output_shapes
    ctx.remove_node(node.name)
    _place(ctx, builder)
    for i, (name, tensor) in enumerate(zip(names, outputs, strict=True)):
        ctx.make_node(
            "Identity",
            [tensor.name],
            outputs=[name],
            name=node.name if i == 0 else _fresh(node.name),
            shapes=[shapes[i]],
            dtypes=[types[i] or ONNX_TYPES[tensor.dtype]],
        )


def _op(ctx: Any, node: Any) -> Op:
    proto = node_def_pb2.NodeDef.FromString(node.get_attr_value(NODE))
    definition = registered_op(proto.op)
    if definition is None:
        raise KeyError(proto.op)
    declared = [
        DType.from_number(arg.type or proto.attr[arg.type_attr].type or proto.attr["T"].type)
        if not arg.type_list_attr
        else None
        for arg in input_args(proto, definition)
    ]
    inputs = tuple(
        _tensor(ctx, name, declared[i] if i < len(declared) else None)
        for i, name in enumerate(node.input)
    )
    outputs = tuple(
        Result(_dtype(ctx, name, None), _shape(ctx.get_shape(name))) for name in node.output
    )
    return Op(proto, definition, inputs, outputs)


def _tensor(ctx: Any, name: str, declared: DType | None) -> Tensor:
    maker = ctx.get_node_by_output(name)
    value: Array | None = None
    if maker is not None and maker.is_const():
        value = np.asarray(maker.get_tensor_value(as_list=False))
        if value.dtype == object:
            value = np.array(
                [v.encode() if isinstance(v, str) else v for v in value.ravel()], object
            ).reshape(value.shape)
    shape = _shape(ctx.get_shape(name)) if value is None else tuple(value.shape)
    return Tensor(name, _dtype(ctx, name, declared), shape, value)


def _dtype(ctx: Any, name: str, declared: DType | None) -> DType:
    number = ctx.get_dtype(name)
    if declared is not None and (
        not number or declared.label.startswith("q") or declared in {DType.RESOURCE, DType.VARIANT}
    ):
        return declared
    return dtype_of(number) if number else DType.VARIANT


def _shape(sizes: Any) -> Shape | None:
    if sizes is None:
        return None
    return tuple(None if size == _UNKNOWN else int(size) for size in sizes)


def _fresh(base: str) -> str:
    from tf2onnx import utils

    return str(utils.make_name(base))


def _place(ctx: Any, builder: Builder) -> None:
    """Makes the recorded nodes those of tf2onnx's graph."""
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
        bodies = {k: _graph(ctx, v) for k, v in node.attributes.items() if isinstance(v, Body)}
        ctx.make_node(
            node.op_type,
            list(node.inputs),
            outputs=list(node.outputs),
            attr={k: v for k, v in node.attributes.items() if not isinstance(v, Body)},
            domain=node.domain,
            branches=bodies,
            infer_shape_dtype=False,
        )


def _proto(name: str, array: Array) -> onnx.TensorProto:
    if array.dtype != object:
        return numpy_helper.from_array(array, name)
    return onnx.helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, array.ravel())


def _graph(ctx: Any, body: Body) -> Any:
    graph = ctx.create_new_graph_with_same_config()
    graph.parent_graph = ctx
    for tensor in body.inputs:
        sizes = None if tensor.shape is None else [_size(d) for d in tensor.shape]
        graph.add_graph_input(tensor.name, ONNX_TYPES[tensor.dtype], sizes)
    _place(graph, body.builder)
    for tensor in body.outputs:
        # Not add_graph_output, which wants to know the shape.
        graph.outputs.append(tensor.name)
        graph.set_dtype(tensor.name, ONNX_TYPES[tensor.dtype])
    return graph


def _size(dimension: int | str | None) -> int:
    return dimension if isinstance(dimension, int) else _UNKNOWN
