"""Tensors of lists as the lists themselves, and what a list says of its elements.

A TensorListPushBackBatch gives each list of a tensor one element more: a row of another tensor. The
shape of elements that a list was made with stays with it (tensorflow/core/kernels/list_kernels.h),
so that a TensorListElementShape is an input of the op that made the list.
"""

from __future__ import annotations

from smconvert.graph.names import full, is_control, node_of, port_of, short
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.tensors import array_of
from smconvert.model import DType
from smconvert_onnx.flow.program import Region, constant

_MADE = {
    "EmptyTensorList": 0,
    "TensorListReserve": 0,
    "TensorListFromTensor": 1,
    "TensorListSplit": 1,
    "TensorListScatter": 2,
    "TensorListScatterV2": 2,
}
"""Ops that make a list, and which of their inputs is the shape of its elements."""

_CHANGED = frozenset(
    {
        "TensorListPopBack",
        "TensorListPushBack",
        "TensorListResize",
        "TensorListScatterIntoExistingList",
        "TensorListSetItem",
    }
)
"""Ops that give their first input back, changed."""


def separate_batches(region: Region) -> None:
    """Puts single lists in the place of tensors of lists, where a Pack made these."""
    batches = [n for n in region.order() if n.op == "TensorListPushBackBatch"]
    if not batches:
        return
    for node in batches:
        _push(region, node)
    for node in list(region.nodes.values()):
        if node.op not in {"Unpack", "StridedSlice"}:
            continue
        lists = _packed(region, node.input[0])
        if lists is None:
            continue
        if node.op == "Unpack" and node.attr["num"].i == len(lists):
            region.replace({f"{node.name}:{i}": full(t) for i, t in enumerate(lists)})
        elif (at := _place(region, node)) is not None and -len(lists) <= at < len(lists):
            region.replace({full(node.name): full(lists[at])})


def element_shapes(region: Region) -> None:
    """Puts what a list was made with in the place of a question for its elements' shape."""
    for node in region.nodes.values():
        if node.op != "TensorListElementShape":
            continue
        shape = _shape_of(region, node.input[0])
        if shape is None:
            continue
        node.op = "Cast"
        node.attr["DstT"].type = node.attr["shape_type"].type
        node.attr["SrcT"].type = region.dtype(shape).number
        node.attr.pop("shape_type")
        node.attr.pop("_output_shapes", None)
        node.input[0] = short(shape)


def _push(region: Region, node: node_def_pb2.NodeDef) -> None:
    given, rows = (i for i in node.input if not is_control(i))
    dtype = DType.from_number(node.attr["element_dtype"].type)
    lists = _packed(region, given)
    if lists is None:
        return
    longer = []
    axis = constant(region, f"{node.name}/axis", 0, DType.INT32)
    for number, one in enumerate(lists):
        at = constant(region, f"{node.name}/number", number, DType.INT32)
        row = region.add("GatherV2", f"{node.name}/row", [rows, at, axis])
        row.attr["Tparams"].type = dtype.number
        row.attr["Tindices"].type = row.attr["Taxis"].type = DType.INT32.number
        push = region.add("TensorListPushBack", f"{node.name}/push", [one, row.name])
        push.attr["element_dtype"].type = dtype.number
        longer.append(push.name)
    after = [i for i in node.input if is_control(i)]
    name = node.name
    node.Clear()
    node.name, node.op = name, "Pack"
    node.input.extend([*longer, *after])
    node.attr["T"].type = DType.VARIANT.number
    node.attr["N"].i = len(longer)


def _packed(region: Region, tensor: str) -> list[str] | None:
    """The lists that a tensor is a Pack of."""
    node = region.nodes[node_of(region.source(tensor))]
    if node.op != "Pack" or node.attr["T"].type != DType.VARIANT.number:
        return None
    lists = [i for i in node.input if not is_control(i)]
    return lists if all(_is_single(region, i) for i in lists) else None


def _is_single(region: Region, tensor: str) -> bool:
    """Whether a tensor is known to be one list, not many."""
    node = region.nodes[node_of(region.source(tensor))]
    return node.op in _MADE or node.op in _CHANGED


def _place(region: Region, node: node_def_pb2.NodeDef) -> int | None:
    """Which element a StridedSlice takes of a vector."""
    if node.op != "StridedSlice" or node.attr["shrink_axis_mask"].i != 1:
        return None
    begin = region.nodes[node_of(region.source(node.input[1]))]
    if begin.op != "Const" or node.attr["begin_mask"].i:
        return None
    places = array_of(begin.attr["value"].tensor)
    return int(places[0]) if places.shape == (1,) else None


def _shape_of(region: Region, tensor: str) -> str | None:
    """The tensor that says the shape of a list's elements, if the list is made in the region."""
    while True:
        tensor = region.source(tensor)
        node = region.nodes[node_of(tensor)]
        if node.op in _MADE:
            return node.input[_MADE[node.op]]
        if node.op not in _CHANGED or port_of(tensor):
            return None
        tensor = node.input[0]
