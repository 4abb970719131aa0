"""The operations of the API: each reads its request, asks the service, and shapes the answer."""

from __future__ import annotations

import json
from importlib.metadata import entry_points, version
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse

from smconvert import sandbox
from smconvert.converters import EXPORTERS
from smconvert.errors import UsageError
from smconvert.service import inside, tokens, uploads
from smconvert.service.access import COOKIE, OwnerOf
from smconvert.service.execution import LOG, key
from smconvert.service.metrics import CONTENT_TYPE
from smconvert.service.problems import MEDIA_TYPE, Conflict, NotFound, ServiceUnavailable, responses
from smconvert.service.schemas import (
    About,
    Health,
    Identifier,
    Inspection,
    Job,
    Jobs,
    NewJob,
    NewUpload,
    SourceChoices,
    State,
    Token,
    Upload,
)
from smconvert.service.state import Service, ServiceOf

api = APIRouter(prefix="/v1")
operations = APIRouter(tags=["operation"])

OCTETS = "application/octet-stream"
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A report holds names that strangers gave; whatever is in it, no script runs."""

UploadId = Annotated[Identifier, Path(description="Of an upload.")]
JobId = Annotated[Identifier, Path(description="Of a job.")]
Offset = Annotated[int, Header(ge=0, le=1 << 53, description="Where the bytes begin.")]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_OFFSET = {"Upload-Offset": {"description": "Bytes here.", "schema": {"type": "integer"}}}


@api.get("/about", tags=["operation"])
def about(service: ServiceOf) -> About:
    """What this service is and allows; needs no token."""
    return About(
        version=version("smconvert"),
        targets=targets(),
        upload_bytes=service.settings.upload_bytes,
        open=service.settings.open,
        protections=list(sandbox.protections()),
    )


@api.post("/session", status_code=204, tags=["session"], responses=responses())
def begin_session(service: ServiceOf, given: Token, response: Response) -> None:
    """Begins a session of the page: the token becomes a cookie that no script can read."""
    tokens.owner_of(service.database, given.token)
    response.set_cookie(
        COOKIE,
        given.token,
        httponly=True,
        samesite="strict",
        secure=service.settings.secure_cookie,
        max_age=30 * 24 * 3600,
    )


@api.delete("/session", status_code=204, tags=["session"])
def end_session(response: Response) -> None:
    """Ends the session of the page."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


@api.post("/uploads", status_code=201, tags=["uploads"], responses=responses(403, 413))
def create_upload(
    service: ServiceOf, owner: OwnerOf, wanted: NewUpload, request: Request, response: Response
) -> Upload:
    """Announces a file: its name and size. Its bytes follow by `PATCH`."""
    upload = service.uploads.create(owner, wanted)
    response.headers["Location"] = str(request.url_for("get_upload", upload_id=upload.id))
    return upload


@api.get("/uploads/{upload_id}", tags=["uploads"], responses=responses(404))
def get_upload(service: ServiceOf, owner: OwnerOf, upload_id: UploadId) -> Upload:
    """How far an upload is: `offset` is where a client goes on after a broken connection."""
    return service.uploads.get(owner, upload_id)


@api.patch(
    "/uploads/{upload_id}",
    tags=["uploads"],
    responses=responses(400, 404, 409, 413),
    openapi_extra={"requestBody": {"required": True, "content": {OCTETS: _BINARY}}},
)
async def append_to_upload(
    service: ServiceOf,
    owner: OwnerOf,
    upload_id: UploadId,
    upload_offset: Offset,
    request: Request,
    response: Response,
) -> Upload:
    """Sends bytes, all that are left or some. What arrived is kept if the connection breaks."""

    async def counted() -> Any:
        async for chunk in request.stream():
            service.metrics.uploaded.inc(len(chunk))
            yield chunk

    upload = await service.uploads.append(owner, upload_id, upload_offset, counted())
    response.headers["Upload-Offset"] = str(upload.offset)
    return upload


