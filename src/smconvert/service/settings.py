"""What an operator decides about a service; the server and its workers share one copy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

LogFormat = Literal["text", "json"]

GIB = 1 << 30
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class JobLimits:
    """What one conversion may take of the machine; None leaves a limit out."""

    memory_bytes: int | None = 8 * GIB
    cpu_seconds: int | None = 3600
    file_bytes: int | None = 16 * GIB
    wall_seconds: float | None = 1800.0
    folder_bytes: int | None = 64 * GIB


@dataclass(frozen=True)
class Quota:
    """What one token may take of the service.

    Attributes:
        active_jobs: Jobs of it that wait or run at one time.
        stored_bytes: Uploads and results that are kept for it, taken together.
        requests_per_minute: Requests, evened out over a minute.
    """

    active_jobs: int = 1000
    stored_bytes: int = 64 * GIB
    requests_per_minute: int = 6000


@dataclass(frozen=True)
class Settings:
    """Where a service keeps things, and what it allows.

    Attributes:
        folder: For the database, uploads under way and work under way.
        database_url: Of another database than SQLite in the folder: ``postgresql://…``.
        storage_url: Of another place for finished uploads and results than the folder: an fsspec
            URL such as ``s3://bucket/prefix``.
        workers: Conversions at one time.
        open: Anyone who reaches the server may use it, without a token.
        hosts: Names by which the server may be called; empty allows any.
        secure_cookie: The page's cookie is sent over HTTPS only.
        upload_bytes: Largest upload.
        upload_timeout: Seconds without a byte after which a request that uploads ends.
        keep_uploads: Seconds after which an upload that no job waits for is deleted.
        keep_jobs: Seconds after its end that a job is kept, with its result.
        lease: Seconds after which the job of a worker that shows no sign of life is another's.
        attempts: Times that a job is tried when its worker dies under it.
        inspections: Looks at an upload at one time.
        log_format: ``text`` for people or ``json`` for programs.
        quota: Of tokens that have none of their own, and of an open server's users together.
        limits: Of one conversion.
    """

    folder: Path
    database_url: str | None = None
    storage_url: str | None = None
    workers: int = 2
    open: bool = False
    hosts: tuple[str, ...] = ()
    secure_cookie: bool = False
    upload_bytes: int = 16 * GIB
    upload_timeout: float = 60.0
    keep_uploads: float = DAY
    keep_jobs: float = 7 * DAY
    lease: float = 15.0
    attempts: int = 3
    inspections: int = 2
    log_format: LogFormat = "text"
    quota: Quota = field(default_factory=Quota)
    limits: JobLimits = field(default_factory=JobLimits)

    def to_json(self) -> str:
        """For a worker process."""
        return json.dumps({**asdict(self), "folder": str(self.folder)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What :meth:`to_json` wrote."""
        given: dict[str, Any] = json.loads(text)
        return cls(
            **{f.name: given[f.name] for f in fields(cls) if f.name in _PLAIN},
            folder=Path(given["folder"]),
            hosts=tuple(given["hosts"]),
            quota=Quota(**given["quota"]),
            limits=JobLimits(**given["limits"]),
        )


_PLAIN = {f.name for f in fields(Settings)} - {"folder", "hosts", "quota", "limits"}
