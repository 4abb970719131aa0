"""Who a request is from, and whether it may be served."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from smconvert.service import tokens
from smconvert.service.problems import Unauthorized
from smconvert.service.state import Service, service_of
from smconvert.service.tokens import OPEN, Owner

COOKIE = "smconvert_token"

_bearer = HTTPBearer(auto_error=False, description="A token of `smconvert serve token NAME`.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="Set by the page's session.")


async def owner(
    service: Annotated[Service, Depends(service_of)],
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    cookie: Annotated[str | None, Depends(_cookie)],
) -> Owner:
    """Whose request it is, counted against the rate.

    Raises:
        Unauthorized: there is no token, or none that is known.
        RateExceeded: there were too many.
    """
    found = await _found(service, bearer.credentials if bearer else cookie)
    request.state.owner = found.id
    service.limiter.spend(found)
    return found


async def _found(service: Service, token: str | None) -> Owner:
    if token:
        return await run_in_threadpool(tokens.owner_of, service.database, token)
    if service.settings.open:
        return Owner(OPEN, OPEN, service.settings.quota)
    raise Unauthorized("no token was given", hint="send `Authorization: Bearer TOKEN`")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


OwnerOf = Annotated[Owner, Depends(owner)]
