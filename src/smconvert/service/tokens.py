"""Tokens: who may use the service, and how much of it.

A token is ``smc_`` with an id and 256 random bits. Only a hash of it is kept: with so many random
bits a plain SHA-256 tells nothing, and a slow hash would slow every request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from sqlalchemy import Row, select, update

from smconvert.errors import UsageError
from smconvert.service.database import Database, tokens
from smconvert.service.problems import RateExceeded, Unauthorized
from smconvert.service.settings import Quota

OPEN = "open"
"""The owner of everything on a server that asks for no token."""

_PREFIX = "smc"


@dataclass(frozen=True)
class Owner:
    """Whose request it is.

    Attributes:
        id: Under which uploads and jobs are kept.
        name: For people.
        quota: What it may take.
    """

    id: str
    name: str
    quota: Quota


@dataclass(frozen=True)
class TokenInfo:
    """A token as an operator sees it."""

    id: str
    name: str
    created: float
    revoked: float | None
    quota: Quota


def create(database: Database, name: str, quota: Quota) -> str:
    """Makes a token; nobody can find out later what is returned here."""
    identifier, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    with database.writing() as connection:
        connection.execute(
            tokens.insert().values(
                id=identifier,
                name=name,
                digest=_digest(secret),
                created=time.time(),
                **asdict(quota),
            )
        )
    return f"{_PREFIX}_{identifier}_{secret}"


def revoke(database: Database, identifier: str) -> None:
    """Ends a token; what it owns stays until its time is over.

    Raises:
        UsageError: there is no such token, or it is revoked already.
    """
    with database.writing() as connection:
        ended = connection.execute(
            update(tokens)
            .where(tokens.c.id == identifier, tokens.c.revoked.is_(None))
            .values(revoked=time.time())
        )
    if not ended.rowcount:
        raise UsageError(
            f"no token has the id {identifier!r}",
            hint="`smconvert serve tokens` lists them",
        )


def listed(database: Database) -> list[TokenInfo]:
    """All tokens, the oldest first."""
    with database.reading() as connection:
        rows = connection.execute(select(tokens).order_by(tokens.c.created)).all()
    return [TokenInfo(r.id, r.name, r.created, r.revoked, _quota(r)) for r in rows]


def owner_of(database: Database, token: str) -> Owner:
    """Who holds a token.

    Raises:
        Unauthorized: it is none of ours, or revoked.
    """
    prefix, _, rest = token.partition("_")
    identifier, _, secret = rest.partition("_")
    with database.reading() as connection:
        row = connection.execute(
            select(tokens).where(tokens.c.id == identifier[:16], tokens.c.revoked.is_(None))
        ).one_or_none()
    known = row.digest if row is not None else _digest("")
    if not hmac.compare_digest(known, _digest(secret)) or row is None or prefix != _PREFIX:
        raise Unauthorized("the token is not known, or was revoked", hint="ask for a new one")
    return Owner(row.id, row.name, _quota(row))


class RateLimiter:
    """Evens out the requests of each owner: a bucket that refills over a minute.

    It counts in the memory of this server; several servers each allow the whole rate.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def spend(self, owner: Owner) -> None:
        """Takes one request from the owner's bucket.

        Raises:
            RateExceeded: it is empty.
        """
        size = float(owner.quota.requests_per_minute)
        with self._lock:
            now = self._clock()
            left, before = self._buckets.get(owner.id, (size, now))
            left = min(size, left + (now - before) * size / 60)
            if left < 1:
                wait = max(1, round((1 - left) * 60 / size)) if size else 60
                raise RateExceeded(
                    f"more than {owner.quota.requests_per_minute} requests in a minute",
                    hint=f"wait {wait} s",
                    headers={"Retry-After": str(wait)},
                )
            self._buckets[owner.id] = left - 1, now


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _quota(row: Row[tuple[object, ...]]) -> Quota:
    return Quota(row.active_jobs, row.stored_bytes, row.requests_per_minute)
