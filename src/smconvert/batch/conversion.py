"""One conversion as a process of its own: ``python -m smconvert.batch.conversion FOLDER``.

FOLDER has ``job.json`` and, after it, ``outcome.json`` beside the result in ``result/``. The
outcome is put in place by one rename when the result is whole, so that whoever finds it may count
on both.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smconvert import pipeline
from smconvert.batch import settings
from smconvert.errors import EXIT_DONE, SmconvertError
from smconvert.runtimes.forked import Blanks
from smconvert.runtimes.workers import Workers

IMPORTS = ("smconvert.batch.imports", "smconvert.batch.conversion")
"""What :func:`main_of_fork` needs to have been imported."""

OUTCOME = "outcome.json"
RESULT = "result"


def convert(folder: Path, workers: Workers) -> dict[str, Any]:
    """Does the job in ``folder`` and says what came of it, in what :func:`main` writes."""
    started = time.monotonic()
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    chosen = settings.options(job["settings"])
    destination = folder / RESULT / job["name"]
    try:
        conversion = pipeline.convert(
            job["source"],
            destination,
            source_options=chosen.source,
            target_options=chosen.target,
            check_options=chosen.check,
            checked=chosen.checked,
            source_format=chosen.source_format,
            target_format=job["settings"]["to"],
            workers=workers,
        )
    except SmconvertError as error:
        return {**failure(error), "seconds": time.monotonic() - started}
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        inside = SmconvertError(
            f"something went wrong inside smconvert: {what}",
            hint="convert it with `smconvert convert --debug` and report what it prints",
        )
        return {**failure(inside), "seconds": time.monotonic() - started}
    artifact, parity = conversion.artifact, conversion.parity
    return {
        "exit_code": conversion.exit_code,
        "verdict": None if parity is None else parity.verdict.value,
        "reason": None if parity is None else parity.reason,
        "source_format": conversion.source.format,
        "format": artifact.format,
        "artifact": os.path.relpath(artifact.path, folder / RESULT),
        "companions": [os.path.relpath(path, folder / RESULT) for path in artifact.companions],
        "changes": list(conversion.changes),
        "differences": {} if parity is None else _differences(parity.to_json()),
        "error": None,
        "seconds": time.monotonic() - started,
    }


def failure(error: SmconvertError) -> dict[str, Any]:
    """The outcome of a conversion that ended with an error."""
    return {
        "exit_code": error.exit_code,
        "verdict": None,
        "reason": None,
        "error": {
            "code": error.kind,
            "message": error.message,
            "where": error.where,
            "hint": error.hint,
        },
    }


def main(folder: str) -> int:
    """Converts and writes the outcome; the exit code of ``smconvert convert``."""
    with Workers() as workers:
        return _write(convert(Path(folder), workers), Path(folder))


def main_of_fork(folder: str) -> int:
    """The same in a fork of a process that has imported :data:`IMPORTS` and run nothing."""
    # One runs the source, the other the result.
    with Blanks(2) as blanks, Workers(blanks.start) as workers:
        return _write(convert(Path(folder), workers), Path(folder))


def _write(outcome: Mapping[str, Any], folder: Path) -> int:
    written = folder / f"{OUTCOME}.part"
    with written.open("w", encoding="utf-8") as stream:
        json.dump(outcome, stream)
        stream.flush()
        os.fsync(stream.fileno())
    written.rename(folder / OUTCOME)
    return int(outcome["exit_code"] or EXIT_DONE)


def _differences(parity: Mapping[str, Any]) -> dict[str, float | None]:
    """By signature and output, the largest absolute difference."""
    return {
        f"{signature['name']}/{output['name']}": output["max_abs"]
        for signature in parity["signatures"]
        for output in signature["outputs"]
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
