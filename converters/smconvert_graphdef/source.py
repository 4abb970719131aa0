"""Reads a GraphDef file, without TensorFlow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smconvert.converters import SourceOptions
from smconvert.errors import SourceError
from smconvert.graph.messages import read as read_message
from smconvert.graph.protos import graph_pb2, meta_graph_pb2
from smconvert.graph.signatures import resolve
from smconvert.graph.source import GraphSource
from smconvert.graph.tensors import default_of
from smconvert.model import SignatureInfo
from smconvert_graphdef import manifest


def read(path: Path, options: SourceOptions) -> GraphSource:
    """The graph with its signature: from its manifest, from the options, or inferred.

    Raises:
        SourceError: the file is damaged.
        UsageError: names do not fit, or several could be meant.
    """
    graph = graph_def(path)
    meta_graph = meta_graph_pb2.MetaGraphDef(graph_def=graph)
    beside = manifest.read(path)
    named = options.inputs or options.outputs
    if beside is None or named:
        signatures = resolve(meta_graph, options)
    else:
        signatures = (_with_defaults(beside.signature, graph),)
    return GraphSource(
        format="graphdef",
        path=path,
        meta_graph=meta_graph,
        signatures=signatures,
        checkpoint=options.checkpoint,
        init_op=beside.init_op if beside else None,
    )


def graph_def(path: Path) -> graph_pb2.GraphDef:
    """The graph of a file.

    Raises:
        SourceError: the file is damaged, or holds no node.
    """
    graph = read_message(path, graph_pb2.GraphDef)
    if not graph.node:
        raise SourceError(f"{path.name} holds no node", where=str(path))
    return graph


def _with_defaults(signature: SignatureInfo, graph: graph_pb2.GraphDef) -> SignatureInfo:
    nodes = {node.name: node for node in graph.node}
    return replace(
        signature,
        inputs=tuple(
            replace(i, default=default_of(i.tensor or "", nodes)) for i in signature.inputs
        ),
    )
