"""Whether a model is ONNX: before the conversion by its ops, after it by every node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import onnx
from onnx import checker, defs, shape_inference

from smconvert.errors import ConversionError
from smconvert.graph.freeze import FrozenGraph
from smconvert.graph.ops import nodes_of
from smconvert.graph.signatures import PARSERS
from smconvert.model import DType
from smconvert_onnx.walk import every_node

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_EXACT_TEXT = frozenset(
    d.number for d in (DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8)
)
"""Types whose text is the same in TensorFlow and in ONNX Runtime."""

_HASHES = ("StringToHashBucket", "Fingerprint")


def ensure_convertible(frozen: FrozenGraph) -> None:
    """Refuses ops that ONNX certainly cannot say, before any work.

    Raises:
        ConversionError: naming op, node, and the nearest way out.
    """
    for node in nodes_of(frozen.graph):
        if node.op in PARSERS:
            raise ConversionError(
                "the signature parses tf.Example protos, which ONNX cannot",
                where=f"node {node.name} ({node.op})",
                hint="--cut-examples starts after the parser: each feature becomes an input",
            )
        if node.op == "AsString" and node.attr["T"].type not in _EXACT_TEXT:
            raise ConversionError(
                "the signature writes floating point numbers as text, which ONNX Runtime does in "
                "another form",
                where=f"node {node.name} (AsString)",
                hint="choose --outputs before it; or convert to a SavedModel",
            )
        if node.op.startswith(_HASHES):
            raise ConversionError(
                f"the signature hashes strings ({node.op}), which ONNX cannot",
                where=f"node {node.name}",
                hint="feed the hashed ids instead: --inputs NAME=TENSOR; or convert to a "
                "SavedModel",
            )


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
    """Whether a standard operator set that the model declares has the node's op."""
    if node.domain not in STANDARD_DOMAINS or node.domain not in versions:
        return False
    try:
        return not defs.get_schema(node.op_type, versions[node.domain], node.domain).deprecated
    except defs.SchemaError:
        return False
