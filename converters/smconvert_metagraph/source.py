"""Reads a MetaGraphDef file and finds its checkpoint, without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from smconvert.converters import SourceOptions
from smconvert.errors import SourceError
from smconvert.graph.checkpoint import exists
from smconvert.graph.messages import read as read_message
from smconvert.graph.protos import meta_graph_pb2
from smconvert.graph.signatures import resolve
from smconvert.graph.source import GraphSource

SUFFIXES = (".meta", ".metatxt")


def read(path: Path, options: SourceOptions) -> GraphSource:
    """The graph with the checkpoint that lies beside it, or the one that the options name.

    Raises:
        SourceError: a file is damaged.
        UsageError: names do not fit, or several could be meant.
    """
    meta_graph = meta_graph_def(path)
    return GraphSource(
        format="metagraph",
        path=path,
        meta_graph=meta_graph,
        signatures=resolve(meta_graph, options),
        checkpoint=options.checkpoint or checkpoint_beside(path),
    )


def meta_graph_def(path: Path) -> meta_graph_pb2.MetaGraphDef:
    """The MetaGraphDef of a file.

    Raises:
        SourceError: the file is damaged, or holds no graph.
    """
    meta_graph = read_message(path, meta_graph_pb2.MetaGraphDef)
    if not meta_graph.graph_def.node:
        raise SourceError(f"{path.name} holds no graph", where=str(path))
    return meta_graph


def checkpoint_beside(path: Path) -> str | None:
    """The prefix that a MetaGraph file shares with its checkpoint, if one is there."""
    for suffix in SUFFIXES:
        prefix = str(path).removesuffix(suffix)
        if prefix != str(path) and exists(prefix):
            return prefix
    return None
