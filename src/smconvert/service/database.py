"""The state of a service: tokens, uploads, jobs and what happened to them; SQLite or PostgreSQL.

Every write is one short transaction. SQLite runs in WAL mode and reaches the disk before a request
is answered, so that what was accepted outlives a crash of the machine too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import OperationalError

from smconvert.errors import UsageError
from smconvert.service.settings import Settings

VERSION = 1
"""Of the tables below."""

SQLITE_WAITS = 60.0
"""Seconds for another process's write to end; each takes a few milliseconds."""

metadata = MetaData()

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created", Float, nullable=False),
    Column("revoked", Float),
    Column("active_jobs", Integer, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("requests_per_minute", Integer, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(16), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64)),
    Column("complete", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(16), nullable=False),
    Column("upload", String(32), nullable=False),
    Column("request", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("step", Text),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("attempt", Integer, nullable=False),
    Column("worker", String(64)),
    Column("lease", Float),
    Column("cancelling", Boolean, nullable=False),
    Column("outcome", Text),
    Column("stored", BigInteger, nullable=False),
    Column("idempotency_key", String(200)),
    Column("request_digest", String(64), nullable=False),
    UniqueConstraint("owner", "idempotency_key"),
    Index("jobs_by_state", "state", "created"),
    Index("jobs_by_owner", "owner", "created"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column(
        "job", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("kind", String(10), nullable=False),
    Column("text", Text, nullable=False),
    Column("time", Float, nullable=False),
)

totals = Table(
    "totals",
    metadata,
    Column("state", String(10), primary_key=True),
    Column("jobs", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
)

versions = Table("versions", metadata, Column("version", Integer, primary_key=True))


class Database:
    """Connections to the state; safe to share between threads, not between processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # SQLite has one writer at a time and makes others poll; threads of one process can queue.
        sqlite = engine.dialect.name == "sqlite"
        self._turn = threading.Lock() if sqlite else contextlib.nullcontext()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state throughout, and writes nothing."""
        with self._engine.connect().execution_options(only_reads=True) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed at the end, undone by an exception."""
        with self._turn, self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Ends all connections."""
        self._engine.dispose()


def open_database(settings: Settings) -> Database:
    """Opens the state, and makes its tables where there are none.

    Raises:
        UsageError: the database cannot be reached, or is of another version.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    url = settings.database_url or f"sqlite:///{settings.folder.absolute()}/service.sqlite"
    if url.startswith(("postgres://", "postgresql://")):
        url = "postgresql+psycopg://" + url.partition("://")[2]
    engine = create_engine(url, pool_size=16, max_overflow=48, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        _make_tables(engine)
    except OperationalError as error:
        raise UsageError(
            f"the database cannot be opened: {str(error.orig).strip().splitlines()[0]}",
            where=engine.url.render_as_string(hide_password=True),
            hint="--database takes the URL of a PostgreSQL database that exists, or of SQLite",
        ) from error
    return Database(engine)


def _make_tables(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Two servers that start at once must not both make the tables.
            connection.execute(text("SELECT pg_advisory_xact_lock(1936549235)"))
        metadata.create_all(connection)
        found = connection.execute(versions.select()).scalars().all()
        if not found:
            connection.execute(versions.insert().values(version=VERSION))
        elif found != [VERSION]:
            raise UsageError(
                f"the database is of version {found[0]}, and this smconvert knows {VERSION}",
                hint="start with an empty folder or database, or the smconvert that made it",
            )


def _set_up_sqlite(connection: Any, record: object) -> None:
    # Without this, the driver begins transactions by itself, and only before the first write.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(SQLITE_WAITS * 1000)}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins by reading cannot write once another has written in between.
    reads = connection.get_execution_options().get("only_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
