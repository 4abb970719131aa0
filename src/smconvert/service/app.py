"""The server as an ASGI application: operations, errors, the page, and the workers behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smconvert.errors import SmconvertError, UsageError
from smconvert.service.database import open_database
from smconvert.service.execution import Execution
from smconvert.service.jobs import Jobs
from smconvert.service.metrics import Metrics
from smconvert.service.operations import api, operations, targets
from smconvert.service.problems import (
    MEDIA_TYPE,
    Problem,
    RequestCode,
    ServiceError,
    problem,
)
from smconvert.service.settings import Settings
from smconvert.service.starting import inspections
from smconvert.service.state import Service
from smconvert.service.storage import open_storage
from smconvert.service.streams import Streams
from smconvert.service.supervisor import Supervisor
from smconvert.service.uploads import Uploads

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
DESCRIPTION = """Converts TensorFlow models, and proves the result.

Announce a file, send its bytes, ask for a job, follow it, fetch the result. Errors are
`application/problem+json` with the kinds, exit codes and words of the command line."""


def create_app(settings: Settings, *, with_workers: bool = True) -> FastAPI:
    """The application of a service.

    Raises:
        UsageError: the database or the storage cannot be opened.
    """
    database, storage = open_database(settings), open_storage(settings)
    uploads = Uploads(settings, database, storage)
    jobs = Jobs(settings, database)
    looks = inspections()
    execution = Execution(jobs, uploads, storage, looks)
    supervisor = Supervisor(jobs, execution) if with_workers else None
    service = Service(
        settings=settings,
        database=database,
        storage=storage,
        uploads=uploads,
        jobs=jobs,
        execution=execution,
        supervisor=supervisor,
        streams=Streams(jobs),
        metrics=Metrics(jobs, supervisor),
        inspecting=CapacityLimiter(settings.inspections),
    )

    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        with supervisor or contextlib.nullcontext(), looks:
            watching = asyncio.create_task(service.streams.watch())
            yield
            watching.cancel()
        database.close()

    app = FastAPI(
        title="smconvert",
        version=version("smconvert"),
        description=DESCRIPTION,
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.service = service
    app.include_router(api)
    app.include_router(operations)
    app.get("/", include_in_schema=False)(lambda: RedirectResponse("/page/"))
    app.mount("/page", StaticFiles(directory=PAGE, html=True), name="page")
    _tell_errors(app)
    app.openapi = lambda: _openapi(app, settings.upload_bytes)  # type: ignore[method-assign]
    app.add_middleware(Told, service=service)
    if settings.hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts))
    return app


class Told:
    """Logs and counts each request, and refuses those that another site's page makes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, identifier, status = time.monotonic(), uuid.uuid4().hex, 0
        scope.setdefault("state", {})["request"] = identifier

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += _headers(scope["path"], identifier)
                self._service.metrics.seconds.labels(_operation(scope)).observe(
                    time.monotonic() - start
                )
            await send(message)

        try:
            if _is_foreign(scope):
                refused = ServiceError("another site's page may not do this", where="Origin")
                await _answer(refused)(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        finally:
            # 499: the client had gone before there was an answer, as nginx counts it.
            self._service.metrics.requests.labels(_operation(scope), str(status or 499)).inc()
            log.info(
                "request",
                extra={
                    "request": identifier,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "seconds": round(time.monotonic() - start, 4),
                    "owner": scope["state"].get("owner"),
                },
            )


def _headers(path: str, identifier: str) -> list[tuple[bytes, bytes]]:
    headers = {"X-Request-Id": identifier, "X-Content-Type-Options": "nosniff"}
    if path.startswith("/page"):
        headers |= {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _is_foreign(scope: Scope) -> bool:
    """Whether a browser says that another site's page asks for a change."""
    headers = dict(scope["headers"])
    return scope["method"] not in {"GET", "HEAD", "OPTIONS"} and headers.get(b"sec-fetch-site") in {
        b"cross-site",
        b"same-site",
    }


def _operation(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "name", None) or "none"


def _tell_errors(app: FastAPI) -> None:
    @app.exception_handler(SmconvertError)
    async def told(request: Request, error: SmconvertError) -> JSONResponse:
        return _answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _answer(UsageError(f"{first['msg'][:1].lower()}{first['msg'][1:]}", where=where))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        code: RequestCode = "not_found" if status == HTTPStatus.NOT_FOUND else "usage"
        told = Problem(
            type=f"urn:smconvert:error:{code}",
            title=status.phrase,
            status=status,
            code=code,
            exit_code=2,
            message=f"{request.method} {request.url.path}: {status.phrase.lower()}",
            where=request.url.path,
            hint="/v1/openapi.json lists all operations",
        )
        return _json(told, dict(error.headers or {}))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return _answer(ServiceError("the connection broke", where="body"))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("unexpected", exc_info=error, extra={"request": request.state.request})
        return _answer(
            SmconvertError(
                "something went wrong inside the service",
                where=f"request {request.state.request}",
                hint="the server's log has the traceback under this number",
            )
        )


def _answer(error: SmconvertError) -> JSONResponse:
    headers = dict(error.headers) if isinstance(error, ServiceError) else {}
    return _json(problem(error), headers)


def _json(told: Problem, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(
        told.model_dump(), status_code=told.status, headers=headers, media_type=MEDIA_TYPE
    )


def _openapi(app: FastAPI, most: int) -> dict[str, Any]:
    """The description of the API: every error is a Problem, and what this service allows."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas["NewJob"]["properties"]["target"]["enum"] = targets()
        schemas["NewUpload"]["properties"]["size"]["maximum"] = most
        app.openapi_schema = document
    return app.openapi_schema
