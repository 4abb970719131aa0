"""Our handlers in the place where tf2onnx looks for its own. Tested with tf2onnx 1.17.

Some of its functions are replaced for a while: the one that makes the table from op to handler, and
the one that reads the attributes of a TensorFlow node, of which it drops some that handlers need;
the whole NodeDef travels along as one more attribute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from smconvert.errors import SmconvertError
from smconvert.graph.ops import input_args
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.tf_internals import registered_op
from smconvert.model import DType
from smconvert_onnx.handlers import handlers
from smconvert_onnx.handlers.builder import Body, Builder, Handler, Op, Result, Table, Tensor
from smconvert_onnx.placing import dtype_in, fresh, put, recorded, shape_of, tensor_of

NODE = "smconvert_node"

_IN_THE_WAY = (
    "rewrite_quantize_and_dequantize",
    "rewrite_random_normal",
    "rewrite_random_uniform",
    "rewrite_random_uniform_fold_const",
)
"""Passes of tf2onnx that write, less exactly, what our handlers are for."""


@contextlib.contextmanager
def own_handlers(opset: int, *, extensions: bool, tables: Mapping[bytes, Table]) -> Iterator[None]:
    """Has tf2onnx call our handlers.

    Args:
        opset: What they write for; it may be newer than tf2onnx's own.
        extensions: Whether ops of onnxruntime-extensions may be written.
        tables: Shared name of a HashTableV2 to what it holds.
    """
    from tf2onnx import tf_utils, tfonnx
    from tf2onnx.handler import tf_op

    passes = {name: getattr(tfonnx, name) for name in _IN_THE_WAY}
    create, read = tf_op.create_mapping, tf_utils.read_tf_node_attrs
    own = handlers()
    builder = partial(Builder, opset, fresh, extensions=extensions)

    def create_mapping(*args: Any) -> dict[str, Any]:
        mapping = dict(create(*args))
        for name, handler in own.items():
            theirs = mapping.get(name)
            mapping[name] = (partial(_emit, handler, theirs, builder, tables), {})
        tf_op._MAPPING = mapping
        return mapping

    def read_tf_node_attrs(node: Any) -> Any:
        attributes, counts = read(node)
        if node.type in own:
            # It cannot hold the name of a function where it does not know that there is one.
            attributes = {k: v for k, v in attributes.items() if not hasattr(v, "name")}
            attributes[NODE] = node.node_def.SerializeToString()
        return attributes, counts

    tf_op.create_mapping = staticmethod(create_mapping)
    tf_utils.read_tf_node_attrs = read_tf_node_attrs
    for name in passes:
        setattr(tfonnx, name, lambda _graph, nodes: nodes)
    try:
        yield
    finally:
        for name, original in passes.items():
            setattr(tfonnx, name, original)
        tf_op.create_mapping = staticmethod(create)
        tf_utils.read_tf_node_attrs = read


def _emit(
    handler: Handler,
    theirs: Any,
    new_builder: Callable[..., Builder],
    tables: Mapping[bytes, Table],
    ctx: Any,
    node: Any,
    **given: Any,
) -> None:
    """What tf2onnx calls: ``ctx`` is its graph."""
    if node.get_attr(NODE) is None:
        # tf2onnx made this node itself, as it is in the habit of.
        function, options = theirs
        function(ctx, node, **options, **given)
        return
    op = replace(_op(ctx, node, tables), functions=partial(_function, new_builder))
    builder = new_builder(scope=f"{node.name}/")
    try:
        made = handler.emit(builder, op, *op.inputs)
    except SmconvertError:
        raise
    except Exception as error:
        raise SmconvertError(
            f"smconvert's own handler of {op.type} failed: {type(error).__name__}: {error}",
            where=f"node {op.node.name}",
        ) from error
    put(ctx, node, builder, (made,) if isinstance(made, Tensor) else tuple(made))


def _op(ctx: Any, node: Any, tables: Mapping[bytes, Table]) -> Op:
    proto = node_def_pb2.NodeDef.FromString(node.get_attr_value(NODE))
    definition = registered_op(proto.op)
    if definition is None:
        raise KeyError(proto.op)
    _take_over_rewritten(proto, node.attr)
    declared = [
        DType.from_number(arg.type or proto.attr[arg.type_attr].type or proto.attr["T"].type)
        if not arg.type_list_attr
        else None
        for arg in input_args(proto, definition)
    ]
    inputs = tuple(
        tensor_of(ctx, name, declared[i] if i < len(declared) else None)
        for i, name in enumerate(node.input)
    )
    outputs = tuple(
        Result(dtype_in(ctx, name, None), shape_of(ctx.get_shape(name))) for name in node.output
    )
    handles = (t.name for t in inputs if t.dtype is DType.RESOURCE)
    named = {name: _table_name(ctx, name) for name in handles}
    held = {name: tables[shared] for name, shared in named.items() if shared in tables}
    return Op(proto, definition, inputs, outputs, held)


def _function(new_builder: Callable[[], Builder], name: str) -> Body:
    """A function that tf2onnx has converted."""
    from tf2onnx import tf_loader

    return recorded(tf_loader.find_function(name), new_builder)


def _take_over_rewritten(node: node_def_pb2.NodeDef, theirs: Mapping[str, Any]) -> None:
    """Writes the attributes that tf2onnx's rewriters change: they merge a Pad into a Conv2D."""
    for name, attribute in theirs.items():
        ours = node.attr.get(name)
        if attribute.ints and (ours is None or _may_hold_integers(ours)):
            node.attr[name].list.i[:] = attribute.ints
        elif attribute.s and ours is not None and ours.s:
            ours.s = attribute.s


def _may_hold_integers(ours: Any) -> bool:
    """Whether it is a list of integers, or an empty one."""
    return ours.WhichOneof("value") == "list" and bool(ours.list.i or not ours.list.ListFields())


def _table_name(ctx: Any, handle: str) -> bytes:
    """The shared name of the table that a handle refers to; empty where it is not known."""
    node = ctx.get_node_by_output(handle)
    while node is not None and node.type == "Identity":
        node = node.inputs[0]
    return node.get_attr_value("shared_name", b"") if node is not None else b""
