"""A model with its proof in one file: what :mod:`smconvert.bundle.verify` reads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import onnx

from smconvert import pipeline
from smconvert.bundle.verify import MANIFEST, MODEL, VERSION
from smconvert.comparison import CompareOptions, Comparison, compare
from smconvert.converters import SourceOptions, TargetOptions
from smconvert.errors import ParityError, RuntimeFailure, UsageError
from smconvert.fingerprint import take
from smconvert.model import Array, SignatureInfo, TensorInfo
from smconvert.parity.comparison import Verdict
from smconvert.parity.matrix import Call
from smconvert.provenance import provenance
from smconvert.runtimes import arrays
from smconvert.runtimes.workers import Workers, opened
from smconvert.staging import ensure_free, staging_for

CARRIED = (
    "bundle/verify.py",
    "converters.py",
    "errors.py",
    "model.py",
    "parity/comparison.py",
    "parity/rounding.py",
    "runtimes/arrays.py",
    "runtimes/onnxruntime.py",
    "runtimes/ort_values.py",
    "runtimes/places.py",
)
"""The modules that a bundle runs by; they need numpy and onnxruntime only."""

_MAIN = "import sys\nfrom smconvert.bundle.verify import main\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of all files in a bundle, so that the same bundle has the same bytes."""


@dataclass(frozen=True)
class Bundle:
    """A written bundle: where, and the comparison that it was made with."""

    path: Path
    comparison: Comparison


