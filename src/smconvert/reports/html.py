"""A comparison as one HTML file that needs nothing else: readable on a phone, and in print."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from smconvert.reports import charts

_WORDS = {"passed": "passed", "failed": "failed", "not_run": "not run"}


def render(document: dict[str, Any]) -> str:
    """The page of a document of :func:`smconvert.reports.document.document`."""
    environment = Environment(
        loader=PackageLoader("smconvert.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "words": _WORDS.get, "share": _share, "fine": _fine}
    return environment.get_template("comparison.html").render(
        document=document,
        worst=_worst,
        of_output=_of_output,
        histogram=charts.histogram,
        scatter=charts.scatter,
    )


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _fine(value: Any) -> str:
    """With the digits that tell a cosine from 1."""
    return f"{value:.9g}" if isinstance(value, float) else _number(value)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4%}" if 0 < value < 1 else f"{value:.0%}"


def _of_output(column: dict[str, Any], output: str) -> list[dict[str, Any]]:
    return [cell for cell in column["cells"] if cell["name"] == output]


def _worst(cells: list[dict[str, Any]]) -> dict[str, Any] | None:
    order = {"failed": 2, "passed": 1, "not_run": 0}

    def badness(cell: dict[str, Any]) -> tuple[int, float, float]:
        return order[cell["verdict"]], cell["share_out"], float(cell["max_abs"])

    return max(cells, key=badness, default=None)
