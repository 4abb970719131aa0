"""Whether a model is ONNX: before the conversion by its ops, after it by every node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import onnx
from onnx import checker, defs, shape_inference

from smconvert.errors import ConversionError
from smconvert.graph.ops import nodes_of
from smconvert.graph.protos import graph_pb2
from smconvert_onnx.handlers.builder import EXTENSIONS
from smconvert_onnx.support import FALLBACK, obstacles
from smconvert_onnx.walk import every_node

_LISTED = 5
"""How many of a kind an error names."""

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def ensure_convertible(graph: graph_pb2.GraphDef, *, extensions: bool = False) -> None:
    """Refuses what the table of ops says cannot be written, before any work.

    Args:
        graph: As it will be written: what depends on constants alone is folded.
        extensions: Whether ops of onnxruntime-extensions may be used.

    Raises:
        ConversionError: naming the ops, their nodes, why, and the nearest way out.
    """
    found = obstacles(nodes_of(graph), extensions=extensions)
    if not found:
        return
    where = "; ".join(f"{o.op} ({_listed(o.nodes)})" for o in found)
    if len(found) == 1:
        message = f"ONNX cannot say {found[0].op}: {found[0].why}"
    else:
        reasons = "; ".join(f"{o.op}: {o.why}" for o in found[:_LISTED])
        more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        message = f"ONNX cannot say {len(found)} of the model's ops: {reasons}{more}"
    hints = dict.fromkeys(o.hint for o in found if o.hint)
    raise ConversionError(message, where=where, hint="; ".join(hints) or FALLBACK)


def _listed(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - _LISTED} more" if len(nodes) > _LISTED else ""
    return f"node{'s' if len(nodes) > 1 else ''} {', '.join(nodes[:_LISTED])}{more}"


def ensure_valid(model: onnx.ModelProto) -> None:
    """Refuses a model with a node outside the operator sets it declares, or an invalid one.

    Raises:
        ConversionError: naming the node.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    foreign = [node for node in every_node(model.graph) if not _is_declared(node, versions)]
    if foreign:
        listed = ", ".join(f"{n.op_type} (node {n.name})" for n in foreign[:10])
        raise ConversionError(
            f"{len({n.op_type for n in foreign})} of the model's ops cannot be expressed in ONNX "
            f"(opset {versions.get('')})",
            where=listed,
            hint="convert to a SavedModel or a frozen graph; or choose --outputs before them",
        )
    try:
        with _every_shape(model.graph):
            checker.check_model(model)
        shape_inference.infer_shapes(model, check_type=True, strict_mode=False)
    except (checker.ValidationError, shape_inference.InferenceError, ValueError) as error:
        raise ConversionError(
            f"the ONNX model is not valid: {str(error).splitlines()[0][:300]}",
        ) from error


@contextmanager
def _every_shape(graph: onnx.GraphProto) -> Iterator[None]:
    """Gives inputs and outputs of unknown rank an empty shape for a while.

    The specification lets a shape be absent, and ONNX Runtime takes it; the checker does not.
    """
    shapeless = [
        value.type.tensor_type
        for value in (*graph.input, *graph.output)
        if not value.type.tensor_type.HasField("shape")
    ]
    for tensor_type in shapeless:
        tensor_type.shape.SetInParent()
    try:
        yield
    finally:
        for tensor_type in shapeless:
            tensor_type.ClearField("shape")


def _is_declared(node: onnx.NodeProto, versions: Mapping[str, int]) -> bool:
    """Whether an operator set that the model declares has the node's op."""
    if node.domain == EXTENSIONS:
        return EXTENSIONS in versions
    if node.domain not in STANDARD_DOMAINS or node.domain not in versions:
        return False
    try:
        return not defs.get_schema(node.op_type, versions[node.domain], node.domain).deprecated
    except defs.SchemaError:
        return False
