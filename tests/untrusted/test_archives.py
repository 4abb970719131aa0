"""Archives that try something, and the sentence each is refused with."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from smconvert.archives import Bounds, is_archive, unpack
from smconvert.errors import DestinationError, SourceError

Maker = Callable[[Path], None]
SMALL = Bounds(entries=100, bytes=1 << 20, ratio=50, ratio_from=64 << 10)


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> Maker:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)

    return make


def zip_kind(name: str, kind: int, data: bytes = b"/etc/passwd") -> Maker:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return zipped((info, data))


def tarred(*members: tarfile.TarInfo | str, format: int = tarfile.PAX_FORMAT) -> Maker:
    def make(path: Path) -> None:
        with tarfile.open(path, "w:gz", format=format) as archive:
            for member in members:
                info = tarfile.TarInfo(member) if isinstance(member, str) else member
                archive.addfile(info, io.BytesIO(b"x" * info.size))

    return make


def tar_kind(kind: bytes, name: str = "model/x", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def written(data: bytes) -> Maker:
    return lambda path: path.write_bytes(data) and None


def tar_header(name: bytes, size: int, kind: bytes = b"0") -> bytes:
    """A header with whatever size, in GNU's binary form where octal cannot hold it."""
    octal = b"%011o\0" % size if 0 <= size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    head = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + octal)
    head += b"00000000000\0" + b" " * 8 + kind + b"\0" * 100 + b"ustar\x0000"
    head = bytearray(head.ljust(512, b"\0"))
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def pax(records: dict[str, str]) -> bytes:
    body = b""
    for key, value in records.items():
        line = f" {key}={value}\n".encode()
        size = len(line) + 1
        while size != len(str(size)) + len(line):
            size = len(str(size)) + len(line)
        body += str(size).encode() + line
    return tar_header(b"pax", len(body), b"x") + body.ljust(-(-len(body) // 512) * 512, b"\0")


def overlapping_zip(copies: int) -> bytes:
    """Many directory entries that share one member's data, as in Fifield's bomb."""
    name, body = b"a", zlib.compress(b"\0" * 60_000, 9)[2:-4]
    crc = zlib.crc32(b"\0" * 60_000)
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, crc, len(body), 60_000, 1, 0)
    local = b"PK\x03\x04" + fields + name + body
    directory = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
        for _ in range(copies)
    )
    end = struct.pack("<HHHHIIH", 0, 0, copies, copies, len(directory), len(local), 0)
    return local + directory + b"PK\x05\x06" + end


def lying_zip(path: Path) -> None:
    """A member that unpacks to more than its headers say."""
    zipped(("a", b"\0" * 50_000))(path)
    data = path.read_bytes().replace(struct.pack("<I", 50_000), struct.pack("<I", 10))
    path.write_bytes(data)


def encrypted_zip(path: Path) -> None:
    zipped(("a", b"secret"))(path)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def lzma_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", b"x" * 100)


def negative_pax_size(path: Path) -> None:
    data = pax({"size": "-1536"}) + tar_header(b"a", 0) + b"\0" * 1024
    path.write_bytes(gzip.compress(data))


MANY = [f"f{i}" for i in range(101)]
BIG = tarfile.TarInfo("a")
BIG.size = 300 << 10

