"""What a written model says of itself, in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx

from smconvert_onnx.handlers.builder import EXTENSIONS
from smconvert_onnx.walk import every_node

METADATA = "smconvert"
"""The key; the value is JSON."""


def output_names(model: onnx.ModelProto) -> Mapping[str, str]:
    """The signature's output to the graph's, where an input had taken the name.

    Empty for models that others wrote, and where the metadata does not fit the graph.
    """
    written = next((p.value for p in model.metadata_props if p.key == METADATA), "")
    try:
        facts = json.loads(written)
    except (ValueError, RecursionError):
        return {}
    names = facts.get("output_names") if isinstance(facts, dict) else None
    outputs = {value.name for value in model.graph.output}
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        return {}
    fits = set(names.values()) <= outputs and not names.keys() & outputs
    return names if fits else {}


def uses_extensions(model: onnx.ModelProto) -> bool:
    """Whether a model needs the ops of onnxruntime-extensions."""
    return any(node.domain == EXTENSIONS for node in every_node(model.graph))
