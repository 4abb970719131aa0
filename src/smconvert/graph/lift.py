"""From a graph as data to the canonical model.

For each signature: cut the graph at feeds and fetches, refuse what cannot be imported, turn
references into resources, bind variables and tables, and import the rest as
one concrete function with named inputs and outputs. Variables and tables are shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smconvert.converters import SourceOptions
from smconvert.errors import ConversionError, UsageError
from smconvert.graph.constants import constant
from smconvert.graph.cut import CutGraph, cut
from smconvert.graph.function import build
from smconvert.graph.loading import ensure_harmless
from smconvert.graph.names import keywords, nearest, node_of
from smconvert.graph.ops import ensure_importable, fetched_type, load_libraries
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.references import to_resources
from smconvert.graph.source import GraphSource
from smconvert.graph.tables import MUTABLE, STATIC, Tables
from smconvert.graph.unwrap import unwrapped
from smconvert.graph.variables import Variables
from smconvert.model import (
    CanonicalModel,
    DType,
    Provenance,
    Signature,
    SignatureInfo,
    TensorInfo,
)

if TYPE_CHECKING:
    import tensorflow as tf


def lift(source: GraphSource, options: SourceOptions, *, live: bool = True) -> CanonicalModel:
    """Builds the canonical model of a graph.

    Without ``live``, its variables know where their values are, and do not hold them.

    Raises:
        SourceError: variables or assets are missing or do not fit.
        UsageError: a name does not fit the graph.
        ConversionError: the graph needs Python code, unknown ops or what cannot be tracked.
    """
    import tensorflow as tf

    ensure_harmless(source, options.allowed_ops)
    load_libraries(options.op_libraries)
    graph = source.meta_graph.graph_def
    fixed = _fixed(graph, options.fixed_inputs)
    variables = Variables(source, options.variable_map, live=live)
    tables = Tables(source)
    signatures: dict[str, Signature] = {}
    changes: list[str] = []
    stripped = source.meta_graph.meta_info_def.stripped_op_list
    for declared in source.signatures:
        typed = _typed(graph, declared)
        part = cut(graph, typed, fixed)
        ensure_importable(part.graph, options.allowed_ops)
        part = unwrapped(replace(part, graph=to_resources(part.graph)))
        bound = _Bound.of(part, variables, tables)
        function = _function(part, bound, typed, stripped)
        signatures[typed.name] = _signature(typed, function)
        changes += [c for c in bound.changes if c not in changes]
    module = tf.Module()
    module.variables_by_name = dict(variables.made)
    module.tables = list(tables.made.values())
    if options.cut_examples:
        changes.append("starts after the tf.Example parser: each feature is an input")
    changes += [f"{name} is fixed at {value}" for name, value in options.fixed_inputs.items()]
    return CanonicalModel(
        signatures,
        module,
        Provenance(
            source=str(source.path),
            format=source.format,
            tags=tuple(sorted(source.meta_graph.meta_info_def.tags)),
            producer=source.meta_graph.meta_info_def.tensorflow_version or None,
            changes=tuple(changes),
        ),
    )


class _Bound:
    """The eager resources that take the place of a cut graph's handle nodes."""

    def __init__(self, variables: Mapping[str, tf.Variable], tables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.tables = tables
        self.changes: list[str] = []

    @classmethod
    def of(cls, part: CutGraph, variables: Variables, tables: Tables) -> _Bound:
        nodes = list(part.graph.node)
        bound = cls(
            {n.name: variables.of(n) for n in nodes if n.op == "VarHandleOp"},
            {n.name: tables.of(n) for n in nodes if n.op in STATIC | MUTABLE},
        )
        if any(n.op == "Enter" for n in nodes):
            bound.changes.append("V1 loops are kept, and gradients do not flow through them")
        return bound

    @property
    def handles(self) -> dict[str, Any]:
        """Node name to the eager handle that takes its place."""
        return {
            **{name: v.handle for name, v in self.variables.items()},
            **{name: t.resource_handle for name, t in self.tables.items()},
        }


def _function(part: CutGraph, bound: _Bound, signature: SignatureInfo, stripped: Any) -> Any:
    import tensorflow as tf

    names = keywords([info.name for info in signature.inputs])
    try:
        return build(
            part.graph,
            {names[name]: node for name, node in part.inputs.items()},
            {name: f"{node}:0" for name, node in part.outputs.items()},
            bound.handles,
            bound.variables.values(),
            stripped if len(stripped.op) else None,
        )
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise ConversionError(
            f"TensorFlow does not accept the graph: {str(error).splitlines()[0][:300]}",
            where=f"signature {signature.name}",
        ) from error


def _typed(graph: graph_pb2.GraphDef, declared: SignatureInfo) -> SignatureInfo:
    """The signature with the types that the graph really has."""

    def typed(info: TensorInfo) -> TensorInfo:
        dtype = fetched_type(graph, info.tensor or info.name, info.name)
        return info if dtype is info.dtype else replace(info, dtype=dtype)

    return replace(
        declared,
        inputs=tuple(map(typed, declared.inputs)),
        outputs=tuple(map(typed, declared.outputs)),
    )


def _signature(info: SignatureInfo, function: Any) -> Signature:
    """The signature with the shapes that the built graph knows."""
    feeds = function.structured_input_signature[1]
    fetches = function.structured_outputs
    taken = keywords([i.name for i in info.inputs])

    def shaped(tensor: TensorInfo, shape: Any) -> TensorInfo:
        known = None if shape.rank is None else tuple(shape.as_list())
        return replace(tensor, shape=known)

    return Signature(
        info.name,
        tuple(shaped(i, feeds[taken[i.name]].shape) for i in info.inputs),
        tuple(shaped(o, fetches[o.name].shape) for o in info.outputs),
        info.method,
        function=function,
        keywords=taken,
    )


def _fixed(graph: graph_pb2.GraphDef, values: Mapping[str, Any]) -> dict[str, node_def_pb2.NodeDef]:
    """A Const in place of each placeholder that the user fixes.

    Raises:
        UsageError: there is no such placeholder, or the value does not fit it.
    """

    placeholders = {n.name: n for n in graph.node if n.op.startswith("Placeholder")}
    found = {}
    for tensor, value in values.items():
        name = node_of(tensor)
        if name not in placeholders:
            close = nearest(name, placeholders) or sorted(placeholders)[:5]
            raise UsageError(
                f"the graph has no placeholder {name!r}",
                where="--set",
                hint=f"it has {', '.join(close)}" if close else None,
            )
        dtype = DType.from_number(placeholders[name].attr["dtype"].type)
        try:
            array = np.asarray(value).astype(dtype.numpy)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{value!r} is no {dtype.label}", where=f"--set {name}") from error
        found[name] = constant(name, array, dtype)
    return found
