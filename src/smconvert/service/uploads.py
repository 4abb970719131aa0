"""Uploads that survive a broken connection: what is on disk is what has arrived.

A file under way lies in the server's folder, and its length is the offset at which the client goes
on, also after the server was killed. When the last byte is there it moves into the storage.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread
from sqlalchemy import Connection, Row, delete, func, select, update

from smconvert.service.database import Database, jobs, uploads
from smconvert.service.problems import Conflict, NotFound, QuotaExceeded, ServiceError, TooLarge
from smconvert.service.schemas import ENDED, NewUpload, Upload
from smconvert.service.settings import Settings
from smconvert.service.storage import Storage
from smconvert.service.tokens import Owner

BLOCK = 512 << 10
"""Bytes that are gathered before they are written: what one upload holds in memory."""


@dataclass(frozen=True)
class Uploads:
    """The uploads of a service."""

    settings: Settings
    database: Database
    storage: Storage

    def create(self, owner: Owner, wanted: NewUpload) -> Upload:
        """Makes room for a file.

        Raises:
            TooLarge: it is larger than the service takes.
            QuotaExceeded: the owner has no room for it.
        """
        if wanted.size > self.settings.upload_bytes:
            raise TooLarge(
                f"{wanted.size:,} bytes are more than the {self.settings.upload_bytes:,} that "
                "this service takes",
                where="size",
            )
        identifier, now = uuid.uuid4().hex, time.time()
        with self.database.writing() as connection:
            ensure_room(connection, owner, wanted.size)
            connection.execute(
                uploads.insert().values(
                    id=identifier,
                    owner=owner.id,
                    name=safe(wanted.name),
                    size=wanted.size,
                    sha256=wanted.sha256,
                    complete=False,
                    created=now,
                    used=now,
                )
            )
        self._part(identifier).parent.mkdir(parents=True, exist_ok=True)
        self._part(identifier).touch()
        if wanted.size == 0:
            self._complete(self._row(owner, identifier))
        return self.get(owner, identifier)

    def get(self, owner: Owner, identifier: str) -> Upload:
        """How far an upload is.

        Raises:
            NotFound: it is none of the owner's.
        """
        row = self._row(owner, identifier)
        if not row.complete and not self._part(identifier).exists():
            row = self._found_again(owner, row)
        return Upload(
            id=row.id,
            name=row.name,
            size=row.size,
            offset=row.size if row.complete else self._arrived(row.id),
            complete=row.complete,
            created=row.created,
        )

    async def append(
        self, owner: Owner, identifier: str, offset: int, body: AsyncIterator[bytes]
    ) -> Upload:
        """Writes bytes at ``offset``, which must be where the file ends.

        What arrived is kept, however the request ends.

        Raises:
            NotFound: the upload is none of the owner's.
            Conflict: the offset is another, or another request is writing.
            TooLarge: there are more bytes than were announced.
        """
        row = await to_thread.run_sync(self._row, owner, identifier)
        if row.complete:
            raise Conflict("the upload is complete", where=identifier)
        with _alone(self._part(identifier)) as part:
            arrived = os.fstat(part).st_size
            if offset != arrived:
                raise Conflict(
                    f"the next byte is {arrived}, not {offset}",
                    where="Upload-Offset",
                    hint=f"go on at {arrived}",
                    headers={"Upload-Offset": str(arrived)},
                )
            arrived = await self._write(part, arrived, row.size, body)
            if arrived == row.size:
                await to_thread.run_sync(self._complete, row)
        return await to_thread.run_sync(self.get, owner, identifier)

    def delete(self, owner: Owner, identifier: str) -> None:
        """Deletes an upload.

        Raises:
            NotFound: it is none of the owner's.
            Conflict: a job that has not ended needs it.
        """
        self._row(owner, identifier)
        with self.database.writing() as connection:
            if needed(connection, identifier):
                raise Conflict(
                    "a job that has not ended needs the upload",
                    where=identifier,
                    hint="cancel the job first",
                )
            connection.execute(delete(uploads).where(uploads.c.id == identifier))
        self.remove_files(identifier)

    def remove_files(self, identifier: str) -> None:
        """Deletes the bytes of an upload that is no longer in the database."""
        self._part(identifier).unlink(missing_ok=True)
        self.storage.delete(f"uploads/{identifier}")

    def row(self, identifier: str) -> Row[tuple[object, ...]] | None:
        """An upload, whoever owns it."""
        with self.database.reading() as connection:
            return connection.execute(
                select(uploads).where(uploads.c.id == identifier)
            ).one_or_none()

    def _row(self, owner: Owner, identifier: str) -> Row[tuple[object, ...]]:
        row = self.row(identifier)
        if row is None or row.owner != owner.id:
            raise NotFound(
                "there is no such upload", where=identifier, hint="it may be past its time"
            )
        return row

    async def _write(self, part: int, arrived: int, size: int, body: AsyncIterator[bytes]) -> int:
        async for block in _gathered(body, self.settings.upload_timeout):
            if arrived + len(block) > size:
                raise TooLarge(f"more than the {size:,} bytes that were announced", where="body")
            await to_thread.run_sync(_write_all, part, block)
            arrived += len(block)
        return arrived

    def _complete(self, row: Row[tuple[object, ...]]) -> None:
        part = self._part(row.id)
        if row.sha256 is not None and _sha256(part) != row.sha256:
            part.write_bytes(b"")
            raise Conflict(
                "the bytes that arrived have another SHA-256 than was announced",
                where="sha256",
                hint="upload it again from the start",
                headers={"Upload-Offset": "0"},
            )
        # A server that ends between the two finds the file in the storage.
        self.storage.put(part, key(row.id, row.name))
        self._note_complete(row.id)

    def _found_again(self, owner: Owner, row: Row[tuple[object, ...]]) -> Row[tuple[object, ...]]:
        """The row of an upload whose file is in the storage, or nowhere."""
        if self.storage.holds(key(row.id, row.name)):
            self._note_complete(row.id)
        return self._row(owner, row.id)

    def _note_complete(self, identifier: str) -> None:
        with self.database.writing() as connection:
            connection.execute(
                update(uploads)
                .where(uploads.c.id == identifier)
                .values(complete=True, used=time.time())
            )

    def _part(self, identifier: str) -> Path:
        return self.settings.folder / "incoming" / identifier

    def _arrived(self, identifier: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            return self._part(identifier).stat().st_size
        return 0


def key(identifier: str, name: str) -> str:
    """Under which a finished upload is stored."""
    return f"uploads/{identifier}/{name}"


def needed(connection: Connection, identifier: str) -> bool:
    """Whether a job that has not ended needs an upload."""
    waiting = select(jobs.c.id).where(
        jobs.c.state.not_in(ENDED),
        (jobs.c.upload == identifier) | jobs.c.request.contains(identifier),
    )
    return connection.execute(waiting.limit(1)).first() is not None


def lock(connection: Connection, owner: Owner) -> None:
    """Makes other requests of the owner wait for this transaction, so that they are counted.

    In SQLite every transaction that writes waits for every other.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(owner.id))))