def make(
    source: str | Path,
    destination: str | Path,
    *,
    model: str | Path | None = None,
    source_options: SourceOptions | None = None,
    target_options: TargetOptions | None = None,
    options: CompareOptions | None = None,
    force: bool = False,
    workers: Workers | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Bundle:
    """Writes a bundle: an ONNX model, inputs, and what the source makes of them.

    Args:
        source: Whose outputs are taken as expected; of any format.
        destination: The file to write.
        model: The ONNX model to bundle; by default the source itself, converted if need be.
        source_options: How to read the source; one signature must be left.
        target_options: How to convert it.
        options: Inputs and tolerances.
        force: Replaces what is at ``destination``.
        workers: Runtimes to use again.
        progress: Told the start of each step.

    Raises:
        ParityError: the model does not compute what the source does.
        RuntimeFailure: one of them does not run here.
        UsageError: several signatures are left.
    """
    reading = source_options or SourceOptions()
    place = Path(destination).absolute()
    ensure_free(place, force)
    with (
        opened(workers) as running,
        tempfile.TemporaryDirectory(prefix="smconvert-bundle-") as name,
    ):
        onnx_model = Path(model) if model is not None else None
        if onnx_model is None and pipeline.detect(source).format == "onnx":
            onnx_model = Path(source)
        if onnx_model is None:
            progress("converting")
            onnx_model = Path(name) / MODEL
            pipeline.convert(
                source,
                onnx_model,
                source_options=reading,
                target_options=target_options,
                checked=False,
                workers=running,
            )
        found = compare(
            source,
            onnx_model,
            options,
            first_options=reading,
            second_options=SourceOptions(),
            workers=running,
            progress=progress,
        )
        _ensure_proven(found)
        progress("writing")
        with staging_for(place) as folder:
            _write(folder / place.name, onnx_model, found, options or CompareOptions())
            os.replace(folder / place.name, place)
    return Bundle(place, found)


def _ensure_proven(found: Comparison) -> None:
    if len(found.matrices) != 1:
        raise UsageError(
            f"a bundle holds one signature, and these have {len(found.matrices)}",
            where=", ".join(m.signature.name for m in found.matrices),
            hint="choose one with --signature NAME",
        )
    (matrix,) = found.matrices
    if found.verdict is Verdict.FAILED:
        raise ParityError(
            f"the model does not compute what the source computes: {matrix.columns[0].reason}",
            hint="smconvert compare shows where",
        )
    if found.verdict is Verdict.NOT_RUN:
        raise RuntimeFailure(matrix.reason or matrix.columns[0].reason or "nothing was run")


def _write(path: Path, model: Path, found: Comparison, options: CompareOptions) -> None:
    (matrix,) = found.matrices
    (column,) = matrix.columns
    random = {c.parity.name for c in column.cells if c.parity.verdict is Verdict.NOT_RUN}
    theirs = column.contender.executable
    to_theirs = column.contender.names
    settings = theirs.settings.get("output_names", {})
    names = {o.name: to_theirs.get(o.name, o.name) for o in matrix.signature.outputs}
    archive(
        path,
        model,
        replace(
            theirs.signature,
            name=matrix.signature.name,
            outputs=tuple(o for o in matrix.signature.outputs if o.name not in random),
        ),
        {ours: settings.get(name, name) for ours, name in names.items()},
        [
            Call(call.label, {to_theirs.get(n, n): v for n, v in call.feeds.items()})
            for call in matrix.calls
        ],
        [
            {n: value for n, value in outputs.items() if n not in random}
            for outputs in matrix.expected
        ],
        options,
        {
            "source": str(found.first.path),
            "format": found.first.format,
            "sha256": take(found.first.path, None).sha256,
        },
        extensions=bool(theirs.settings.get("extensions")),
    )


def archive(
    path: Path,
    model: Path,
    signature: SignatureInfo,
    output_names: Mapping[str, str],
    calls: Sequence[Call],
    expected: Sequence[Mapping[str, Array]],
    options: CompareOptions,
    origin: Mapping[str, str],
    *,
    extensions: bool = False,
) -> None:
    """Writes a bundle of these parts.

    Args:
        path: The file.
        model: The ONNX model; files with its weights lie beside it.
        signature: Inputs by the model's names, outputs by those of ``expected``.
        output_names: Output to its name in the model.
        calls: What is fed.
        expected: What each call must give.
        options: With the tolerances.
        origin: Where the expected values come from.
        extensions: Whether the model needs onnxruntime-extensions.
    """
    with tempfile.TemporaryDirectory(prefix="smconvert-bundle-") as name:
        folder = Path(name) / "calls"
        folder.mkdir()
        entries = [
            {
                "label": call.label,
                "inputs": arrays.write(call.feeds, folder, f"{i}-in"),
                "outputs": arrays.write(outputs, folder, f"{i}-out"),
            }
            for i, (call, outputs) in enumerate(zip(calls, expected, strict=True))
        ]
        files = {MODEL: model, **{n: model.parent / n for n in external_files(model)}}
        files |= {f"calls/{p.name}": p for p in sorted(folder.iterdir())}
        manifest = {
            "version": VERSION,
            "signature": {
                "name": signature.name,
                "inputs": [_tensor(i) for i in signature.inputs],
                "outputs": [_tensor(o) for o in signature.outputs],
            },
            "output_names": {o: n for o, n in output_names.items() if o != n},
            "extensions": extensions,
            "calls": entries,
            "tolerances": {"rtol": options.rtol, "atol": options.atol},
            "provenance": {**origin, **provenance()},
            "files": {n: _entry(p) for n, p in files.items()},
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
            _add(made, MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
            for carried, code in _code():
                _add(made, carried, code)
            for n, p in files.items():
                with made.open(_info(n), "w", force_zip64=True) as stream, p.open("rb") as read:
                    shutil.copyfileobj(read, stream)


def external_files(model: Path) -> list[str]:
    """The files beside an ONNX model that hold its weights."""
    loaded = onnx.load(str(model), load_external_data=False)
    found = {
        entry.value
        for tensor in loaded.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(found)


def _tensor(info: TensorInfo) -> dict[str, Any]:
    return {"name": info.name, "dtype": info.dtype.label}


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _code() -> Iterator[tuple[str, bytes]]:
    package = resources.files("smconvert")
    yield "__main__.py", _MAIN.encode()
    folders = {"", *(f"{name.rpartition('/')[0]}/" for name in CARRIED if "/" in name)}
    for folder in sorted(folders):
        yield f"smconvert/{folder}__init__.py", b""
    for name in CARRIED:
        yield f"smconvert/{name}", package.joinpath(*name.split("/")).read_bytes()


def _add(made: zipfile.ZipFile, name: str, content: bytes) -> None:
    made.writestr(_info(name), content)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    return info
