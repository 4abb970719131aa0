"""Runs the application under uvicorn."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
from collections.abc import Sequence

import uvicorn

from smconvert.errors import UsageError
from smconvert.service import logs, tokens
from smconvert.service.access import is_loopback
from smconvert.service.app import create_app
from smconvert.service.database import open_database
from smconvert.service.settings import Settings

log = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE = 75
"""Seconds that a connection may wait for its next request, as most proxies have it."""

SHUTDOWN = 5
"""Seconds that open streams and uploads have when the server is told to end."""


def allowed_hosts(host: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names by which a server on ``host`` may be called.

    One that only this machine can reach is called by this machine's names: otherwise any web page
    could reach it, under a name of its own that resolves to this machine.
    """
    if names:
        return tuple(names)
    return ("localhost", "127.0.0.1", "[::1]") if is_loopback(host) else ()


def run(settings: Settings, host: str, port: int) -> None:
    """Serves until told to end.

    Raises:
        UsageError: the address cannot be had, or nobody could use the service.
    """
    logs.set_up(settings.log_format)
    _ensure_usable(settings)
    _allow_many_files()
    listening = _listen(host, port)
    place = listening.getsockname()
    shown = f"[{place[0]}]" if ":" in place[0] else place[0]
    log.info(f"listening on http://{shown}:{place[1]}")
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=SHUTDOWN,
        server_header=False,
        lifespan="on",
    )
    uvicorn.Server(config).run([listening])


def _ensure_usable(settings: Settings) -> None:
    if settings.open:
        return
    database = open_database(settings)
    try:
        if not any(token.revoked is None for token in tokens.listed(database)):
            raise UsageError(
                "nobody could use the service: it has no tokens",
                hint="`smconvert serve token NAME` makes one; --open lets in whoever reaches it",
            )
    finally:
        database.close()


def _allow_many_files() -> None:
    """Raises the limit of open files to what the system lets us have: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"the server cannot listen there: {error.strerror}",
            where=f"{host}:{port}",
            hint="--port names another port, 0 any that is free",
        ) from error
    return listening
