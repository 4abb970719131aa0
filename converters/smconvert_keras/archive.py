"""What is inside a ``.keras`` or ``.h5`` file, read without Keras: its config and its weights.

Both suffixes were used by Keras 2 and by Keras 3; only the contents tell them apart.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf import json_format

from smconvert.converters import VariableInfo
from smconvert.errors import ConversionError, SourceError
from smconvert.graph import outside
from smconvert.graph.messages import head_of
from smconvert.graph.protos import node_def_pb2
from smconvert.model import DType

ZIP_MAGIC = b"PK\x03\x04"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_CONFIG_BYTES = 64 << 20
MAX_RATIO = 200
MAX_MEMBERS = 100_000

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    KeyError,
    ValueError,
    TypeError,
    RuntimeError,
    OverflowError,
    NotImplementedError,
)
"""What zipfile, json and h5py raise on damaged files."""

_WEIGHTS = "model.weights.h5"
_KERAS = ("keras", "tf_keras", "builtins", "numpy")
_CODE = {
    **dict.fromkeys(
        ("Lambda", "TFOpLambda", "SlicingOpLambda", "__lambda__", "function"),
        "which holds Python code",
    ),
    "TorchModuleWrapper": "which holds a pickle, and so Python code",
    "TFSMLayer": "which loads another model from a path",
}
_RAW_OP = "TensorFlowOpLayer"
"""A single TensorFlow op as a layer, as functional models of Keras 2 held them."""


@dataclass(frozen=True)
class KerasFile:
    """A model file as data.

    Attributes:
        path: The file.
        container: ``zip`` or ``hdf5``.
        keras_version: The version that wrote it, as it says.
        config: The model's config: class name, and config of its layers.
    """

    path: Path
    container: str
    keras_version: str
    config: Mapping[str, Any]

    @property
    def is_keras2(self) -> bool:
        """Whether Keras 2 wrote it (as ``tf.keras`` of TensorFlow 1 and 2 did)."""
        return not self.keras_version.startswith("3")


def container_of(path: Path) -> str | None:
    """``zip``, ``hdf5`` or None, from the first bytes."""
    if not path.is_file():
        return None
    head = head_of(path, 8)
    if head.startswith(ZIP_MAGIC):
        return "zip"
    return "hdf5" if head == HDF5_MAGIC else None


def read(path: Path) -> KerasFile:
    """Reads config and version.

    Raises:
        SourceError: the file is damaged, hostile, or holds weights only.
    """
    container = container_of(path)
    if container == "zip":
        return _read_zip(path)
    if container == "hdf5":
        return _read_hdf5(path)
    raise SourceError(f"{path.name} is neither a .keras nor a .h5 file", where=str(path))


def ensure_no_code(file: KerasFile, custom_objects: tuple[str, ...]) -> None:
    """Refuses Lambdas and classes that are not Keras's own, before anything is built.

    Raises:
        ConversionError: naming the layer and its class.
    """
    vouched = {name.rpartition(":")[2] for name in custom_objects}
    for name, entry in _objects(file.config, str(file.path.name)):
        kind = str(entry.get("class_name"))
        if kind in _CODE:
            raise ConversionError(
                f"the layer {name!r} is a {kind}, {_CODE[kind]}",
                where=str(file.path),
                hint="replace it by layers of Keras in the program that made the model, and save "
                "again",
            )
        _ensure_within(name, kind, entry.get("config"), file.path)
        if kind in vouched or kind.rpartition(">")[2] in vouched:
            continue
        module, registered = entry.get("module"), entry.get("registered_name")
        root = str(module or "").partition(".")[0]
        foreign = module is not None and root not in _KERAS
        custom = isinstance(registered, str) and ">" in registered and module is None
        unknown = "module" in entry and module is None and bool(registered)
        if foreign or custom or unknown:
            raise ConversionError(
                f"the layer {name!r} is of the class {kind}, whose code is not part of Keras",
                where=f"{file.path}, module {module}",
                hint=f"if you trust it: --custom-objects package.module:{kind.rpartition('>')[2]}",
            )


def _ensure_within(name: str, kind: str, config: Any, path: Path) -> None:
    """Refuses layers that read files when they are built, or that are ops which may."""
    if not isinstance(config, dict):
        return
    if isinstance(config.get("vocabulary"), str):
        raise ConversionError(
            f"the layer {name!r} reads its vocabulary from {config['vocabulary'][:80]!r}, a file "
            "that is not part of the model",
            where=str(path),
            hint="give the layer its words as a list in the program that made the model, and save "
            "again",
        )
    if kind == _RAW_OP:
        try:
            node = json_format.ParseDict(config.get("node_def"), node_def_pb2.NodeDef())
        except (json_format.ParseError, TypeError, ValueError, RecursionError) as error:
            raise ConversionError(
                f"the op of the layer {name!r} cannot be read", where=str(path)
            ) from error
        outside.ensure_inside([node], (), f" of the layer {name}")


def layer_counts(file: KerasFile) -> dict[str, int]:
    """Number of layers by class."""
    counts: dict[str, int] = {}
    for _, entry in _objects(file.config, ""):
        if (
            "config" in entry
            and isinstance(entry.get("config"), dict)
            and "name" in entry["config"]
        ):
            kind = str(entry["class_name"])
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def weights(file: KerasFile) -> tuple[VariableInfo, ...]:
    """The weights, by their path in the file."""
    import h5py

    try:
        if file.container == "hdf5":
            with h5py.File(file.path, "r") as stream:
                root = stream.get("model_weights", stream)
                return tuple(_datasets(root))
        with (
            zipfile.ZipFile(file.path) as archive,
            archive.open(_WEIGHTS) as inner,
            h5py.File(inner, "r") as stream,
        ):
            return tuple(v for v in _datasets(stream) if "optimizer" not in v.name)
    except _DAMAGE as error:
        raise SourceError(
            f"the weights of {file.path.name} cannot be read: {str(error)[:160]}",
            where=str(file.path),
        ) from error


def _read_zip(path: Path) -> KerasFile:
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            _ensure_harmless(archive, path)
            names = archive.namelist()
            if "config.json" not in names or "metadata.json" not in names:
                raise SourceError(
                    f"{path.name} is a zip file, but not a Keras model: config.json or "
                    "metadata.json is missing",
                    where=str(path),
                )
            if _WEIGHTS in names:
                with archive.open(_WEIGHTS) as inner, h5py.File(inner, "r") as stream:
                    _ensure_inside(stream, path)
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json"))
    except RecursionError as error:
        raise SourceError(f"{path.name} is nested too deeply", where=str(path)) from error
    except _DAMAGE as error:
        raise SourceError(
            f"{path.name} is truncated or damaged: {str(error)[:120]}", where=str(path)
        ) from error
    if not isinstance(config, dict) or not isinstance(metadata, dict):
        raise SourceError(f"{path.name} is damaged: its config is no object", where=str(path))
    return KerasFile(path, "zip", str(metadata.get("keras_version", "")), config)


def _ensure_harmless(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise SourceError(f"{path.name} holds {len(members)} files", where=str(path))
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            raise SourceError(
                f"{path.name} holds the file {member.filename!r}, which points outside it",
                where=str(path),
            )
        packed = max(member.compress_size, 1)
        if member.file_size > MAX_CONFIG_BYTES and member.file_size / packed > MAX_RATIO:
            raise SourceError(
                f"{path.name} holds {member.filename!r}, which unpacks to "
                f"{member.file_size / packed:.0f} times its size",
                where=str(path),
            )
        if member.filename.endswith(".json") and member.file_size > MAX_CONFIG_BYTES:
            raise SourceError(f"{member.filename} is too large", where=str(path))


def _read_hdf5(path: Path) -> KerasFile:
    import h5py

    try:
        with h5py.File(path, "r") as stream:
            raw = stream.attrs.get("model_config")
            version = stream.attrs.get("keras_version", "")
            if raw is None:
                raise SourceError(
                    f"{path.name} holds weights only, and no model",
                    where=str(path),
                    hint="save the whole model: model.save(...), not model.save_weights(...)",
                )
            _ensure_inside(stream, path)
            config = json.loads(raw)
    except _DAMAGE as error:
        raise SourceError(
            f"{path.name} is truncated or damaged: {str(error)[:120]}", where=str(path)
        ) from error
    if not isinstance(config, dict):
        raise SourceError(f"{path.name} is damaged: its config is no object", where=str(path))
    text = version.decode() if isinstance(version, bytes) else str(version)
    return KerasFile(path, "hdf5", text, config)


def _ensure_inside(stream: Any, path: Path) -> None:
    """Refuses links to other files, data kept in other files, and groups that hold themselves."""
    import h5py

    pending = [stream]
    seen = set()
    while pending:
        group = pending.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise SourceError(
                    f"{path.name} links to another file, {link.filename!r}", where=str(path)
                )
            if isinstance(link, h5py.SoftLink):
                raise SourceError(f"{path.name} holds a symbolic link", where=str(path))
            item = group[name]
            if not isinstance(item, h5py.Group):
                if item.external or item.is_virtual:
                    raise SourceError(f"{path.name} keeps weights in another file", where=str(path))
                continue
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise SourceError(f"{path.name} holds a group twice", where=str(path))
            seen.add(address)
            pending.append(item)


def _objects(value: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every serialized object of a config, with the name of the layer it belongs to."""
    pending = [(value, name)]
    while pending:
        found, owner = pending.pop()
        if isinstance(found, list):
            pending += [(item, owner) for item in found]
        elif isinstance(found, dict):
            config = found.get("config")
            if isinstance(config, dict) and isinstance(config.get("name"), str):
                owner = config["name"]
            if "class_name" in found:
                yield owner, found
            pending += [(item, owner) for item in found.values()]


def _datasets(root: Any) -> Iterator[VariableInfo]:
    import h5py

    pending = [(root, "")]
    while pending:
        group, prefix = pending.pop()
        for name in group:
            item = group[name]
            if isinstance(item, h5py.Group):
                pending.append((item, f"{prefix}{name}/"))
                continue
            try:
                label = DType.from_numpy(item.dtype).label
            except ValueError:
                label = str(item.dtype)
            yield VariableInfo(f"{prefix}{name}", label, tuple(item.shape), int(item.nbytes))
