"""Files made to hurt a reader: each ends in a sentence or a description, in little time and memory.

And what the fuzzer found (``regressions/``): it stays here.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

import smconvert as sm
from case import DATA
from fuzz import TARGETS, prepared, read
from smconvert.graph.protos import graph_pb2, tensor_bundle_pb2
from smconvert.parity import warmup

REGRESSIONS = Path(__file__).parent / "regressions"
MEMORY = 1 << 30
SECONDS = 20

_INSPECT = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))
resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
import smconvert as sm
try:
    sm.inspect(sys.argv[1])
except sm.SmconvertError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "path", sorted(REGRESSIONS.glob("*/*")), ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_what_the_fuzzer_found(path: Path) -> None:
    target = TARGETS[path.parent.name]
    with prepared(target) as (file, source):
        file.write_bytes(target.framed(path.read_bytes()))
        read(path.parent.name, source)


def told(artifact: Path) -> str:
    """What a process says that may take little memory and time."""
    command = [sys.executable, "-c", _INSPECT, str(artifact)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


# Protobufs


def graph(path: Path, fill: Callable[[graph_pb2.GraphDef], None]) -> None:
    message = graph_pb2.GraphDef()
    fill(message)
    path.write_bytes(message.SerializeToString())


def nested(depth: int) -> bytes:
    """A function reference with an attribute that is a function reference, and so on."""
    inner = b""
    for _ in range(depth):
        func = b"\x0a\x01f" + b"\x12" + _sized(b"\x0a\x01a\x12" + _sized(inner))
        inner = b"\x52" + _sized(func)
    node = b"\x0a\x01n\x12\x02No" + b"\x2a" + _sized(b"\x0a\x01a\x12" + _sized(inner))
    return b"\x0a" + _sized(node)


def _sized(data: bytes) -> bytes:
    size, parts = len(data), bytearray()
    while size > 0x7F:
        parts.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*parts, size]) + data


def deep(path: Path) -> None:
    path.write_bytes(nested(20_000))


def deep_text(path: Path) -> None:
    start = 'attr { key: "a" value { func { name: "f" '
    path.write_text('node { name: "n" op: "No" ' + start * 20_000 + "} } } " * 20_000 + "}")


def many_inputs(path: Path) -> None:
    def fill(message: graph_pb2.GraphDef) -> None:
        names = [f"p{i}" for i in range(20_000)]
        for name in names:
            message.node.add(name=name, op="Placeholder").attr["dtype"].type = 1
        message.node.add(name="y", op="AddN", input=names)

    graph(path, fill)


def many_iterators(path: Path) -> None:
    def fill(message: graph_pb2.GraphDef) -> None:
        for i in range(20_000):
            message.node.add(name=f"p{i}", op="IteratorGetNext")
        message.node.add(name="y", op="AddN", input=[f"p{i}" for i in range(20_000)])

    graph(path, fill)


def chain_of_metrics(path: Path) -> None:
    def fill(message: graph_pb2.GraphDef) -> None:
        message.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
        message.node.add(name="c0", op="Cast", input=["x"])
        for i in range(1, 30_000):
            message.node.add(name=f"c{i}", op="Cast", input=[f"c{i - 1}"])
        message.node.add(name="loss", op="Identity", input=["c29999"])

    graph(path, fill)


def circle(path: Path) -> None:
    def fill(message: graph_pb2.GraphDef) -> None:
        message.node.add(name="a", op="Identity", input=["b"])
        message.node.add(name="b", op="Identity", input=["a"])
        message.node.add(name="y", op="ReadFile", input=["a"])

    graph(path, fill)


def huge_default(path: Path) -> None:
    def fill(message: graph_pb2.GraphDef) -> None:
        for i in range(8):
            const = message.node.add(name=f"c{i}", op="Const")
            const.attr["dtype"].type = 1
            tensor = const.attr["value"].tensor
            tensor.dtype = 1
            tensor.tensor_shape.dim.add(size=(1 << 29) - 1)
            tensor.float_val.append(1.0)
            message.node.add(name=f"p{i}", op="PlaceholderWithDefault", input=[f"c{i}"])
        message.node.add(name="y", op="AddN", input=[f"p{i}" for i in range(8)])

    graph(path, fill)


def functions_that_call_each_other(path: Path) -> None:
    def fill(message: graph_pb2.GraphDef) -> None:
        message.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
        for i in range(2000):
            function = message.library.function.add()
            function.signature.name = f"f{i}"
            for j in range(2):
                node = function.node_def.add(name=f"n{j}", op="PartitionedCall")
                node.attr["f"].func.name = f"f{(i + 1) % 2000}"
        call = message.node.add(name="y", op="PartitionedCall", input=["x"])
        call.attr["f"].func.name = "f0"

    graph(path, fill)


GRAPHS = {
    deep: "damaged or not a GraphDef",
    deep_text: "damaged or not a GraphDef",
    many_inputs: "",
    many_iterators: "",
    chain_of_metrics: "",
    circle: "the node 'a' needs itself",
    huge_default: "",
    functions_that_call_each_other: "",
}


@pytest.mark.parametrize("make", GRAPHS, ids=lambda m: m.__name__)
def test_graphs(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / ("graph.pbtxt" if make is deep_text else "graph.pb")
    make(path)
    assert GRAPHS[make] in told(path)


# Checkpoints


def table(blocks: list[bytes], handles: list[tuple[int, int]] | None = None) -> bytes:
    data, placed = b"", []
    for block in blocks:
        placed.append((len(data), len(block)))
        data += block + b"\0" * 5
    index = entries([(b"", b"k%06d" % i, number(*h)) for i, h in enumerate(handles or placed)])
    footer = number(0, 0) + number(len(data), len(index))
    return data + index + b"\0" * 5 + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def entries(items: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """A block of (what is shared with the key before, the rest of the key, value)."""
    body = b"".join(
        number(len(shared), len(rest), len(value)) + rest + value for shared, rest, value in items
    )
    return body + b"\0\0\0\0" + b"\x01\0\0\0"


def number(*values: int) -> bytes:
    return b"".join(_sized(b"\0" * v)[: -v or None] for v in values)


def entry() -> bytes:
    return tensor_bundle_pb2.BundleEntryProto(dtype=1, size=4).SerializeToString()


LONG = b"k" * 60_000


def bomb_of_keys() -> bytes:
    """Each entry takes a few bytes, and becomes a key of 60 kB."""
    first = (b"", LONG, entry())
    return table([entries([first, *((LONG[:-2], b"%05d" % i, entry()) for i in range(20_000))])])


def long_key() -> bytes:
    return table([entries([(b"", b"k" * 100_000, entry())])])


def overlapping_blocks() -> bytes:
    block = entries([(b"", b"k%d" % i, entry()) for i in range(2000)])
    return table([block], [(0, len(block))] * 2000)


def many_shards() -> bytes:
    header = tensor_bundle_pb2.BundleHeaderProto(num_shards=(1 << 31) - 1).SerializeToString()
    return table([entries([(b"", b"", header)])])


CHECKPOINTS = {
    bomb_of_keys: "model.ckpt.index is truncated or damaged",
    long_key: "model.ckpt.index is truncated or damaged",
    overlapping_blocks: "model.ckpt.index is truncated or damaged",
    many_shards: "shard model.ckpt.data-00000-of-2147483647 is missing",
}


@pytest.mark.parametrize("make", CHECKPOINTS, ids=lambda m: m.__name__)
def test_checkpoints(make: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(make())
    assert CHECKPOINTS[make] in told(tmp_path / "model.ckpt")


def test_a_table_of_ours_is_read(tmp_path: Path) -> None:
    """So that the tables above are refused for what they do, and not for how they are made."""
    items = [(b"", b"", tensor_bundle_pb2.BundleHeaderProto(num_shards=1).SerializeToString())]
    items += [(b"", b"variable", entry()), (b"variable", b"/Adam", entry())]
    (tmp_path / "model.ckpt.index").write_bytes(table([entries(items)]))
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(b"\0" * 8)
    variables = sm.inspect(tmp_path / "model.ckpt").variables
    assert [v.name for v in variables] == ["variable", "variable/Adam"]


# HDF5 and Keras


def group_in_itself(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["again"] = file["/"]


def external_link(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["weights"] = h5py.ExternalLink("/etc/passwd", "/")


def external_data(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("w", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual_data(path: Path) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "w", (4,))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("w", layout)


def deep_groups(path: Path) -> None:
    with h5py.File(path, "a") as file:
        group = file
        for _ in range(1200):
            group = group.create_group("g")


HDF5 = {
    group_in_itself: "holds a group twice",
    external_link: "links to another file, '/etc/passwd'",
    external_data: "keeps weights in another file",
    virtual_data: "keeps weights in another file",
    deep_groups: "keras",
}


@pytest.mark.parametrize("change", HDF5, ids=lambda c: c.__name__)
@pytest.mark.parametrize("kind", ["h5", "keras"])
def test_hdf5(kind: str, change: Callable[[Path], None], tmp_path: Path) -> None:
    if kind == "h5":
        path = tmp_path / "model.h5"
        shutil.copy(DATA / "tf2" / "keras3_h5" / "model.h5", path)
        change(path)
    else:
        path = _keras_with(change, tmp_path)
    try:
        words = sm.inspect(path).format
    except sm.SourceError as error:
        words = str(error)
    assert HDF5[change] in words


def _keras_with(change: Callable[[Path], None], tmp_path: Path) -> Path:
    with (
        zipfile.ZipFile(DATA / "tf2" / "keras3_functional" / "model.keras") as whole,
        zipfile.ZipFile(tmp_path / "model.keras", "w") as copy,
    ):
        for name in whole.namelist():
            whole.extract(name, tmp_path / "parts")
            if name.endswith(".h5"):
                change(tmp_path / "parts" / name)
            copy.write(tmp_path / "parts" / name, name)
    return tmp_path / "model.keras"


def test_a_config_nested_too_deeply(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("config.json", "[" * 200_000 + "]" * 200_000)
        file.writestr("metadata.json", "{}")
    assert "nested too deeply" in told(tmp_path / "model.keras")


# What lies beside a model


def test_a_warm_up_request_of_a_constant_that_claims_much(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(DATA / "tf2" / "module_signatures" / "model", copy)
    file = copy / warmup.FILE
    file.parent.mkdir(exist_ok=True)
    size = (1 << 40).to_bytes(8, "little")
    file.write_bytes(size + warmup.masked_crc(size).to_bytes(4, "little"))
    for signature in sm.inspect(copy).signatures:
        with pytest.raises(sm.SourceError, match="a record claims 1099511627776 bytes"):
            warmup.requests(copy, signature)


def test_limits_are_real() -> None:
    """A process that takes more than the limit ends: the tests above would fail."""
    code = _INSPECT.replace("sm.inspect(sys.argv[1])", f"bytearray({2 * MEMORY})")
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MemoryError" in process.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != MEMORY