HOSTILE: dict[str, tuple[Maker, str]] = {
    "zip absolute": (zipped(("/etc/cron.d/x", b"x")), "points outside it"),
    "zip parent": (zipped(("model/../../x", b"x")), "points outside it"),
    "zip hidden parent": (zipped(("a/b/../../../x", b"x")), "points outside it"),
    "zip backslash": (zipped(("..\\..\\x", b"x")), "a backslash"),
    "zip drive": (zipped(("C:/x", b"x")), "a drive"),
    "zip control": (zipped(("a\nb", b"x")), "a control character"),
    "zip right to left": (zipped(("a\u202egnp.b", b"x")), "a control character"),
    "zip long name": (zipped(("n" * 300, b"x")), "too long or too deep"),
    "zip deep": (zipped(("d/" * 100 + "x", b"x")), "too long or too deep"),
    "zip link": (zip_kind("model/x", stat.S_IFLNK), "a link, a device"),
    "zip device": (zip_kind("model/x", stat.S_IFBLK), "a link, a device"),
    "zip pipe": (zip_kind("model/x", stat.S_IFIFO), "a link, a device"),
    "zip twice": (zipped(("a", b"1"), ("a", b"2")), "holds 'a' twice"),
    "zip twice by a detour": (zipped(("a", b"1"), ("./a", b"2")), "holds './a' twice"),
    "zip twice by case": (zipped(("Model.pb", b"1"), ("model.pb", b"2")), "differ in case"),
    "zip twice by accents": (zipped(("\u00e9", b"1"), ("e\u0301", b"2")), "differ in case"),
    "zip file as folder": (zipped(("a", b"1"), ("a/b", b"2")), "as a file and as a folder"),
    "zip folder as file": (zipped(("a/b", b"1"), ("a", b"2")), "holds 'a' twice"),
    "zip many": (zipped(*((n, b"") for n in MANY)), "more than 100 files"),
    "zip ratio": (zipped(("a", b"\0" * 900_000)), "more than 50 times its size"),
    "zip total": (zipped(*((f"{i}", os.urandom(300 << 10)) for i in range(4))), "1,048,576 bytes"),
    "zip overlap": (written(overlapping_zip(30)), "twice"),
    "zip huge directory": (written(overlapping_zip(5000)), "bytes at once"),
    "zip lying size": (lying_zip, "damaged"),
    "zip encrypted": (encrypted_zip, "is encrypted"),
    "zip unusual method": (lzma_zip, "by an unusual method"),
    "zip empty": (zipped(), "holds no files"),
    "zip folders only": (zipped(("a/", b"")), "holds no files"),
    "zip truncated": (lambda p: p.write_bytes(overlapping_zip(1)[:40]) and None, "damaged"),
    "tar absolute": (tarred("/etc/cron.d/x"), "points outside it"),
    "tar parent": (tarred("../x"), "points outside it"),
    "tar symbolic link": (tarred(tar_kind(tarfile.SYMTYPE)), "a link, a device"),
    "tar hard link": (tarred(tar_kind(tarfile.LNKTYPE)), "a link, a device"),
    "tar link then file": (tarred(tar_kind(tarfile.SYMTYPE, "d", "/tmp"), "d/x"), "a link"),
    "tar device": (tarred(tar_kind(tarfile.CHRTYPE)), "a link, a device"),
    "tar block device": (tarred(tar_kind(tarfile.BLKTYPE)), "a link, a device"),
    "tar pipe": (tarred(tar_kind(tarfile.FIFOTYPE)), "a link, a device"),
    "tar sparse": (tarred(tar_kind(tarfile.GNUTYPE_SPARSE)), "damaged|a sparse file"),
    "tar twice": (tarred("a", "a"), "holds 'a' twice"),
    "tar many": (tarred(*MANY), "more than 100 files"),
    "tar ratio": (tarred(BIG), "more than 50 times its size"),
    "tar bytes not UTF-8": (
        written(gzip.compress(tar_header(b"a\xff", 0) + b"\0" * 1024)),
        "a control character",
    ),
    "tar claims terabytes": (
        written(gzip.compress(tar_header(b"a", 1 << 42) + b"\0" * 512)),
        "more than 1,048,576 bytes",
    ),
    "tar long name of a gigabyte": (
        written(gzip.compress(tar_header(b"a", 1 << 30, b"L") + b"\0" * (1 << 20))),
        "bytes at once",
    ),
    "tar pax header of a gigabyte": (
        written(gzip.compress(tar_header(b"a", 1 << 30, b"x") + b"\0" * (1 << 20))),
        "bytes at once",
    ),
    "tar pax without end": (
        written(gzip.compress(pax({"path": "a"}) * 5000)),
        "damaged",
    ),
    "tar negative size": (negative_pax_size, "damaged|negative size"),
    "tar size beyond the file": (
        written(gzip.compress(tar_header(b"a", 5000) + b"x" * 512)),
        "damaged",
    ),
    "tar truncated": (lambda p: _cut(tarred(BIG), p), "damaged|50 times"),
    "tar endless zeros": (
        written(gzip.compress(tar_header(b"a", 0) + b"\0" * (80 << 20))),
        "longer than its files",
    ),
    "gzip of no tar": (written(gzip.compress(b"no tar at all" * 100)), "damaged"),
    "gzip alone": (written(b"\x1f\x8b"), "damaged"),
    "no archive": (written(b"\x08\x01"), "is no archive"),
    "nothing": (written(b""), "is no archive"),
}


def _cut(make: Maker, path: Path) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[:-6])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(name: str, tmp_path: Path) -> None:
    make, words = HOSTILE[name]
    archive = tmp_path / "upload"
    make(archive)
    with pytest.raises(SourceError, match=words):
        unpack(archive, tmp_path / "jail" / "folder", SMALL)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left <= {"upload", "jail", "jail/folder"}


MODEL = {"saved_model.pb": b"\x08\x01", "variables/variables.index": b"\0" * 100}


def _as_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    zipped(*files)(path)


