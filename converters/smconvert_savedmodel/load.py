"""Builds the canonical model of a SavedModel."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smconvert.converters import SourceOptions
from smconvert.errors import ConversionError, SourceError
from smconvert.graph.cut import reached_from, subgraph
from smconvert.graph.lift import lift
from smconvert.graph.loading import ensure_harmless
from smconvert.graph.ops import ensure_importable, load_libraries, makes_resource
from smconvert.graph.source import GraphSource
from smconvert.graph.variables import Variables
from smconvert.model import CanonicalModel, Provenance, Signature, SignatureInfo
from smconvert_savedmodel import manifest
from smconvert_savedmodel.source import is_object_based, read

LOG = logging.getLogger(__name__)
"""What ``--verbose`` shows."""


def load(path: Path, options: SourceOptions, *, live: bool = True) -> CanonicalModel:
    """The model.

    TF2's own loader is used where TF2 saved it, nothing is to be cut, and either its objects are to
    be ``live`` or the graph alone does not say what it computes.

    Raises:
        SourceError: a file is missing or damaged.
        UsageError: a name does not fit.
        ConversionError: it needs what cannot be had.
    """
    source = read(path, options)
    cut = options.inputs or options.outputs or options.cut_examples or options.fixed_inputs
    signed = is_object_based(source.meta_graph) and source.meta_graph.signature_def
    if not signed or cut:
        return lift(source, options, live=live)
    foreign = None if live else _foreign(source, options)
    if live or foreign is not None:
        if foreign is not None:
            LOG.info("TensorFlow loads the whole model: %s is no variable of its files", foreign)
        return _objects(source, options)
    return lift(source, options, live=False)


def _foreign(source: GraphSource, options: SourceOptions) -> str | None:
    """A resource that the signatures take and that is no variable of the checkpoint: its node."""
    fetches = [o.tensor for s in source.signatures for o in s.outputs if o.tensor]
    variables = Variables(source, options.variable_map)
    for node in reached_from(source.meta_graph.graph_def, fetches):
        if variables.known(node) if node.op == "VarHandleOp" else not makes_resource(node.op):
            continue
        return f"{node.name} ({node.op})"
    return None


def _objects(source: GraphSource, options: SourceOptions) -> CanonicalModel:
    import tensorflow as tf

    ensure_harmless(source, options.allowed_ops)
    load_libraries(options.op_libraries)
    ensure_importable_functions(source, options)
    moved = manifest.keywords(source.path)
    tags = sorted(source.meta_graph.meta_info_def.tags)
    try:
        loaded = tf.saved_model.load(str(source.path), tags=tags)
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        raise SourceError(
            f"TensorFlow cannot load the SavedModel: {str(error).splitlines()[0][:300]}",
            where=str(source.path),
            hint="its variables and assets must be there, whole",
        ) from error
    return CanonicalModel(
        {i.name: _signature(i, loaded, moved.get(i.name, {})) for i in source.signatures},
        loaded,
        Provenance(
            source=str(source.path),
            format=source.format,
            tags=tuple(tags),
            producer=source.meta_graph.meta_info_def.tensorflow_version or None,
        ),
    )


def ensure_importable_functions(source: GraphSource, options: SourceOptions) -> None:
    """Refuses what no target can hold, in the functions that the signatures reach."""
    fetches = [o.tensor for s in source.signatures for o in s.outputs if o.tensor]
    ensure_importable(subgraph(source.meta_graph.graph_def, fetches), options.allowed_ops)


def _signature(info: SignatureInfo, loaded: Any, moved: Mapping[str, Any]) -> Signature:
    function = loaded.signatures[moved.get("signature", info.name)]
    names = {i.name: moved.get("inputs", {}).get(i.name, i.name) for i in info.inputs}
    known = set(function.structured_input_signature[1])
    if known != set(names.values()):
        raise ConversionError(
            "TensorFlow gives the signature's inputs other names than the file does",
            where=f"signature {info.name}: {', '.join(sorted(known))}",
        )
    return Signature(
        info.name, info.inputs, info.outputs, info.method, function=function, keywords=names
    )
