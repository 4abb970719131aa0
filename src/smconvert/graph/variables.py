"""The variables of a graph, as ``tf.Variable``s for the values of its checkpoint.

Values never come through ``Assign`` ops: those of old graphs may initialise, partition or average.
The checkpoint's key for a variable is found by the first of these that applies:

1. the user's map (``VAR=KEY``, or a pattern with one ``*`` on each side);
2. the graph's own restore ops, in a function where TF2 saved it, which know renamed keys and slices
   of partitioned variables;
3. ``save_slice_info_def`` of the variable's VariableDef;
4. the variable's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smconvert.errors import SourceError
from smconvert.graph import tf_internals
from smconvert.graph.checkpoint import v1_files
from smconvert.graph.constants import evaluate
from smconvert.graph.cut import reached_from
from smconvert.graph.library import CALLS
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


@dataclass(frozen=True)
class _Value:
    """What a variable starts with, read when it is asked for."""

    dtype: DType
    shape: tuple[int, ...]
    read: Callable[[], Array]


class Variables:
    """Makes each variable once, for all signatures that use it.

    Args:
        source: The graph and its checkpoint.
        variable_map: Variable, or a pattern of variables, to key of the checkpoint.
        live: Whether the variables hold their values, or only know where they are.
    """

    def __init__(
        self, source: GraphSource, variable_map: Mapping[str, str], *, live: bool = True
    ) -> None:
        self._source = source
        self._map = variable_map
        self._live = live
        self._defs = dict(_variable_defs(source))
        self._trainable = set(_names(source, "trainable_variables"))
        self._has_collections = any(c in source.meta_graph.collection_def for c in COLLECTIONS)
        self._restored = dict(_restored(source.meta_graph.graph_def))
        self._checkpoint = None if source.checkpoint is None else _open(source.checkpoint)
        self._stored = {} if self._checkpoint is None else dict(_entries(self._checkpoint))
        self.made: dict[str, tf.Variable] = {}

    def of(self, handle: node_def_pb2.NodeDef) -> tf.Variable:
        """The variable behind a VarHandleOp node.

        Raises:
            SourceError: the checkpoint lacks it, or holds it in another shape or type.
        """
        shared = handle.attr["shared_name"].s.decode() or handle.name
        if shared not in self.made:
            self.made[shared] = self._made(handle, self._value(handle))
        return self.made[shared]

    def known(self, handle: node_def_pb2.NodeDef) -> bool:
        """Whether the checkpoint has a value for a VarHandleOp node."""
        return self._saved(handle) is not None

    def _made(self, handle: node_def_pb2.NodeDef, value: _Value) -> tf.Variable:
        import tensorflow as tf

        name = handle.name.replace(":", "_")
        if not self._live and value.dtype is not DType.STRING:
            return tf_internals.stored_variable(name, value.dtype.label, value.shape, value.read)
        array = value.read()
        trainable = handle.name in self._trainable or not self._has_collections
        return tf.Variable(
            array,
            trainable=trainable and array.dtype.kind in "fc",
            name=name,
            dtype=DType.from_number(handle.attr["dtype"].type).label,
        )

    def _value(self, handle: node_def_pb2.NodeDef) -> _Value:
        saved = self._saved(handle)
        if saved is None or self._checkpoint is None:
            initial = self._initial(handle)
            if initial is None:
                raise self._missing(handle)
            return _Value(DType.from_numpy(initial.dtype), initial.shape, lambda: initial)
        dtype, shape = self._stored[saved.key]
        if saved.slice is not None:
            shape = tuple(size for _, size in saved.slice)
        value = _Value(dtype, shape, lambda: self._read(saved))
        self._ensure_fits(handle, saved.key, value)
        return value

    def _read(self, saved: Saved) -> Array:
        assert self._checkpoint is not None
        try:
            value: Array = self._checkpoint.get_tensor(saved.key)
        except Exception as error:
            raise SourceError(
                f"the checkpoint's value of {saved.key!r} cannot be read: "
                f"{str(error).splitlines()[0][:200]}",
                where=self._source.checkpoint,
            ) from error
        if saved.slice is None:
            return value
        return value[tuple(slice(start, start + size) for start, size in saved.slice)]

    def _saved(self, handle: node_def_pb2.NodeDef) -> Saved | None:
        if self._checkpoint is None:
            return None
        keys = self._stored
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
        close = nearest(name, self._stored)
        return SourceError(
            f"the checkpoint has no {name!r}"
            + (f" for the variable {handle.name!r}" if key else ""),
            where=self._source.checkpoint,
            hint=(f"it has {', '.join(close)}; " if close else "")
            + f"name the right one: --map-variable {handle.name}=KEY",
        )

    def _ensure_fits(self, handle: node_def_pb2.NodeDef, key: str, value: _Value) -> None:
        shape = shape_of(handle.attr["shape"].shape)
        dtype = DType.from_number(handle.attr["dtype"].type)
        fits = shape is None or (
            len(shape) == len(value.shape)
            and all(d is None or d == v for d, v in zip(shape, value.shape, strict=True))
        )
        # An empty shape stood for an unknown one in graphs of TF 0.x.
        if not (fits or shape == ()) or value.dtype is not dtype:
            wanted = "unknown" if shape is None else list(shape)
            raise SourceError(
                f"the checkpoint holds {key!r} as {value.dtype.label}{list(value.shape)}, and the "
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


def _entries(checkpoint: Any) -> Iterator[tuple[str, tuple[DType, tuple[int, ...]]]]:
    types = checkpoint.get_variable_to_dtype_map()
    for key, shape in checkpoint.get_variable_to_shape_map().items():
        yield key, (DType.from_number(types[key].as_datatype_enum), tuple(shape))


def _variable_defs(source: GraphSource) -> Iterator[tuple[str, variable_pb2.VariableDef]]:
    for collection in COLLECTIONS:
        for definition in variable_defs(source.meta_graph, collection):
            yield node_of(definition.variable_name), definition


def _names(source: GraphSource, collection: str) -> Iterator[str]:
    return (node_of(d.variable_name) for d in variable_defs(source.meta_graph, collection))


def _restored(graph: graph_pb2.GraphDef) -> Iterator[tuple[str, Saved]]:
    """What the graph's restore ops say: variable name to key and slice."""
    yield from _assigned(graph.node)
    functions = {f.signature.name: f for f in graph.library.function}
    for node in graph.node:
        function = functions.get(node.attr["f"].func.name) if node.op in CALLS else None
        if function is None or not any(inner.op in _RESTORE for inner in function.node_def):
            continue
        arguments = [argument.name for argument in function.signature.input_arg]
        outer = dict(zip(arguments, map(node_of, node.input), strict=False))
        for argument, saved in _assigned(function.node_def):
            if argument in outer:
                yield outer[argument], saved


