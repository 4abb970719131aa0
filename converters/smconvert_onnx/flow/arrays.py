"""TensorArrays as lists, which are values.

A TensorArray is a resource, with a number beside it, its *flow*, that orders what is done to it:
each write takes a flow and gives another. The flow becomes the list itself, and the resource goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from smconvert.graph.names import full, is_control, node_of, short
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.references import PASSES
from smconvert.graph.tensors import array_of, shape_of
from smconvert.model import DType, Shape
from smconvert_onnx.flow.program import Region, constant
from smconvert_onnx.flow.shapes import either, imported

FLOWING = frozenset({*PASSES, *PASSES.values()})
"""Ops that hand a tensor on."""

WRITES = ("TensorArrayWrite", "TensorArrayScatter", "TensorArraySplit")
_SWITCHES = frozenset({"Switch", "RefSwitch"})
_UNKNOWN = -1


def arrays_to_lists(region: Region) -> None:
    """Puts lists in the place of TensorArrays."""
    arrays = {n.name: n for n in region.nodes.values() if n.op == "TensorArrayV3"}
    if not arrays:
        return
    handles = reached(region, {f"{name}:0" for name in arrays})
    owners = {tensor: owner(region, tensor) for tensor in handles}
    used = {n.name for n in region.nodes.values() if any(full(i) in handles for i in n.input)}
    operations = [
        n
        for n in list(region.nodes.values())
        if n.name in used and n.op.startswith("TensorArray") and n.name not in arrays
    ]
    known = _element_shapes(region, arrays, operations)
    shapes = {n: shape_constant(region, f"{n}/element_shape", known.get(n)) for n in arrays}
    writes = [n for n in operations if n.op.startswith(WRITES)]
    flows = {f"{name}:1" for name in arrays} | {f"{n.name}:0" for n in writes}
    whole = {n.name: _is_whole(region, n, operations) for n in operations}
    for tensor in sorted(reached(region, flows)):
        node = region.nodes[node_of(tensor)]
        if node.op in FLOWING:
            node.attr["T"].type = DType.VARIANT.number
            node.attr.pop("_output_shapes", None)
    for node in operations:
        array = arrays[node_of(owners[full(node.input[0])])]
        _rewrite(region, node, array, shapes[array.name], whole=whole[node.name])
    for name, node in arrays.items():
        size = node.input[0]
        dtype = node.attr["dtype"].type
        node.Clear()
        node.name, node.op = name, "TensorListReserve"
        node.input.extend([short(shapes[name]), size])
        node.attr["element_dtype"].type = dtype
        node.attr["shape_type"].type = DType.INT32.number
    region.replace({f"{name}:1": f"{name}:0" for name in arrays})
    gone = {node_of(t) for t in handles} - set(arrays)
    for name in [
        n for n, node in region.nodes.items() if n in gone or node.op.startswith("TensorArrayClose")
    ]:
        del region.nodes[name]
    for node in region.nodes.values():
        read = [i for i in node.input if node_of(i) in region.nodes]
        if len(read) != len(node.input):
            del node.input[:]
            node.input.extend(read)


def reached(region: Region, tensors: set[str]) -> set[str]:
    """Tensors, and what nodes that only hand them on make of them."""
    found = set(tensors)
    consumers = region.consumers()
    waiting = list(tensors)
    while waiting:
        for name, position in consumers.get(waiting.pop(), ()):
            node = region.nodes[name]
            if node.op in FLOWING and not (node.op in _SWITCHES and position == 1):
                made = [f"{name}:0", f"{name}:1"] if node.op in _SWITCHES else [f"{name}:0"]
                waiting += [t for t in made if t not in found]
                found.update(made)
    return found


def owner(region: Region, handle: str) -> str:
    """The tensor that a handle is, from before it was handed on."""
    while (node := region.nodes[node_of(handle)]).op in FLOWING:
        handle = node.input[0]
    return full(handle)


def _element_shapes(
    region: Region,
    arrays: Mapping[str, node_def_pb2.NodeDef],
    operations: Sequence[node_def_pb2.NodeDef],
) -> Mapping[str, Shape | None]:
    """What is known of the shapes of each array's elements: what is said, or what is written."""
    shapes = imported(region.graph())
    found: dict[str, Shape | None] = {}
    for node in operations:
        name = node_of(owner(region, node.input[0]))
        if node.op.startswith(WRITES):
            at = 1 if node.op.startswith("TensorArraySplit") else 2
            shape = shapes[full(node.input[at])]
            if node.op.startswith("TensorArrayScatter"):
                shape = shape[1:] if shape else None
            elif at == 1:
                shape = (None, *shape[1:]) if shape else None
            found[name] = either(found[name], shape) if name in found else shape
    for name, array in arrays.items():
        declared = shape_of(array.attr["element_shape"].shape)
        if "element_shape" in array.attr and declared is not None:
            found[name] = declared
    return found


def shape_constant(region: Region, name: str, shape: Shape | None) -> str:
    """A constant that says a shape, -1 for what is not known."""
    sizes = [d if isinstance(d, int) else _UNKNOWN for d in shape or ()]
    return constant(region, name, _UNKNOWN if shape is None else sizes, DType.INT32)


def _is_read_only(
    region: Region,
    scatter: node_def_pb2.NodeDef,
    operations: Sequence[node_def_pb2.NodeDef],
) -> bool:
    """Whether elements are read of an array one by one, once it is filled at one go.

    Its size then does not matter: there is nothing to read but what was written.
    """
    array = owner(region, scatter.input[0])
    own = [n for n in operations if owner(region, n.input[0]) == array]
    reads = [n for n in own if n.op.startswith(("TensorArrayRead", "TensorArrayClose"))]
    return len(reads) + 1 == len(own)


