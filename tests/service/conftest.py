"""The databases that the service runs on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import postgresql
import psycopg
import pytest


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    if not postgresql.usable():
        pytest.skip("PostgreSQL is not installed")
    with postgresql.cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Of an empty database; None for the SQLite in the service's folder."""
    if request.param == "sqlite":
        return None
    url, name = request.getfixturevalue("postgresql_url"), f"db_{uuid.uuid4().hex}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return f"{url}/{name}"
