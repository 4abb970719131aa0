"""What TensorFlow's own saver does not write as we want it, mended in ``saved_model.pb``.

1. SignatureDefs get the names, methods and defaults of the source; the saver takes only names
   that are legal in Python, and knows ``predict`` only.
2. For TF 1.15, what it does not know is taken out where it changes no value.
3. The fingerprint goes, since it is one of the file before these changes (TF makes it anew).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smconvert.errors import ConversionError
from smconvert.graph.names import is_control, node_of
from smconvert.graph.protos import (
    graph_pb2,
    meta_graph_pb2,
    node_def_pb2,
    saved_model_pb2,
    tensor_pb2,
)
from smconvert.model import Method, TensorInfo

FINGERPRINT = "fingerprint.pb"
_COPY_ON_READ = "DisableCopyOnRead"
_TF1_MISSING = frozenset(
    {
        "StatelessRandomUniformV2",
        "StatelessRandomNormalV2",
        "StatelessRandomGetKeyCounter",
    }
)


@dataclass(frozen=True)
class Renames:
    """What a saved signature is to become.

    Attributes:
        name: Its own name.
        method: Its method name.
        inputs: Keyword it was saved under to the input.
    """

    name: str
    method: str
    inputs: Mapping[str, TensorInfo]


def rewrite(folder: Path, renames: Mapping[str, Renames], *, for_tf1: bool) -> tuple[str, ...]:
    """Rewrites ``saved_model.pb``; ``renames`` is by the name each signature was saved under.

    Returns:
        One sentence for each thing that was changed for TF1.

    Raises:
        ConversionError: the graph needs an op that TF 1.15 does not have.
    """
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    changes: list[str] = []
    for meta_graph in saved.meta_graphs:
        _rename(meta_graph, renames)
        if for_tf1:
            changes += _for_tf1(meta_graph)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    (folder / FINGERPRINT).unlink(missing_ok=True)
    return tuple(changes)


def _rename(meta_graph: meta_graph_pb2.MetaGraphDef, renames: Mapping[str, Renames]) -> None:
    import tensorflow as tf

    definitions = {
        name: meta_graph_pb2.SignatureDef.FromString(definition.SerializeToString())
        for name, definition in meta_graph.signature_def.items()
        if name in renames
    }
    for name in definitions:
        del meta_graph.signature_def[name]
    for saved_name, definition in definitions.items():
        wanted = renames[saved_name]
        result = meta_graph.signature_def[wanted.name]
        result.CopyFrom(definition)
        result.method_name = wanted.method or Method.PREDICT.value
        result.inputs.clear()
        for keyword, info in definition.inputs.items():
            tensor = wanted.inputs[keyword]
            result.inputs[tensor.name].CopyFrom(info)
            if tensor.default is not None:
                value = tf.make_tensor_proto(tensor.default, tensor.dtype.label)
                result.defaults[tensor.name].CopyFrom(value)
                _give_default(meta_graph.graph_def, node_of(info.name), value)


def _give_default(graph: graph_pb2.GraphDef, name: str, value: tensor_pb2.TensorProto) -> None:
    """Makes a placeholder one with a default, for sessions, which know no signature defaults."""
    for node in graph.node:
        if node.name == name and node.op == "Placeholder":
            constant = graph.node.add(name=f"{name}/default", op="Const")
            constant.attr["dtype"].type = value.dtype
            constant.attr["value"].tensor.CopyFrom(value)
            node.op = "PlaceholderWithDefault"
            node.input.append(constant.name)
            for key in [k for k in node.attr if k not in {"dtype", "shape"}]:
                del node.attr[key]
            return


def _for_tf1(meta_graph: meta_graph_pb2.MetaGraphDef) -> Iterator[str]:
    graph = meta_graph.graph_def
    bodies = [graph.node, *(f.node_def for f in graph.library.function)]
    removed = 0
    for body in bodies:
        removed += _drop_copy_on_read(body)
        for node in body:
            if node.op in _TF1_MISSING:
                raise ConversionError(
                    f"TensorFlow 1.15 does not have the op {node.op}",
                    where=f"node {node.name}",
                    hint="leave --compat tf1 away",
                )
            if node.op == "VarHandleOp":
                node.attr.pop("debug_name", None)
    if removed:
        yield f"{removed} DisableCopyOnRead nodes are taken out for TF 1.15"


def _drop_copy_on_read(body: Any) -> int:
    """Takes the nodes out, together with the control edges on them."""
    gone = {node.name for node in body if node.op == _COPY_ON_READ}
    if not gone:
        return 0
    kept = []
    for node in body:
        if node.name in gone:
            continue
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(node)
        inputs = [i for i in node.input if not (is_control(i) and node_of(i) in gone)]
        del copy.input[:]
        copy.input.extend(inputs)
        kept.append(copy)
    del body[:]
    body.extend(kept)
    return len(gone)