def ensure_room(connection: Connection, owner: Owner, wanted: int) -> None:
    """Raises QuotaExceeded when the owner's uploads and results leave no room for more."""
    lock(connection, owner)
    mine = (
        select(func.coalesce(func.sum(uploads.c.size), 0)).where(uploads.c.owner == owner.id),
        select(func.coalesce(func.sum(jobs.c.stored), 0)).where(jobs.c.owner == owner.id),
    )
    stored = sum(int(connection.execute(query).scalar_one()) for query in mine)
    if stored + wanted > owner.quota.stored_bytes:
        raise QuotaExceeded(
            f"{stored:,} of {owner.quota.stored_bytes:,} bytes are taken, and {wanted:,} more are "
            "wanted",
            hint="delete uploads and jobs that are no longer needed",
        )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[int]:
    """A descriptor that appends to a file, which nobody else does meanwhile."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        raise Conflict("the upload is complete, or on another server", where=path.name) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                "another request is writing to this upload",
                where=path.name,
                hint="wait until it has ended, and ask for the offset",
                headers={"Retry-After": "1"},
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


async def _gathered(body: AsyncIterator[bytes], timeout: float) -> AsyncIterator[bytes]:
    """The body in blocks; what came before it broke off or stalled is given first."""
    gathered = bytearray()
    chunks = aiter(body)
    broken: BaseException | None = None
    while True:
        try:
            async with asyncio.timeout(timeout):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            break
        except TimeoutError:
            broken = ServiceError(
                f"no byte came within {timeout:g} s", where="body", hint="go on at the offset"
            )
            break
        except Exception as error:
            broken = error
            break
        gathered += chunk
        if len(gathered) >= BLOCK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
    if broken is not None:
        raise broken


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe(name: str) -> str:
    """A file name that is one everywhere: without folders, control characters or leading dots."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(c if c.isalnum() or c in "._-+ " else "_" for c in last).strip(". ")
    encoded = plain.encode(errors="replace")[-150:].decode(errors="ignore")
    return encoded or "model"
