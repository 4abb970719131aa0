"""Casts around nodes for whose types ONNX Runtime's CPU provider has no kernel.

Each type is cast to a wider one that holds all its values, and the result back to the type that it
had. For integers that is exact for every op of the standard, for it keeps their low bits; for
float16 and bfloat16 it is what TensorFlow's own kernels do (Eigen computes both in float32).

1. The types of all values are those that the schemas give (``types.py``).
2. A node whose types all have kernels stays as it is (``kernels.json``, see ``kernels.py``).
3. Of the wider types, the first that has a kernel is taken.
4. Where there is none, the model is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto, defs

from smconvert.errors import ConversionError
from smconvert_onnx.kernels import kernels
from smconvert_onnx.types import element_types, formal
from smconvert_onnx.walk import every_graph

_WIDER: Mapping[int, tuple[int, ...]] = {
    TensorProto.BOOL: (TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT),
    TensorProto.INT8: (
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
    ),
    TensorProto.UINT8: (
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
    ),
    TensorProto.INT16: (
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
    ),
    TensorProto.UINT16: (
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
    ),
    TensorProto.INT32: (TensorProto.INT64, TensorProto.DOUBLE),
    TensorProto.UINT32: (TensorProto.INT64, TensorProto.DOUBLE),
    TensorProto.FLOAT16: (TensorProto.FLOAT,),
    TensorProto.BFLOAT16: (TensorProto.FLOAT,),
}
_MODULAR: Mapping[int, tuple[int, ...]] = {TensorProto.UINT64: (TensorProto.INT64,)}
"""Wider only for ops that see the bits of a number, and not its order."""

_SEES_BITS = frozenset(
    {
        "Add",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Concat",
        "CumSum",
        "Equal",
        "Expand",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "MatMul",
        "Mul",
        "Neg",
        "Pad",
        "ReduceSum",
        "Reshape",
        "ReverseSequence",
        "ScatterElements",
        "ScatterND",
        "Slice",
        "Split",
        "Squeeze",
        "Sub",
        "Sum",
        "Tile",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Where",
    }
)


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with casts where they are needed; changed in place.

    Raises:
        ConversionError: no type is wide enough and has a kernel.
    """
    versions = {o.domain: o.version for o in model.opset_import}
    known = element_types(model)
    # The innermost first: what a graph's nodes hold is copied with them.
    for graph in reversed(list(every_graph(model.graph))):
        nodes = []
        for node in graph.node:
            casts = {} if node.domain else _needed(node, versions[""], known)
            if not casts:
                nodes.append(node)
            else:
                nodes += _around(node, versions[""], casts, known)
        if len(nodes) != len(graph.node):
            copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
            del graph.node[:]
            graph.node.extend(copies)
    return model


def _needed(node: onnx.NodeProto, opset: int, known: Mapping[str, int]) -> dict[str, int]:
    """Type constraint to the wider type, for those of the node that have no kernel."""
    try:
        schema = defs.get_schema(node.op_type, opset)
    except defs.SchemaError:
        return {}
    table = kernels().get(f"{node.op_type}-{schema.since_version}")
    if table is None:
        return {}
    needed: dict[str, int] = {}
    for i, name in enumerate(node.input):
        constraint, number = formal(schema, i), known.get(name)
        if not name or constraint not in table or number is None or number in table[constraint]:
            continue
        wider = _WIDER.get(number, ())
        if node.op_type in _SEES_BITS:
            wider += _MODULAR.get(number, ())
        fitting = next((w for w in wider if w in table[constraint]), None)
        if fitting is None:
            label = TensorProto.DataType.Name(number).lower()
            raise ConversionError(
                f"ONNX Runtime has no kernel of {node.op_type} for {label}, and none for a wider "
                "type",
                where=f"node {node.name}",
                hint="convert to a SavedModel or a frozen graph, which keep the type",
            )
        needed[constraint] = fitting
    return needed


def _around(
    node: onnx.NodeProto, opset: int, casts: Mapping[str, int], known: Mapping[str, int]
) -> Iterator[onnx.NodeProto]:
    """The node between casts."""
    schema = defs.get_schema(node.op_type, opset)
    for i, name in enumerate(node.input):
        constraint = formal(schema, i)
        if name and constraint in casts and known.get(name) != casts[constraint]:
            wide = f"{node.name}/{node.output[0]}/wide_{i}"
            yield onnx.helper.make_node(
                "Cast", [name], [wide], name=f"{node.name}/widen_{i}", to=casts[constraint]
            )
            node.input[i] = wide
    narrow = []
    for i, name in enumerate(node.output):
        constraint = formal(schema, i, output=True)
        if name and constraint in casts:
            narrow.append((i, name, known[name]))
            node.output[i] = f"{node.name}/{name}/wide"
    yield node
    for i, name, number in narrow:
        yield onnx.helper.make_node(
            "Cast", [node.output[i]], [name], name=f"{node.name}/narrow_{i}", to=number
        )
