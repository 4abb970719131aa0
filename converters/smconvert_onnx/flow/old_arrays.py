"""TensorArrays of before TensorFlow 1.0 as those of today.

Their handle is a text or, older still, a reference to one, and no flow comes with it: the first
write takes a constant (tensorflow/python/ops/tensor_array_ops.py of version 0.12). Besides, an
array is packed and unpacked as a whole, where a Gather and a Scatter now name all places
(tensor_array_ops.cc).
"""

from __future__ import annotations

from smconvert.errors import ConversionError
from smconvert.graph.names import full, is_control, node_of
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.references import PASSES
from smconvert.model import DType
from smconvert_onnx.flow.arrays import FLOWING, WRITES, owner, reached
from smconvert_onnx.flow.program import Region, constant

_WHOLE = {"Pack": "Gather", "Unpack": "Scatter"}


def renew_arrays(region: Region) -> None:
    """Puts the third version in the place of the first and second.

    Raises:
        ConversionError: a handle is used other than as one, one flow orders two arrays, or an array
            holds the gradient of another.
    """
    for node in region.nodes.values():
        if node.op.startswith("TensorArrayGrad"):
            raise ConversionError(
                f"an array holds the gradient of another ({node.op})",
                where=f"node {node.name}",
                hint="choose --outputs that need no gradient through a loop",
            )
    arrays = {n for n, node in region.nodes.items() if node.op in {"TensorArray", "TensorArrayV2"}}
    if not arrays:
        return
    handles = reached(region, {f"{name}:0" for name in arrays})
    operations = []
    for node in list(region.nodes.values()):
        if not any(full(i) in handles for i in node.input if not is_control(i)):
            continue
        if node.op in FLOWING:
            node.op = PASSES.get(node.op, node.op)
            node.attr["T"].type = DType.RESOURCE.number
            node.attr.pop("_output_shapes", None)
        elif node.op.startswith("TensorArray"):
            _renew(region, node)
            operations.append(node)
        else:
            raise ConversionError(
                "the handle of a TensorArray is read as a text", where=f"node {node.name}"
            )
    for name in arrays:
        region.nodes[name].op = "TensorArrayV3"
        region.nodes[name].attr.pop("_output_shapes", None)
    _start_flows(region, operations)


def _renew(region: Region, node: node_def_pb2.NodeDef) -> None:
    """Makes an operation on an array that of the third version."""
    operation = node.op.removeprefix("TensorArray").removesuffix("V2")
    if operation in _WHOLE:
        data = [i for i in node.input if not is_control(i)]
        after = [i for i in node.input if is_control(i)]
        indices = _all_places(region, node.name, data[0], data[-1])
        del node.input[:]
        node.input.extend([data[0], indices, *data[1:], *after])
        operation = _WHOLE[operation]
    node.op = f"TensorArray{operation}V3"


def _all_places(region: Region, name: str, handle: str, flow: str) -> str:
    """The indices of all elements, as ``TensorArray.stack`` now writes them."""
    size = region.add("TensorArraySizeV3", f"{name}/size", [handle, flow])
    bounds = [constant(region, f"{name}/{n}", v, DType.INT32) for n, v in (("start", 0), ("by", 1))]
    places = region.add("Range", f"{name}/indices", [bounds[0], size.name, bounds[1]])
    places.attr["Tidx"].type = DType.INT32.number
    return places.name


def _start_flows(region: Region, operations: list[node_def_pb2.NodeDef]) -> None:
    """Has what the first operations on each array take for its flow come from the array."""
    sizes = [n for n in region.nodes.values() if n.op == "TensorArraySizeV3"]
    known = {n.name: n for n in (*operations, *sizes)}
    started: dict[tuple[str, int], str] = {}
    for node in known.values():
        data = [i for i in node.input if not is_control(i)]
        if len(data) < 2:
            continue
        array = node_of(owner(region, data[0]))
        for edge in _first(region, (node.name, len(data) - 1)):
            if started.setdefault(edge, array) != array:
                raise ConversionError(
                    "one flow orders what is done to two TensorArrays", where=f"node {edge[0]}"
                )
    for (name, position), array in started.items():
        region.nodes[name].input[position] = f"{array}:1"


def _first(region: Region, flow: tuple[str, int]) -> list[tuple[str, int]]:
    """Where a flow, an input of a node, comes from no operation: nodes, and which input."""
    found, waiting, seen = [], [flow], {flow}
    while waiting:
        name, position = edge = waiting.pop()
        node = region.nodes[node_of(region.nodes[name].input[position])]
        if node.op in FLOWING:
            count = 1 if node.op == "Switch" else len(node.input)
            before = {(node.name, i) for i in range(count) if not is_control(node.input[i])}
            waiting += before - seen
            seen |= before
        elif not node.op.startswith(WRITES):
            found.append(edge)
    return found
