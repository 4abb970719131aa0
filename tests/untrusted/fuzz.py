"""Fuzzes the readers with atheris: ``python tests/untrusted/fuzz.py graphdef -max_total_time=60``.

What a reader makes of any bytes is a description, a list of what would run, or an error for the
person. Anything else is a fault, and so is taking longer than ``-timeout`` seconds. The input of a
fault belongs into ``tests/untrusted/regressions/``, where ``test_hostile_files.py`` replays it.
Arguments behind the target's name are libFuzzer's; the corpus starts from ``tests/data``.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
PACKAGES = [
    "smconvert",
    *(f"smconvert_{name}" for name in ("savedmodel", "graphdef", "metagraph", "checkpoint")),
    *(f"smconvert_{name}" for name in ("keras", "onnx")),
]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@dataclass(frozen=True)
class Target:
    """A file of an artifact, and the artifacts in ``tests/data`` that have such a file.

    Attributes:
        file: Where the bytes go, in a copy of ``around``.
        seeds: Files to start from.
        around: The artifact's other files.
        source: What is read, if not the file.
        message: The protobuf message that the file is, as ``module:name`` below ``protos``.
        made: Further files to start from, made here.
        framed: How the bytes become the file, where a checksum would stop most of them.
    """

    file: str
    seeds: tuple[str, ...]
    around: str | None = None
    source: str | None = None
    message: str | None = None
    made: Callable[[], bytes] = bytes
    framed: Callable[[bytes], bytes] = bytes


def onnx_model() -> bytes:
    """A product and a branch, with an initializer, external data and metadata."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in "xy")
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0])
    apart = TensorProto(name="v", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    apart.external_data.add(key="location", value="weights.bin")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "v"], ["y"]),
    ]
    default = helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 2])
    graph = helper.make_graph(nodes, "g", [x, default], [y], [weights, apart])
    return bytes(helper.make_model(graph).SerializeToString())


def warmup_log() -> bytes:
    """A request for ``serving_default`` of the artifact around."""
    from smconvert.graph.protos import tensor_pb2

    tensor = tensor_pb2.TensorProto(dtype=1, float_val=[1.0, 2.0])
    tensor.tensor_shape.dim.add(size=2)
    inner = tensor.SerializeToString()
    entry = b"\x0a\x01x\x12" + bytes([len(inner)]) + inner
    request = b"\x12" + bytes([len(entry)]) + entry
    log = b"\x0a" + bytes([len(request)]) + request
    return b"\x32" + bytes([len(log)]) + log


def record(data: bytes) -> bytes:
    """A TFRecord with the right checksums."""
    from smconvert.parity.warmup import masked_crc

    size = len(data).to_bytes(8, "little")
    checks = (masked_crc(part).to_bytes(4, "little") for part in (size, data))
    return size + next(checks) + data + next(checks)


TARGETS = {
    "graphdef": Target("graph.pb", ("tf1/*/graph.pb",), message="graph_pb2:GraphDef"),
    "graphdef_text": Target("graph.pbtxt", ("tf1/*/graph.pbtxt",)),
    "metagraph": Target("m.meta", ("tf1/*/*.meta",), message="meta_graph_pb2:MetaGraphDef"),
    "savedmodel": Target(
        "saved_model.pb",
        ("tf*/**/saved_model.pb",),
        around="tf2/module_signatures/model",
        source=".",
        message="saved_model_pb2:SavedModel",
    ),
    "index": Target(
        "model.ckpt.index", ("tf1/*/*.index",), around="tf1/metagraph_train", source="model.ckpt"
    ),
    "checkpoint_v1": Target("model.ckpt", ("tf1/checkpoint_v1*/model.ckpt",)),
    "state": Target(
        "checkpoint", ("tf1/*/run/checkpoint",), around="tf1/checkpoint_folder/run", source="."
    ),
    "warmup": Target(
        "assets.extra/tf_serving_warmup_requests",
        (),
        around="tf2/module_signatures/model",
        source=".",
        made=warmup_log,
        framed=record,
    ),
    "manifest": Target(
        "assets.extra/smconvert.json",
        (),
        around="tf2/module_signatures/model",
        source=".",
        made=lambda: (
            b'{"keywords": {"serving_default": {"signature": "s", "inputs": {"x": "x_1"}}}}'
        ),
    ),
    "keras": Target("model.keras", ("tf2/*/model.keras",)),
    "keras_h5": Target("model.h5", ("tf2/*/model.h5",)),
    "onnx": Target("model.onnx", (), made=onnx_model),
    "archive": Target("model.zip", ("tf2/*/model.keras",)),
}