@api.delete(
    "/uploads/{upload_id}", status_code=204, tags=["uploads"], responses=responses(404, 409)
)
def delete_upload(service: ServiceOf, owner: OwnerOf, upload_id: UploadId) -> None:
    """Deletes an upload that no job waits for."""
    service.uploads.delete(owner, upload_id)


@api.post("/uploads/{upload_id}/inspection", tags=["uploads"], responses=responses(404, 409))
async def inspect_upload(
    service: ServiceOf,
    owner: OwnerOf,
    upload_id: UploadId,
    choices: Annotated[SourceChoices | None, Body()] = None,
) -> Inspection:
    """What `smconvert inspect` says of an upload: signatures, candidates, what would stop a target.

    A model that cannot be read is an error with the words and the exit code of the command.
    """
    upload = await to_thread.run_sync(service.uploads.get, owner, upload_id)
    if not upload.complete:
        raise Conflict("the upload is not complete", where=upload_id, hint="send the rest of it")
    row = await to_thread.run_sync(service.uploads.row, upload_id)
    if row is None:
        raise NotFound("there is no such upload", where=upload_id)
    found = await to_thread.run_sync(
        service.execution.inspect, row, choices or SourceChoices(), limiter=service.inspecting
    )
    return Inspection.model_validate(found)


@api.post(
    "/jobs",
    status_code=201,
    tags=["jobs"],
    responses={
        200: {"model": Job, "description": "The job of an earlier request with the same key."},
        **responses(403, 404, 409),
    },
)
def create_job(
    service: ServiceOf,
    owner: OwnerOf,
    wanted: NewJob,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=200, description="The same key gives the same job."),
    ] = None,
) -> Job:
    """Asks for a conversion. Once this has answered, no crash of the service loses it."""
    if wanted.target not in targets():
        raise UsageError(
            f"{wanted.target!r} is not an installed format",
            where="target",
            hint=f"one of {', '.join(targets())}",
        )
    job, is_new = service.jobs.create(owner, wanted, idempotency_key)
    response.headers["Location"] = str(request.url_for("get_job", job_id=job.id))
    if not is_new:
        response.status_code = 200
    return job


@api.get("/jobs", tags=["jobs"], responses=responses(404))
def list_jobs(
    service: ServiceOf,
    owner: OwnerOf,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[
        Identifier | None, Query(description="The `next` of the page before.")
    ] = None,
) -> Jobs:
    """Jobs, the newest first."""
    found = service.jobs.listed(owner, state, limit + 1, before)
    shown = found[:limit]
    return Jobs(jobs=shown, next=shown[-1].id if len(found) > limit else None)


@api.get("/jobs/{job_id}", tags=["jobs"], responses=responses(404))
def get_job(service: ServiceOf, owner: OwnerOf, job_id: JobId) -> Job:
    """Where a job stands, and what came of it."""
    return service.jobs.get(owner, job_id)


