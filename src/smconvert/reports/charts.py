"""Charts as SVG, drawn from numbers alone, for a page without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

WIDTH, HEIGHT = 320, 180
_LEFT, _BOTTOM, _TOP, _RIGHT = 46, 30, 12, 10


def histogram(distribution: dict[str, Any]) -> Markup:
    """Elements by the decade of their absolute error, those without one first."""
    bars = [("0", distribution["exact"])]
    bars += [(f"1e{d['power']}", d["count"]) for d in distribution["decades"]]
    tallest = max(math.log10(count + 1) for _, count in bars) or 1.0
    step = (WIDTH - _LEFT - _RIGHT) / len(bars)
    room = HEIGHT - _TOP - _BOTTOM
    parts = []
    for number, (label, count) in enumerate(bars):
        height = room * math.log10(count + 1) / tallest
        x, y = _LEFT + number * step, HEIGHT - _BOTTOM - height
        parts.append(
            f'<rect class="{"exact" if label == "0" else "bar"}" x="{x + 2:.1f}" y="{y:.1f}" '
            f'width="{max(step - 4, 1):.1f}" height="{height:.1f}">'
            f"<title>{count} elements, error from {label}</title></rect>"
            f'<text x="{x + step / 2:.1f}" y="{HEIGHT - 16}" text-anchor="middle">{label}</text>'
            f'<text x="{x + step / 2:.1f}" y="{y - 3:.1f}" text-anchor="middle">{_short(count)}'
            "</text>"
        )
    return _svg(parts, "absolute error", "elements (log)")


def scatter(points: Sequence[Sequence[float]]) -> Markup:
    """Actual against expected; points on the line are equal."""
    values = [v for point in points for v in point if math.isfinite(v)]
    if not values:
        return Markup()
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - low) / span

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - low) / span

    parts = [
        f'<line class="equal" x1="{x(low):.1f}" y1="{y(low):.1f}" x2="{x(high):.1f}" '
        f'y2="{y(high):.1f}"/>'
    ]
    parts += [
        f'<circle cx="{x(e):.1f}" cy="{y(a):.1f}" r="2"><title>{e:.6g}, {a:.6g}</title></circle>'
        for e, a in points
        if math.isfinite(e) and math.isfinite(a)
    ]
    parts += [
        f'<text x="{_LEFT}" y="{HEIGHT - 16}">{low:.3g}</text>',
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 16}" text-anchor="end">{high:.3g}</text>',
    ]
    return _svg(parts, "expected", "actual")


def _short(count: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)


def _svg(parts: Sequence[str], below: str, beside: str) -> Markup:
    axes = (
        f'<path class="axis" d="M{_LEFT} {_TOP}V{HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>'
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 2}" text-anchor="middle">{below}</text>'
        f'<text transform="translate(12 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{beside}</text>"
    )
    # Only numbers and the fixed words above are in it.
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{beside} by {below}">'
        f"{axes}{''.join(parts)}</svg>"
    )