def read(target: str, artifact: Path) -> None:
    """Everything that reads an artifact before TensorFlow does."""
    from smconvert import archives
    from smconvert.converters import SourceOptions, reader_for
    from smconvert.errors import SmconvertError
    from smconvert.parity import warmup

    with contextlib.suppress(SmconvertError):
        if target == "archive":
            with tempfile.TemporaryDirectory() as folder:
                archives.unpack(artifact, Path(folder), archives.Bounds(1000, 1 << 22))
            return
        reader, match = reader_for(artifact)
        described = reader.describe(match.path, SourceOptions())
        for signature in described.signatures:
            with contextlib.suppress(SmconvertError):
                warmup.requests(match.path, signature)
            with contextlib.suppress(SmconvertError):
                reader.executable(match.path, SourceOptions(), signature)


@contextlib.contextmanager
def prepared(target: Target) -> Iterator[tuple[Path, Path]]:
    """A folder of the artifact: the file that bytes go to, and what is read then."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "artifact"
        if target.around is not None:
            shutil.copytree(DATA / target.around, folder)
        file = folder / target.file
        file.parent.mkdir(parents=True, exist_ok=True)
        yield file, folder / (target.source or target.file)


def mutated(message: Message, chance: random.Random) -> None:
    """Changes a few fields anywhere in a message, to values that others of it have, or edges."""
    fields = list(_fields(message))
    if not fields:
        return
    for _ in range(chance.randint(1, 4)):
        owner, field = chance.choice(fields)
        value = getattr(owner, field.name)
        with contextlib.suppress(ValueError, TypeError, AttributeError, IndexError):
            if chance.random() < 0.15:
                owner.ClearField(field.name)
            elif field.is_repeated and field.message_type is not None:
                entries = list(value) if hasattr(value, "add") else []
                chosen = chance.choice(entries)
                value.remove(chosen) if chance.random() < 0.5 else value.add().CopyFrom(chosen)
            elif field.is_repeated:
                value[chance.randrange(len(value))] = _other(field, fields, chance)
            elif field.message_type is None:
                setattr(owner, field.name, _other(field, fields, chance))


def _fields(message: Message) -> Iterator[tuple[Any, Any]]:
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            values = [v for v in value.values() if isinstance(v, Message)]
        else:
            values = list(value) if field.is_repeated else [value]
        for inner in values:
            yield from _fields(inner)


def _other(field: Any, fields: list[tuple[Any, Any]], chance: random.Random) -> Any:
    alike = [(o, f) for o, f in fields if f.type == field.type and f.message_type is None]
    owner, chosen = chance.choice(alike)
    value = getattr(owner, chosen.name)
    values = list(value) if chosen.is_repeated else [value]
    edges = [0, -1, 1 << 31, 1 << 62, -(1 << 63)] if isinstance(values[0], int) else []
    return chance.choice([*values, *edges])


def main(name: str, arguments: list[str]) -> None:
    """Fuzzes one target until libFuzzer's limits, or a fault."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        from smconvert import archives, converters  # noqa: F401 - loaded instrumented
        from smconvert.graph import protos

        converters.readers()
    target = TARGETS[name]
    kind = None
    if target.message is not None:
        module, _, message = target.message.partition(":")
        kind = getattr(getattr(protos, module), message)
    with prepared(target) as (file, source), tempfile.TemporaryDirectory() as corpus:
        for pattern in target.seeds:
            for number, seed in enumerate(sorted(DATA.glob(pattern))):
                shutil.copy(seed, Path(corpus) / f"{number}")

        (Path(corpus) / "made").write_bytes(target.made())

        def once(data: bytes) -> None:
            file.write_bytes(target.framed(data))
            read(name, source)

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            chance = random.Random(seed)
            with contextlib.suppress(DecodeError):
                if kind is not None and chance.random() < 0.9:
                    message = kind.FromString(data)
                    mutated(message, chance)
                    return bytes(message.SerializeToString()[:most])
            return bytes(atheris.Mutate(data, most))

        atheris.Setup([sys.argv[0], *arguments, corpus], once, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
