"""What an engine is: it does jobs somewhere, several at a time, and says what came of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from smconvert.batch.plan import Job

Outcome = Mapping[str, Any]


class Engine(Protocol):
    """Where conversions run. Its calls back are made on the thread that called :meth:`run`."""

    def run(
        self,
        jobs: Sequence[Job],
        begin: Callable[[Job], Path],
        end: Callable[[Job, Outcome | None], None],
    ) -> None:
        """Does all jobs, in an order of its own.

        Args:
            jobs: What to do.
            begin: Told before a job is started; the new folder for the attempt.
            end: Told what came of it, None where it was cancelled.
        """

    def left(self, job: Job, folder: Path) -> Outcome | None:
        """The outcome of the attempt in ``folder`` if it came to its end before a kill."""

    def cancel(self) -> None:
        """Starts nothing more and ends what runs; may be called from another thread."""
