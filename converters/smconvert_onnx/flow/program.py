"""A graph and its functions as regions of nodes, which all name tensors as GraphDefs do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from smconvert.graph.cut import placeholder
from smconvert.graph.loops import argument_name
from smconvert.graph.names import full, is_control, node_of, port_of, short, unused_name
from smconvert.graph.ops import Registry, arg_types, unknown_op
from smconvert.graph.protos import function_pb2, graph_pb2, node_def_pb2
from smconvert.model import DType

MAIN = ""
"""The name of the region that is the graph itself."""

WHILES = frozenset({"While", "StatelessWhile"})
IFS = frozenset({"If", "StatelessIf"})
CASES = frozenset({"Case", "StatelessCase"})
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(WHILES, ("cond", "body")),
    **dict.fromkeys(IFS, ("then_branch", "else_branch")),
}
"""The attributes of loops and branches that name functions."""

_PRODUCER = (1087, 12)
"""A version of GraphDefs that knows all ops of loops, and the oldest that reads it."""


@dataclass
class Region:
    """Nodes with inputs and outputs: the graph itself, or a function.

    Attributes:
        nodes: By name.
        inputs: Names of the placeholders that stand for the arguments; none for the graph itself.
        outputs: Tensors.
    """

    nodes: dict[str, node_def_pb2.NodeDef]
    inputs: list[str]
    outputs: list[str]

    def fresh(self, base: str) -> str:
        """A name that no node has."""
        name, number = base, 0
        while name in self.nodes:
            number += 1
            name = f"{base}_{number}"
        return name

    def add(self, op: str, name: str, inputs: Iterable[str] = ()) -> node_def_pb2.NodeDef:
        """A new node; the name is a new one like ``name``."""
        node = node_def_pb2.NodeDef(name=self.fresh(name), op=op, input=[short(i) for i in inputs])
        self.nodes[node.name] = node
        return node

    def source(self, tensor: str) -> str:
        """The tensor that one is, before any Identity."""
        while (node := self.nodes[node_of(tensor)]).op == "Identity":
            tensor = node.input[0]
        return full(tensor)

    def dtype(self, tensor: str) -> DType:
        """The element type of a tensor."""
        node = self.nodes[node_of(tensor)]
        return Registry({}).output_types(node)[port_of(tensor)]

    def consumers(self) -> dict[str, list[tuple[str, int]]]:
        """Tensor to the nodes that read it, with the position among their inputs."""
        found: dict[str, list[tuple[str, int]]] = {}
        for node in self.nodes.values():
            for position, tensor in enumerate(node.input):
                if not is_control(tensor):
                    found.setdefault(full(tensor), []).append((node.name, position))
        return found

    def replace(self, tensors: Mapping[str, str]) -> None:
        """Has everything read other tensors than it did; names are full ones."""
        for node in self.nodes.values():
            for i, tensor in enumerate(node.input):
                if not is_control(tensor) and full(tensor) in tensors:
                    node.input[i] = short(tensors[full(tensor)])
        self.outputs = [tensors.get(full(t), t) for t in self.outputs]

    def order(self) -> list[node_def_pb2.NodeDef]:
        """The nodes, each after those that it reads; a loop is entered anywhere."""
        state: set[str] = set()
        found = []
        for start in self.nodes:
            stack = [] if start in state else [(start, self._before(start))]
            state.add(start)
            while stack:
                name, before = stack[-1]
                following = next((n for n in before if n not in state), None)
                if following is None:
                    found.append(self.nodes[name])
                    stack.pop()
                else:
                    state.add(following)
                    stack.append((following, self._before(following)))
        return found

    def _before(self, name: str) -> Iterator[str]:
        return (node_of(i) for i in self.nodes[name].input)

    def prune(self) -> None:
        """Takes out what no output needs, and control inputs from what is gone."""
        waiting = [node_of(t) for t in self.outputs]
        kept = {n.name for n in self.nodes.values() if n.op.startswith("Placeholder")}
        while waiting:
            name = waiting.pop()
            if name not in kept:
                kept.add(name)
                waiting += [node_of(i) for i in self.nodes[name].input if not is_control(i)]
        self.nodes = {n: node for n, node in self.nodes.items() if n in kept}
        for node in self.nodes.values():
            read = [i for i in node.input if node_of(i) in kept]
            del node.input[:]
            node.input.extend(read)

    def graph(self) -> graph_pb2.GraphDef:
        """The nodes alone, as a graph."""
        graph = graph_pb2.GraphDef(node=self.order())
        # An absent version is the oldest, which took an unknown shape for that of a scalar.
        graph.versions.producer, graph.versions.min_consumer = _PRODUCER
        return graph


@dataclass
class Program:
    """A graph with its functions, by name."""

    main: Region
    functions: dict[str, Region] = field(default_factory=dict)

    def regions(self) -> Iterator[tuple[str, Region]]:
        """The graph itself and all its functions."""
        yield MAIN, self.main
        yield from list(self.functions.items())

    def add(self, name: str, region: Region) -> str:
        """Takes a function up, under a new name like ``name``."""
        base, number = name, 0
        while name in self.functions:
            number += 1
            name = f"{base}_{number}"
        self.functions[name] = region
        return name


def load(graph: graph_pb2.GraphDef, outputs: Sequence[str]) -> Program:
    """A graph as regions."""
    main = Region({n.name: _copied(n) for n in graph.node}, [], [full(t) for t in outputs])
    registry = Registry.of(graph)
    functions = {f.signature.name: _function(f, registry) for f in graph.library.function}
    return Program(main, functions)


def dump(program: Program) -> graph_pb2.GraphDef:
    """The regions as a graph."""
    graph = program.main.graph()
    for name, region in program.functions.items():
        graph.library.function.append(as_function(name, region))
    return graph


def constant(region: Region, name: str, value: object, dtype: DType) -> str:
    """A new Const of a region; gives its tensor."""
    import numpy as np

    from smconvert.graph.constants import constant as node_of_value

    node = node_of_value(region.fresh(name), np.asarray(value, dtype.numpy), dtype)
    region.nodes[node.name] = node
    return full(node.name)


def extracted(
    region: Region,
    outputs: Sequence[str],
    argument: Callable[[str], str | None],
) -> tuple[Region, list[str]]:
    """What leads to ``outputs``, as a region of its own.

    Args:
        region: Where the nodes lie; they stay there.
        outputs: Tensors.
        argument: Says of a tensor on the way what is passed in for it, or None if it is computed
            inside.

    Returns:
        The region, and what has to be passed in, in order.
    """
    made = Region({}, [], [])
    given: dict[str, str] = {}

    def inside(tensor: str) -> str:
        passed = argument(full(tensor))
        if passed is None:
            return tensor
        if passed not in given:
            name = unused_name(argument_name(node_of(passed)), {*made.nodes, *region.nodes})
            node = placeholder(name, region.dtype(passed), None)
            made.nodes[node.name] = node
            given[passed] = node.name
        return given[passed]

    outputs = [inside(t) for t in outputs]
    waiting = [node_of(t) for t in outputs]
    while waiting:
        name = waiting.pop()
        if name in made.nodes:
            continue
        copy = made.nodes[name] = _copied(region.nodes[name])
        data = [inside(i) for i in copy.input if not is_control(i)]
        del copy.input[:]
        copy.input.extend(data)
        waiting += [node_of(i) for i in data]
    made.inputs = list(given.values())
    made.outputs = [full(t) for t in outputs]
    return made, list(given)


def pass_in(region: Region, arguments: Sequence[str], given: Sequence[str], outer: Region) -> None:
    """Gives a region the arguments ``arguments``, of which it uses ``given`` already."""
    own = dict(zip(given, region.inputs, strict=True))
    names = []
    for tensor in arguments:
        if tensor not in own:
            node = placeholder(region.fresh("unused"), outer.dtype(tensor), None)
            region.nodes[node.name] = node
            own[tensor] = node.name
        names.append(own[tensor])
    region.inputs = names


def _copied(node: node_def_pb2.NodeDef) -> node_def_pb2.NodeDef:
    copy = node_def_pb2.NodeDef()
    copy.CopyFrom(node)
    return copy


def copied(region: Region) -> Region:
    """The same, with nodes of its own."""
    nodes = {name: _copied(node) for name, node in region.nodes.items()}
    return Region(nodes, list(region.inputs), list(region.outputs))


def _function(function: function_pb2.FunctionDef, registry: Registry) -> Region:
    nodes: dict[str, node_def_pb2.NodeDef] = {}
    flat: dict[str, str] = {}
    for number, arg in enumerate(function.signature.input_arg):
        node = placeholder(arg.name, DType.from_number(arg.type), None)
        shapes = function.arg_attr[number].attr["_output_shapes"].list.shape
        if shapes and arg.type not in {DType.RESOURCE.number, DType.VARIANT.number}:
            node.attr["shape"].shape.CopyFrom(shapes[0])
        nodes[arg.name] = node
        flat[arg.name] = f"{arg.name}:0"
    for node in function.node_def:
        for port, (output, i) in enumerate(_outputs(node, registry)):
            flat[f"{node.name}:{output}:{i}"] = f"{node.name}:{port}"
            flat.setdefault(f"{node.name}:{output}", f"{node.name}:{port}")
    for node in function.node_def:
        copy = nodes[node.name] = _copied(node)
        del copy.input[:]
        copy.input.extend(i if is_control(i) else short(flat[i]) for i in node.input)
    inputs = [arg.name for arg in function.signature.input_arg]
    outputs = [flat[function.ret[arg.name]] for arg in function.signature.output_arg]
    return Region(nodes, inputs, outputs)


def _outputs(node: node_def_pb2.NodeDef, registry: Registry) -> Iterator[tuple[str, int]]:
    """Each output of a node, in order: the argument it belongs to, and its number within that."""
    definition = registry.get(node.op)
    if definition is None:
        raise unknown_op(node)
    for output in definition.output_arg:
        for i in range(len(arg_types(node, output))):
            yield output.name, i


def as_function(name: str, region: Region) -> function_pb2.FunctionDef:
    """A region as a function of a library."""
    function = function_pb2.FunctionDef()
    function.signature.name = name
    registry = Registry({})
    nested: dict[str, str] = {}
    for number, arg in enumerate(region.inputs):
        node = region.nodes[arg]
        function.signature.input_arg.add(name=arg, type=node.attr["dtype"].type)
        function.arg_attr[number].attr["_output_shapes"].list.shape.add().CopyFrom(
            node.attr["shape"].shape
        )
        nested[f"{arg}:0"] = arg
    inner = [node for node in region.order() if node.name not in set(region.inputs)]
    for node in inner:
        for port, (output, i) in enumerate(_outputs(node, registry)):
            nested[f"{node.name}:{port}"] = f"{node.name}:{output}:{i}"
    for node in inner:
        copy = function.node_def.add()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(nested[full(i)] for i in node.input if not is_control(i))
    for number, tensor in enumerate(region.outputs):
        arg = f"output_{number}"
        function.signature.output_arg.add(name=arg, type=region.dtype(tensor).number)
        function.ret[arg] = nested[full(tensor)]
    return function