@api.get(
    "/jobs/{job_id}/events",
    tags=["jobs"],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events `state` and `step`, until the job has ended.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **responses(404),
    },
)
async def job_events(
    service: ServiceOf,
    owner: OwnerOf,
    job_id: JobId,
    last_event_id: Annotated[
        int, Header(ge=0, le=1 << 53, description="Go on after this event.")
    ] = 0,
) -> StreamingResponse:
    """Follows a job, as server-sent events."""
    await to_thread.run_sync(service.jobs.get, owner, job_id)
    return StreamingResponse(
        service.streams.of_job(job_id, last_event_id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@api.post("/jobs/{job_id}/cancel", tags=["jobs"], responses=responses(404, 409))
def cancel_job(service: ServiceOf, owner: OwnerOf, job_id: JobId) -> Job:
    """Ends a job: at once if it waits, within seconds if it runs."""
    return service.jobs.cancel(owner, job_id)


@api.delete("/jobs/{job_id}", status_code=204, tags=["jobs"], responses=responses(404, 409))
def delete_job(service: ServiceOf, owner: OwnerOf, job_id: JobId) -> None:
    """Forgets a job that has ended, with its result."""
    service.jobs.delete(owner, job_id)
    service.storage.delete(f"jobs/{job_id}")


def _download(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    found = {"description": what, "content": {media_type: _BINARY}}
    return {200: found, **responses(404, 409)}


@api.get(
    "/jobs/{job_id}/result",
    tags=["results"],
    response_class=Response,
    responses=_download(OCTETS, "The model; a .zip where it has several files."),
)
def get_result(service: ServiceOf, owner: OwnerOf, job_id: JobId) -> Response:
    """Downloads what the conversion wrote; parts of it by `Range`."""
    job = service.jobs.get(owner, job_id)
    if job.result is None:
        raise Conflict(f"the job has no result: it is {job.state}", where=job_id)
    return _file(service, job_id, job.result.name, OCTETS, {}, as_download=True)


@api.get(
    "/jobs/{job_id}/report",
    tags=["results"],
    response_class=Response,
    responses={
        200: {
            "description": "The check of the conversion: a page, or with `format=json` its data.",
            "content": {
                "text/html": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            },
        },
        **responses(404, 409),
    },
)
def get_report(
    service: ServiceOf,
    owner: OwnerOf,
    job_id: JobId,
    format: Annotated[str, Query(pattern="^(html|json)$")] = "html",
) -> Response:
    """How source and result compare, output by output; for a failed check too."""
    service.jobs.get(owner, job_id)
    name = inside.REPORT if format == "html" else inside.REPORT_JSON
    if not service.storage.holds(key(job_id, name)):
        raise NotFound("the job has no report: nothing was compared", where=job_id)
    media_type = "text/html; charset=utf-8" if format == "html" else "application/json"
    headers = {"Content-Security-Policy": REPORT_POLICY}
    return _file(service, job_id, name, media_type, headers)


@api.get(
    "/jobs/{job_id}/log",
    tags=["results"],
    response_class=PlainTextResponse,
    responses=responses(404, 409),
)
def get_log(service: ServiceOf, owner: OwnerOf, job_id: JobId) -> Response:
    """What the libraries printed during the job, the last mebibyte of it."""
    service.jobs.get(owner, job_id)
    if not service.storage.holds(key(job_id, LOG)):
        raise NotFound("the job has no log", where=job_id)
    return _file(service, job_id, LOG, "text/plain; charset=utf-8", {})


@operations.get("/healthz")
def healthy() -> Health:
    """Whether this process answers."""
    return Health(status="ok")


@operations.get(
    "/readyz",
    responses={
        503: {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    },
)
def ready(service: ServiceOf) -> Health:
    """Whether uploads and jobs can be taken now."""
    try:
        service.jobs.counts()
    except Exception as error:
        raise ServiceUnavailable("the database does not answer") from error
    supervisor = service.supervisor
    if supervisor is not None and service.settings.workers and not supervisor.alive:
        raise ServiceUnavailable("no worker runs", hint="the server's log says why")
    return Health(status="ok")


@operations.get("/metrics", response_class=PlainTextResponse)
def metrics(service: ServiceOf) -> Response:
    """Figures for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def targets() -> list[str]:
    """The formats that can be written here."""
    return sorted(point.name for point in entry_points(group=EXPORTERS))


def _file(
    service: Service,
    job: str,
    name: str,
    media_type: str,
    headers: dict[str, str],
    *,
    as_download: bool = False,
) -> Response:
    stored = key(job, uploads.safe(name))
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private", **headers}
    path = service.storage.file(stored)
    if path is not None:
        if not path.exists():
            raise NotFound("it is past its time", where=job)
        return FileResponse(
            path,
            media_type=media_type,
            headers=headers,
            filename=name if as_download else None,
        )
    if as_download:
        headers["Content-Disposition"] = f"attachment; filename={json.dumps(name)}"
    try:
        blocks = service.storage.blocks(stored)
    except FileNotFoundError:
        raise NotFound("it is past its time", where=job) from None
    return StreamingResponse(blocks, media_type=media_type, headers=headers)
