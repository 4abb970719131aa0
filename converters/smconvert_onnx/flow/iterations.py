"""Loops that TensorFlow has ops of their own for, as While; and calls on a device as plain ones.

A For counts up or down to a limit, and a MapDefun applies a function to each row of its arguments
(tensorflow/core/kernels/functional_ops.cc, tensorflow/core/kernels/data/map_defun_op.cc). The
function of a RemoteCall runs elsewhere, and computes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smconvert.graph.cut import placeholder
from smconvert.graph.names import is_control
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.tensors import array_of, shape_of
from smconvert.model import DType
from smconvert_onnx.flow.arrays import shape_constant
from smconvert_onnx.flow.program import Program, Region, constant

ITERATIONS = frozenset({"For", "MapDefun", "RemoteCall"})

_CALL = "StatefulPartitionedCall"
_UNKNOWN = -1


def iterations_to_loops(region: Region, program: Program) -> None:
    """Puts loops and calls in the place of these ops."""
    for node in list(region.nodes.values()):
        if node.op == "For":
            _count(region, program, node)
        elif node.op == "MapDefun":
            _map(region, program, node)
        elif node.op == "RemoteCall":
            node.op = _CALL
            del node.input[0]


def _count(region: Region, program: Program, node: node_def_pb2.NodeDef) -> None:
    start, limit, delta, *values = _data(node)
    types = [DType.from_number(t) for t in node.attr["T"].list.type]
    all_types = [DType.INT32, DType.INT32, DType.INT32, *types]
    condition = _function(all_types)
    i, last, by, *_ = condition.inputs
    step = region.nodes[region.source(delta).partition(":")[0]]
    if step.op == "Const" and array_of(step.attr["value"].tensor) > 0:
        ends = _binary(condition, "Less", i, last)
    else:
        zero = constant(condition, "zero", 0, DType.INT32)
        ways = [
            _binary(condition, "LogicalAnd", _binary(condition, *up), _binary(condition, *on))
            for up, on in (
                (("Less", zero, by), ("Less", i, last)),
                (("Less", by, zero), ("Less", last, i)),
            )
        ]
        ends = _binary(condition, "LogicalOr", *ways)
    condition.outputs = [ends]
    body = _function(all_types)
    i, last, by, *given = body.inputs
    made = _call(body, node.attr["body"].func.name, [i, *given], [DType.INT32, *types], types)
    body.outputs = [_binary(body, "AddV2", i, by), f"{last}:0", f"{by}:0", *made]
    loop = _loop(region, program, node.name, [start, limit, delta, *values], (condition, body))
    del region.nodes[node.name]
    region.replace({f"{node.name}:{n}": f"{loop}:{3 + n}" for n in range(len(types))})


def _map(region: Region, program: Program, node: node_def_pb2.NodeDef) -> None:
    rows = [DType.from_number(t) for t in node.attr["Targuments"].list.type]
    captured = [DType.from_number(t) for t in node.attr["Tcaptured"].list.type]
    made = [DType.from_number(t) for t in node.attr["output_types"].list.type]
    shapes = [shape_of(s) for s in node.attr["output_shapes"].list.shape]
    data = _data(node)
    sizes = _add(region, "Shape", f"{node.name}/shape", data[:1], T=rows[0], out_type=DType.INT32)
    zero = constant(region, f"{node.name}/zero", 0, DType.INT32)
    count = _row(region, sizes, zero, DType.INT32)
    elements = [shape_constant(region, f"{node.name}/element_shape", s) for s in shapes]
    lists = [
        _add(
            region,
            "TensorListReserve",
            f"{node.name}/list",
            [shape, count],
            element_dtype=dtype,
            shape_type=DType.INT32,
        )
        for shape, dtype in zip(elements, made, strict=True)
    ]
    types = [DType.INT32, DType.INT32, *[DType.VARIANT] * len(made), *rows, *captured]
    condition = _function(types)
    condition.outputs = [_binary(condition, "Less", *condition.inputs[:2])]
    body = _function(types)
    i, last, *given = body.inputs
    written, passed = given[: len(made)], given[len(made) :]
    parts = [_row(body, x, i, t) for x, t in zip(passed, rows, strict=False)]
    arguments = [*parts, *passed[len(rows) :]]
    found = _call(body, node.attr["f"].func.name, arguments, [*rows, *captured], made)
    written = [
        _add(body, "TensorListSetItem", "write", [x, i, item], element_dtype=dtype)
        for x, item, dtype in zip(written, found, made, strict=True)
    ]
    following = _binary(body, "AddV2", i, constant(body, "one", 1, DType.INT32))
    body.outputs = [following, *(f"{t}:0" for t in (last, *written, *passed))]
    loop = _loop(region, program, node.name, [zero, count, *lists, *data], (condition, body))
    del region.nodes[node.name]
    for n, (dtype, shape) in enumerate(zip(made, elements, strict=True)):
        inputs = [f"{loop}:{2 + n}", shape]
        stack = _add(region, "TensorListStack", f"{node.name}/stack", inputs, element_dtype=dtype)
        region.nodes[stack].attr["num_elements"].i = _UNKNOWN
        region.replace({f"{node.name}:{n}": f"{stack}:0"})


def _data(node: node_def_pb2.NodeDef) -> list[str]:
    return [i for i in node.input if not is_control(i)]


def _function(types: Iterable[DType]) -> Region:
    """A function of arguments of these types."""
    nodes = [placeholder(f"arg_{i}", dtype, None) for i, dtype in enumerate(types)]
    return Region({n.name: n for n in nodes}, [n.name for n in nodes], [])


def _add(region: Region, op: str, name: str, inputs: Iterable[str], **types: DType) -> str:
    node = region.add(op, name, inputs)
    for key, dtype in types.items():
        node.attr[key].type = dtype.number
    return node.name


def _binary(region: Region, op: str, one: str, other: str) -> str:
    """A node of two integers or, where the op is logical, of two truths."""
    types = {} if op.startswith("Logical") else {"T": DType.INT32}
    return f"{_add(region, op, op, [one, other], **types)}:0"


def _row(region: Region, x: str, index: str, dtype: DType) -> str:
    axis = constant(region, "axis", 0, DType.INT32)
    types = {"Tparams": dtype, "Tindices": DType.INT32, "Taxis": DType.INT32}
    return _add(region, "GatherV2", "row", [x, index, axis], **types)


def _call(
    region: Region,
    function: str,
    inputs: Iterable[str],
    given: Iterable[DType],
    made: Sequence[DType],
) -> list[str]:
    """The results of a call."""
    node = region.add(_CALL, "call", inputs)
    node.attr["f"].func.name = function
    node.attr["Tin"].list.type.extend(t.number for t in given)
    node.attr["Tout"].list.type.extend(t.number for t in made)
    return [f"{node.name}:{i}" for i in range(len(made))]


def _loop(
    region: Region,
    program: Program,
    name: str,
    inputs: Sequence[str],
    functions: tuple[Region, Region],
) -> str:
    """A While of a condition and a body; gives its name."""
    node = region.add("StatelessWhile", f"{name}/loop", inputs)
    body = functions[1]
    node.attr["T"].list.type.extend(body.dtype(t).number for t in body.inputs)
    for key, function in zip(("cond", "body"), functions, strict=True):
        node.attr[key].func.name = program.add(f"{node.name}/{key}", function)
    return node.name
