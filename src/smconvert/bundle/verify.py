"""Proves a bundle on this machine, with numpy and onnxruntime alone.

A bundle is a zip archive with an ONNX model, inputs, the outputs that its source gave, and
tolerances (``bundle.json``). This module and what it imports also travel inside the bundle, so that
``python model.bundle`` does on a machine without smconvert what ``smconvert verify`` does with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from smconvert.converters import Executable
from smconvert.errors import (
    EXIT_NOT_CHECKED,
    ParityError,
    SmconvertError,
    SourceError,
    Unavailable,
)
from smconvert.model import Array, DType, SignatureInfo, TensorInfo
from smconvert.parity.comparison import OutputParity, Verdict, compare
from smconvert.parity.rounding import ROUNDING
from smconvert.runtimes import arrays
from smconvert.runtimes.onnxruntime import OnnxRuntime
from smconvert.runtimes.places import Place, places

MANIFEST = "bundle.json"
MODEL = "model.onnx"
VERSION = 1
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Proof:
    """What one place made of a bundle.

    Attributes:
        place: Where it ran.
        verdict: Failed if any output of any call did; not run with the reason.
        outputs: Of all calls together.
        placement: Nodes by execution provider, where the runtime proves it.
        reason: Why it failed or was not run.
    """

    place: Place
    verdict: Verdict
    outputs: tuple[OutputParity, ...] = ()
    placement: Mapping[str, int] | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "place": str(self.place),
            "verdict": self.verdict.value,
            "reason": self.reason,
            "placement": dict(self.placement or {}),
            "outputs": [o.to_json() for o in self.outputs],
        }


def verify(bundle: Path, wanted: Sequence[Place]) -> list[Proof]:
    """Runs the bundle's model at each place and compares with the outputs in it.

    Raises:
        SourceError: it is not a bundle, or a file in it is not what its manifest says.
    """
    with tempfile.TemporaryDirectory(prefix="smconvert-bundle-") as name:
        folder = Path(name)
        manifest = unpack(bundle, folder)
        return [_prove(manifest, folder, place) for place in wanted]


def unpack(bundle: Path, folder: Path) -> dict[str, Any]:
    """Takes the files that the manifest names out of a bundle, each checked against its digest.

    Raises:
        SourceError: see :func:`verify`.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
            if manifest["version"] != VERSION:
                raise SourceError(
                    f"the bundle has version {manifest['version']}, and {VERSION} is known here",
                    where=str(bundle),
                    hint="run the bundle itself: python BUNDLE",
                )
            for name, entry in manifest["files"].items():
                _take(archive, name, entry, folder)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"this is not a bundle that can be read: {error}",
            where=str(bundle),
            hint="smconvert bundle MODEL FILE makes one",
        ) from error
    return manifest


def _take(archive: zipfile.ZipFile, name: str, entry: Mapping[str, Any], folder: Path) -> None:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise ValueError(f"{name!r} points outside of it")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), int(entry["bytes"])
    with archive.open(name) as source, target.open("wb") as stream:
        while block := source.read(min(_CHUNK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            stream.write(block)
    if left or digest.hexdigest() != entry["sha256"]:
        raise ValueError(f"{name!r} is not what the manifest says")


def _prove(manifest: Mapping[str, Any], folder: Path, place: Place) -> Proof:
    signature = _signature(manifest["signature"])
    settings = {
        "output_names": manifest["output_names"],
        "extensions": manifest.get("extensions", False),
    }
    executable = Executable("ort", folder / MODEL, signature, settings)
    os.environ["NVIDIA_TF32_OVERRIDE"] = "1" if place.precision == "tf32" else "0"
    calls = folder / "calls"
    try:
        with OnnxRuntime().open(executable, place) as session:
            actual = [session.run(arrays.read(c["inputs"], calls)) for c in manifest["calls"]]
            placement = session.placement()
    except Unavailable as error:
        return Proof(place, Verdict.NOT_RUN, reason=error.message)
    except Exception as error:
        return Proof(place, Verdict.FAILED, reason=f"it did not run: {error}")
    if not place.is_in(placement):
        return Proof(
            place, Verdict.NOT_RUN, placement=placement, reason=f"no node ran on {place.device}"
        )
    expected = [arrays.read(c["outputs"], calls) for c in manifest["calls"]]
    return _judged(manifest, signature, place, expected, actual, placement)


def _judged(
    manifest: Mapping[str, Any],
    signature: SignatureInfo,
    place: Place,
    expected: Sequence[Mapping[str, Array]],
    actual: Sequence[Mapping[str, Array]],
    placement: Mapping[str, int],
) -> Proof:
    tolerances = manifest["tolerances"]
    outputs = tuple(
        compare(
            o.name,
            [e[o.name] for e in expected],
            [a[o.name] for a in actual],
            tolerances["rtol"],
            tolerances["atol"],
            ROUNDING.get(place.precision),
        )
        for o in signature.outputs
    )
    failed = [o for o in outputs if o.verdict is Verdict.FAILED]
    if failed:
        reason = f"{failed[0].name}: {failed[0].reason}"
        return Proof(place, Verdict.FAILED, outputs, placement, reason)
    return Proof(place, Verdict.PASSED, outputs, placement)


def _signature(data: Mapping[str, Any]) -> SignatureInfo:
    def infos(entries: Sequence[Mapping[str, Any]]) -> tuple[TensorInfo, ...]:
        return tuple(TensorInfo(e["name"], DType.from_label(e["dtype"]), None) for e in entries)

    return SignatureInfo(data["name"], infos(data["inputs"]), infos(data["outputs"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """``python BUNDLE [--on ort:cpu,ort:cuda] [--require cuda] [--json]``; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python BUNDLE", description="Prove on this machine that the bundled model works."
    )
    parser.add_argument("bundle", type=Path, nargs="?", default=Path(sys.argv[0]))
    parser.add_argument("--on", default="ort:cpu", help="ort:cpu,ort:cuda,ort:cuda:tf32, ...")
    parser.add_argument("--require", action="append", default=[], help="a device that must run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        proofs = verify(options.bundle, places(options.on))
    except SmconvertError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps([p.to_json() for p in proofs], indent=2) if options.json else told(proofs))
    return exit_code(proofs, options.require)


def told(proofs: Sequence[Proof]) -> str:
    """The proofs in words, a line for each place and output."""
    lines = []
    for proof in proofs:
        reason = f": {proof.reason}" if proof.reason else ""
        lines.append(f"{proof.place}: {proof.verdict.value.replace('_', ' ')}{reason}")
        if proof.placement:
            lines.append("  nodes: " + ", ".join(f"{n} on {p}" for p, n in proof.placement.items()))
        lines += [
            f"  {o.name}: {o.verdict.value}, largest difference {o.max_abs:.3g} "
            f"({o.max_ulp:.3g} ULP)"
            for o in proof.outputs
        ]
    return "\n".join(lines)


def exit_code(proofs: Sequence[Proof], require: Sequence[str] = ()) -> int:
    """5 if one failed; 6 if none ran, or not on a required device; else 0."""
    ran = {p.place.device for p in proofs if p.verdict is not Verdict.NOT_RUN}
    if any(p.verdict is Verdict.FAILED for p in proofs):
        return ParityError.exit_code
    return EXIT_NOT_CHECKED if not ran or set(require) - ran else 0
