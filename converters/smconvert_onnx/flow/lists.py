"""How each list of tensors is said in ONNX.

Lists that come from one another are said alike. The ways, which the nodes are marked with:

- ``stacked``: one tensor, of whose first dimension each element is a part. For lists that are made
  of a tensor, or by a loop that writes one element in each iteration, and only read; and for those
  of one element, as Keras keeps the last output of a recurrent layer in.
- ``written``: in such a loop, where a write is an element of the loop's scan output.
- ``length``: what such a loop starts from: only the length counts.
- ``sequence``: an ONNX sequence, which holds what any other use needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from smconvert.graph.names import full, is_control, node_of
from smconvert.graph.protos import node_def_pb2
from smconvert.model import DType
from smconvert_onnx.flow.program import FUNCTIONS, IFS, WHILES, Program, Region

LIST = "_smconvert_list"
STACKED, SEQUENCE, WRITTEN_ELEMENT, LENGTH = "stacked", "sequence", "written", "length"

WRITTEN = "_smconvert_written"
"""On a loop: the numbers of its variables that are lists of what its iterations write."""

FULL = "_smconvert_full"
"""On a loop: those of them that have as many elements as there are iterations."""

INPUTS, OUTPUTS = "_smconvert_inputs", "_smconvert_outputs"
"""On a loop or branch: the form of each list among its inputs and outputs."""

_STACKS = frozenset({"TensorListFromTensor"})
_READS = frozenset({"TensorListGetItem", "TensorListGather", "TensorListStack", "TensorListLength"})


@dataclass(frozen=True)
class Form:
    """How a list is said, and the type of its elements."""

    dtype: DType
    is_sequence: bool


def form_of(node: node_def_pb2.NodeDef) -> str:
    """How the list of an op is said."""
    return node.attr[LIST].s.decode().partition(":")[0] if LIST in node.attr else SEQUENCE


def element_type(node: node_def_pb2.NodeDef) -> DType:
    """The type of the elements of an op's list."""
    if "element_dtype" in node.attr:
        return DType.from_number(node.attr["element_dtype"].type)
    return DType.from_number(int(node.attr[LIST].s.decode().partition(":")[2] or 0))


def forms(node: node_def_pb2.NodeDef, key: str) -> list[Form | None]:
    """What a loop or branch is marked with; None for what is no list."""
    if key not in node.attr:
        return []
    marks = [text.decode().split(":") for text in node.attr[key].list.s]
    return [
        Form(DType.from_number(int(mark[1])), mark[0] == SEQUENCE) if len(mark) == 2 else None
        for mark in marks
    ]


Place = tuple[str, str]
"""The name of a region, and a tensor of it."""


def mark_lists(program: Program) -> None:
    """Marks each node that makes, changes or reads a list with the way that the list is said."""
    for _, region in program.regions():
        _without_identities(region)
    for _, region in program.regions():
        for node in list(region.nodes.values()):
            if node.op in WHILES:
                numbers = [i for i, t in enumerate(node.attr["T"].list.type) if _is_list(t)]
                written = [i for i in numbers if _is_written(program, region, node, i)]
                if written:
                    full = [i for i in written if _is_full(program, region, node, i)]
                    for number in written:
                        _write(program, region, node, number)
                    node.attr[WRITTEN].list.i.extend(written)
                    node.attr[FULL].list.i.extend(full)
    same = _Same()
    for name, region in program.regions():
        for one, other in _links(program, name, region):
            same.link(one, other)
    stackable: dict[Place, bool] = {}
    single: dict[Place, bool] = {}
    touched: list[tuple[node_def_pb2.NodeDef, Place]] = []
    for name, region in program.regions():
        for node in region.nodes.values():
            for place, fits, fits_one in _uses(name, region, node):
                root = same.root(place)
                stackable[root] = stackable.get(root, True) and fits
                single[root] = single.get(root, True) and fits_one
                touched.append((node, root))
    stackable = {root: fits or single[root] for root, fits in stackable.items()}
    types: dict[Place, int] = {}
    for node, root in touched:
        if "element_dtype" in node.attr:
            types[root] = node.attr["element_dtype"].type

    def mark(root: Place) -> bytes:
        if root not in types:
            return b""
        return f"{STACKED if stackable[root] else SEQUENCE}:{types[root]}".encode()

    for node, root in touched:
        node.attr[LIST].s = mark(root)

    for name, region in program.regions():
        for node in region.nodes.values():
            if node.op not in FUNCTIONS:
                continue
            key = "T" if node.op in WHILES else "Tout"
            outputs = [f"{node.name}:{i}" for i in range(len(node.attr[key].list.type))]
            inputs = _data(node)[node.op in IFS :]
            node.attr[INPUTS].list.s.extend(mark(same.root((name, t))) for t in inputs)
            node.attr[OUTPUTS].list.s.extend(mark(same.root((name, t))) for t in outputs)


