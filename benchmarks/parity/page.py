"""The suite's results as a page, as a summary, and beside an older run."""

from __future__ import annotations

from typing import Any

from jinja2 import Template

_PAGE = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Parity suite</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:auto;padding:1rem}
table{border-collapse:collapse;width:100%}th,td{padding:.3rem .5rem;border-bottom:1px solid #ddd;
text-align:left;vertical-align:top}td.n{text-align:right;font-family:ui-monospace,monospace}
.right{color:#17703a}.wrong,.not-converted,.does-not-load{color:#b3261e;font-weight:600}
.refused,.not-run{color:#6b5300}
.scroll{overflow-x:auto}</style></head><body>
<h1>Parity suite</h1>
<p>{{ result.provenance.time }} · {{ result.provenance.system }} ·
{% for p, v in result.provenance.packages.items() %}{{ p }} {{ v }} {% endfor %}</p>
<pre>{{ summary }}</pre>
<div class="scroll"><table><thead><tr><th>model<th>tool<th>result<th>largest difference<th>wall s
<th>CPU s<th>peak GB<th>detail</tr></thead><tbody>
{% for o in result.outcomes %}<tr><td>{{ o.model }}<td>{{ o.tool }}
<td class="{{ o.state | replace(' ', '-') }}">{{ o.state }}
<td class="n">{{ '' if o.max_abs is none else '%.2g' % o.max_abs }}
<td class="n">{{ '%.1f' % o.seconds }}<td class="n">{{ '%.1f' % o.cpu }}
<td class="n">{{ '%.2f' % (o.memory / 1e9) }}
<td>{{ o.detail }}
{%- for place, verdict in o.places.items() %}<br>{{ place }}: {{ verdict }}{% endfor %}</tr>
{% endfor %}</tbody></table></div></body></html>
""",
    autoescape=True,
)


def render(result: dict[str, Any]) -> str:
    """One HTML page."""
    return _PAGE.render(result=result, summary=summary(result))


def summary(result: dict[str, Any]) -> str:
    """Counts by tool, and our cost beside tf2onnx's on the models that both converted right."""
    tools: dict[str, dict[str, int]] = {}
    for outcome in result["outcomes"]:
        states = tools.setdefault(outcome["tool"], {})
        states[outcome["state"]] = states.get(outcome["state"], 0) + 1
    lines = [
        f"{tool:20} " + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        for tool, states in tools.items()
    ]
    by_tool = {(o["model"], o["tool"]): o for o in result["outcomes"]}
    for ours, peer in (("smconvert to ONNX", "tf2onnx"), ("smconvert to frozen", "freeze_graph")):
        pairs = [
            (by_tool[m, ours], by_tool[m, peer])
            for m in dict.fromkeys(o["model"] for o in result["outcomes"])
            if all(by_tool.get((m, t), {}).get("state") == "right" for t in (ours, peer))
        ]
        for key, name in (("cpu", "CPU time"), ("memory", "peak memory")):
            ratios = sorted(a[key] / b[key] for a, b in pairs)
            if ratios:
                lines.append(
                    f"{name} of {ours} over {peer}, {len(ratios)} models: median "
                    f"{ratios[len(ratios) // 2]:.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}"
                )
    return "\n".join(lines)


def changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What is not as it was in an older run."""
    before = {(o["model"], o["tool"]): o["state"] for o in old["outcomes"]}
    lines = [
        f"{o['model']}, {o['tool']}: {before[key]}, now {o['state']}"
        for o in new["outcomes"]
        if (key := (o["model"], o["tool"])) in before and before[key] != o["state"]
    ]
    return "\n".join(lines) or "nothing changed"
