"""A worker: claims a job, does it, claims the next; a process of its own.

    python -m smconvert.service.worker NAME        (settings on stdin, which stays open)

It ends when the server that started it ends, however that happens: its stdin closes then. A job
that it has goes back into the queue.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType

from smconvert.service import logs, starting
from smconvert.service.database import open_database
from smconvert.service.execution import Execution
from smconvert.service.jobs import Claim, Jobs, Outcome
from smconvert.service.settings import Settings
from smconvert.service.starting import Start
from smconvert.service.storage import open_storage
from smconvert.service.uploads import Uploads

log = logging.getLogger(__name__)

IDLE = 0.3
"""Seconds between looks for a job."""

CANCEL_POLL = 0.5


class Worker:
    """Does jobs until it is told to end."""

    def __init__(self, name: str, settings: Settings, start: Start) -> None:
        database, storage = open_database(settings), open_storage(settings)
        self._name = name
        self._jobs = Jobs(settings, database)
        uploads = Uploads(settings, database, storage)
        self._execution = Execution(self._jobs, uploads, storage, start)
        self._ending = threading.Event()

    def end(self) -> None:
        """Makes :meth:`run` return soon; the job under way goes back into the queue."""
        self._ending.set()

    def run(self) -> None:
        """Does one job after the other."""
        while not self._ending.is_set():
            claim = self._jobs.claim(self._name)
            if claim is None:
                self._ending.wait(IDLE)
            else:
                self._do(claim)

    def _do(self, claim: Claim) -> None:
        told = {"job": claim.job, "attempt": claim.attempt, "owner": claim.owner}
        log.info("begun", extra=told)
        stop, done = threading.Event(), threading.Event()
        watcher = threading.Thread(target=self._watch, args=(claim, stop, done))
        watcher.start()
        try:
            outcome = self._execution.perform(claim, stop)
        except Exception:
            log.exception("the job could not be done", extra=told)
            outcome = _internal()
        finally:
            done.set()
            watcher.join()
        if outcome.state == "cancelled" and not self._jobs.cancelling(claim):
            self._jobs.give_back(claim)
            log.info("given back", extra=told)
            return
        if self._jobs.end(claim, outcome):
            self._execution.forget_work(claim.job)
            exit_code = outcome.document.get("exit_code")
            log.info("ended", extra={**told, "state": outcome.state, "exit_code": exit_code})
        else:
            log.warning("the job is another worker's by now", extra=told)

    def _watch(self, claim: Claim, stop: threading.Event, done: threading.Event) -> None:
        """Shows signs of life, and stops the work when nobody wants it any more."""
        lease = self._jobs.settings.lease
        since = 0.0
        while not done.wait(CANCEL_POLL):
            since += CANCEL_POLL
            if self._ending.is_set() or self._jobs.cancelling(claim):
                stop.set()
            if since >= lease / 3:
                since = 0.0
                if not self._jobs.renew(claim):
                    stop.set()


def main() -> None:
    """Runs a worker until its server ends."""
    settings = Settings.from_json(sys.stdin.readline())
    logs.set_up(settings.log_format)
    # Ctrl-C at the terminal reaches this process too; the server tells it to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with starting.conversions() as start:
        start.prepare()
        worker = Worker(sys.argv[1], settings, start)

        def end(signum: int, frame: FrameType | None) -> None:
            worker.end()

        signal.signal(signal.SIGTERM, end)
        threading.Thread(target=_end_with_server, args=(worker,), daemon=True).start()
        worker.run()


def _end_with_server(worker: Worker) -> None:
    sys.stdin.read()
    worker.end()


def _internal() -> Outcome:
    error = {
        "code": "internal",
        "exit_code": 1,
        "message": "something went wrong inside the service",
        "where": None,
        "hint": "the server's log has the traceback",
    }
    return Outcome("failed", {"exit_code": 1, "error": error})


if __name__ == "__main__":
    main()
