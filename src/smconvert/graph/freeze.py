"""A signature as one self-contained GraphDef: variables become constants, calls are inlined.

Tables keep their node; their contents are read from the live table and handed over beside the
graph, so that each exporter can write them in its own way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smconvert.errors import ConversionError
from smconvert.graph import tf_internals
from smconvert.graph.cut import placeholder
from smconvert.graph.library import named_by_use
from smconvert.graph.names import (
    full,
    is_control,
    legal_names,
    node_of,
    port_of,
    short,
    unused_name,
)
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.simplify import without_idle_edges
from smconvert.graph.weights import Weight, kept_out, values_for_handles, weight_of
from smconvert.graph.writes import without_unseen_writes
from smconvert.model import Array, DType, Signature, TensorInfo

LOG = logging.getLogger(__name__)

MAX_BYTES = 1_900_000_000
"""What TensorFlow takes in one graph, with room for the rest of it."""

KEPT_OUT_BYTES = 1 << 16
"""Smaller values stay in the graph, where they can be looked at."""

"""Constants live in one protobuf, which ends at 2 GiB; the rest is for the nodes."""

_LOOKUPS = frozenset({"LookupTableFindV2", "LookupTableSizeV2"})
NODE_FORMS = frozenset({"Placeholder", "PlaceholderWithDefault"})


@dataclass(frozen=True)
class FrozenTable:
    """The contents of a table node: keys and values, each of shape [n]."""

    node: str
    key_dtype: DType
    value_dtype: DType
    keys: Array
    values: Array


@dataclass(frozen=True)
class FrozenGraph:
    """A graph that needs nothing beside it but its tables and weights.

    Attributes:
        graph: Placeholders, constants and ops; table nodes are ``HashTableV2``.
        inputs: In the signature's order; each names its placeholder's tensor.
        outputs: In the signature's order; each names its Identity's tensor.
        tables: The contents of the table nodes.
        weights: What is kept out of the graph; each names its placeholder.
        nodes_before: Number of nodes of the signature's graph, function bodies included.
        changes: One sentence for each thing that the signature does and the graph does not.
    """

    graph: graph_pb2.GraphDef
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    tables: tuple[FrozenTable, ...]
    weights: tuple[Weight, ...]
    nodes_before: int
    changes: tuple[str, ...] = ()


def whole(frozen: FrozenGraph) -> FrozenGraph:
    """The same with its weights in the graph, as constants.

    Raises:
        ConversionError: they exceed 2 GiB.
    """
    size = sum(weight.bytes for weight in frozen.weights)
    if size > MAX_BYTES:
        raise ConversionError(
            f"the weights take {size / 1e9:.1f} GB, and one frozen graph holds 2 GB",
            hint="convert to a SavedModel, or to ONNX",
        )
    weights = {weight.node: weight for weight in frozen.weights}
    graph = graph_pb2.GraphDef()
    graph.CopyFrom(frozen.graph)
    for node in graph.node:
        if node.name in weights:
            after = list(node.input)
            node.CopyFrom(weights[node.name].constant())
            node.input.extend(after)
    return replace(frozen, graph=graph, weights=())


def freeze(signature: Signature) -> FrozenGraph:
    """Freezes a signature; input and output nodes are named as the signature names them.

    Raises:
        ConversionError: it changes variables while it runs; or loops and functions take variables
            of more than 2 GiB.
    """
    before = signature.function.graph.as_graph_def()
    nodes_before = len(before.node) + sum(len(f.node_def) for f in before.library.function)
    function, changes = without_unseen_writes(signature)
    graph, weights = _valued(signature, function)
    graph = without_idle_edges(graph)
    for node in graph.node:
        node.attr.pop("_output_shapes", None)
        node.attr.pop("_user_specified_name", None)
        node.attr.pop("_class", None)
        node.device = ""
    tables = tuple(_tables(graph, function, {weight.node for weight in weights}))
    inputs, outputs = _endpoints(signature, function)
    stable = dict(_variable_names(function))
    graph, inputs, outputs, renamed = _renamed(graph, inputs, outputs, stable)
    tables = tuple(replace(t, node=renamed.get(t.node, t.node)) for t in tables)
    return FrozenGraph(
        named_by_use(_sorted(graph)),
        inputs,
        outputs,
        tables,
        tuple(replace(w, node=renamed.get(w.node, w.node)) for w in weights),
        nodes_before,
        changes,
    )


def _valued(signature: Signature, function: Any) -> tuple[graph_pb2.GraphDef, list[Weight]]:
    """The function's graph with its calls inlined and values for its variables."""
    variables = {id(v.handle): v for v in function.graph.variables}
    handles = {
        inner.op.name: variables[id(outer)]
        for inner, outer in _captures(function)
        if id(outer) in variables
    }
    graph = graph_pb2.GraphDef()
    graph.CopyFrom(function.graph.as_graph_def())
    if graph.library.function:
        names = [t.name for t in (*function.inputs, *function.outputs)]
        graph = tf_internals.inline(graph, names)
    weights = [weight_of(name, variable) for name, variable in handles.items()]
    weights += [
        Weight(i.op.name, DType.from_label(o.dtype.name), tuple(o.shape.as_list()), o.numpy)
        for i, o in _captures(function)
        if o.dtype.is_numpy_compatible
    ]
    valued = values_for_handles(graph, handles)
    if valued is not None:
        return kept_out(valued, weights, KEPT_OUT_BYTES)
    size = sum(weight.bytes for weight in weights)
    if size > MAX_BYTES:
        raise ConversionError(
            f"loops and functions take variables of {size / 1e9:.1f} GB, and a graph holds 2 GB",
            where=f"signature {signature.name}",
            hint="convert to a SavedModel",
        )
    LOG.info("the values are read at once: loops or functions take variables")
    for variable in handles.values():
        tf_internals.ensure_initialized(variable)
    graph.CopyFrom(tf_internals.variables_to_constants(function).graph.as_graph_def())
    return kept_out(graph, [], KEPT_OUT_BYTES)


