"""Reference variables to resource variables, by rewriting the GraphDef before it is imported.

TF1's ``VariableV2`` hands out a *reference* that other ops read and write in place; nothing of TF2
tracks those. The rules, in order:

1. ``Variable`` and ``VariableV2`` become ``VarHandleOp``; ``HashTable`` becomes ``HashTableV2``.
2. Ops that pass a reference on (``RefSwitch``, ``RefEnter``, ...) become the plain op, on handles.
3. Ops that write or use a reference (``Assign``, ``ScatterAdd``, ``ApplyAdam``,
   ``LookupTableFind``, ...) become their resource twins, on the handle.
4. ``Identity`` of a reference becomes ``ReadVariableOp``; any other op that takes its value gets a
   ``ReadVariableOp`` in between, behind the writer whose result it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from smconvert.errors import ConversionError
from smconvert.graph.names import is_control, node_of, port_of
from smconvert.graph.ops import Registry, input_args, output_args, unknown_op
from smconvert.graph.protos import graph_pb2, node_def_pb2, op_def_pb2, types_pb2

VARIABLES = frozenset({"Variable", "VariableV2", "TemporaryVariable"})
TABLES = {"HashTable": "HashTableV2"}
PASSES = {
    "RefSwitch": "Switch",
    "RefMerge": "Merge",
    "RefEnter": "Enter",
    "RefExit": "Exit",
    "RefIdentity": "Identity",
    "RefNextIteration": "NextIteration",
}
_TWINS = {
    "Assign": "AssignVariableOp",
    "AssignAdd": "AssignAddVariableOp",
    "AssignSub": "AssignSubVariableOp",
    "IsVariableInitialized": "VarIsInitializedOp",
    "LookupTableFind": "LookupTableFindV2",
    "LookupTableSize": "LookupTableSizeV2",
    "InitializeTable": "InitializeTableV2",
    "InitializeTableFromTextFile": "InitializeTableFromTextFileV2",
}

Tensor = tuple[str, int]


def has_references(graph: graph_pb2.GraphDef) -> bool:
    """Whether any node makes a reference."""
    return any(node.op in VARIABLES or node.op in TABLES for node in graph.node)


def to_resources(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """The graph with handles in place of references; node names stay.

    Raises:
        ConversionError: an op writes a reference and has no resource twin.
    """
    if not has_references(graph):
        return graph
    rewriting = _Rewriting.of(graph)
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    for node in graph.node:
        result.node.append(rewriting.rewritten(node))
    result.node.extend(rewriting.reads.values())
    return result


@dataclass
class _Rewriting:
    nodes: Mapping[str, node_def_pb2.NodeDef]
    registry: Registry
    roots: Mapping[Tensor, node_def_pb2.NodeDef]
    reads: dict[Tensor, node_def_pb2.NodeDef] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: graph_pb2.GraphDef) -> _Rewriting:
        nodes = {node.name: node for node in graph.node}
        registry = Registry.of(graph)
        return cls(nodes, registry, _roots(nodes, registry))

    def rewritten(self, node: node_def_pb2.NodeDef) -> node_def_pb2.NodeDef:
        if node.op in VARIABLES:
            return _handle(node)
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(node)
        if node.op in TABLES:
            copy.op = TABLES[node.op]
            return copy
        tensors = [_tensor(i) for i in node.input if not is_control(i)]
        if not any(t in self.roots for t in tensors):
            return copy
        if node.op == "Identity":
            return self.read(tensors[0], node.name, [i for i in node.input if is_control(i)])
        return self._on_handles(node, copy, tensors)

    def _on_handles(
        self,
        node: node_def_pb2.NodeDef,
        copy: node_def_pb2.NodeDef,
        tensors: list[Tensor],
    ) -> node_def_pb2.NodeDef:
        definition = self.registry.get(node.op)
        if definition is None:
            raise unknown_op(node)
        root = None
        controls: list[str] = []
        for position, (tensor, arg) in enumerate(
            zip(tensors, input_args(node, definition), strict=True)
        ):
            if tensor not in self.roots:
                continue
            if arg.is_ref:
                root = self.roots[tensor]
                copy.input[position] = self.handle(tensor)
                controls += self._writer(tensor)
            else:
                copy.input[position] = self._value(tensor)
        copy.input.extend(dict.fromkeys(controls))
        if root is not None:
            self._twin(copy, root)
        return copy

    def _twin(self, copy: node_def_pb2.NodeDef, root: node_def_pb2.NodeDef) -> None:
        if copy.op in PASSES:
            copy.op = PASSES[copy.op]
            copy.attr["T"].type = types_pb2.DT_RESOURCE
            return
        twin = _TWINS.get(copy.op, f"Resource{copy.op}")
        definition = self.registry.get(twin)
        if definition is None:
            raise ConversionError(
                f"{copy.op} changes a TF1 reference variable in a way that resource variables "
                "do not have",
                where=f"node {copy.name}, variable {root.name}",
                hint="choose --outputs that do not need it",
            )
        copy.op = twin
        known = {attr.name for attr in definition.attr}
        if "dtype" in known and "dtype" not in copy.attr:
            copy.attr["dtype"].type = root.attr["dtype"].type
        for key in [k for k in copy.attr if k not in known and not k.startswith("_")]:
            del copy.attr[key]

    def handle(self, tensor: Tensor) -> str:
        """The name of the handle behind a reference: of a writer, that of what it wrote to."""
        node = self.nodes[tensor[0]]
        if node.op in VARIABLES or node.op in TABLES or node.op in PASSES:
            return f"{tensor[0]}:{tensor[1]}" if tensor[1] else tensor[0]
        return self.handle(_reference_input(node, self.roots))

    def read(self, tensor: Tensor, name: str, controls: list[str]) -> node_def_pb2.NodeDef:
        node = node_def_pb2.NodeDef(name=name, op="ReadVariableOp")
        node.attr["dtype"].type = self.roots[tensor].attr["dtype"].type
        node.input.append(self.handle(tensor))
        node.input.extend(dict.fromkeys([*self._writer(tensor), *controls]))
        return node

    def _value(self, tensor: Tensor) -> str:
        if tensor not in self.reads:
            name = f"{tensor[0]}/ReadValue"
            while name in self.nodes:
                name += "_"
            self.reads[tensor] = self.read(tensor, name if not tensor[1] else f"{name}_1", [])
        return self.reads[tensor].name

    def _writer(self, tensor: Tensor) -> list[str]:
        op = self.nodes[tensor[0]].op
        return [] if op in VARIABLES or op in TABLES or op in PASSES else [f"^{tensor[0]}"]


def _handle(node: node_def_pb2.NodeDef) -> node_def_pb2.NodeDef:
    handle = node_def_pb2.NodeDef(name=node.name, op="VarHandleOp")
    handle.attr["dtype"].type = node.attr["dtype"].type
    handle.attr["shape"].shape.CopyFrom(node.attr["shape"].shape)
    handle.attr["container"].s = node.attr["container"].s
    handle.attr["shared_name"].s = node.attr["shared_name"].s or node.name.encode()
    handle.input.extend(i for i in node.input if is_control(i))
    return handle


def _tensor(name: str) -> Tensor:
    return node_of(name), port_of(name)


def _roots(
    nodes: Mapping[str, node_def_pb2.NodeDef], registry: Registry
) -> dict[Tensor, node_def_pb2.NodeDef]:
    """For each tensor that is a reference, the node it refers to."""
    roots = {(n.name, 0): n for n in nodes.values() if n.op in VARIABLES or n.op in TABLES}
    carriers: list[tuple[node_def_pb2.NodeDef, op_def_pb2.OpDef, list[int]]] = []
    for node in nodes.values():
        definition = registry.get(node.op)
        if definition is None or node.op in VARIABLES or node.op in TABLES:
            continue
        ports = [i for i, arg in enumerate(output_args(node, definition)) if arg.is_ref]
        if ports:
            carriers.append((node, definition, ports))
    changed = True
    while changed:
        changed = False
        for node, _, ports in carriers:
            found = [roots[t] for i in node.input if (t := _tensor(i)) in roots]
            if not found or (node.name, ports[0]) in roots:
                continue
            if any(root.name != found[0].name for root in found) and node.op in PASSES:
                raise ConversionError(
                    f"{node.op} chooses between the reference variables {found[0].name} and "
                    f"{found[1].name}, which resource variables cannot do",
                    where=f"node {node.name}",
                )
            roots.update({(node.name, port): found[0] for port in ports})
            changed = True
    return roots


def _reference_input(
    node: node_def_pb2.NodeDef, roots: Mapping[Tensor, node_def_pb2.NodeDef]
) -> Tensor:
    return next(t for i in node.input if (t := _tensor(i)) in roots)