def _without_identities(region: Region) -> None:
    """Has lists read from before Identity nodes, which are of the type of a list here."""
    lists = [
        n.name for n in region.nodes.values() if n.op == "Identity" and _is_list(n.attr["T"].type)
    ]
    region.replace({full(name): region.source(full(name)) for name in lists})
    for name in lists:
        del region.nodes[name]


class _Same:
    """Which places hold lists that are said alike."""

    def __init__(self) -> None:
        self._parents: dict[Place, Place] = {}

    def root(self, place: Place) -> Place:
        while (parent := self._parents.get(place, place)) != place:
            place = parent
        return place

    def link(self, one: Place, other: Place) -> None:
        self._parents[self.root(one)] = self.root(other)


def _is_list(dtype: int) -> bool:
    return dtype == DType.VARIANT.number


def _data(node: node_def_pb2.NodeDef) -> list[str]:
    return [full(i) for i in node.input if not is_control(i)]


def _uses(
    name: str, region: Region, node: node_def_pb2.NodeDef
) -> Iterator[tuple[Place, bool, bool]]:
    """The lists that a node makes or reads.

    With each: whether it can do so with a stacked one, and with a stacked one of one element.
    """
    if LIST in node.attr or not node.op.startswith(("TensorList", "EmptyTensorList")):
        return
    makes_one = node.op == "TensorListReserve" and _integer(region, node.input[1]) == 1
    grows = node.attr["resize_if_index_out_of_bounds"].b
    writes = node.op == "TensorListSetItem" and not grows
    if _makes_list(node.op):
        yield (name, f"{node.name}:0"), node.op in _STACKS, makes_one or writes
    for tensor in _data(node):
        if _is_list(region.dtype(tensor).number):
            reads = node.op in _READS
            yield (name, tensor), reads, reads or writes


def _makes_list(op: str) -> bool:
    return op == "EmptyTensorList" or op in {
        "TensorListConcatLists",
        "TensorListFromTensor",
        "TensorListPopBack",
        "TensorListPushBack",
        "TensorListReserve",
        "TensorListResize",
        "TensorListScatter",
        "TensorListScatterIntoExistingList",
        "TensorListScatterV2",
        "TensorListSetItem",
        "TensorListSplit",
    }


def _links(program: Program, name: str, region: Region) -> Iterator[tuple[Place, Place]]:
    """Places of lists that are said alike."""
    for node in region.nodes.values():
        data = _data(node)
        lists = [t for t in data if _is_list(region.dtype(t).number)]
        if node.op in WHILES:
            body_name, cond_name = (node.attr[k].func.name for k in ("body", "cond"))
            body, cond = program.functions[body_name], program.functions[cond_name]
            written = set(node.attr[WRITTEN].list.i) if WRITTEN in node.attr else set()
            for i, tensor in enumerate(data):
                if not _is_list(region.dtype(tensor).number) or i in written:
                    continue
                place = (name, tensor)
                yield place, (name, f"{node.name}:{i}")
                yield place, (body_name, full(body.inputs[i]))
                yield place, (body_name, full(body.outputs[i]))
                yield place, (cond_name, full(cond.inputs[i]))
        elif node.op in IFS:
            for key in FUNCTIONS[node.op]:
                inner = node.attr[key].func.name
                branch = program.functions[inner]
                for tensor, argument in zip(data[1:], branch.inputs, strict=True):
                    if _is_list(region.dtype(tensor).number):
                        yield (name, tensor), (inner, full(argument))
                for i, output in enumerate(branch.outputs):
                    if _is_list(branch.dtype(output).number):
                        yield (name, f"{node.name}:{i}"), (inner, full(output))
        elif node.op == "Identity" or _makes_list(node.op):
            for tensor in lists:
                yield (name, tensor), (name, f"{node.name}:0")