def _is_whole(
    region: Region, node: node_def_pb2.NodeDef, operations: Sequence[node_def_pb2.NodeDef]
) -> bool:
    """Whether a Gather or Scatter is of all elements, in their order."""
    if not node.op.startswith(("TensorArrayGather", "TensorArrayScatter")):
        return False
    array = region.nodes[node_of(owner(region, node.input[0]))]
    indices = region.nodes[node_of(region.source(node.input[1]))]
    if indices.op == "Const":
        known = array_of(indices.attr["value"].tensor)
        size = _value(region, array.input[0])
        return size == len(known) and np.array_equal(known, np.arange(len(known)))
    if indices.op != "Range":
        return False
    start, limit, step = (_value(region, i) for i in indices.input)
    if start != 0 or step != 1:
        return False
    counted = region.nodes[node_of(region.source(indices.input[1]))]
    if counted.op.startswith("TensorArraySize"):
        return owner(region, counted.input[0]) == full(array.name)
    if array.attr["dynamic_size"].b:
        return False
    if node.op.startswith("TensorArrayScatter") and _is_read_only(region, node, operations):
        value = region.source(node.input[2])
        shape = region.nodes[node_of(region.source(counted.input[0]))] if counted.input else counted
        if counted.op == "StridedSlice" and shape.op == "Shape":
            first = [_vector(region, i) for i in counted.input[1:]] == [[0], [1], [1]]
            if first and region.source(shape.input[0]) == value:
                return True
    size = _value(region, array.input[0])
    same = _same(region, array.input[0], indices.input[1])
    return same or (size is not None and size == limit)


def _same(region: Region, one: str, other: str) -> bool:
    """Whether two tensors are computed alike."""
    one, other = region.source(one), region.source(other)
    if one == other:
        return True
    left, right = region.nodes[node_of(one)], region.nodes[node_of(other)]
    data = (
        [i for i in left.input if not is_control(i)],
        [i for i in right.input if not is_control(i)],
    )
    if left.op != right.op or len(data[0]) != len(data[1]) or left.op.startswith("Placeholder"):
        return False
    attributes = [
        {k: v.SerializeToString() for k, v in n.attr.items() if not k.startswith("_")}
        for n in (left, right)
    ]
    is_pure = left.op in {"Const", "Shape", "StridedSlice", "Slice", "GatherV2", "Gather", "Cast"}
    return (
        is_pure
        and attributes[0] == attributes[1]
        and one.rpartition(":")[2] == other.rpartition(":")[2]
        and all(_same(region, a, b) for a, b in zip(*data, strict=True))
    )


def _value(region: Region, tensor: str) -> int | None:
    node = region.nodes[node_of(region.source(tensor))]
    if node.op != "Const":
        return None
    value = array_of(node.attr["value"].tensor)
    return int(value) if value.ndim == 0 else None


def _asked(region: Region, gather: node_def_pb2.NodeDef, shape: str) -> str:
    """The shape of elements that a Gather says, or the array's where it says none."""
    asked = shape_of(gather.attr["element_shape"].shape)
    if "element_shape" not in gather.attr or asked is None:
        return shape
    return shape_constant(region, f"{gather.name}/element_shape", asked)


def _vector(region: Region, tensor: str) -> list[int] | None:
    node = region.nodes[node_of(region.source(tensor))]
    return array_of(node.attr["value"].tensor).ravel().tolist() if node.op == "Const" else None


def _rewrite(
    region: Region,
    node: node_def_pb2.NodeDef,
    array: node_def_pb2.NodeDef,
    shape: str,
    *,
    whole: bool,
) -> None:
    operation = node.op.removeprefix("TensorArray").removesuffix("V3")
    data = [i for i in node.input[1:] if not is_control(i)]
    after = [i for i in node.input if is_control(i)]
    dynamic = array.attr["dynamic_size"].b

    def become(op: str, inputs: Sequence[str], **types: DType) -> None:
        del node.input[:]
        node.input.extend(short(i) for i in inputs)
        node.input.extend(after)
        name = node.name
        dtype = array.attr["dtype"].type
        node.op = op
        node.attr.clear()
        node.name = name
        node.attr["element_dtype"].type = dtype
        for key, value in types.items():
            node.attr[key].type = value.number

    match operation:
        case "Write":
            index, value, flow = data
            become("TensorListSetItem", [flow, index, value])
            node.attr["resize_if_index_out_of_bounds"].b = dynamic
        case "Read":
            index, flow = data
            become("TensorListGetItem", [flow, index, shape])
        case "Gather":
            indices, flow = data
            if whole:
                become("TensorListStack", [flow, _asked(region, node, shape)])
                node.attr["num_elements"].i = -1
            else:
                become("TensorListGather", [flow, indices, _asked(region, node, shape)])
        case "Scatter":
            indices, value, flow = data
            if whole:
                become("TensorListFromTensor", [value, shape], shape_type=DType.INT32)
            else:
                become("TensorListScatterIntoExistingList", [flow, value, indices])
        case "Split":
            value, lengths, _ = data
            become("TensorListSplit", [value, shape, lengths], shape_type=DType.INT32)
        case "Concat":
            leading = constant(region, f"{node.name}/leading_dims", [], DType.INT64)
            become("TensorListConcatV2", [data[0], shape, leading], shape_type=DType.INT32)
        case "Size":
            become("TensorListLength", data)
            node.attr.clear()
