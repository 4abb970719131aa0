"""XLA's own loops and branches, and the functions that its ops combine elements with.

A loop or branch becomes TensorFlow's. The function of a reduction, a scatter or a sort takes and
gives scalars (tensorflow/compiler/tf2xla/ops/xla_ops.cc); the op is marked with it as a whole, for
a handler to write it for many elements at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from smconvert.graph.protos import function_pb2, node_def_pb2
from smconvert_onnx.flow.program import Region, as_function

COMPUTATIONS: Mapping[str, tuple[str, ...]] = {
    "XlaReduce": ("reducer",),
    "XlaVariadicReduce": ("reducer",),
    "XlaVariadicReduceV2": ("reducer",),
    "XlaReduceWindow": ("computation",),
    "XlaScatter": ("update_computation",),
    "XlaSelectAndScatter": ("select", "scatter"),
    "XlaVariadicSort": ("comparator",),
}
"""The attributes of ops that name functions of scalars."""

_LOOPS = {"XlaWhile": "StatelessWhile", "XlaIf": "StatelessIf"}
_MARK = "_smconvert_"


def plain_loops(region: Region) -> None:
    """Puts TensorFlow's own ops in the place of XLA's loops and branches."""
    for node in region.nodes.values():
        node.op = _LOOPS.get(node.op, node.op)


def mark(node: node_def_pb2.NodeDef, key: str, function: Region) -> None:
    """Gives an op its function of scalars."""
    for name in function.inputs:
        # What was inferred for one caller is of no use to a handler.
        function.nodes[name].attr["shape"].shape.unknown_rank = True
    made = as_function(node.attr[key].func.name, function)
    node.attr[_MARK + key].s = made.SerializeToString()


def marked(node: node_def_pb2.NodeDef, key: str) -> function_pb2.FunctionDef:
    """The function of scalars that an op was given.

    Raises:
        KeyError: it was given none.
    """
    if _MARK + key not in node.attr:
        raise KeyError(key)
    return function_pb2.FunctionDef.FromString(node.attr[_MARK + key].s)