def _is_written(program: Program, region: Region, loop: node_def_pb2.NodeDef, number: int) -> bool:
    """Whether each iteration writes one element of a list: that of its own number."""
    start = region.nodes[node_of(region.source(_data(loop)[number]))]
    body = program.functions[loop.attr["body"].func.name]
    cond = program.functions[loop.attr["cond"].func.name]
    if start.op != "TensorListReserve" or cond.consumers().get(full(cond.inputs[number])):
        return False
    writes = _readers(body, full(body.inputs[number]))
    if [n.op for n in writes] != ["TensorListSetItem"]:
        return False
    write = writes[0]
    is_last = body.source(body.outputs[number]) == f"{write.name}:0"
    elsewhere = _readers(body, f"{write.name}:0")
    if not is_last or elsewhere or body.source(write.input[0]) != full(body.inputs[number]):
        return False
    outputs = [body.source(t) for t in body.outputs]
    if outputs.count(f"{write.name}:0") > 1:
        return False
    return _is_number(region, loop, body, body.source(write.input[1]))


def _readers(region: Region, tensor: str) -> list[node_def_pb2.NodeDef]:
    """The nodes that read a tensor, with or without Identity nodes between."""
    found = []
    consumers = region.consumers()
    waiting = [tensor]
    while waiting:
        for name, _ in consumers.get(waiting.pop(), ()):
            node = region.nodes[name]
            if node.op == "Identity":
                waiting.append(f"{name}:0")
            else:
                found.append(node)
    return found


def _is_number(region: Region, loop: node_def_pb2.NodeDef, body: Region, index: str) -> bool:
    """Whether a value in a body is the number of the iteration, from 0."""
    if node_of(index) not in body.inputs:
        return False
    number = body.inputs.index(node_of(index))
    if _integer(region, _data(loop)[number]) != 0:
        return False
    following = body.nodes[node_of(body.source(body.outputs[number]))]
    if following.op not in {"Add", "AddV2"}:
        return False
    one, other = (body.source(i) for i in _data(following))
    if one != index:
        one, other = other, one
    return one == index and _integer(body, other) == 1


def _is_full(program: Program, region: Region, loop: node_def_pb2.NodeDef, number: int) -> bool:
    """Whether a loop goes on until each element of a list is written, and no longer."""
    start = region.nodes[node_of(region.source(_data(loop)[number]))]
    length = region.source(start.input[1])
    body = program.functions[loop.attr["body"].func.name]
    cond = program.functions[loop.attr["cond"].func.name]
    waiting, bounds = [cond.outputs[0]], []
    while waiting:
        node = cond.nodes[node_of(cond.source(waiting.pop()))]
        if node.op == "LogicalAnd":
            waiting += _data(node)
        elif node.op == "Less":
            bounds.append([cond.source(i) for i in _data(node)])
        else:
            return False
    for index, bound in bounds:
        if node_of(index) not in cond.inputs:
            return False
        position = cond.inputs.index(node_of(index))
        if not _is_number(region, loop, body, full(body.inputs[position])):
            return False
        if node_of(bound) in cond.inputs:
            outer = region.source(_data(loop)[cond.inputs.index(node_of(bound))])
            known = _integer(region, outer)
        else:
            outer, known = "", _integer(cond, bound)
        if outer != length and (known is None or known != _integer(region, length)):
            return False
    return True


def _integer(region: Region, tensor: str) -> int | None:
    import tensorflow as tf

    node = region.nodes[node_of(region.source(tensor))]
    if node.op != "Const":
        return None
    value = tf.make_ndarray(node.attr["value"].tensor)
    return int(value) if value.ndim == 0 and value.dtype.kind in "iu" else None


def _write(program: Program, region: Region, loop: node_def_pb2.NodeDef, number: int) -> None:
    """Marks the write, and gives the loop a start of its own that is only a length."""
    body = program.functions[loop.attr["body"].func.name]
    (write,) = _readers(body, full(body.inputs[number]))
    write.attr[LIST].s = WRITTEN_ELEMENT.encode()
    start = region.nodes[node_of(region.source(_data(loop)[number]))]
    own = region.add(start.op, start.name)
    own_name = own.name
    own.CopyFrom(start)
    own.name = own_name
    own.attr[LIST].s = LENGTH.encode()
    positions = [i for i, t in enumerate(loop.input) if not is_control(t)]
    loop.input[positions[number]] = own_name
