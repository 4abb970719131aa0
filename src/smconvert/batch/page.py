"""A batch as one HTML file that needs nothing else: what came of each model, failures by cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from smconvert.batch.run import Summary, word
from smconvert.errors import DestinationError
from smconvert.provenance import provenance

WORDS = {
    "passed": "passed",
    "not_checked": "not checked",
    "not_run": "check not run",
    "failed": "failed",
    "waiting": "not done yet",
}


def write(summary: Summary, title: str, path: Path) -> None:
    """Writes the page; an old one is replaced by one rename.

    Raises:
        DestinationError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(render(summary, title), encoding="utf-8")
        part.rename(path)
    except OSError as error:
        raise DestinationError(
            f"the page cannot be written: {error.strerror}", where=str(path)
        ) from error


def render(summary: Summary, title: str) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("smconvert.batch"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "words": WORDS.get,
        "number": _number,
        "largest": _largest,
        "gigabytes": _gigabytes,
    }
    models = [
        {"name": e.job.name, "source": e.job.source, "state": word(e), "outcome": e.outcome or {}}
        for e in summary.entries
    ]
    order = list(WORDS)[::-1]
    return environment.get_template("batch.html").render(
        title=title,
        total=len(models),
        counts=summary.counts,
        causes=summary.causes,
        models=sorted(models, key=lambda model: (order.index(model["state"]), model["name"])),
        provenance=provenance(),
    )


def _gigabytes(count: int | None) -> str:
    return f"{count / 1e9:.2f} GB" if count else "–"


def _largest(values: list[float]) -> float | None:
    return max(values, default=None)


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
