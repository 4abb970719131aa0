"""TensorFlow graphs run the TF1 way: imported whole into a Session, fed and fetched by name.

This is the reference for every TF1 source. It shares no code with the importers: TensorFlow's own
loader, saver and importer do the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from smconvert.converters import Executable
from smconvert.errors import RuntimeFailure
from smconvert.model import Array, DType
from smconvert.runtimes.places import Place
from smconvert.runtimes.tf_places import settle


class Tf1SessionRuntime:
    """Opens SavedModels, MetaGraphs and GraphDefs in ``tf.compat.v1`` sessions."""

    def open(self, executable: Executable, place: Place) -> Tf1Session:
        """A session with the graph's variables restored and its init op run."""
        settle(place)
        return Tf1Session(executable, place)


class Tf1Session:
    """A graph with a session on it."""

    def __init__(self, executable: Executable, place: Place) -> None:
        import tensorflow as tf

        self._signature = executable.signature
        self._settings = executable.settings
        for library in self._settings.get("op_libraries", ()):
            tf.load_op_library(library)
        self._graph = tf.Graph()
        with self._graph.as_default():
            config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
            if place.xla:
                config.graph_options.optimizer_options.global_jit_level = (
                    tf.compat.v1.OptimizerOptions.ON_2
                )
            self._session = tf.compat.v1.Session(graph=self._graph, config=config)
            _RESTORE[self._settings["graph"]](self._session, executable)
            init_op = self._settings.get("init_op")
            if init_op:
                self._session.run(self._graph.get_operation_by_name(init_op))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._session.close()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One ``session.run``."""
        fed = {self._signature.input(name).tensor: value for name, value in feeds.items()}
        for name, value in self._settings.get("fixed", {}).items():
            fed[name if ":" in name else f"{name}:0"] = value
        fetched = self._session.run({o.name: o.tensor for o in self._signature.outputs}, fed)
        return {
            o.name: np.asarray(fetched[o.name], dtype=object if o.dtype is DType.STRING else None)
            for o in self._signature.outputs
        }

    def placement(self) -> Mapping[str, int]:
        """Nothing: TensorFlow reports it only in traces."""
        return {}


def _restore_saved_model(session: Any, executable: Executable) -> None:
    import tensorflow as tf

    tf.compat.v1.saved_model.load(session, executable.settings["tags"], str(executable.path))


def _restore_meta_graph(session: Any, executable: Executable) -> None:
    import tensorflow as tf

    checkpoint = executable.settings.get("checkpoint")
    mapped = executable.settings.get("variable_map")
    meta = _read(executable.path, tf.compat.v1.MetaGraphDef)
    try:
        saver = tf.compat.v1.train.import_meta_graph(meta, clear_devices=True)
    except (ValueError, KeyError, TypeError):
        # The file holds what this TensorFlow cannot import; the outputs may not need it.
        saver = None
        _import(meta.graph_def, executable)
    if checkpoint and saver is not None and not mapped:
        saver.restore(session, _pattern(checkpoint))
    elif checkpoint:
        _assign(session, executable)
    known = {op.name for op in session.graph.get_operations()}
    session.run([name for name in executable.settings["initializers"] if name in known])


def _restore_graph(session: Any, executable: Executable) -> None:
    import tensorflow as tf

    _import(_read(executable.path, tf.compat.v1.GraphDef), executable)
    if executable.settings.get("checkpoint"):
        _assign(session, executable)


def _import(graph: Any, executable: Executable) -> None:
    import tensorflow as tf

    names = [str(o.tensor).partition(":")[0] for o in executable.signature.outputs]
    names += [str(i.tensor).partition(":")[0] for i in executable.signature.inputs]
    names += filter(None, [executable.settings.get("init_op")])
    for node in graph.node:
        node.attr.pop("_output_shapes", None)
        node.device = ""
    library = graph.library
    needed = tf.compat.v1.graph_util.extract_sub_graph(graph, names)
    needed.library.CopyFrom(library)
    tf.import_graph_def(needed, name="")


def _assign(session: Any, executable: Executable) -> None:
    """Gives each variable the checkpoint's value under its own or its mapped name."""
    import tensorflow as tf

    reader = tf.compat.v1.train.NewCheckpointReader(_pattern(executable.settings["checkpoint"]))
    for op in session.graph.get_operations():
        if op.type not in {"Variable", "VariableV2", "VarHandleOp"}:
            continue
        key = _key(op.name, executable.settings.get("variable_map", {}))
        if not reader.has_tensor(key):
            continue
        value = reader.get_tensor(key)
        fed = tf.compat.v1.placeholder(value.dtype, value.shape)
        if op.type == "VarHandleOp":
            assign = tf.raw_ops.AssignVariableOp(resource=op.outputs[0], value=fed)
        else:
            assign = tf.raw_ops.Assign(ref=op.outputs[0], value=fed, validate_shape=False).op
        session.run(assign, {fed: value})


def _key(variable: str, variable_map: Mapping[str, str]) -> str:
    if variable in variable_map:
        return variable_map[variable]
    for pattern, key in variable_map.items():
        before, star, after = pattern.partition("*")
        fits = variable.startswith(before) and variable.endswith(after)
        if star and fits and len(variable) >= len(before) + len(after):
            return key.replace("*", variable[len(before) : len(variable) - len(after)])
    return variable


def _pattern(prefix: str) -> str:
    if Path(f"{prefix}.index").exists() or Path(prefix).is_file():
        return prefix
    return f"{prefix}-?????-of-?????"


def _read(path: Path, kind: Any) -> Any:
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError

    data = path.read_bytes()
    try:
        return kind.FromString(data)
    except DecodeError:
        pass
    try:
        return text_format.Parse(data, kind(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise RuntimeFailure(f"{path.name} cannot be read: {error}") from error


_RESTORE = {
    "savedmodel": _restore_saved_model,
    "metagraph": _restore_meta_graph,
    "graphdef": _restore_graph,
}