def _assigned(graph: Iterable[node_def_pb2.NodeDef]) -> Iterator[tuple[str, Saved]]:
    """What each variable, or argument of a function, is assigned that comes from a checkpoint."""
    nodes = {node.name: node for node in graph}
    restored: dict[str, list[Saved]] = {}
    for node in nodes.values():
        if node.op not in _ASSIGN:
            continue
        value = node.input[1]
        while (source := nodes.get(node_of(value))) is not None and source.op == "Identity":
            value = source.input[0]
        if source is None or source.op not in _RESTORE:
            continue
        if source.name not in restored:
            restored[source.name] = _keys_and_slices(source, nodes)
        index = _output_index(value)
        if index < len(restored[source.name]):
            yield node_of(node.input[0]), restored[source.name][index]


def _output_index(tensor: str) -> int:
    """Which of a restore op's tensors: ``x:1`` in a graph, ``x:tensors:1`` in a function."""
    return port_of(tensor) if tensor.count(":") < 2 else int(tensor.rpartition(":")[2])


def _keys_and_slices(
    restore: node_def_pb2.NodeDef, nodes: Mapping[str, node_def_pb2.NodeDef]
) -> list[Saved]:
    """What each output of a restore op is; nothing where its names are computed."""
    inputs = [nodes.get(node_of(i)) for i in restore.input if not is_control(i)]
    if len(inputs) < 2 or any(i is None or i.op != "Const" for i in inputs[1:]):
        return []
    names = _texts(inputs[1])
    slices = _texts(inputs[2]) if len(inputs) > 2 else [""] * len(names)
    return [Saved(name, _slice_of(text)) for name, text in zip(names, slices, strict=True)]


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
