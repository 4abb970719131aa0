"""Jobs: accepted, claimed by a worker for as long as it shows signs of life, ended once.

A claim counts up ``attempt``, and whatever a worker writes about a job names the attempt that it
has: a worker that was taken for dead and was not cannot end the job of another. A job is queued or
ended whenever no living worker has it, so nothing that was accepted can get lost.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from smconvert.service import uploads as upload_rows
from smconvert.service.database import Database, events, jobs, totals, uploads
from smconvert.service.problems import Conflict, NotFound, QuotaExceeded
from smconvert.service.schemas import ENDED, Job, JobEvent, NewJob, State
from smconvert.service.settings import Settings
from smconvert.service.tokens import Owner


@dataclass(frozen=True)
class Claim:
    """A job in the hands of a worker."""

    job: str
    attempt: int
    owner: str
    request: NewJob


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and what of it is stored.

    Attributes:
        state: ``done``, ``failed`` or ``cancelled``.
        document: The job's ``exit_code``, ``error``, ``conversion`` and ``result``, as JSON.
        stored: Bytes that are kept.
    """

    state: State
    document: dict[str, Any]
    stored: int = 0


@dataclass(frozen=True)
class Happened:
    """An event with its place in the order of all events."""

    id: int
    event: JobEvent


@dataclass(frozen=True)
class Jobs:
    """The jobs of a service."""

    settings: Settings
    database: Database

    def create(self, owner: Owner, wanted: NewJob, key: str | None) -> tuple[Job, bool]:
        """Accepts a job; a second request with the same key gets the job of the first.

        Returns:
            The job, and whether it is new.

        Raises:
            NotFound: an upload that it names is none of the owner's.
            Conflict: an upload is not complete, or the key was used for another request.
            QuotaExceeded: too many jobs of the owner wait or run.
        """
        request = wanted.model_dump_json()
        digest = hashlib.sha256(request.encode()).hexdigest()
        with self.database.writing() as connection:
            upload_rows.lock(connection, owner)
            known = None if key is None else _by_key(connection, owner, key)
            if known is not None:
                if known.request_digest != digest:
                    raise Conflict(
                        "the key was used for another request already",
                        where="Idempotency-Key",
                        hint="a new request needs a new key",
                    )
                return _job(known), False
            for identifier in filter(None, (wanted.upload, wanted.check_options.data)):
                _ensure_complete(connection, owner, identifier)
            self._ensure_place(connection, owner)
            identifier, now = uuid.uuid4().hex, time.time()
            connection.execute(
                insert(jobs).values(
                    id=identifier,
                    owner=owner.id,
                    upload=wanted.upload,
                    request=request,
                    state="queued",
                    created=now,
                    attempt=0,
                    cancelling=False,
                    stored=0,
                    idempotency_key=key,
                    request_digest=digest,
                )
            )
            _note(connection, identifier, "state", "queued")
            return _job(_row(connection, identifier)), True

    def get(self, owner: Owner, identifier: str) -> Job:
        """A job of the owner.

        Raises:
            NotFound: it is none of the owner's.
        """
        with self.database.reading() as connection:
            return _job(_owned(connection, owner, identifier))

    def listed(
        self, owner: Owner, state: State | None, limit: int, before: str | None
    ) -> list[Job]:
        """Jobs of the owner, the newest first, older than the job ``before``.

        Raises:
            NotFound: there is no job ``before``.
        """
        query = select(jobs).where(jobs.c.owner == owner.id)
        if state is not None:
            query = query.where(jobs.c.state == state)
        query = query.order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(limit)
        with self.database.reading() as connection:
            if before is not None:
                last = _owned(connection, owner, before)
                same_time = and_(jobs.c.created == last.created, jobs.c.id < last.id)
                query = query.where(or_(jobs.c.created < last.created, same_time))
            return [_job(row) for row in connection.execute(query)]

    def cancel(self, owner: Owner, identifier: str) -> Job:
        """Ends a job that waits at once, and asks the worker of one that runs to end it.

        Raises:
            NotFound: it is none of the owner's.
            Conflict: it has ended otherwise.
        """
        with self.database.writing() as connection:
            row = _owned(connection, owner, identifier)
            if row.state == "queued":
                _end(connection, row, Outcome("cancelled", {}))
            elif row.state == "running":
                connection.execute(
                    update(jobs).where(jobs.c.id == identifier).values(cancelling=True)
                )
            elif row.state != "cancelled":
                raise Conflict(f"the job has ended already: {row.state}", where=identifier)
            return _job(_row(connection, identifier))

    def delete(self, owner: Owner, identifier: str) -> None:
        """Forgets a job that has ended.

        Raises:
            NotFound: it is none of the owner's.
            Conflict: it waits or runs.
        """
        with self.database.writing() as connection:
            row = _owned(connection, owner, identifier)
            if row.state not in ENDED:
                raise Conflict("the job has not ended", where=identifier, hint="cancel it first")
            connection.execute(delete(jobs).where(jobs.c.id == identifier))

    def happened(self, identifier: str, after: int) -> list[Happened]:
        """What happened to a job since the event ``after``, in order."""
        query = (
            select(events)
            .where(events.c.job == identifier, events.c.id > after)
            .order_by(events.c.id)
        )
        with self.database.reading() as connection:
            return [
                Happened(row.id, JobEvent(kind=row.kind, text=row.text, time=row.time))
                for row in connection.execute(query)
            ]

    def newest_event(self) -> int:
        """The number of the last event of all jobs."""
        with self.database.reading() as connection:
            return connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one()

    def claim(self, worker: str) -> Claim | None:
        """Gives a worker the next job, if one waits: of the owner with the fewest that run."""
        now = time.time()
        running = (
            select(jobs.c.owner, func.count().label("count"))
            .where(jobs.c.state == "running", jobs.c.lease >= now)
            .group_by(jobs.c.owner)
            .subquery()
        )
        free = or_(jobs.c.state == "queued", and_(jobs.c.state == "running", jobs.c.lease < now))
        query = (
            select(jobs)
            .outerjoin(running, running.c.owner == jobs.c.owner)
            .where(free)
            .order_by(func.coalesce(running.c.count, 0), jobs.c.created)
            .limit(1)
        )
        while True:
            with self.database.reading() as connection:
                row = connection.execute(query).one_or_none()
            if row is None:
                return None
            if self._take(row, worker, now):
                return Claim(
                    row.id, row.attempt + 1, row.owner, NewJob.model_validate_json(row.request)
                )

    def renew(self, claim: Claim) -> bool:
        """A sign of life; False when the job is another's by now, or gone."""
        with self.database.writing() as connection:
            renewed = connection.execute(
                update(jobs).where(*_held(claim)).values(lease=time.time() + self.settings.lease)
            )
            return bool(renewed.rowcount)

    def cancelling(self, claim: Claim) -> bool:
        """Whether the job's owner wants it to end."""
        with self.database.reading() as connection:
            query = select(jobs.c.cancelling).where(*_held(claim))
            return bool(connection.execute(query).scalar_one_or_none())

    def note_step(self, claim: Claim, step: str) -> None:
        """Records what is done now."""
        with self.database.writing() as connection:
            noted = connection.execute(update(jobs).where(*_held(claim)).values(step=step))
            if noted.rowcount:
                _note(connection, claim.job, "step", step)

    def end(self, claim: Claim, outcome: Outcome) -> bool:
        """Records how a job ended; False when it is another worker's by now."""
        with self.database.writing() as connection:
            row = connection.execute(select(jobs).where(*_held(claim))).one_or_none()
            if row is None:
                return False
            _end(connection, row, outcome)
            return True

    def give_back(self, claim: Claim) -> None:
        """Puts a job back into the queue, as if it had not been begun."""
        with self.database.writing() as connection:
            given = connection.execute(
                update(jobs)
                .where(*_held(claim))
                .values(state="queued", attempt=claim.attempt - 1, worker=None, lease=None)
            )
            if given.rowcount:
                _note(connection, claim.job, "state", "queued")

    def release(self, worker: str) -> None:
        """Lets others have at once what a worker that is known to be dead held."""
        with self.database.writing() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.worker == worker, jobs.c.state == "running")
                .values(lease=0.0)
            )

    def counts(self) -> dict[str, int]:
        """Jobs that are kept, by state."""
        query = select(jobs.c.state, func.count().label("jobs")).group_by(jobs.c.state)
        with self.database.reading() as connection:
            return {row.state: row.jobs for row in connection.execute(query)}

    def totals(self) -> dict[str, tuple[int, float]]:
        """Jobs that ever ended and the seconds they ran, by state."""
        with self.database.reading() as connection:
            return {r.state: (r.jobs, r.seconds) for r in connection.execute(select(totals))}

    def _ensure_place(self, connection: Connection, owner: Owner) -> None:
        query = (
            select(func.count())
            .select_from(jobs)
            .where(jobs.c.owner == owner.id, jobs.c.state.not_in(ENDED))
        )
        active = connection.execute(query).scalar_one()
        if active >= owner.quota.active_jobs:
            raise QuotaExceeded(
                f"{active} jobs wait or run, and {owner.quota.active_jobs} may",
                hint="wait until one has ended, or cancel one",
            )

    def _take(self, row: Row[tuple[object, ...]], worker: str, now: float) -> bool:
        with self.database.writing() as connection:
            taken = connection.execute(
                update(jobs)
                .where(
                    jobs.c.id == row.id,
                    jobs.c.attempt == row.attempt,
                    jobs.c.state == row.state,
                    or_(jobs.c.lease.is_(None), jobs.c.lease < now),
                )
                .values(
                    state="running",
                    attempt=row.attempt + 1,
                    worker=worker,
                    lease=now + self.settings.lease,
                    started=row.started or now,
                )
            )
            if taken.rowcount:
                _note(connection, row.id, "state", "running")
            return bool(taken.rowcount)


