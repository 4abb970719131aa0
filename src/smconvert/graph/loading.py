"""What TensorFlow runs of a model besides what is asked for: what restores it and fills its tables.

A model is run by TensorFlow's own loader as the reference, and that loader runs more than the
signatures: the saver's restore op, init ops, functions that create and fill resources. A file may
name any op there. So whatever runs is walked here, through calls of functions, and refused where it
reaches outside the model; what a loader does itself is let through: to restore from the checkpoint
that it feeds, and to fill a table from the model's own assets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from smconvert.graph import outside
from smconvert.graph.candidates import INPUT_OPS, PIPELINE_OPS
from smconvert.graph.cut import ensure_no_circle
from smconvert.graph.library import CALLS, references
from smconvert.graph.names import full, is_control, node_of
from smconvert.graph.protos import function_pb2, node_def_pb2
from smconvert.graph.source import GraphSource

_TABLE_INITIALIZERS = "table_initializer"
_RESOURCE_FUNCTIONS = frozenset({"_create_resource", "_initialize", "_destroy_resource"})
_PASSES = frozenset({"Identity", "PlaceholderWithDefault"})
_EVALUATED = frozenset(
    {"CacheDataset", "DatasetFromGraph", "DecodeProtoV2", "EncodeProto", "ReadFile"}
    | {"RegisterDataset", "RegisterDatasetV2", "SnapshotDataset", "SnapshotDatasetV2"}
)
"""Ops without state that reach outside: TensorFlow runs them while it infers shapes, where all that
they need is constant. ``MatchingFiles`` would be another; input pipelines are full of it, and it
tells names only."""
_VARIES = (*INPUT_OPS, *PIPELINE_OPS, "Iterator", "Reader", "Variable", "VarHandle", "Random")


class _Origin(Enum):
    CHECKPOINT = "the checkpoint's name"
    ASSET = "the name of an asset"


def ensure_harmless(source: GraphSource, allowed: Collection[str]) -> None:
    """Refuses a model that reaches outside itself when it is loaded or run.

    Raises:
        SourceError: a graph is damaged.
        ConversionError: naming op and node.
    """
    graph = source.meta_graph.graph_def
    ensure_no_circle(graph.node)
    for function in graph.library.function:
        arguments = {arg.name for arg in function.signature.input_arg}
        ensure_no_circle(function.node_def, arguments, f"function {function.signature.name}")
    _Walk(source, frozenset(allowed)).ensure()


def initializers(source: GraphSource) -> tuple[str, ...]:
    """The initialisers, by node, of the tables that the signatures' outputs need.

    They are those of the collection that training programs keep; others than those needed may read
    files that only the training machine has.
    """
    meta_graph = source.meta_graph
    if _TABLE_INITIALIZERS not in meta_graph.collection_def:
        return ()
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    ends = [o.tensor for s in source.signatures for o in s.outputs if o.tensor]
    needed = {node.name for node in _reached(nodes, ends, frozenset())}
    named = meta_graph.collection_def[_TABLE_INITIALIZERS].node_list.value
    return tuple(
        name for name in map(node_of, named) if name in nodes and _table(name, nodes) in needed
    )


def _table(initializer: str, nodes: Mapping[str, node_def_pb2.NodeDef]) -> str | None:
    """The node of the table that an initialiser fills."""
    name, seen = initializer, {initializer}
    while nodes[name].input:
        name = node_of(nodes[name].input[0])
        if name not in nodes or name in seen:
            return None
        if nodes[name].op not in _PASSES:
            return name
        seen.add(name)
    return None


@dataclass
class _Walk:
    source: GraphSource
    allowed: frozenset[str]
    walked: set[tuple[str, tuple[_Origin | None, ...]]] = field(default_factory=set)

    def __post_init__(self) -> None:
        graph = self.source.meta_graph.graph_def
        self.library = {f.signature.name: f for f in graph.library.function}
        self.nodes = {node.name: node for node in graph.node}

    def ensure(self) -> None:
        meta_graph = self.source.meta_graph
        filename = node_of(meta_graph.saver_def.filename_tensor_name)
        known = dict.fromkeys(self.source.assets, _Origin.ASSET)
        known |= {node_of(t): _Origin.ASSET for t in self.source.assets}
        if filename:
            known |= dict.fromkeys((filename, full(filename)), _Origin.CHECKPOINT)
        on_load = [meta_graph.saver_def.restore_op_name, self.source.init_op or ""]
        on_load += initializers(self.source)
        self._nodes(_reached(self.nodes, on_load, frozenset()), self.nodes, known, "")
        for signature in self.source.signatures:
            ends = [o.tensor or "" for o in signature.outputs]
            fed = frozenset(full(i.tensor) for i in signature.inputs if i.tensor)
            self._nodes(_reached(self.nodes, ends, fed), self.nodes, known, "")
        for function, origins in _run_by_objects(self.source, self.library):
            self._function(function, origins)
        self._ensure_none_evaluated()

    def _nodes(
        self,
        ran: Iterable[node_def_pb2.NodeDef],
        body: Mapping[str, node_def_pb2.NodeDef],
        known: Mapping[str, _Origin],
        where: str,
    ) -> None:
        for node in ran:
            clause = outside.deed(node)
            if clause is not None and not self._is_the_loaders_own(node, body, known):
                outside.ensure_inside([node], self.allowed, where)
            called = [r.name for r in references(node)]
            origins = tuple(_origin(i, body, known) for i in node.input if not is_control(i))
            for name in (node.op, *called):
                if name in self.library:
                    passed = origins if node.op in {name, *CALLS} else ()
                    self._function(self.library[name], passed)

    def _function(
        self, function: function_pb2.FunctionDef, origins: tuple[_Origin | None, ...]
    ) -> None:
        name = function.signature.name
        if (name, origins) in self.walked:
            return
        self.walked.add((name, origins))
        arguments = [arg.name for arg in function.signature.input_arg]
        known = {a: o for a, o in zip(arguments, origins, strict=False) if o is not None}
        body = {node.name: node for node in function.node_def}
        self._nodes(function.node_def, body, known, f" of the function {name}")

    def _is_the_loaders_own(
        self,
        node: node_def_pb2.NodeDef,
        body: Mapping[str, node_def_pb2.NodeDef],
        known: Mapping[str, _Origin],
    ) -> bool:
        if node.op in outside.RESTORES and node.input:
            return _origin(node.input[0], body, known) is _Origin.CHECKPOINT
        if node.op in outside.FROM_TEXT and len(node.input) > 1:
            return _origin(node.input[1], body, known) is _Origin.ASSET
        return False

    def _ensure_none_evaluated(self) -> None:
        bodies = [(self.nodes, "")] + [
            ({n.name: n for n in f.node_def}, f" of the function {name}")
            for name, f in self.library.items()
        ]
        for body, where in bodies:
            for node in body.values():
                if node.op in _EVALUATED and _is_constant(node, body):
                    outside.ensure_inside([node], self.allowed, where)


def _reached(
    nodes: Mapping[str, node_def_pb2.NodeDef], roots: Iterable[str], fed: frozenset[str]
) -> Iterator[node_def_pb2.NodeDef]:
    """What a session runs to compute ``roots``, where ``fed`` tensors are given."""
    seen: set[str] = set()
    pending = [root for root in roots if root]
    while pending:
        tensor = pending.pop()
        name = node_of(tensor)
        if name in seen or name not in nodes:
            continue
        if not is_control(tensor) and full(tensor) in fed:
            continue
        seen.add(name)
        yield nodes[name]
        pending += nodes[name].input


def _origin(
    tensor: str, nodes: Mapping[str, node_def_pb2.NodeDef], known: Mapping[str, _Origin]
) -> _Origin | None:
    """Where a file name comes from, if nothing on its way could make another of it.

    TF2 keeps the name of an asset in a variable, which an init op assigns. A function's argument
    may have the name of a node, whose outputs are written ``name:output:0`` there.
    """
    seen = set[str]()
    while tensor not in known:
        node = nodes.get(node_of(tensor))
        if node is None or node.name in seen or not node.input:
            return None
        seen.add(node.name)
        tensor = node.input[0]
        if node.op == "ReadVariableOp":
            assigned = _assigned(node_of(tensor), nodes)
            tensor = assigned[0] if len(assigned) == 1 else ""
        elif node.op not in _PASSES:
            return None
    return known[tensor]


def _assigned(variable: str, nodes: Mapping[str, node_def_pb2.NodeDef]) -> list[str]:
    """The tensors that are assigned to a variable."""
    return [
        node.input[1]
        for node in nodes.values()
        if node.op == "AssignVariableOp"
        and len(node.input) > 1
        and node_of(node.input[0]) == variable
    ]


def _is_constant(node: node_def_pb2.NodeDef, body: Mapping[str, node_def_pb2.NodeDef]) -> bool:
    """Whether all that a node needs is constant; a function's arguments are no nodes of its."""
    pending, seen = list(node.input), set[str]()
    while pending:
        name = node_of(pending.pop())
        if name in seen:
            continue
        seen.add(name)
        if name not in body or body[name].op.startswith(_VARIES):
            return False
        pending += body[name].input
    return True


