"""Where the command line prints: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from smconvert.errors import SmconvertError

if TYPE_CHECKING:
    from smconvert.pipeline import Progress

LOGGERS = ("smconvert", "smconvert_savedmodel", "smconvert_onnx")

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


def stderr() -> Console:
    """A console on the present stderr."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def stdout() -> Console:
    """A console on the present stdout."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def quieten_tensorflow() -> None:
    """Imports TensorFlow with what its libraries print on stderr at start-up thrown away.

    They print before any log level applies. A level that the user set is left to speak.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        importlib.import_module("tensorflow.python.framework.ops")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def progress(quiet: bool, verbose: bool) -> Iterator[Progress]:
    """A spinner on a terminal, a line a step with ``verbose``, silence otherwise."""
    console = stderr()
    if quiet or not (verbose or console.is_terminal):
        yield lambda step: None
    elif verbose:
        with _log(console):
            yield lambda step: console.print(f"{step} ...", style="dim")
    else:
        with console.status("starting") as status:
            yield lambda step: status.update(f"{step} ...")


@contextmanager
def _log(console: Console) -> Iterator[None]:
    """Shows what smconvert's own loggers say of the ways that were taken, and why."""

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(f"  {record.getMessage()}", style="dim")

    handler = Shown(logging.INFO)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
            logger.removeHandler(handler)


@contextmanager
def errors_as_exit_codes(debug: bool) -> Iterator[None]:
    """Prints an error for the person and ends with its exit code; a traceback with ``debug``."""
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except SmconvertError as error:
        if debug:
            stderr().print_exception()
        print_error(error)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        stderr().print("interrupted; nothing was left behind")
        raise SystemExit(EXIT_INTERRUPTED) from error
    except Exception as error:
        if debug:
            stderr().print_exception()
        print_error(
            SmconvertError(
                f"something went wrong inside smconvert: {_first_line(error)}",
                hint="run again with --debug and report what it prints",
            )
        )
        raise SystemExit(SmconvertError.exit_code) from error
    finally:
        signal.signal(signal.SIGTERM, previous)


def print_error(error: SmconvertError) -> None:
    """Prints what is wrong, where, and what to try."""
    first, *rest = str(error).splitlines()
    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), first))
    for line in rest:
        console.print(Text(line))


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300] if text else ''}"


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
