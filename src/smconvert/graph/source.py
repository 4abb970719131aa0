"""What every graph format comes down to before TensorFlow sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from smconvert.errors import SourceError
from smconvert.graph.protos import variable_pb2
from smconvert.model import SignatureInfo

if TYPE_CHECKING:
    from smconvert.graph.protos import meta_graph_pb2


@dataclass(frozen=True)
class GraphSource:
    """One MetaGraph with everything that belongs to it, read but not built.

    Attributes:
        format: The source format's name.
        path: The artifact.
        meta_graph: The graph, its collections and its saver; a bare GraphDef is wrapped in one.
        signatures: What will be converted; each ``TensorInfo.tensor`` names a tensor of the graph.
        checkpoint: Prefix of the checkpoint with the variables' values; it may end in ``/``.
        assets: Name of the tensor that holds a file name (``Const_1:0``) to the file on disk.
        init_op: Node that a session runs after restoring (tables, local variables).
    """

    format: str
    path: Path
    meta_graph: meta_graph_pb2.MetaGraphDef = field(repr=False)
    signatures: tuple[SignatureInfo, ...]
    checkpoint: str | None = None
    assets: Mapping[str, Path] = field(default_factory=dict)
    init_op: str | None = None


def variable_defs(
    meta_graph: meta_graph_pb2.MetaGraphDef, collection: str
) -> Iterator[variable_pb2.VariableDef]:
    """The variables that a collection names, such as ``trainable_variables``.

    Raises:
        SourceError: the collection is damaged.
    """
    if collection not in meta_graph.collection_def:
        return
    for data in meta_graph.collection_def[collection].bytes_list.value:
        try:
            yield variable_pb2.VariableDef.FromString(data)
        except DecodeError as error:
            raise SourceError(f"the graph's collection {collection!r} is damaged") from error