def _run_by_objects(
    source: GraphSource, library: Mapping[str, function_pb2.FunctionDef]
) -> Iterator[tuple[function_pb2.FunctionDef, tuple[_Origin | None, ...]]]:
    """The functions that ``tf.saved_model.load`` runs or hands out as signatures.

    Each with where its arguments come from: the last are what it captured.
    """
    graph = source.meta_graph.object_graph_def
    others = source.meta_graph.signature_def.keys() - {s.name for s in source.signatures}
    count = len(graph.nodes)
    wanted: list[int] = []
    for number, node in enumerate(graph.nodes):
        children = {c.local_name: c.node_id for c in node.children}
        wanted += [children[name] for name in sorted(_RESOURCE_FUNCTIONS & children.keys())]
        for saveable in node.saveable_objects.values():
            wanted += [saveable.save_function, saveable.restore_function]
        if number == 0 and 0 <= children.get("signatures", -1) < count:
            served = graph.nodes[children["signatures"]].children
            wanted += [c.node_id for c in served if c.local_name not in others]
    for number in wanted:
        if not 0 <= number < count:
            continue
        node = graph.nodes[number]
        names = [
            *node.function.concrete_functions,
            node.bare_concrete_function.concrete_function_name,
        ]
        for name in filter(library.__contains__, names):
            function = library[name]
            captured = [
                _Origin.ASSET
                if 0 <= i < count and graph.nodes[i].WhichOneof("kind") == "asset"
                else None
                for i in graph.concrete_functions[name].bound_inputs
            ]
            own = max(len(function.signature.input_arg) - len(captured), 0)
            yield function, (*[None] * own, *captured)
