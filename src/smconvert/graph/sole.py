"""The one signature of a model, for formats that hold just one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from smconvert.errors import SmconvertError, UsageError
from smconvert.graph import tf_internals
from smconvert.graph.freeze import freeze
from smconvert.graph.library import references
from smconvert.graph.names import is_control, node_of, port_of
from smconvert.graph.protos import attr_value_pb2, function_pb2, graph_pb2
from smconvert.model import DEFAULT_SIGNATURE, CanonicalModel, Signature


def sole_signature(model: CanonicalModel, target: str) -> Signature:
    """The model's signature; several that compute the same count as one.

    Keras exports ``serve`` and ``serving_default``, Estimators ``predict`` and ``serving_default``,
    for what is one computation.

    Raises:
        UsageError: there are several, or none.
    """
    signatures = list(model.signatures.values())
    if not signatures:
        raise UsageError("the model has no signature", hint="name --inputs and --outputs")
    if any(len({same(s) for s in signatures}) == 1 for same in (_identity, _computed)):
        return model.signatures.get(DEFAULT_SIGNATURE, signatures[0])
    raise UsageError(
        f"{target} holds one signature, and the model has {len(signatures)}",
        where=", ".join(model.signatures),
        hint="choose one with --signature NAME",
    )


def _identity(signature: Signature) -> object:
    """Equal for signatures with the same names and the same graph over the same captures."""
    function = signature.function
    outer = function.captured_inputs
    inner = function.inputs[len(function.inputs) - len(outer) :]
    names = {i.op.name: f"captured {id(o)}" for i, o in zip(inner, outer, strict=True)}
    keywords = tf_internals.argument_keywords(function)
    names |= {t.op.name: k for t, k in zip(function.inputs, keywords, strict=False)}
    digests = computation(function.graph.as_graph_def(), names)
    ends = tuple(f"{digests[t.op.name]}:{t.value_index}" for t in function.outputs)
    return _ends(signature), ends


def _computed(signature: Signature) -> object:
    """Equal for signatures with the same names and the same computation, however it is called."""
    try:
        frozen = freeze(signature)
    except SmconvertError:
        return signature.name
    digests = computation(frozen.graph, {})
    return _ends(signature), tuple(sorted(digests[node_of(o.tensor or "")] for o in frozen.outputs))


def _ends(signature: Signature) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (
        tuple(sorted(i.name for i in signature.inputs)),
        tuple(sorted(o.name for o in signature.outputs)),
    )


def computation(graph: graph_pb2.GraphDef, names: Mapping[str, str]) -> Mapping[str, str]:
    """By node, a digest of what it computes from placeholders, whatever the nodes are called.

    Args:
        graph: In topological order.
        names: Of placeholders, where they count under another name than their own.
    """
    library = {f.signature.name: f for f in graph.library.function}
    digests: dict[str, str] = {}
    for node in graph.node:
        digest = hashlib.sha256(node.op.encode())
        if node.op.startswith("Placeholder") or node.op in {"NextIteration", "HashTableV2"}:
            digest.update(names.get(node.name, node.name).encode())
        for key in sorted(node.attr):
            if not key.startswith("_"):
                digest.update(key.encode())
                digest.update(_value(node.attr[key], library))
        for name in node.input:
            part = digests.get(node_of(name), node_of(name))
            digest.update(f"{is_control(name)}{part}:{port_of(name)}".encode())
        digests[node.name] = digest.hexdigest()
    return digests


def _value(
    value: attr_value_pb2.AttrValue, library: Mapping[str, function_pb2.FunctionDef]
) -> bytes:
    """An attribute's content, with the bodies of functions in place of their names."""
    named = attr_value_pb2.AttrValue()
    named.CopyFrom(value)
    for called in (*([named.func] if named.HasField("func") else ()), *named.list.func):
        if called.name in library:
            called.name = _body(library[called.name], library)
    return named.SerializeToString(deterministic=True)


def _body(
    function: function_pb2.FunctionDef, library: Mapping[str, function_pb2.FunctionDef]
) -> str:
    plain = function_pb2.FunctionDef()
    plain.CopyFrom(function)
    plain.signature.name = ""
    plain.attr.clear()
    plain.arg_attr.clear()
    for node in plain.node_def:
        node.ClearField("experimental_debug_info")
        for key in list(node.attr):
            if key.startswith("_"):
                del node.attr[key]
        for reference in references(node):
            if reference.name in library:
                reference.name = _body(library[reference.name], library)
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()
