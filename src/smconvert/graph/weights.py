"""Values that a graph has only placeholders for.

A weight of a gigabyte costs its size again in every copy of the graph, and a graph cannot hold
more than 2 GB. What is not in the graph is written once, from where it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smconvert.graph.constants import constant
from smconvert.graph.cut import placeholder
from smconvert.graph.names import is_control, node_of
from smconvert.graph.protos import attr_value_pb2, graph_pb2, node_def_pb2
from smconvert.graph.tensors import array_of
from smconvert.model import Array, DType

_GATHERS = {"ResourceGather": "GatherV2", "ResourceGatherNd": "GatherNd"}


@dataclass(frozen=True)
class Weight:
    """A value that is kept out of a graph.

    Attributes:
        node: The placeholder that stands for it in the graph.
        dtype: Element type; never string.
        shape: All dimensions.
        value: Gives the array, of ``dtype`` and ``shape``; the array is not kept.
    """

    node: str
    dtype: DType
    shape: tuple[int, ...]
    value: Callable[[], Array]

    def constant(self) -> node_def_pb2.NodeDef:
        """The Const node that holds it."""
        return constant(self.node, self.value(), self.dtype)

    @property
    def bytes(self) -> int:
        """Size of the value."""
        return int(np.prod(self.shape, dtype=np.int64)) * int(np.dtype(self.dtype.numpy).itemsize)


def values_for_handles(
    graph: graph_pb2.GraphDef, handles: Mapping[str, Any]
) -> graph_pb2.GraphDef | None:
    """The graph with placeholders for the variables' values instead of for their handles.

    Args:
        graph: One that only reads its variables.
        handles: Name of the placeholder to the variable.

    Returns:
        None if something else than a read takes a handle: a loop or a function.
    """
    nodes = {node.name: node for node in graph.node}
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.name in handles:
            weight = weight_of(node.name, handles[node.name])
            result.node.append(placeholder(node.name, weight.dtype, weight.shape))
            continue
        variables = [_variable(tensor, nodes, handles) for tensor in node.input]
        taken = [variable for variable in variables if variable is not None]
        copy = result.node.add()
        copy.CopyFrom(node)
        if not taken:
            continue
        if node.op == "Identity":
            copy.attr["T"].type = taken[0].dtype.as_datatype_enum
        elif node.op == "ReadVariableOp":
            _become(copy, "Identity", {"T": node.attr["dtype"]})
        elif node.op in _GATHERS and node.attr["batch_dims"].i == 0:
            types = {"Tparams": node.attr["dtype"], "Tindices": node.attr["Tindices"]}
            _become(copy, _GATHERS[node.op], types)
            if copy.op == "GatherV2":
                copy.attr["Taxis"].type = DType.INT32.number
                axis = constant(f"{node.name}/axis", np.zeros((), np.int32), DType.INT32)
                result.node.append(axis)
                copy.input.insert(2, axis.name)
        else:
            return None
    return result


def _variable(
    tensor: str, nodes: Mapping[str, node_def_pb2.NodeDef], handles: Mapping[str, Any]
) -> Any:
    """The variable whose handle ``tensor`` is, or None."""
    if is_control(tensor):
        return None
    name = node_of(tensor)
    while name not in handles and nodes[name].op == "Identity":
        name = node_of(nodes[name].input[0])
    return handles.get(name)


def _become(
    node: node_def_pb2.NodeDef, op: str, attributes: Mapping[str, attr_value_pb2.AttrValue]
) -> None:
    node.op = op
    node.attr.clear()
    for key, value in attributes.items():
        node.attr[key].CopyFrom(value)


def weight_of(node: str, variable: Any) -> Weight:
    """The weight that a ``tf.Variable`` is."""
    known = variable.shape if variable.shape.is_fully_defined() else variable.value().shape
    shape = tuple(known.as_list())
    return Weight(node, DType.from_label(variable.dtype.name), shape, variable.numpy)


def kept_out(
    graph: graph_pb2.GraphDef, weights: Sequence[Weight], least: int
) -> tuple[graph_pb2.GraphDef, list[Weight]]:
    """Takes large constants out of a graph, and puts small weights into it.

    Args:
        graph: Its functions stay as they are.
        weights: What is out of it already.
        least: From so many bytes on a value is out.
    """
    given = {weight.node: weight for weight in weights}
    kept = []
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        weight = given.get(node.name) or _constant_weight(node)
        small = weight is not None and (weight.bytes < least or weight.dtype is DType.STRING)
        if weight is None or (small and node.op == "Const"):
            result.node.add().CopyFrom(node)
        elif small:
            result.node.append(weight.constant())
        else:
            kept.append(weight)
            result.node.append(placeholder(node.name, weight.dtype, weight.shape))
            result.node[-1].input.extend(node.input)
    return result, kept


def _constant_weight(node: node_def_pb2.NodeDef) -> Weight | None:
    """A Const whose proto holds all bytes of its value."""
    if node.op != "Const" or not node.attr["value"].tensor.tensor_content:
        return None
    tensor = node.attr["value"].tensor
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    return Weight(node.name, DType.from_number(tensor.dtype), shape, lambda: array_of(tensor))
