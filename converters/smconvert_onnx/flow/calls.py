"""Each function with one caller: calls inlined, cases as branches, constants handed in."""

from __future__ import annotations

from collections.abc import Sequence

from smconvert.graph.cut import placeholder
from smconvert.graph.names import full, is_control, node_of, port_of, short
from smconvert.graph.protos import node_def_pb2
from smconvert.model import DType
from smconvert_onnx.flow.computations import COMPUTATIONS, mark
from smconvert_onnx.flow.program import (
    CALLS,
    CASES,
    FUNCTIONS,
    WHILES,
    Program,
    Region,
    constant,
    copied,
)

_TABLES = frozenset({"HashTableV2"})


def with_one_caller(program: Program) -> Program:
    """The program with a copy of each function for each node that names it."""
    made = Program(program.main)
    _take(program.main, program, made)
    return made


def _take(region: Region, program: Program, made: Program) -> None:
    """Gives each loop and branch of a region functions of its own, and theirs to these."""
    inline_calls(region, program)
    for node in list(region.nodes.values()):
        if node.op in CASES:
            _nest(region, node, program)
        for key in COMPUTATIONS.get(node.op, ()):
            function = copied(program.functions[node.attr[key].func.name])
            inline_calls(function, program)
            mark(node, key, function)
    for node in region.nodes.values():
        same = _same(node, program) if node.op in FUNCTIONS else []
        for key in FUNCTIONS.get(node.op, ()):
            function = copied(program.functions[node.attr[key].func.name])
            _hand_in(region, node, function, same)
            name = made.add(node.attr[key].func.name, function)
            node.attr[key].func.name = name
            _take(function, program, made)


def inline_calls(region: Region, program: Program) -> None:
    """Puts the nodes of called functions in the place of the calls."""
    while True:
        call = next(
            (
                n
                for n in region.nodes.values()
                if n.op in CALLS and n.attr["f"].func.name in program.functions
            ),
            None,
        )
        if call is None:
            return
        function = copied(program.functions[call.attr["f"].func.name])
        data = [full(i) for i in call.input if not is_control(i)]
        given = dict(zip(function.inputs, data, strict=True))
        names = {n: region.fresh(f"{call.name}/{n}") for n in function.nodes if n not in given}

        def moved(tensor: str, given: dict[str, str] = given, names: dict[str, str] = names) -> str:
            node = node_of(tensor)
            if node in given:
                return given[node]
            return full(f"{names[node]}:{port_of(tensor)}")

        del region.nodes[call.name]
        for name, new in names.items():
            node = function.nodes[name]
            node.name = new
            read = [short(moved(i)) for i in node.input if not is_control(i)]
            del node.input[:]
            node.input.extend(read)
            region.nodes[new] = node
        region.replace({f"{call.name}:{i}": moved(t) for i, t in enumerate(function.outputs)})
        for node in region.nodes.values():
            read = [i for i in node.input if i != f"^{call.name}"]
            if len(read) != len(node.input):
                del node.input[:]
                node.input.extend(read)


def _nest(region: Region, case: node_def_pb2.NodeDef, program: Program) -> None:
    """Makes a Case nested Ifs; any other index takes the last branch (functional_ops.cc)."""
    named = [f.name for f in case.attr["branches"].list.func]
    branches = [_with_index(program, name) for name in named]
    types = list(case.attr["Tin"].list.type)
    outputs = list(case.attr["Tout"].list.type)
    last = branches[-1]
    for number in range(len(branches) - 2, 0, -1):
        inner = Region({}, [], [])
        for i, dtype in enumerate([DType.INT32.number, *types]):
            node = placeholder(f"arg_{i}", DType.from_number(dtype), None)
            inner.nodes[node.name] = node
            inner.inputs.append(node.name)
        choice = _choice(inner, inner.inputs, number, (branches[number], last), (types, outputs))
        inner.outputs = [f"{choice.name}:{i}" for i in range(len(outputs))]
        last = program.add(f"{case.name}/from_{number}", inner)
    given = [i for i in case.input if not is_control(i)]
    del region.nodes[case.name]
    made = _choice(region, given, 0, (branches[0], last), (types, outputs), name=case.name)
    made.attr["output_shapes"].CopyFrom(case.attr["output_shapes"])


def _with_index(program: Program, name: str) -> str:
    """The branch of a Case, with the index as one more argument, which it does not use."""
    branch = copied(program.functions[name])
    node = placeholder(branch.fresh("index"), DType.INT32, None)
    branch.nodes[node.name] = node
    branch.inputs.insert(0, node.name)
    return program.add(name, branch)


def _choice(
    region: Region,
    given: list[str],
    number: int,
    branches: tuple[str, str],
    types: tuple[list[int], list[int]],
    name: str = "branch",
) -> node_def_pb2.NodeDef:
    """An If: the first branch where the first of ``given`` is ``number``, else the second."""
    value = constant(region, f"{name}/number", number, DType.INT32)
    equal = region.add("Equal", f"{name}/is_{number}", [given[0], value])
    equal.attr["T"].type = DType.INT32.number
    node = region.add("StatelessIf", name, [equal.name, *given])
    node.attr["Tcond"].type = DType.BOOL.number
    node.attr["Tin"].list.type.extend([DType.INT32.number, *types[0]])
    node.attr["Tout"].list.type.extend(types[1])
    node.attr["then_branch"].func.name, node.attr["else_branch"].func.name = branches
    return node


def _hand_in(
    region: Region, node: node_def_pb2.NodeDef, function: Region, same: Sequence[bool]
) -> None:
    """Puts constants and tables that a function is given into it.

    Weights stay outside, where tf2onnx looks for them when it makes an LSTM of a loop.
    """
    given = [i for i in node.input if not is_control(i)]
    for name, tensor, is_same in zip(
        function.inputs, given if node.op in WHILES else given[1:], same, strict=True
    ):
        origin = region.nodes[node_of(region.source(tensor))]
        if not is_same or not _is_handed_in(origin):
            continue
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(origin)
        copy.name = function.fresh(origin.name)
        del copy.input[:]
        function.nodes[copy.name] = copy
        outputs = function.outputs
        function.replace({full(name): full(copy.name)})
        if node.op in WHILES:
            function.outputs = outputs


def _is_handed_in(node: node_def_pb2.NodeDef) -> bool:
    if node.op in _TABLES:
        return True
    if node.op != "Const":
        return False
    is_float = DType.from_number(node.attr["dtype"].type).label in {
        "float32",
        "float64",
        "float16",
        "bfloat16",
    }
    return not is_float or not node.attr["value"].tensor.tensor_shape.dim


def _same(node: node_def_pb2.NodeDef, program: Program) -> list[bool]:
    """Whether each argument is the same whenever the functions of a node are called."""
    if node.op not in WHILES:
        return [True] * (len(node.attr["Tin"].list.type))
    body = program.functions[node.attr["body"].func.name]
    return [
        body.source(output) == full(name)
        for name, output in zip(body.inputs, body.outputs, strict=True)
    ]
