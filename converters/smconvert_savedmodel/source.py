"""Reads a SavedModel folder, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from smconvert.converters import SourceOptions
from smconvert.errors import SourceError, UsageError
from smconvert.graph.messages import read as read_message
from smconvert.graph.names import full
from smconvert.graph.protos import meta_graph_pb2, saved_model_pb2
from smconvert.graph.signatures import INIT_OP_SIGNATURES, resolve
from smconvert.graph.source import GraphSource
from smconvert_savedmodel.detect import proto_file

ASSETS_COLLECTION = "saved_model_assets"
INIT_OP_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


def read(path: Path, options: SourceOptions) -> GraphSource:
    """The MetaGraph that the options choose, with its signatures, variables and assets.

    Raises:
        SourceError: a file is missing or damaged.
        UsageError: the tag set or a signature is not there, or several could be meant.
    """
    saved = saved_model(path)
    meta_graph = chosen(saved, options.tags, path)
    index = path / "variables" / "variables.index"
    checkpoint = str(index.with_suffix("")) if index.is_file() else options.checkpoint
    return GraphSource(
        format="savedmodel",
        path=path,
        meta_graph=meta_graph,
        signatures=resolve(meta_graph, options),
        checkpoint=checkpoint,
        assets=dict(_assets(meta_graph, path)),
        init_op=_init_op(meta_graph),
    )


def saved_model(path: Path) -> saved_model_pb2.SavedModel:
    """The SavedModel message of a folder.

    Raises:
        SourceError: it is missing, damaged or holds no graph.
    """
    file = proto_file(path)
    if file is None:
        raise SourceError("there is no saved_model.pb", where=str(path))
    saved = read_message(file, saved_model_pb2.SavedModel)
    if not saved.meta_graphs:
        raise SourceError(f"{file.name} is damaged: it holds no graph", where=str(file))
    return saved


def tag_sets(saved: saved_model_pb2.SavedModel) -> tuple[tuple[str, ...], ...]:
    """The tag sets of all MetaGraphs, in the file's order."""
    return tuple(tuple(sorted(m.meta_info_def.tags)) for m in saved.meta_graphs)


def chosen(
    saved: saved_model_pb2.SavedModel, tags: frozenset[str] | None, path: Path
) -> meta_graph_pb2.MetaGraphDef:
    """The MetaGraph with exactly these tags; without tags, the only one there is.

    Raises:
        UsageError: there is none, or there are several to choose from.
    """
    listed = "; ".join("{" + ", ".join(t) + "}" for t in tag_sets(saved))
    if tags is None:
        if len(saved.meta_graphs) == 1:
            return saved.meta_graphs[0]
        raise UsageError(
            f"the SavedModel holds {len(saved.meta_graphs)} graphs: {listed}",
            where=str(path),
            hint=f"choose one by its exact tag set: --tag {','.join(tag_sets(saved)[0])}",
        )
    for meta_graph in saved.meta_graphs:
        if frozenset(meta_graph.meta_info_def.tags) == tags:
            return meta_graph
    raise UsageError(
        f"no graph has exactly the tags {{{', '.join(sorted(tags))}}}",
        where=str(path),
        hint=f"the tag sets are {listed}",
    )


def is_object_based(meta_graph: meta_graph_pb2.MetaGraphDef) -> bool:
    """Whether TF2 saved it: such a file describes objects beside the graph."""
    return len(meta_graph.object_graph_def.nodes) > 0


def _init_op(meta_graph: meta_graph_pb2.MetaGraphDef) -> str | None:
    for name in sorted(INIT_OP_SIGNATURES & meta_graph.signature_def.keys()):
        for info in meta_graph.signature_def[name].outputs.values():
            if "init_op" in name:
                return info.name.partition(":")[0]
    for collection in INIT_OP_COLLECTIONS:
        if collection in meta_graph.collection_def:
            nodes = meta_graph.collection_def[collection].node_list.value
            if nodes:
                return nodes[0].partition(":")[0]
    return None


def _assets(meta_graph: meta_graph_pb2.MetaGraphDef, path: Path) -> Iterator[tuple[str, Path]]:
    for definition in asset_definitions(meta_graph):
        yield full(definition.tensor_info.name), asset_path(path, definition.filename)


def asset_definitions(
    meta_graph: meta_graph_pb2.MetaGraphDef,
) -> tuple[meta_graph_pb2.AssetFileDef, ...]:
    """The assets a MetaGraph names; TF 1.15 keeps them in a collection only."""
    if meta_graph.asset_file_def:
        return tuple(meta_graph.asset_file_def)
    if ASSETS_COLLECTION not in meta_graph.collection_def:
        return ()
    found = []
    for packed in meta_graph.collection_def[ASSETS_COLLECTION].any_list.value:
        definition = meta_graph_pb2.AssetFileDef()
        if packed.Unpack(definition):
            found.append(definition)
    return tuple(found)


def asset_path(folder: Path, name: str) -> Path:
    """Where an asset lies.

    Raises:
        SourceError: the name points outside the model's ``assets`` folder.
    """
    assets = folder / "assets"
    path = assets / name
    if not name or not path.resolve().is_relative_to(assets.resolve()):
        raise SourceError(
            f"the asset {name!r} points outside the model's folder", where=str(folder)
        )
    return path
