"""Ops that reach outside the model: found before anything runs, wherever a file hides them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session

import smconvert as sm
from case import DATA
from smconvert.converters import Executable, importer_for, reader_for
from smconvert.graph import outside
from smconvert.graph.protos import meta_graph_pb2, node_def_pb2, op_def_pb2, saved_model_pb2

_NAMES_A_PLACE = re.compile(
    r"file|path|dir$|directory|address|url|uri|prefix|memory_region_name|output_stream|"
    r"descriptor_source|graph_def|pattern|shard_dir|logdir|driver_name|\bcall_target",
    re.IGNORECASE,
)
_SPEAKS_OF_PLACES = re.compile(
    r"PyFunc|File|Rpc|DataService|Snapshot|Reader(V2)?$|SaveV|Sql|LMDB|SummaryWriter|Abort|Dump"
)
HARMLESS = {
    "CTCBeamSearchDecoder": "its paths are those of a beam",
    "CloseSummaryWriter": "needs a writer, which is refused",
    "DeleteRpcFutureResource": "needs a connection, which is refused",
    "ExperimentalSetStatsAggregatorDataset": "its prefix is one of counters",
    "FlushSummaryWriter": "needs a writer, which is refused",
    "IdentityReader": "gives back what it is fed",
    "IdentityReaderV2": "gives back what it is fed",
    "RegexFullMatch": "its pattern is one of text",
    "RegexReplace": "its pattern is one of text",
    "RpcCheckStatus": "needs a connection, which is refused",
    "RpcGetValue": "needs a connection, which is refused",
    "SetStatsAggregatorDataset": "its prefix is one of counters",
    "ShardedFilename": "makes a name, and no file",
    "ShardedFilespec": "makes a name, and no file",
    "Snapshot": "copies a tensor",
    "StaticRegexFullMatch": "its pattern is one of text",
    "StaticRegexReplace": "its pattern is one of text",
    "StatsAggregatorSetSummaryWriter": "needs a writer, which is refused",
    "SummaryWriter": "a handle; what creates the file is refused",
    "TensorSliceDataset": "only says that its strings are names",
}


def test_no_op_of_tensorflow_is_overlooked() -> None:
    listed = pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    suspects = {
        op.name
        for op in op_def_pb2.OpList.FromString(listed).op
        if _SPEAKS_OF_PLACES.search(op.name)
        or any(_NAMES_A_PLACE.search(arg.name) for arg in (*op.input_arg, *op.attr))
    }
    assert suspects - outside.ALL - HARMLESS.keys() == set()
    assert HARMLESS.keys() <= suspects
    assert not HARMLESS.keys() & outside.ALL


@pytest.mark.parametrize(
    ("op", "attribute", "place", "inside"),
    [
        ("PrintV2", "output_stream", b"file:///tmp/x", b"stderr"),
        ("DecodeProtoV2", "descriptor_source", b"/etc/passwd", b"bytes://\x0a"),
        ("FixedUnigramCandidateSampler", "vocab_file", b"/etc/passwd", b""),
        ("DebugIdentity", "debug_urls", b"grpc://1.2.3.4:80", None),
    ],
)
def test_an_attribute_may_name_a_place(
    op: str, attribute: str, place: bytes, inside: bytes | None
) -> None:
    def with_value(value: bytes | None) -> node_def_pb2.NodeDef:
        node = node_def_pb2.NodeDef(name="n", op=op)
        if value is not None and attribute == "debug_urls":
            node.attr[attribute].list.s.append(value)
        elif value is not None:
            node.attr[attribute].s = value
        return node

    assert outside.deed(with_value(place)) is not None
    assert outside.deed(with_value(inside)) is None
    assert outside.deed(with_value(None)) is None


def refused(source: Path, *words: str, **options: Any) -> None:
    """Neither conversion nor a run of the model begins, and both say why."""
    reading = sm.SourceOptions(**options)
    importer, match = importer_for(source)
    with pytest.raises(sm.ConversionError) as loading:
        importer.load(match.path, reading)
    with pytest.raises(sm.ConversionError) as running:
        _executables(source, reading)
    for error in (loading.value, running.value):
        for word in words:
            assert word in str(error)


def _executables(source: Path, reading: sm.SourceOptions) -> list[Executable]:
    reader, match = reader_for(source)
    signatures = reader.describe(match.path, reading).signatures
    return [reader.executable(match.path, reading, s) for s in signatures]


# Graphs


def graph_file(tmp_path: Path, build: Callable[[], Any]) -> Path:
    with tf.Graph().as_default() as graph:
        tf.identity(build(), name="y")
    path = tmp_path / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def placeholder() -> Any:
    return tf.compat.v1.placeholder(tf.float32, [None], name="x")


def reads() -> Any:
    return tf.io.decode_raw(tf.io.read_file("/etc/passwd"), tf.uint8), placeholder()[0]


def writes() -> Any:
    x = placeholder()
    with tf.control_dependencies([tf.io.write_file("/tmp/owned", "x")]):
        return tf.identity(x)


def matches() -> Any:
    return tf.strings.length(tf.io.matching_files("/home/*")[0]), placeholder()[0]


def in_a_branch() -> Any:
    x = placeholder()
    then = tf.function(lambda: tf.strings.length(tf.io.read_file("/etc/passwd")))
    return tf.compat.v2.cond(x[0] > 0, then, lambda: tf.constant(0))


def in_a_dataset() -> Any:
    files = tf.data.TextLineDataset("/etc/passwd")
    lengths = tf.strings.length(next_of(files.batch(2)))
    return lengths, placeholder()[0]


def in_a_map() -> Any:
    read = tf.data.Dataset.from_tensors("/etc/passwd").map(tf.io.read_file)
    return tf.strings.length(next_of(read)), placeholder()[0]


def next_of(dataset: Any) -> Any:
    return tf.raw_ops.DatasetToSingleElement(
        dataset=dataset._variant_tensor, output_types=[tf.string], output_shapes=[None]
    )[0]


def hidden_in_a_string() -> Any:
    hidden = tf.raw_ops.DatasetFromGraph(graph_def=b"\x0a\x00")
    element = tf.raw_ops.DatasetToSingleElement(
        dataset=hidden, output_types=[tf.string], output_shapes=[None]
    )
    return tf.strings.length(element[0]), placeholder()[0]


def prints_to_a_file() -> Any:
    x = placeholder()
    with tf.control_dependencies([tf.print("owned", output_stream="file:///tmp/owned")]):
        return tf.identity(x)


def maps_memory() -> Any:
    mapped = tf.raw_ops.ImmutableConst(
        dtype=tf.float32, shape=[1], memory_region_name="/proc/self/maps"
    )
    return mapped + placeholder()


def aborts() -> Any:
    x = placeholder()
    with tf.control_dependencies([tf.raw_ops.Abort(error_msg="gone")]):
        return tf.identity(x)


GRAPHS = {
    reads: ("reads files while it runs (ReadFile)", "--allow-op ReadFile"),
    writes: ("writes files while it runs (WriteFile)", "node WriteFile"),
    matches: ("reads files while it runs (MatchingFiles)",),
    in_a_branch: ("(ReadFile)", "of the function"),
    in_a_dataset: ("(TextLineDataset)",),
    in_a_map: ("(ReadFile)", "of the function"),
    hidden_in_a_string: ("a graph that is hidden in a string", "DatasetFromGraph"),
    prints_to_a_file: ("writes files while it runs (PrintV2)",),
    maps_memory: ("reads files while it runs (ImmutableConst)",),
    aborts: ("ends the process while it runs (Abort)",),
}


@pytest.mark.parametrize("build", GRAPHS, ids=lambda b: b.__name__)
def test_graphs(build: Callable[[], Any], tmp_path: Path) -> None:
    def whole() -> Any:
        parts = build()
        if not isinstance(parts, tuple):
            return parts
        return tf.cast(tf.reduce_sum(tf.cast(parts[0], tf.int32)), tf.float32) + parts[1]

    source = graph_file(tmp_path, whole)
    refused(source, *GRAPHS[build], outputs={"y": "y"}, inputs={"x": "x"})


def test_inspect_tells_what_would_be_refused(tmp_path: Path) -> None:
    described = sm.inspect(graph_file(tmp_path, writes))
    for target in ("savedmodel", "graphdef", "onnx"):
        assert "writes files while it runs (WriteFile)" in described.blockers[target][0]


def test_what_an_output_does_not_need_is_no_matter(tmp_path: Path) -> None:
    def build() -> Any:
        tf.io.write_file("/tmp/owned", "x")
        return placeholder() * 2.0

    sm.convert(graph_file(tmp_path, build), tmp_path / "out.pb", checked=False)


def test_an_op_is_allowed_by_name(tmp_path: Path) -> None:
    (tmp_path / "three").write_text("abc")

    def build() -> Any:
        return placeholder() * tf.cast(
            tf.strings.length(tf.io.read_file(str(tmp_path / "three"))), tf.float32
        )

    source = graph_file(tmp_path, build)
    command = [sys.executable, "-m", "smconvert.cli.main", "run", str(source), "--json"]
    command += ["--input-exprs", "x=[1.0, 2.0]"]
    denied = subprocess.run(command, capture_output=True, text=True)
    assert denied.returncode == sm.ConversionError.exit_code
    assert "reads files while it runs (ReadFile)" in denied.stderr
    allowed = subprocess.run([*command, "--allow-op", "ReadFile"], capture_output=True, text=True)
    assert json.loads(allowed.stdout) == {"y": [3.0, 6.0]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ReadFil", "did you mean ReadFile"),
        ("MatMul", "is not an op that is refused"),
        ("PyFunc", "cannot be allowed"),
    ],
)
def test_only_refused_ops_can_be_allowed(name: str, words: str) -> None:
    with pytest.raises(sm.UsageError) as error:
        outside.ensure_known([name])
    assert words in str(error.value)


def test_a_file_that_is_read_while_shapes_are_inferred(tmp_path: Path) -> None:
    """Nothing needs the reshaped tensor, but to import the graph TensorFlow reads the file."""
    with tf.Graph().as_default() as graph:
        x = placeholder()
        tf.reshape(x, tf.io.decode_raw(tf.io.read_file("/etc/passwd"), tf.int32))
        tf.identity(x * 2.0, name="y")
        meta_graph = tf.compat.v1.train.export_meta_graph(graph=graph)
    (tmp_path / "m.meta").write_bytes(meta_graph.SerializeToString())
    refused(tmp_path / "m.meta", "(ReadFile)", outputs={"y": "y"}, inputs={"x": "x"})


# What a loader runs by itself

IRIS = "tf1/iris_raw/export/1570635853"


def saved_model(tmp_path: Path, source: str, change: Callable[[Any], None]) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(DATA / source, copy)
    saved = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes())
    change(saved.meta_graphs[0])
    (copy / "saved_model.pb").write_bytes(saved.SerializeToString())
    return copy


def add_write(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    for name in ("evil/name", "evil/contents"):
        const = meta_graph.graph_def.node.add(name=name, op="Const")
        const.attr["dtype"].type = tf.string.as_datatype_enum
        const.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/tmp/owned"))
    meta_graph.graph_def.node.add(
        name="evil/write", op="WriteFile", input=["evil/name", "evil/contents"]
    )


@pytest.mark.parametrize("source", [IRIS, "tf1/main_op/model"])
def test_a_restore_op_that_writes(source: str, tmp_path: Path) -> None:
    def change(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        add_write(meta_graph)
        name = meta_graph.saver_def.restore_op_name
        next(n for n in meta_graph.graph_def.node if n.name == name).input.append("^evil/write")

    refused(saved_model(tmp_path, source, change), "(WriteFile)", "node evil/write")


@pytest.mark.parametrize("source", ["tf1/main_op/model", "tf1/legacy_init_op/model"])
def test_an_init_op_that_writes(source: str, tmp_path: Path) -> None:
    def change(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        add_write(meta_graph)
        collections = meta_graph.collection_def
        (key,) = {"saved_model_main_op", "legacy_init_op"} & collections.keys()
        collections[key].node_list.value[0] = "evil/write"

    refused(saved_model(tmp_path, source, change), "(WriteFile)", "node evil/write")


def test_a_restore_from_elsewhere(tmp_path: Path) -> None:
    def change(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        add_write(meta_graph)
        for node in meta_graph.graph_def.node:
            if node.op == "RestoreV2":
                node.input[0] = "evil/name"

    source = saved_model(tmp_path, IRIS, change)
    refused(source, "reads files while it runs (RestoreV2)")


def test_a_table_filled_from_elsewhere(tmp_path: Path) -> None:
    def change(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        add_write(meta_graph)
        for node in meta_graph.graph_def.node:
            if node.op == "InitializeTableFromTextFileV2":
                node.input[1] = "evil/name"

    refused(saved_model(tmp_path, "tf1/table_vocab/model", change), "InitializeTableFromTextFileV2")


def function_with(meta_graph: meta_graph_pb2.MetaGraphDef, part: str) -> Any:
    return next(f for f in meta_graph.graph_def.library.function if part in f.signature.name)


def add_read(function: Any) -> None:
    name = function.node_def.add(name="evil_name", op="Const")
    name.attr["dtype"].type = tf.string.as_datatype_enum
    name.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
    function.node_def.add(name="evil_read", op="ReadFile", input=["evil_name:output:0"])


@pytest.mark.parametrize("part", ["_initializer", "_creator", "signature_wrapper_scale"])
def test_functions_of_a_tf2_model(part: str, tmp_path: Path) -> None:
    source = saved_model(
        tmp_path, "tf2/module_signatures/model", lambda m: add_read(function_with(m, part))
    )
    refused(source, "(ReadFile)", "of the function")


def test_a_table_of_a_tf2_model_filled_from_elsewhere(tmp_path: Path) -> None:
    def change(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        function = function_with(meta_graph, "_initializer")
        add_read(function)
        function.node_def.remove(function.node_def[-1])
        for node in function.node_def:
            if node.op == "InitializeTableFromTextFileV2":
                node.input[1] = "evil_name:output:0"

    source = saved_model(tmp_path, "tf2/module_signatures/model", change)
    refused(source, "InitializeTableFromTextFileV2")


def test_a_name_that_is_spelt_like_that_of_an_asset(tmp_path: Path) -> None:
    """In a function, ``x`` is an argument, and ``x:output:0`` a node of the same name."""

    def change(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        function = function_with(meta_graph, "_initializer")
        add_read(function)
        function.node_def.remove(function.node_def[-1])
        argument = function.signature.input_arg[0].name
        next(n for n in function.node_def if n.name == "evil_name").name = argument
        for node in function.node_def:
            if node.op == "InitializeTableFromTextFileV2":
                node.input[1] = f"{argument}:output:0"

    source = saved_model(tmp_path, "tf2/module_signatures/model", change)
    refused(source, "InitializeTableFromTextFileV2")


def test_a_captured_name_in_the_place_of_an_asset(tmp_path: Path) -> None:
    def change(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        objects = meta_graph.object_graph_def
        function = function_with(meta_graph, "_initializer")
        (captured, _) = objects.concrete_functions[function.signature.name].bound_inputs
        objects.nodes[captured].constant.operation = "evil/name"
        add_write(meta_graph)

    source = saved_model(tmp_path, "tf2/module_signatures/model", change)
    refused(source, "InitializeTableFromTextFileV2")


def test_a_signature_whose_object_is_another_function(tmp_path: Path) -> None:
    """``saved_model.load`` calls the object; its SignatureDef may say something harmless."""

    def change(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        library = meta_graph.graph_def.library
        served = function_with(meta_graph, "signature_wrapper_scale")
        evil = library.function.add()
        evil.CopyFrom(served)
        evil.signature.name = "__inference_evil"
        add_read(evil)
        objects = meta_graph.object_graph_def
        objects.concrete_functions["__inference_evil"].CopyFrom(
            objects.concrete_functions[served.signature.name]
        )
        for node in objects.nodes:
            if served.signature.name in node.function.concrete_functions:
                node.function.concrete_functions[:] = ["__inference_evil"]
            if node.bare_concrete_function.concrete_function_name == served.signature.name:
                node.bare_concrete_function.concrete_function_name = "__inference_evil"

    source = saved_model(tmp_path, "tf2/module_signatures/model", change)
    refused(source, "(ReadFile)", "of the function __inference_evil")


def test_an_initialiser_in_a_training_graph(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer("/etc/passwd", tf.string, 0, tf.int64, 1, delimiter=":"),
            -1,
        )
        tf.identity(table.lookup(tf.compat.v1.placeholder(tf.string, [None], name="x")), name="y")
        meta_graph = tf.compat.v1.train.export_meta_graph(graph=graph)
    (tmp_path / "m.meta").write_bytes(meta_graph.SerializeToString())
    refused(tmp_path / "m.meta", "(InitializeTableFromTextFileV2)", outputs={"y": "y"})


# Keras


def keras_file(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = tmp_path / "model.keras"
    with (
        zipfile.ZipFile(DATA / "tf2" / "keras3_functional" / "model.keras") as whole,
        zipfile.ZipFile(path, "w") as copy,
    ):
        for name in whole.namelist():
            data = whole.read(name)
            if name == "config.json":
                config = json.loads(data)
                dense = [x for x in config["config"]["layers"] if x["class_name"] == "Dense"]
                change(dense[0])
                data = json.dumps(config).encode()
            copy.writestr(name, data)
    return path


def node_of(op: str) -> dict[str, Any]:
    return {"name": "raw", "node_def": {"name": "raw", "op": op, "input": ["x"]}}


KERAS: dict[str, tuple[dict[str, Any], str]] = {
    "lambda": ({"class_name": "Lambda"}, "is a Lambda, which holds Python code"),
    "function": ({"class_name": "function", "config": "get_file"}, "is a function, which holds"),
    "other module": ({"module": "os", "class_name": "system"}, "is not part of Keras"),
    "pickle": ({"class_name": "TorchModuleWrapper"}, "holds a pickle"),
    "model elsewhere": ({"class_name": "TFSMLayer"}, "loads another model from a path"),
    "vocabulary": (
        {"class_name": "StringLookup", "config": {"name": "w", "vocabulary": "/etc/passwd"}},
        "reads its vocabulary from '/etc/passwd'",
    ),
    "op": (
        {"class_name": "TensorFlowOpLayer", "config": node_of("ReadFile")},
        "reads files while it runs (ReadFile)",
    ),
    "python op": (
        {"class_name": "TensorFlowOpLayer", "config": node_of("PyFunc")},
        "calls a Python function (PyFunc)",
    ),
    "op not told": (
        {"class_name": "TensorFlowOpLayer", "config": {"name": "raw", "node_def": "\n\x01"}},
        "the op of the layer 'raw' cannot be read",
    ),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_layers(name: str, tmp_path: Path) -> None:
    entry, words = KERAS[name]
    source = keras_file(tmp_path, lambda layer: layer.update(entry))
    importer, match = importer_for(source)
    with pytest.raises(sm.ConversionError) as error:
        importer.load(match.path, sm.SourceOptions())
    assert words in str(error.value)
    assert words in next(iter(sm.inspect(source).blockers.values()))[0]


def _zeros(signature: sm.SignatureInfo) -> dict[str, Any]:
    return {i.name: np.zeros((1, *(i.shape or ())[1:]), np.float32) for i in signature.inputs}


def test_the_runtime_of_keras_refuses_the_same(tmp_path: Path) -> None:
    source = keras_file(tmp_path, lambda layer: layer.update(KERAS["vocabulary"][0]))
    with pytest.raises(sm.SmconvertError, match="reads its vocabulary from"):
        sm.run(
            source, lambda s: {i.name: np.zeros((1, *i.shape[1:]), np.float32) for i in s.inputs}
        )
