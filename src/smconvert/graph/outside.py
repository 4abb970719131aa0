"""Ops that reach outside the model: into files, the network, Python or the process itself.

TensorFlow's kernels do what a graph says, with the rights of whoever runs it. So these ops are
found in the graph as data, before TensorFlow sees it, and refused unless the user allows them by
name. ``tests/untrusted/test_outside.py`` holds the lists against TensorFlow's registry, so that an
op of a newer version is not overlooked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from smconvert.errors import ConversionError, UsageError
from smconvert.graph.names import nearest
from smconvert.graph.protos import node_def_pb2

PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
"""Never allowed: the function is not in the file."""

RESTORES = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
FROM_TEXT = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})

_READS = (
    RESTORES
    | FROM_TEXT
    | {
        "CSVDataset",
        "CSVDatasetV2",
        "DTensorRestoreV2",
        "ExperimentalCSVDataset",
        "ExperimentalLMDBDataset",
        "ExperimentalMatchingFilesDataset",
        "ExperimentalSqlDataset",
        "FixedLengthRecordDataset",
        "FixedLengthRecordDatasetV2",
        "FixedLengthRecordReader",
        "FixedLengthRecordReaderV2",
        "GenerateVocabRemapping",
        "ImmutableConst",
        "InitializeTRTResource",
        "LMDBDataset",
        "LMDBReader",
        "ListSnapshotChunksDataset",
        "LoadAndRemapMatrix",
        "LoadDataset",
        "MatchingFiles",
        "MatchingFilesDataset",
        "ReadFile",
        "RecordInput",
        "Skipgram",
        "SnapshotChunkDataset",
        "SnapshotDatasetReader",
        "SnapshotNestedDatasetReader",
        "SqlDataset",
        "TFRecordDataset",
        "TFRecordDatasetV2",
        "TFRecordReader",
        "TFRecordReaderV2",
        "TextLineDataset",
        "TextLineReader",
        "TextLineReaderV2",
        "WholeFileReader",
        "WholeFileReaderV2",
    }
)
_WRITES = frozenset(
    {
        "CacheDataset",
        "CacheDatasetV2",
        "CalibrationStatisticsSaver",
        "CreateSummaryDbWriter",
        "CreateSummaryFileWriter",
        "DatasetToTFRecord",
        "DumpTensor",
        "ExperimentalDatasetToTFRecord",
        "MergeV2Checkpoints",
        "Save",
        "SaveDataset",
        "SaveDatasetV2",
        "SaveSlices",
        "SaveV2",
        "SerializeTRTResource",
        "SnapshotDataset",
        "SnapshotDatasetV2",
        "WriteFile",
    }
)
_CONNECTS = frozenset(
    {
        "BigQueryReader",
        "CollectiveInitializeCommunicator",
        "ConfigureDistributedTPU",
        "DataServiceDataset",
        "DataServiceDatasetV2",
        "DataServiceDatasetV3",
        "DataServiceDatasetV4",
        "DistributedSave",
        "FileSystemSetConfiguration",
        "GenerateBigQueryReaderPartitions",
        "RegisterDataset",
        "RegisterDatasetV2",
        "RemoteCall",
        "Rpc",
        "RpcCall",
        "RpcClient",
        "RpcServer",
        "RpcServerRegister",
        "RpcServerStart",
        "TryRpc",
    }
)
_HIDES = frozenset({"DatasetFromGraph", "RemoteFusedGraphExecute"})
_CALLS = frozenset({"XlaCustomCall", "XlaCustomCallV2"})

_DEEDS: Mapping[str, str] = {
    **dict.fromkeys(PYTHON, "calls a Python function"),
    **dict.fromkeys(_READS, "reads files"),
    **dict.fromkeys(_WRITES, "writes files"),
    **dict.fromkeys(_CONNECTS, "opens network connections"),
    **dict.fromkeys(_HIDES, "runs a graph that is hidden in a string"),
    **dict.fromkeys(_CALLS, "calls code of this process by name"),
    "Abort": "ends the process",
}

_BY_ATTRIBUTE: Mapping[str, tuple[str, str]] = {
    "DebugIdentity": ("debug_urls", "writes files"),
    "DebugIdentityV2": ("debug_urls", "writes files"),
    "DebugIdentityV3": ("debug_urls", "writes files"),
    "DebugNanCount": ("debug_urls", "writes files"),
    "DebugNumericSummary": ("debug_urls", "writes files"),
    "DecodeProtoV2": ("descriptor_source", "reads files"),
    "EncodeProto": ("descriptor_source", "reads files"),
    "FixedUnigramCandidateSampler": ("vocab_file", "reads files"),
    "PrintV2": ("output_stream", "writes files"),
}
"""Ops that reach outside if an attribute names a place there."""

_INNER = (b"local://", b"bytes://", b"stdout", b"stderr", b"log(")

ALL = frozenset({*_DEEDS, *_BY_ATTRIBUTE})


def deed(node: node_def_pb2.NodeDef) -> str | None:
    """What a node does outside the model, as a clause (``reads files``); None for nearly all."""
    if node.op in _BY_ATTRIBUTE:
        attribute, clause = _BY_ATTRIBUTE[node.op]
        value = node.attr.get(attribute)
        named = [value.s, *value.list.s] if value is not None else []
        return clause if any(n and not n.startswith(_INNER) for n in named) else None
    return _DEEDS.get(node.op)


def ensure_inside(
    nodes: Iterable[node_def_pb2.NodeDef], allowed: Collection[str], where: str = ""
) -> None:
    """Refuses the first node that reaches outside by an op that is not allowed.

    Raises:
        ConversionError: naming op, node and ``where`` it was found.
    """
    for node in nodes:
        if (clause := deed(node)) is not None and (node.op in PYTHON or node.op not in allowed):
            raise refused(node, clause, where)


def refused(node: node_def_pb2.NodeDef, clause: str, where: str = "") -> ConversionError:
    """The refusal of one node."""
    place = f"node {node.name}{where}"
    if node.op in PYTHON:
        return ConversionError(
            f"the model calls a Python function ({node.op}), which is not in the file",
            where=place,
            hint="name outputs that do not need it with --outputs, or replace it by "
            "TensorFlow ops in the program that made the model",
        )
    return ConversionError(
        f"the model {clause} while it runs ({node.op})",
        where=place,
        hint=f"feed what it gives: --inputs NAME=TENSOR; or, if you trust it: --allow-op {node.op}",
    )


def ensure_known(allowed: Iterable[str]) -> None:
    """Refuses names that allow nothing, such as misspelt ones.

    Raises:
        UsageError: naming the ops that may have been meant.
    """
    for name in allowed:
        if name in PYTHON:
            raise UsageError(
                f"{name} cannot be allowed: its Python function is not in the file",
                where="--allow-op",
            )
        if name not in ALL:
            near = nearest(name, ALL)
            raise UsageError(
                f"{name!r} is not an op that is refused",
                where="--allow-op",
                hint=f"did you mean {' or '.join(near)}" if near else None,
            )
