"""A conversion service, called like the local API.

import smconvert as sm

conversion = sm.Client("https://models.example.org", token).convert("export", "iris.onnx")
"""

from __future__ import annotations

import contextlib
import json
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from smconvert import archives, fingerprint, staging
from smconvert.converters import (
    Artifact,
    Exporter,
    SourceOptions,
    TargetOptions,
    exporter_for,
    reader_for,
)
from smconvert.errors import (
    ConversionError,
    DestinationError,
    ParityError,
    RuntimeFailure,
    SmconvertError,
    SourceError,
    Unavailable,
    UsageError,
)
from smconvert.parity.check import CheckOptions, Parity, SignatureParity, Verdict
from smconvert.parity.comparison import OutputParity
from smconvert.pipeline import Conversion, Progress

if TYPE_CHECKING:
    import httpx

BLOCK = 1 << 20
PATIENCE = 120.0
"""Seconds for which a service that does not answer is asked again."""

_PAUSE = 1.0
_BUSY = {429, 502, 503, 504}
_KINDS: Mapping[str, type[SmconvertError]] = {
    kind.kind: kind
    for kind in (
        UsageError,
        SourceError,
        ConversionError,
        DestinationError,
        ParityError,
        RuntimeFailure,
        Unavailable,
    )
}
_SENT = frozenset(
    {
        "tags",
        "signatures",
        "inputs",
        "outputs",
        "fixed_inputs",
        "checkpoint",
        "variable_map",
        "cut_examples",
    }
)
"""Source options that a service takes: it runs no code of its users, and allows nothing by name."""


