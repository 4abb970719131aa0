"""The element type of every value in a model, subgraphs included, by the schemas of its ops.

ONNX's own inference keeps what it finds within subgraphs to itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
from onnx import TensorProto, defs

from smconvert_onnx.walk import subgraphs

_TYPES: Mapping[str, int] = {
    f"tensor({name})": number
    for name, number in (
        ("float", TensorProto.FLOAT),
        ("uint8", TensorProto.UINT8),
        ("int8", TensorProto.INT8),
        ("uint16", TensorProto.UINT16),
        ("int16", TensorProto.INT16),
        ("int32", TensorProto.INT32),
        ("int64", TensorProto.INT64),
        ("string", TensorProto.STRING),
        ("bool", TensorProto.BOOL),
        ("float16", TensorProto.FLOAT16),
        ("double", TensorProto.DOUBLE),
        ("uint32", TensorProto.UINT32),
        ("uint64", TensorProto.UINT64),
        ("bfloat16", TensorProto.BFLOAT16),
    )
}
_LABELS = {
    "values_strings": TensorProto.STRING,
    "values_int64s": TensorProto.INT64,
    "values_floats": TensorProto.FLOAT,
}
"""What a LabelEncoder gives, by the attribute that holds it."""


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Value to ``onnx.TensorProto.DataType``; a value is left out where nothing tells.

    Names are taken to be unique over all subgraphs.
    """
    known: dict[str, int] = {}
    _walk(model.graph, {o.domain: o.version for o in model.opset_import}, known)
    return known


def formal(schema: defs.OpSchema, position: int, *, output: bool = False) -> str:
    """The type constraint of an input or output; the last formal one may stand for several."""
    parameters = schema.outputs if output else schema.inputs
    return str(parameters[min(position, len(parameters) - 1)].type_str)


def _walk(graph: onnx.GraphProto, versions: Mapping[str, int], known: dict[str, int]) -> None:
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type:
            known[value.name] = value.type.tensor_type.elem_type
    known.update((tensor.name, tensor.data_type) for tensor in graph.initializer)
    for node in graph.node:
        for inner in subgraphs(node):
            for value, number in zip(inner.input, _entering(node, known), strict=False):
                known.setdefault(value.name, number)
            _walk(inner, versions, known)
        for name, number in zip(node.output, _given(node, versions, known), strict=False):
            if name and number:
                known[name] = number


def _entering(node: onnx.NodeProto, known: Mapping[str, int]) -> list[int]:
    """The types of a body's inputs, 0 where unknown."""
    if node.op_type == "Loop":
        state = [known.get(name, 0) for name in node.input[2:]]
        return [TensorProto.INT64, TensorProto.BOOL, *state]
    return [known.get(name, 0) for name in node.input]


def _given(
    node: onnx.NodeProto, versions: Mapping[str, int], known: Mapping[str, int]
) -> Sequence[int]:
    """The types of a node's outputs, 0 where unknown."""
    bodies = list(subgraphs(node))
    if bodies:
        made = [known.get(value.name, 0) for value in bodies[0].output]
        return made[1:] if node.op_type == "Loop" else made
    attributes = {a.name: a for a in node.attribute}
    if node.op_type == "LabelEncoder":
        return [next((t for name, t in _LABELS.items() if name in attributes), 0)]
    if node.op_type in {"Constant", "ConstantOfShape"}:
        held = attributes.get("value")
        return [held.t.data_type if held is not None else TensorProto.FLOAT]
    try:
        schema = defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain)
    except defs.SchemaError:
        return []
    named = [a.i for name, a in attributes.items() if name in {"to", "dtype", "output_dtype"}]
    bound = {formal(schema, i): known.get(name, 0) for i, name in enumerate(node.input) if name}
    return [_output(schema, i, bound, named) if name else 0 for i, name in enumerate(node.output)]


def _output(
    schema: defs.OpSchema, position: int, bound: Mapping[str, int], named: Sequence[int]
) -> int:
    constraint = formal(schema, position, output=True)
    if constraint in bound:
        return bound[constraint]
    if constraint in _TYPES:
        return _TYPES[constraint]
    if named:
        return named[0]
    allowed = list(_allowed(schema, constraint))
    return allowed[0] if len(allowed) == 1 else 0


def _allowed(schema: defs.OpSchema, constraint: str) -> Iterator[int]:
    for found in schema.type_constraints:
        if found.type_param_str == constraint:
            yield from (_TYPES.get(text, 0) for text in found.allowed_type_strs)