def _captures(function: Any) -> Iterator[tuple[Any, Any]]:
    """Each captured tensor: inside the graph and outside it."""
    outer = function.captured_inputs
    yield from zip(function.inputs[len(function.inputs) - len(outer) :], outer, strict=True)


def _variable_names(function: Any) -> Iterator[tuple[str, str]]:
    """The name inside the graph of each captured variable and table, with a stable one."""
    by_handle = {id(v.handle): v.name.partition(":")[0] for v in function.graph.variables}
    for number, (tensor, handle) in enumerate(_captures(function)):
        yield tensor.op.name, by_handle.get(id(handle), f"table_{number}")


def _endpoints(
    signature: Signature, function: Any
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """The signature's inputs and outputs with their tensors in the frozen graph."""
    keywords = tf_internals.argument_keywords(function)
    feeds = dict(zip(keywords, function.inputs, strict=False))
    names = sorted(function.structured_outputs)
    fetches = dict(zip(names, function.outputs, strict=True))
    return (
        tuple(replace(i, tensor=feeds[signature.keyword(i.name)].name) for i in signature.inputs),
        tuple(replace(o, tensor=fetches[o.name].name) for o in signature.outputs),
    )


def _tables(graph: graph_pb2.GraphDef, function: Any, weights: Set[str]) -> Iterator[FrozenTable]:
    """Puts a HashTableV2 in place of each captured table, and reads its contents."""
    import tensorflow as tf

    captured = {i.op.name: o for i, o in _captures(function) if i.op.name not in weights}
    for number, node in enumerate(graph.node):
        if node.op != "Placeholder" or node.name not in captured:
            continue
        types = _lookup_types(graph, node.name)
        if types is None:
            raise ConversionError(
                "the model uses a resource that cannot be frozen", where=f"node {node.name}"
            )
        key, value = types
        try:
            keys, values = tf.raw_ops.LookupTableExportV2(
                table_handle=captured[node.name], Tkeys=key.label, Tvalues=value.label
            )
        except tf.errors.OpError as error:
            raise ConversionError(
                f"a table cannot be read: {str(error).splitlines()[0][:200]}",
                where=f"node {node.name}",
            ) from error
        order = np.argsort(keys.numpy(), kind="stable")
        node.op = "HashTableV2"
        node.attr.clear()
        node.attr["key_dtype"].type = key.number
        node.attr["value_dtype"].type = value.number
        node.attr["shared_name"].s = f"table_{number}_of_{len(order)}".encode()
        yield FrozenTable(node.name, key, value, keys.numpy()[order], values.numpy()[order])


def _lookup_types(graph: graph_pb2.GraphDef, table: str) -> tuple[DType, DType] | None:
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        if node.op not in _LOOKUPS or "Tin" not in node.attr:
            continue
        name = node_of(node.input[0])
        while name != table and nodes[name].op in {"Identity", "Enter", "Switch", "Merge"}:
            name = node_of(nodes[name].input[0])
        if name == table:
            return tuple(DType.from_number(node.attr[k].type) for k in ("Tin", "Tout"))  # type: ignore[return-value]
    return None


def _renamed(
    graph: graph_pb2.GraphDef,
    inputs: tuple[TensorInfo, ...],
    outputs: tuple[TensorInfo, ...],
    variables: Mapping[str, str],
) -> tuple[graph_pb2.GraphDef, tuple[TensorInfo, ...], tuple[TensorInfo, ...], dict[str, str]]:
    """Names the placeholders and output nodes as the signature names inputs and outputs.

    Constants that were variables get the variable's name: captures are named by a counter that
    differs from run to run.
    """
    kept = legal_names([i.name for i in inputs])
    ends = legal_names([o.name for o in outputs], kept.values())
    names = {node_of(i.tensor or ""): kept[i.name] for i in inputs}
    wanted = {*kept.values(), *ends.values()}
    taken = {node.name for node in graph.node} | wanted
    for node in graph.node:
        if node.name in wanted and node.name not in names:
            names[node.name] = unused_name(node.name, taken)
            taken.add(names[node.name])

    for node in graph.node:
        if node.name in variables and node.name not in names:
            names[node.name] = unused_name(variables[node.name], taken, "/value_")
            taken.add(names[node.name])

    def renamed(tensor: str) -> str:
        node = names.get(node_of(tensor), node_of(tensor))
        return f"^{node}" if is_control(tensor) else short(f"{node}:{port_of(tensor)}")

    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    shapes = {node_of(i.tensor or ""): i for i in inputs}
    for node in graph.node:
        copy = result.node.add()
        # Freezing loses an unknown rank, which then reads as a scalar.
        copy.CopyFrom(
            placeholder(node.name, shapes[node.name].dtype, shapes[node.name].shape)
            if node.name in shapes
            else node
        )
        copy.name = names.get(node.name, node.name)
        del copy.input[:]
        copy.input.extend(renamed(i) for i in node.input)
    for output in outputs:
        identity = result.node.add(name=ends[output.name], op="Identity")
        identity.input.append(renamed(output.tensor or ""))
        identity.attr["T"].type = output.dtype.number
    _drop_doubled_identities(result, set(ends.values()))
    return (
        result,
        tuple(replace(i, tensor=full(kept[i.name])) for i in inputs),
        tuple(replace(o, tensor=full(ends[o.name])) for o in outputs),
        names,
    )


def _drop_doubled_identities(graph: graph_pb2.GraphDef, ends: set[str]) -> None:
    """Lets an output take its value where an Identity that nothing else uses takes it."""
    nodes = {node.name: node for node in graph.node}
    uses: dict[str, int] = {}
    for node in graph.node:
        for i in node.input:
            uses[node_of(i)] = uses.get(node_of(i), 0) + 1
    gone = set()
    for node in graph.node:
        while node.name in ends:
            source = nodes[node_of(node.input[0])]
            if source.op != "Identity" or uses[source.name] > 1 or source.name in ends:
                break
            if len(source.input) > 1:
                break
            gone.add(source.name)
            node.input[0] = source.input[0]
    kept = [_copy(node) for node in graph.node if node.name not in gone]
    del graph.node[:]
    graph.node.extend(kept)


def _sorted(graph: graph_pb2.GraphDef) -> graph_pb2.GraphDef:
    """The nodes in topological order, which does not depend on how they were found."""
    nodes = {node.name: node for node in graph.node}
    state: dict[str, bool] = {}
    order: list[str] = []
    for start in sorted(nodes, key=lambda n: (nodes[n].op not in NODE_FORMS, n)):
        stack = [(start, iter(_inputs_of(nodes[start])))]
        if start in state:
            continue
        state[start] = False
        while stack:
            name, inputs = stack[-1]
            following = next((i for i in inputs if i in nodes and i not in state), None)
            if following is None:
                stack.pop()
                order.append(name)
            else:
                state[following] = False
                stack.append((following, iter(_inputs_of(nodes[following]))))
    result = graph_pb2.GraphDef()
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    result.node.extend(nodes[name] for name in order)
    return result


def _inputs_of(node: node_def_pb2.NodeDef) -> list[str]:
    return [node_of(i) for i in node.input]


def _copy(node: node_def_pb2.NodeDef) -> node_def_pb2.NodeDef:
    copy = node_def_pb2.NodeDef()
    copy.CopyFrom(node)
    return copy
