"""What can go wrong, as a person should hear it.

Every error that smconvert raises on purpose is one of the kinds below. Each says what is wrong in
one sentence, where (a file, node or signature), and what to try; the command line prints just that
and ends with the kind's exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class SmconvertError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: One sentence: what is wrong.
        where: The file, node, tensor or signature concerned.
        hint: What the user can try next.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "internal"

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """Kind, exit code and words, as JSON values."""
        return {
            "code": self.kind,
            "exit_code": self.exit_code,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  try:   {self.hint}")
        return "\n".join(lines)


class UsageError(SmconvertError):
    """The request itself cannot be meant: a wrong flag, name or combination."""

    exit_code = 2
    kind = "usage"


class SourceError(SmconvertError):
    """The source is missing, damaged or of no known format."""

    exit_code = 3
    kind = "source"


class UnknownType(SourceError, ValueError):
    """The source names an element type that is not known here, or has no values."""


class ConversionError(SmconvertError):
    """The source was read, but cannot be expressed in the target."""

    exit_code = 4
    kind = "conversion"


class ParityError(SmconvertError):
    """The result was written, and does not compute what the source computes.

    ``parity`` is the check that found it, as JSON values.
    """

    exit_code = 5
    kind = "parity"
    parity: Mapping[str, Any] | None = None


class DestinationError(ConversionError):
    """The result cannot be put where the user wants it (exists, not writable, disk full)."""

    kind = "destination"


class RuntimeFailure(SmconvertError):
    """A runtime could not load or run an artifact, or its worker process died.

    The check turns it into a verdict; elsewhere it ends the command.
    """

    exit_code = 4
    kind = "runtime"


class Unavailable(RuntimeFailure):
    """A runtime cannot run where it was asked to; nothing is known about the artifact.

    It makes a comparison *not run*.
    """

    exit_code = 6
    kind = "unavailable"


EXIT_DONE = 0
EXIT_NOT_CHECKED = 6
"""Converted, but the check that was asked for could not be run: a result, not an exception."""
