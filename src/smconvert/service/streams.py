"""What happens to a job, told as it happens: server-sent events.

One task of the server looks whether anything happened at all; each open stream then reads what is
its own. An event's id is its number, so a client that lost the connection goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from anyio import to_thread

from smconvert.service.jobs import Happened, Jobs
from smconvert.service.schemas import ENDED

POLL = 0.25
KEEP_ALIVE = 15.0
"""Seconds after which a comment is sent, so that proxies keep the connection."""


class Streams:
    """The open streams of a server."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._waiting = 0
        self._newest = 0
        self._changed = asyncio.Condition()

    async def watch(self) -> None:
        """Wakes the streams when something happened; runs as long as the server."""
        while True:
            await asyncio.sleep(POLL)
            if not self._waiting:
                continue
            newest = await to_thread.run_sync(self._jobs.newest_event)
            if newest != self._newest:
                self._newest = newest
                async with self._changed:
                    self._changed.notify_all()

    async def of_job(self, job: str, after: int) -> AsyncIterator[str]:
        """The events of a job after a number, until it has ended."""
        self._waiting += 1
        try:
            while True:
                seen = self._newest
                for happened in await to_thread.run_sync(self._jobs.happened, job, after):
                    yield _written(happened)
                    after = happened.id
                    if happened.event.kind == "state" and happened.event.text in ENDED:
                        return
                if not await self._woken(seen):
                    yield ": still here\n\n"
        finally:
            self._waiting -= 1

    async def _woken(self, seen: int) -> bool:
        try:
            async with asyncio.timeout(KEEP_ALIVE), self._changed:
                await self._changed.wait_for(lambda: self._newest != seen)
        except TimeoutError:
            return False
        return True


def _written(happened: Happened) -> str:
    event = happened.event
    return f"id: {happened.id}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n"
