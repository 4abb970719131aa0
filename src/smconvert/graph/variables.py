"""The variables of a graph, as ``tf.Variable``s with the values of its checkpoint.

Values never come through ``Assign`` ops: those of old graphs may initialise, partition or average.
The checkpoint's key for a variable is found by the first of these that applies:

1. the user's map (``VAR=KEY``, or a pattern with one ``*`` on each side);
2. the graph's own restore ops, which know renamed keys and slices of partitioned variables;
3. ``save_slice_info_def`` of the variable's VariableDef;
4. the variable's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smconvert.errors import SourceError
from smconvert.graph.checkpoint import v1_files
from smconvert.graph.constants import evaluate
from smconvert.graph.cut import reached_from
from smconvert.graph.names import is_control, nearest, node_of, port_of
from smconvert.graph.protos import graph_pb2, node_def_pb2, variable_pb2
from smconvert.graph.source import GraphSource, variable_defs
from smconvert.graph.tensors import array_of, shape_of
from smconvert.model import Array, DType

if TYPE_CHECKING:
    import tensorflow as tf

COLLECTIONS = ("variables", "trainable_variables", "local_variables", "model_variables")
_ASSIGN = {"Assign", "AssignVariableOp"}
_RESTORE = {"RestoreV2", "Restore", "RestoreSlice"}


@dataclass(frozen=True)
class Saved:
    """Where a checkpoint keeps a variable: its key, and the slice of it (offset and size)."""

    key: str
    slice: tuple[tuple[int, int], ...] | None = None


class Variables:
    """Makes each variable once, for all signatures that use it."""

    def __init__(self, source: GraphSource, variable_map: Mapping[str, str]) -> None:
        self._source = source
        self._map = variable_map
        self._defs = dict(_variable_defs(source))
        self._trainable = set(_names(source, "trainable_variables"))
        self._has_collections = any(c in source.meta_graph.collection_def for c in COLLECTIONS)
        self._restored = dict(_restored(source.meta_graph.graph_def))
        self._checkpoint = None if source.checkpoint is None else _open(source.checkpoint)
        self.made: dict[str, tf.Variable] = {}

    def of(self, handle: node_def_pb2.NodeDef) -> tf.Variable:
        """The variable behind a VarHandleOp node.

        Raises:
            SourceError: the checkpoint lacks it, or holds it in another shape or type.
        """
        import tensorflow as tf

        shared = handle.attr["shared_name"].s.decode() or handle.name
        if shared not in self.made:
            value = self._value(handle)
            trainable = handle.name in self._trainable or not self._has_collections
            self.made[shared] = tf.Variable(
                value,
                trainable=trainable and value.dtype.kind in "fc",
                name=handle.name.replace(":", "_"),
                dtype=DType.from_number(handle.attr["dtype"].type).label,
            )
        return self.made[shared]

    def _value(self, handle: node_def_pb2.NodeDef) -> Array:
        saved = self._saved(handle)
        if saved is None or self._checkpoint is None:
            initial = self._initial(handle)
            if initial is not None:
                return initial
            raise self._missing(handle)
        try:
            value: Array = self._checkpoint.get_tensor(saved.key)
        except Exception as error:
            raise SourceError(
                f"the checkpoint's value of {saved.key!r} cannot be read: "
                f"{str(error).splitlines()[0][:200]}",
                where=self._source.checkpoint,
            ) from error
        if saved.slice is not None:
            value = value[tuple(slice(start, start + size) for start, size in saved.slice)]
        self._ensure_fits(handle, saved.key, value)
        return value

    def _saved(self, handle: node_def_pb2.NodeDef) -> Saved | None:
        if self._checkpoint is None:
            return None
        keys = self._checkpoint.get_variable_to_shape_map()
        mapped = mapped_key(handle.name, self._map)
        if mapped is not None and (mapped in keys or handle.name in self._map):
            if mapped in keys:
                return Saved(mapped)
            raise self._missing(handle, mapped)
        choices = [self._restored.get(handle.name), self._sliced(handle.name)]
        choices += [Saved(handle.name), Saved(handle.attr["shared_name"].s.decode())]
        return next((c for c in choices if c is not None and c.key in keys), None)

    def _sliced(self, name: str) -> Saved | None:
        definition = self._defs.get(name)
        if definition is None or not definition.HasField("save_slice_info_def"):
            return None
        info = definition.save_slice_info_def
        return Saved(info.full_name, tuple(zip(info.var_offset, info.var_shape, strict=True)))

    def _initial(self, handle: node_def_pb2.NodeDef) -> Array | None:
        """The value that the init op gives a variable which no checkpoint holds."""
        graph = self._source.meta_graph.graph_def
        roots = [self._source.init_op] if self._source.init_op else []
        for node in reached_from(graph, roots):
            if node.op in _ASSIGN and node_of(node.input[0]) == handle.name:
                return evaluate(graph, node.input[1])
        return None

    def _missing(self, handle: node_def_pb2.NodeDef, key: str | None = None) -> SourceError:
        name = key or handle.name
        if self._checkpoint is None:
            return SourceError(
                f"the graph has the variable {handle.name!r}, and there is no checkpoint",
                where=str(self._source.path),
                hint="name it with --checkpoint PREFIX",
            )
        keys = self._checkpoint.get_variable_to_shape_map()
        close = nearest(name, keys)
        return SourceError(
            f"the checkpoint has no {name!r}"
            + (f" for the variable {handle.name!r}" if key else ""),
            where=self._source.checkpoint,
            hint=(f"it has {', '.join(close)}; " if close else "")
            + f"name the right one: --map-variable {handle.name}=KEY",
        )

    def _ensure_fits(self, handle: node_def_pb2.NodeDef, key: str, value: Array) -> None:
        shape = shape_of(handle.attr["shape"].shape)
        dtype = DType.from_number(handle.attr["dtype"].type)
        fits = shape is None or (
            len(shape) == value.ndim
            and all(d is None or d == v for d, v in zip(shape, value.shape, strict=True))
        )
        # An empty shape stood for an unknown one in graphs of TF 0.x.
        if not (fits or shape == ()) or DType.from_numpy(value.dtype) is not dtype:
            wanted = "unknown" if shape is None else list(shape)
            raise SourceError(
                f"the checkpoint holds {key!r} as {value.dtype.name}{list(value.shape)}, and the "
                f"graph wants {dtype.label}{wanted}",
                where=self._source.checkpoint,
                hint="check that graph and checkpoint belong together, or --map-variable",
            )


def mapped_key(name: str, variable_map: Mapping[str, str]) -> str | None:
    """The checkpoint key that the user's map gives for a variable, if it matches."""
    if name in variable_map:
        return variable_map[name]
    for pattern, key in variable_map.items():
        start, star, end = pattern.partition("*")
        if star and name.startswith(start) and name.endswith(end):
            return key.replace("*", name[len(start) : len(name) - len(end) or None], 1)
    return None