def _held(claim: Claim) -> tuple[Any, ...]:
    return (
        jobs.c.id == claim.job,
        jobs.c.attempt == claim.attempt,
        jobs.c.state == "running",
    )


def _end(connection: Connection, row: Row[tuple[object, ...]], outcome: Outcome) -> None:
    now = time.time()
    connection.execute(
        update(jobs)
        .where(jobs.c.id == row.id)
        .values(
            state=outcome.state,
            ended=now,
            worker=None,
            lease=None,
            outcome=json.dumps(outcome.document),
            stored=outcome.stored,
        )
    )
    connection.execute(update(uploads).where(uploads.c.id == row.upload).values(used=now))
    _count(connection, outcome.state, now - row.started if row.started else 0.0)
    _note(connection, row.id, "state", outcome.state)


def _count(connection: Connection, state: str, seconds: float) -> None:
    counted = connection.execute(
        update(totals)
        .where(totals.c.state == state)
        .values(jobs=totals.c.jobs + 1, seconds=totals.c.seconds + seconds)
    )
    if not counted.rowcount:
        connection.execute(insert(totals).values(state=state, jobs=1, seconds=seconds))


def _note(connection: Connection, job: str, kind: str, text: str) -> None:
    connection.execute(insert(events).values(job=job, kind=kind, text=text, time=time.time()))


