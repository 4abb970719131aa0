"""What a runtime is: it opens one signature of an artifact, and runs it on arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from smconvert.converters import Executable
from smconvert.model import Array
from smconvert.runtimes.places import Place

RUNTIMES = "smconvert.runtimes"
"""The entry point group that names the runtimes."""


class Session(Protocol):
    """An open signature; its state (variables, counters) lives as long as it does."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by the signature's names, from inputs by the signature's names."""

    def placement(self) -> Mapping[str, int]:
        """How many nodes ran on which device, as the runtime itself reports; empty if it cannot.

        Asked for once, after the last run.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class Runtime(Protocol):
    """Opens executables; one instance lives in each worker process."""

    def open(self, executable: Executable, place: Place) -> Session:
        """Loads the artifact at ``place``, with fresh state.

        Raises:
            Unavailable: the runtime cannot run there, whatever the artifact is.
        """
