"""Look-up tables, rebuilt as objects that a SavedModel tracks together with their assets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smconvert.errors import ConversionError, SourceError
from smconvert.graph.constants import evaluate
from smconvert.graph.names import full, is_control, node_of
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.source import GraphSource
from smconvert.model import DType

STATIC = frozenset({"HashTable", "HashTableV2"})
MUTABLE = frozenset(
    {
        "MutableHashTable",
        "MutableHashTableV2",
        "MutableHashTableOfTensors",
        "MutableHashTableOfTensorsV2",
        "MutableDenseHashTable",
        "MutableDenseHashTableV2",
    }
)
_FROM_TENSORS = {"InitializeTable", "InitializeTableV2", "LookupTableImport", "LookupTableImportV2"}
_FROM_FILE = {"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"}


class Tables:
    """Makes each table once, for all signatures that use it."""

    def __init__(self, source: GraphSource) -> None:
        self._source = source
        self.made: dict[str, Any] = {}

    def of(self, node: node_def_pb2.NodeDef) -> Any:
        """The initialised table behind a HashTableV2 node.

        Raises:
            ConversionError: it can change while the model runs, or nothing initialises it.
            SourceError: its vocabulary is missing or does not fit.
        """
        import tensorflow as tf

        if node.op in MUTABLE:
            raise ConversionError(
                "the model uses a table that changes while it runs, which no target holds",
                where=f"node {node.name} ({node.op})",
                hint="choose --outputs that do not need it",
            )
        if node.name not in self.made:
            initializer = self._initializer(node)
            default = "" if initializer.value_dtype == tf.string else 0
            try:
                self.made[node.name] = tf.lookup.StaticHashTable(
                    initializer, tf.cast(default, initializer.value_dtype) if default == 0 else ""
                )
            except (ValueError, tf.errors.OpError) as error:
                raise SourceError(
                    f"the table cannot be initialised: {str(error).splitlines()[0][:200]}",
                    where=f"node {node.name}",
                ) from error
        return self.made[node.name]

    def _initializer(self, table: node_def_pb2.NodeDef) -> Any:
        import tensorflow as tf

        key_dtype = DType.from_number(table.attr["key_dtype"].type)
        value_dtype = DType.from_number(table.attr["value_dtype"].type)
        graph = self._source.meta_graph.graph_def
        for node in _initializing(graph, table.name):
            if node.op in _FROM_FILE:
                attr = node.attr
                size = attr["vocab_size"].i if "vocab_size" in attr else -1
                return tf.lookup.TextFileInitializer(
                    str(self._vocabulary(node.input[1])),
                    key_dtype.label,
                    attr["key_index"].i,
                    value_dtype.label,
                    attr["value_index"].i,
                    vocab_size=size if size > 0 else None,
                    delimiter=(attr["delimiter"].s or b"\t").decode(),
                    value_index_offset=attr["offset"].i,
                )
            keys, values = (evaluate(graph, node.input[i]) for i in (1, 2))
            if keys is not None and values is not None:
                return tf.lookup.KeyValueTensorInitializer(
                    keys, values, key_dtype.label, value_dtype.label
                )
        raise ConversionError(
            "nothing in the model initialises a look-up table that an output needs",
            where=f"node {table.name} ({table.op})",
        )

    def _vocabulary(self, tensor: str) -> Path:
        path = self._source.assets.get(full(tensor))
        if path is None:
            value = evaluate(self._source.meta_graph.graph_def, tensor)
            name = "" if value is None else value.item().decode(errors="replace")
            raise SourceError(
                f"a table is filled from {name!r}, a file that is not part of the model",
                where=f"tensor {tensor}",
                hint="export a SavedModel with the file as an asset",
            )
        if not path.is_file():
            raise SourceError(f"the asset {path.name!r} is missing", where=str(path))
        return path


def _initializing(graph: graph_pb2.GraphDef, table: str) -> Iterator[node_def_pb2.NodeDef]:
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        if node.op not in _FROM_FILE | _FROM_TENSORS:
            continue
        name = node_of(node.input[0])
        while name != table and nodes[name].op == "Identity":
            name = node_of(next(i for i in nodes[name].input if not is_control(i)))
        if name == table:
            yield node
