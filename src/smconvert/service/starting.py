"""How the work of a request is started in its sandbox: as a fork where that works, else afresh.

A process of its own imports TensorFlow first, which takes longer than to convert a small model. So
each worker keeps a process that has imported it and done nothing else, and forks the sandbox from
there; a fork sees nothing of the forks before it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from smconvert import sandbox
from smconvert.errors import RuntimeFailure
from smconvert.sandbox.warm import Warm
from smconvert.service import inside

log = logging.getLogger(__name__)


class Start(Protocol):
    """Runs the work that ``request.json`` in ``folder`` asks for, to its end."""

    def __call__(
        self,
        folder: Path,
        limits: sandbox.Limits,
        readable: Sequence[Path],
        cancelled: threading.Event | None,
    ) -> sandbox.Ending:
        """What is printed goes into ``stdout`` and ``stderr`` beside ``folder``."""


def afresh(
    folder: Path,
    limits: sandbox.Limits,
    readable: Sequence[Path],
    cancelled: threading.Event | None,
) -> sandbox.Ending:
    """Starts a process."""
    return sandbox.run(
        [sys.executable, "-m", inside.__name__, "request.json"],
        folder,
        limits,
        stdout=folder.parent / "stdout",
        stderr=folder.parent / "stderr",
        readable=readable,
        cancelled=cancelled,
    )


class Forks:
    """Starts forks of a process that has imported; a process afresh where that does not work.

    Args:
        imports: What it imports.
        function: ``module:function`` that a fork calls with the name of the request's file.
    """

    def __init__(self, imports: Sequence[str], function: str) -> None:
        self._warm = Warm(imports)
        self._function = function
        self._works: bool | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._warm.__exit__(*error)

    def prepare(self) -> bool:
        """Imports now, not at the first call; False where forks do not work."""
        with self._lock:
            if self._works is None:
                try:
                    self._warm.start()
                except RuntimeFailure as error:
                    log.warning("every job starts a process", extra={"why": str(error)})
                    self._works = False
                else:
                    self._works = True
            return self._works

    def __call__(
        self,
        folder: Path,
        limits: sandbox.Limits,
        readable: Sequence[Path],
        cancelled: threading.Event | None,
    ) -> sandbox.Ending:
        """As :class:`Start`."""
        if not self.prepare():
            return afresh(folder, limits, readable, cancelled)
        return self._warm.run(
            self._function,
            "request.json",
            folder,
            limits,
            stdout=folder.parent / "stdout",
            stderr=folder.parent / "stderr",
            readable=readable,
            cancelled=cancelled,
        )


def conversions() -> Forks:
    """Starts what converts."""
    return Forks(inside.IMPORTS, f"{inside.__name__}:main_of_fork")


def inspections() -> Forks:
    """Starts what only looks at a model."""
    return Forks(inside.LIGHT_IMPORTS, f"{inside.__name__}:look_of_fork")