def _open(prefix: str) -> Any:
    import tensorflow as tf

    # The shards of a V1 checkpoint are found by a pattern, those of V2 by the prefix.
    files = [] if Path(f"{prefix}.index").is_file() else v1_files(prefix)
    pattern = f"{prefix}-?????-of-?????" if len(files) and str(files[0]) != prefix else prefix
    try:
        return tf.compat.v1.train.NewCheckpointReader(pattern)
    except Exception as error:
        raise SourceError(
            f"the checkpoint cannot be read: {str(error).splitlines()[0][:200]}",
            where=prefix,
            hint="its .index file and all .data shards must be there, whole",
        ) from error


def _variable_defs(source: GraphSource) -> Iterator[tuple[str, variable_pb2.VariableDef]]:
    for collection in COLLECTIONS:
        for definition in variable_defs(source.meta_graph, collection):
            yield node_of(definition.variable_name), definition


def _names(source: GraphSource, collection: str) -> Iterator[str]:
    return (node_of(d.variable_name) for d in variable_defs(source.meta_graph, collection))


def _restored(graph: graph_pb2.GraphDef) -> Iterator[tuple[str, Saved]]:
    """What the graph's restore ops say: variable name to key and slice."""
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        if node.op not in _ASSIGN:
            continue
        value = node.input[1]
        while (source := nodes.get(node_of(value))) is not None and source.op == "Identity":
            value = source.input[0]
        if source is None or source.op not in _RESTORE:
            continue
        saved = _key_and_slice(source, port_of(value), nodes)
        if saved is not None:
            yield node_of(node.input[0]), saved


def _key_and_slice(
    restore: node_def_pb2.NodeDef, port: int, nodes: Mapping[str, node_def_pb2.NodeDef]
) -> Saved | None:
    inputs = [nodes.get(node_of(i)) for i in restore.input if not is_control(i)]
    if len(inputs) < 2 or any(i is None or i.op != "Const" for i in inputs[1:]):
        return None
    names = _texts(inputs[1])
    if port >= len(names):
        return None
    slices = _texts(inputs[2]) if len(inputs) > 2 else [""] * len(names)
    return Saved(names[port], _slice_of(slices[port]))


def _texts(node: Any) -> list[str]:
    return [v.decode() for v in array_of(node.attr["value"].tensor).ravel().tolist()]


def _slice_of(spec: str) -> tuple[tuple[int, int], ...] | None:
    """``"7 4 0,3:-"`` as ((0, 3), (0, 4)) (checkpoint_utils: shape, then offset,size or -)."""
    *shape, parts = spec.split(" ") if spec else ["", ""]
    if not spec or set(parts.split(":")) == {"-"}:
        return None
    return tuple(
        (0, int(size)) if part == "-" else (int(part.split(",")[0]), int(part.split(",")[1]))
        for size, part in zip(shape, parts.split(":"), strict=True)
    )