def _as_tar(mode: str) -> Callable[[Path, Iterable[tuple[str, bytes]]], None]:
    def make(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
        with tarfile.open(path, mode) as archive:
            for name, data in files:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))

    return make


PACKERS = {"zip": _as_zip, "tar.gz": _as_tar("w:gz"), "tar": _as_tar("w")}


@pytest.mark.parametrize("prefix", ["", "export/", "./export/", "export/1589/"])
@pytest.mark.parametrize("kind", PACKERS)
def test_a_folder_comes_out_as_it_went_in(kind: str, prefix: str, tmp_path: Path) -> None:
    archive = tmp_path / f"m.{kind}"
    PACKERS[kind](archive, [(prefix + name, data) for name, data in MODEL.items()])
    assert is_archive(archive)
    artifact = unpack(archive, tmp_path / "out")
    assert artifact == tmp_path / "out" / prefix
    assert {n: (artifact / n).read_bytes() for n in MODEL} == MODEL


@pytest.mark.parametrize(
    ("names", "artifact"),
    [
        (["model.pb"], "model.pb"),
        (["deep/er/model.pb"], "deep/er/model.pb"),
        (["export/saved_model.pb"], "export"),
        (["a.meta", "a.index", "a.data-00000-of-00001"], "."),
        (["m/model.pb", "__MACOSX/m/._model.pb", ".DS_Store"], "m/model.pb"),
    ],
)
def test_the_artifact_is_found(names: list[str], artifact: str, tmp_path: Path) -> None:
    _as_zip(tmp_path / "m.zip", [(name, b"x") for name in names])
    assert unpack(tmp_path / "m.zip", tmp_path / "out") == tmp_path / "out" / artifact


def test_archives_of_the_systems_own_programs(tmp_path: Path) -> None:
    (tmp_path / "export" / "variables").mkdir(parents=True)
    for name, data in MODEL.items():
        (tmp_path / "export" / name).write_bytes(data)
    tar = ["tar", "-C", str(tmp_path / "export"), "-czf", str(tmp_path / "m.tgz"), "."]
    subprocess.run(tar, check=True)
    assert unpack(tmp_path / "m.tgz", tmp_path / "out") == tmp_path / "out"
    assert (tmp_path / "out" / "variables" / "variables.index").read_bytes() == b"\0" * 100


def test_gzip_files_of_several_parts_are_read_whole(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("a")
        info.size = 200_000
        archive.addfile(info, io.BytesIO(os.urandom(200_000)))
    data = buffer.getvalue()
    parts = [data[i : i + 70_000] for i in range(0, len(data), 70_000)]
    (tmp_path / "m.tgz").write_bytes(b"".join(map(gzip.compress, parts)) + b"\0" * 100)
    unpack(tmp_path / "m.tgz", tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == data[512:200_512]


def test_keras_files_are_models_and_no_archives(tmp_path: Path) -> None:
    _as_zip(tmp_path / "m.keras", [("config.json", b"{}")])
    assert not is_archive(tmp_path / "m.keras")


def test_zeros_may_be_packed_tightly_while_they_are_few(tmp_path: Path) -> None:
    _as_zip(tmp_path / "m.zip", [("zeros", b"\0" * 1_000_000)])
    assert (unpack(tmp_path / "m.zip", tmp_path / "out")).stat().st_size == 1_000_000


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    _as_zip(tmp_path / "m.zip", [("a", b"x")])
    (tmp_path / "b").write_bytes(b"mine")
    with pytest.raises(DestinationError, match="exists already"):
        unpack(tmp_path / "m.zip", tmp_path)
    assert (tmp_path / "b").read_bytes() == b"mine"


def test_a_full_disk_is_said_and_nothing_stays(tmp_path: Path) -> None:
    _as_zip(tmp_path / "m.zip", [("a", os.urandom(300_000))])
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from smconvert.archives import unpack\n"
        "from smconvert.errors import DestinationError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: unpack(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except DestinationError as error: print(error.message)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.zip"), str(tmp_path / "out")]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "larger than allowed" in told
    assert not list((tmp_path / "out").iterdir())


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    with tarfile.open(tmp_path / "m.tar", "w") as archive:
        info = tarfile.TarInfo("a")
        info.size = 200 << 20
        archive.addfile(info, _Repeated(block))  # type: ignore[arg-type]
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from smconvert.archives import unpack\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "unpack(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.tar"), str(tmp_path / "out")]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 8 << 10
    (tmp_path / "out" / "a").unlink()


class _Repeated:
    def __init__(self, block: bytes) -> None:
        self._block = block

    def read(self, size: int) -> bytes:
        return self._block[:size]