class Refused(SmconvertError):
    """The service did not take a request: no such token, over the quota, too large.

    ``kind`` says why: ``unauthorized``, ``quota``, ``too_large``, ``not_found``, ``conflict``.
    """

    exit_code = 2

    def __init__(
        self, message: str, *, kind: str, where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.kind = kind  # type: ignore[misc]


class Client:
    """A conversion service.

    Connections that break are taken up where they broke, and a service that is started anew goes
    on with what it had accepted: :meth:`convert` waits for it.

    Args:
        url: Of the service, without a path.
        token: As ``smconvert serve token`` printed it; None for an open service.
        patience: Seconds for which a service that does not answer is asked again.
    """

    def __init__(self, url: str, token: str | None = None, *, patience: float = PATIENCE) -> None:
        try:
            import httpx
        except ImportError as error:
            raise UsageError(
                "the client needs httpx, which is not installed",
                hint="pip install 'smconvert[service]'",
            ) from error
        self._url = url.rstrip("/")
        self._patience = patience
        self._broken = httpx.TransportError
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(base_url=f"{self._url}/v1", headers=headers, timeout=60)
        except (httpx.InvalidURL, ValueError, UnicodeError) as error:
            raise UsageError(f"{url!r} is not the URL of a service: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def convert(
        self,
        source: str | Path,
        destination: str | Path,
        *,
        source_options: SourceOptions | None = None,
        target_options: TargetOptions | None = None,
        check_options: CheckOptions | None = None,
        checked: bool = True,
        source_format: str | None = None,
        target_format: str | None = None,
        force: bool = False,
        progress: Progress = lambda step: None,
    ) -> Conversion:
        """Converts an artifact on the service; arguments and errors are those of ``sm.convert``.

        Raises:
            Refused: the service does not take it.
            Unavailable: the service does not answer.
            SmconvertError: of the kinds that ``sm.convert`` raises.
        """
        source_options = source_options or SourceOptions()
        target_options = target_options or TargetOptions()
        check_options = check_options or CheckOptions()
        match = reader_for(Path(source), source_format)[1]
        exporter, place = _target(Path(destination), target_options, target_format, force)
        choices = _source_choices(source_options, source_format)
        with tempfile.TemporaryDirectory(prefix="smconvert-") as scratch:
            progress("packing")
            packed = _pack(match.path, source_options, Path(scratch))
            progress("uploading")
            upload = self._upload(packed.file, packed.name)
            data = check_options.data
            wanted = {
                "upload": upload,
                "target": exporter.format,
                "name": Path(destination).name,
                "source_options": {**choices, **packed.choices},
                "target_options": {
                    name: getattr(target_options, name) for name in target_options.given()
                },
                "check_options": {
                    "checked": checked,
                    "rtol": check_options.rtol,
                    "atol": check_options.atol,
                    "seed": check_options.seed,
                    "data": None if data is None else self._upload(data, data.name),
                },
            }
        job = self._job(wanted, progress)
        with staging.staging_for(place) as folder:
            progress("downloading")
            artifact = self._fetch(job, exporter, folder)
            published = staging.publish(artifact, place, folder)
        told = job["conversion"]
        parity = None if told["parity"] is None else _parity(told["parity"])
        return Conversion(match, published, parity, tuple(told["changes"]))

    def _upload(self, file: Path, name: str) -> str:
        """Sends a file, from where the service has it to its end; returns the upload's id."""
        size = file.stat().st_size
        upload = self._ask("POST", "/uploads", json={"name": name, "size": size})
        place = f"/uploads/{upload['id']}"
        deadline = _Deadline(self._patience)
        while not upload["complete"]:
            before = upload["offset"]
            try:
                upload = self._ask(
                    "PATCH",
                    place,
                    content=_blocks(file, before),
                    headers={
                        "Upload-Offset": str(before),
                        "Content-Type": "application/octet-stream",
                    },
                    again=False,
                )
            except (self._broken, _Busy) as error:
                deadline.wait(error, self._url)
                upload = self._ask("GET", place)
            if upload["offset"] > before:
                deadline = _Deadline(self._patience)
        return str(upload["id"])

    def _job(self, wanted: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        """Asks for a job, and follows it to its end."""
        # However often the request is repeated, there is one job.
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        job = self._ask("POST", "/jobs", json=wanted, headers=headers)
        place = f"/jobs/{job['id']}"
        try:
            job = self._followed(place, progress)
        except BaseException:
            with contextlib.suppress(Exception):
                self._http.post(f"{place}/cancel", timeout=5)
            raise
        if job["state"] == "done":
            return job
        if job["state"] == "cancelled":
            raise Refused("the job was cancelled", kind="cancelled", where=job["id"])
        raise _error(job["error"])

    def _followed(self, place: str, progress: Progress) -> dict[str, Any]:
        last = "0"
        deadline = _Deadline(self._patience)
        while True:
            try:
                for identifier, event in self._events(f"{place}/events", last):
                    last = identifier
                    deadline = _Deadline(self._patience)
                    if event["kind"] == "step":
                        progress(event["text"])
                job = self._ask("GET", place)
                if job["ended"] is not None:
                    return job
            except (self._broken, _Busy) as error:
                deadline.wait(error, self._url)

    def _events(self, place: str, after: str) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._http.stream("GET", place, headers={"Last-Event-ID": after}) as answer:
            self._ensure_served(answer)
            identifier = after
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "id":
                    identifier = value
                elif field == "data":
                    yield identifier, json.loads(value)

    def _fetch(self, job: Mapping[str, Any], exporter: Exporter, folder: Path) -> Artifact:
        """Downloads a result into ``folder``, as the exporter would have written it there."""
        result, told = job["result"], job["conversion"]["artifact"]
        file = folder / "download"
        self._download(f"/jobs/{job['id']}/result", file, result["size"])
        unpacked = folder / "unpacked"
        if result["name"] == result["artifact"]:
            unpacked.mkdir()
            # What a hostile model made of its job is told by the service as it is.
            file.rename(unpacked / Path(result["artifact"]).name)
        else:
            archives.unpack(file, unpacked)
            file.unlink()
        path, *companions = (
            _inside(unpacked, name) for name in (told["path"], *told["companions"])
        )
        return Artifact(exporter.format, path, tuple(companions), {}, job["conversion"]["manifest"])

    def _download(self, place: str, file: Path, size: int) -> None:
        file.touch()
        deadline = _Deadline(self._patience)
        while (here := file.stat().st_size) < size:
            try:
                with self._http.stream("GET", place, headers={"Range": f"bytes={here}-"}) as answer:
                    self._ensure_served(answer)
                    # A server that sends the whole instead begins anew.
                    mode = "ab" if answer.status_code == 206 else "wb"
                    with file.open(mode) as written:
                        for block in answer.iter_bytes(BLOCK):
                            written.write(block)
            except (self._broken, _Busy) as error:
                deadline.wait(error, self._url)

    def _ask(self, method: str, path: str, *, again: bool = True, **request: Any) -> Any:
        """The JSON that the service answers; asked again while it does not answer."""
        deadline = _Deadline(self._patience)
        while True:
            try:
                answer = self._http.request(method, path, **request)
                self._ensure_served(answer)
                return answer.json() if answer.content else None
            except (self._broken, _Busy) as error:
                if not again:
                    raise
                deadline.wait(error, self._url)
            except ValueError as error:
                raise Unavailable(
                    "the answer is none of a conversion service", where=self._url
                ) from error

    def _ensure_served(self, answer: httpx.Response) -> None:
        if answer.status_code < 400:
            return
        answer.read()
        try:
            told = answer.json()
            error = _error(told)
        except (ValueError, KeyError, TypeError):
            error = Unavailable(
                f"the answer is none of a conversion service: HTTP {answer.status_code}",
                where=str(answer.url),
                hint="give the URL of the service, without a path",
            )
        if answer.status_code in _BUSY:
            raise _Busy(error, float(answer.headers.get("Retry-After", _PAUSE)))
        raise error


class _Busy(Exception):
    """The service asks to be asked later."""

    def __init__(self, error: SmconvertError, pause: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause = pause


class _Deadline:
    """Until when something is tried again."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def wait(self, error: Exception, url: str) -> None:
        """Waits before the next try; raises Unavailable when there is to be none."""
        pause = error.pause if isinstance(error, _Busy) else _PAUSE
        if time.monotonic() + pause > self._end:
            if isinstance(error, _Busy):
                raise error.error from error
            raise Unavailable(
                f"the service does not answer: {error or type(error).__name__}",
                where=url,
                hint="is it running, and is the URL right?",
            ) from error
        time.sleep(pause)


class _Packed:
    """A source as one file to upload, and where in it the artifact is."""

    def __init__(self, file: Path, name: str, choices: Mapping[str, str] | None = None) -> None:
        self.file = file
        self.name = name
        self.choices = choices or {}


def _pack(path: Path, options: SourceOptions, scratch: Path) -> _Packed:
    """A source of one file as it is, others as a .tar."""
    files = fingerprint.source_files(path)
    if files == (path,) and options.checkpoint is None:
        return _Packed(path, path.name)
    packed = scratch / f"{path.name}.tar"
    choices = {"path": f"model/{path.name}"}
    with tarfile.open(packed, "w", format=tarfile.PAX_FORMAT) as archive:
        for file in files:
            archive.add(file.resolve(), f"model/{file.relative_to(path.parent)}", recursive=False)
        if options.checkpoint is not None:
            prefix = Path(options.checkpoint)
            for file in fingerprint.source_files(prefix):
                inside = f"checkpoint/{file.relative_to(prefix.parent)}"
                archive.add(file.resolve(), inside, recursive=False)
            choices["checkpoint"] = f"checkpoint/{prefix.name}"
    return _Packed(packed, packed.name, choices)


def _source_choices(options: SourceOptions, source_format: str | None) -> dict[str, Any]:
    for option in fields(options):
        if option.name not in _SENT and getattr(options, option.name):
            raise UsageError(
                f"a service takes no {option.name.replace('_', ' ')}",
                where=f"source_options.{option.name}",
                hint="what runs code or reaches outside the model is converted where it is "
                "trusted, with smconvert.convert",
            )
    return {
        "format": source_format,
        "tags": None if options.tags is None else sorted(options.tags),
        "signatures": list(options.signatures),
        "inputs": dict(options.inputs),
        "outputs": dict(options.outputs),
        "fixed_inputs": dict(options.fixed_inputs),
        "variable_map": dict(options.variable_map),
        "cut_examples": options.cut_examples,
    }


def _target(
    path: Path, options: TargetOptions, target_format: str | None, force: bool
) -> tuple[Exporter, Path]:
    exporter = exporter_for(path, target_format)
    place = exporter.destination(path.absolute(), options)
    staging.ensure_free(place, force)
    return exporter, place


def _blocks(file: Path, start: int) -> Iterator[bytes]:
    with file.open("rb") as opened:
        opened.seek(start)
        while block := opened.read(BLOCK):
            yield block


def _inside(folder: Path, told: str) -> Path:
    """Where a file of the result is, which the service tells as ``result/NAME``."""
    path = folder / Path(told).relative_to("result")
    if not path.resolve().is_relative_to(folder.resolve()) or not path.exists():
        raise Unavailable(f"the service sent a result without {told!r}")
    return path


def _error(told: Mapping[str, Any]) -> SmconvertError:
    """An error of the service as the local API would raise it."""
    words = {"where": told["where"], "hint": told["hint"]}
    kind = _KINDS.get(told["code"])
    if kind is not None:
        return kind(told["message"], **words)
    if told["exit_code"] == SmconvertError.exit_code:
        return SmconvertError(told["message"], **words)
    return Refused(told["message"], kind=told["code"], **words)


def _parity(told: Mapping[str, Any]) -> Parity:
    return Parity(
        tuple(
            SignatureParity(
                s["name"],
                Verdict(s["verdict"]),
                tuple(_output(o) for o in s["outputs"]),
                s["reason"],
            )
            for s in told["signatures"]
        )
    )


def _output(told: Mapping[str, Any]) -> OutputParity:
    numbers = {
        name: float(told[name]) if isinstance(told[name], str) else told[name]
        for name in ("max_abs", "max_rel", "max_ulp", "cosine")
    }
    return OutputParity(
        name=told["name"],
        verdict=Verdict(told["verdict"]),
        **numbers,
        argmax_agreement=told["argmax_agreement"],
        share_out=told["share_out"],
        worst=tuple(told["worst"]),
        expected=told["expected"],
        actual=told["actual"],
        reason=told["reason"],
    )
