"""The figures as lines, and as a page with bars."""

from __future__ import annotations

import statistics
from typing import Any

from jinja2 import Template

_PAGE = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Speed and memory</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:auto;padding:1rem}
table{border-collapse:collapse;width:100%}th,td{padding:.3rem .5rem;border-bottom:1px solid #ddd;
text-align:left}td.n{text-align:right;font-family:ui-monospace,monospace;white-space:nowrap}
.bar{display:block;height:.55rem;background:#3b6ea8;min-width:1px}.peer{background:#c9c9c9}
.over{color:#b3261e;font-weight:600}.met{color:#17703a}td.plot{width:30%}
.scroll{overflow-x:auto}</style></head><body>
<h1>Speed and memory</h1>
<p>{{ result.provenance.time }} · {{ result.provenance.system }} ·
{% for p, v in result.provenance.packages.items() %}{{ p }} {{ v }} {% endfor %}</p>
<p>Whole processes in turn with the peer's. Blue is smconvert, grey the peer; the ratios are ours
over the peer's, with the least and the most of a pair.</p>
{% for key, title, unit in (("cpu", "CPU time", "s"), ("memory", "Peak memory", "GB")) %}
<h2>{{ title }}</h2>
<div class="scroll"><table><thead><tr><th>task<th>ours<th>peer<th>ratio<th>goal<th></tr></thead>
<tbody>
{% for row in rows[key] %}<tr><td>{{ row.name }}
<td class="n">{{ row.ours }} {{ unit }}<td class="n">{{ row.peer }}
<td class="n {{ row.verdict }}">{{ row.ratio }}<td class="n">{{ row.goal }}
<td class="plot"><span class="bar" style="width:{{ row.width }}%"></span>
<span class="bar peer" style="width:{{ row.peer_width }}%"></span></tr>
{% endfor %}</tbody></table></div>
{% endfor %}</body></html>
""",
    autoescape=True,
)


def render(result: dict[str, Any]) -> str:
    """One HTML page."""
    rows = {key: [_row(r, key) for r in result["results"]] for key in ("cpu", "memory")}
    return _PAGE.render(result=result, rows=rows)


def line(result: dict[str, Any]) -> str:
    """One line of text."""
    if result["failed"]:
        return f"{result['name']:34} {result['failed'].strip().splitlines()[-1][:90]}"
    figures = [f"{_figure(result['ours'], key):.2f} {unit}" for key, unit in _UNITS]
    text = f"{result['name']:34} {figures[0]:>9} {figures[1]:>9}"
    if result["cpu"] is not None:
        low, high = result["cpu_spread"]
        text += f"   CPU {result['cpu']:.3f} ({low:.3f} to {high:.3f})"
        text += f"{_goal(result['goal_cpu'])}, memory {result['memory']:.3f}"
        text += _goal(result["goal_memory"])
    return text


_UNITS = (("cpu", "s"), ("memory", "GB"))


def _goal(goal: float | None) -> str:
    return "" if goal is None else f" [1/{1 / goal:.0f}]"


def _figure(runs: list[list[float]], key: str) -> float:
    if key == "cpu":
        return statistics.median(run[1] for run in runs)
    return max(run[2] for run in runs) / 1e9


def _row(result: dict[str, Any], key: str) -> dict[str, Any]:
    ours = _figure(result["ours"], key)
    peer = _figure(result["peer"], key) if result["peer"] else None
    ratio, goal = result[key], result[f"goal_{key}"]
    most = max(ours, peer or 0)
    spread = (
        "" if ratio is None else f" ({result['cpu_spread'][0]:.2f}–{result['cpu_spread'][1]:.2f})"
    )
    return {
        "name": result["name"],
        "ours": f"{ours:.2f}",
        "peer": "" if peer is None else f"{peer:.2f}",
        "ratio": "" if ratio is None else f"{ratio:.2f}" + (spread if key == "cpu" else ""),
        "goal": "" if goal is None else f"{goal:.2f}",
        "verdict": "" if None in (ratio, goal) else ("met" if ratio <= goal else "over"),
        "width": round(100 * ours / most),
        "peer_width": round(100 * (peer or 0) / most),
    }