def _by_key(connection: Connection, owner: Owner, key: str) -> Row[tuple[object, ...]] | None:
    query = select(jobs).where(jobs.c.owner == owner.id, jobs.c.idempotency_key == key)
    return connection.execute(query).one_or_none()


def _row(connection: Connection, identifier: str) -> Row[tuple[object, ...]]:
    return connection.execute(select(jobs).where(jobs.c.id == identifier)).one()


def _owned(connection: Connection, owner: Owner, identifier: str) -> Row[tuple[object, ...]]:
    query = select(jobs).where(jobs.c.id == identifier, jobs.c.owner == owner.id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("there is no such job", where=identifier, hint="it may be past its time")
    return row


def _ensure_complete(connection: Connection, owner: Owner, identifier: str) -> None:
    query = select(uploads).where(uploads.c.id == identifier, uploads.c.owner == owner.id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("there is no such upload", where=identifier, hint="it may be past its time")
    if not row.complete:
        raise Conflict("the upload is not complete", where=identifier, hint="send the rest of it")


def _job(row: Row[tuple[object, ...]]) -> Job:
    outcome = json.loads(row.outcome) if row.outcome else {}
    return Job(
        id=row.id,
        state=row.state,
        step=row.step,
        request=NewJob.model_validate_json(row.request),
        created=row.created,
        started=row.started,
        ended=row.ended,
        attempt=row.attempt,
        exit_code=outcome.get("exit_code"),
        result=outcome.get("result"),
        conversion=outcome.get("conversion"),
        error=outcome.get("error"),
    )
