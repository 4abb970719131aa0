"""Operator sets newer than tf2onnx writes, by ``onnx.version_converter``."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import defs, shape_inference, version_converter

from smconvert.errors import ConversionError
from smconvert_onnx.audit import STANDARD_DOMAINS
from smconvert_onnx.handlers.builder import NEXT
from smconvert_onnx.walk import every_node, subgraphs


class NotRaised(ConversionError):
    """A model that cannot be said in a newer operator set, and can in the one that it has."""


def raised(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model in a newer operator set, with the IR version that this needs.

    Raises:
        NotRaised: an op changed its meaning, and the converter has no way over.
    """
    version = next(o.version for o in model.opset_import if not o.domain)
    if opset <= version:
        return model
    for node in _nested(model.graph):
        # The version converter passes over what lies in subgraphs.
        if not node.domain and not _is_the_same(node.op_type, version, opset):
            raise NotRaised(
                f"{node.op_type} in a loop or branch is another op in opset {opset}",
                where=f"node {node.name}",
                hint=f"--opset {version}",
            )
    model.graph.value_info.extend(_of_newer_ops(model, opset))
    try:
        result = version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, version_converter.ConvertError) as error:
        raise NotRaised(
            f"the model cannot be raised to opset {opset}: {str(error).splitlines()[-1][:200]}",
            hint=f"--opset {version}",
        ) from error
    for node in every_node(result.graph):
        if node.domain == NEXT:
            node.domain = ""
    del result.graph.value_info[:]
    kept = [o for o in result.opset_import if o.domain != NEXT]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    standard = [o for o in result.opset_import if o.domain in STANDARD_DOMAINS]
    result.ir_version = onnx.helper.find_min_ir_version_for(standard)
    return result


def _of_newer_ops(model: onnx.ModelProto, opset: int) -> list[onnx.ValueInfoProto]:
    """The types of what newer ops give: without them the version converter crashes on LabelEncoder.

    It cannot work them out itself, for the ops are in no operator set that it knows.
    """
    made = {name for n in model.graph.node if n.domain == NEXT for name in n.output}
    if not made:
        return []
    newer = onnx.ModelProto.FromString(model.SerializeToString())
    for node in every_node(newer.graph):
        if node.domain == NEXT:
            node.domain = ""
    for entry in newer.opset_import:
        if not entry.domain:
            entry.version = opset
    inferred = shape_inference.infer_shapes(newer)
    return [value for value in inferred.graph.value_info if value.name in made]


def _nested(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        for inner in subgraphs(node):
            yield from inner.node
            yield from _nested(inner)


def _is_the_same(op: str, old: int, new: int) -> bool:
    """Whether a node of the old version means the same in the new one: other types at most."""
    before, after = defs.get_schema(op, old), defs.get_schema(op, new)
    if before.since_version == after.since_version:
        return True
    inputs = [i.name for i in before.inputs]
    return (
        not after.deprecated
        and [i.name for i in after.inputs[: len(inputs)]] == inputs
        and all(
            name in after.attributes
            and after.attributes[name].default_value == attribute.default_value
            for name, attribute in before.attributes.items()
        )
    )
