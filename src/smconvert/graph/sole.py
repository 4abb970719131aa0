"""The one signature of a model, for formats that hold just one."""

from __future__ import annotations

import hashlib

from smconvert.errors import SmconvertError, UsageError
from smconvert.graph.freeze import freeze
from smconvert.graph.names import is_control, node_of, port_of
from smconvert.graph.protos import graph_pb2
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
    if len(signatures) == 1 or len({_identity(s) for s in signatures}) == 1:
        return model.signatures.get(DEFAULT_SIGNATURE, signatures[0])
    raise UsageError(
        f"{target} holds one signature, and the model has {len(signatures)}",
        where=", ".join(model.signatures),
        hint="choose one with --signature NAME",
    )


def _identity(signature: Signature) -> object:
    """Equal for signatures with the same names and the same computation."""
    names = (
        tuple(sorted(i.name for i in signature.inputs)),
        tuple(sorted(o.name for o in signature.outputs)),
    )
    try:
        frozen = freeze(signature)
    except SmconvertError:
        return signature.name
    ends = sorted(node_of(o.tensor or "") for o in frozen.outputs)
    return names, computation(frozen.graph, ends)


def computation(graph: graph_pb2.GraphDef, ends: list[str]) -> str:
    """A digest of what the nodes ``ends`` compute from placeholders, whatever nodes are called.

    ``graph`` is in topological order.
    """
    digests: dict[str, str] = {}
    for node in graph.node:
        digest = hashlib.sha256(node.op.encode())
        if node.op.startswith("Placeholder") or node.op in {"NextIteration", "HashTableV2"}:
            digest.update(node.name.encode())
        for key in sorted(node.attr):
            if not key.startswith("_"):
                digest.update(key.encode())
                digest.update(node.attr[key].SerializeToString(deterministic=True))
        for name in node.input:
            part = digests.get(node_of(name), node_of(name))
            digest.update(f"{is_control(name)}{part}:{port_of(name)}".encode())
        digests[node.name] = digest.hexdigest()
    return "".join(digests[end] for end in ends)
