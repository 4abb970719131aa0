"""A comparison as JUnit XML: a test suite for each signature, a case for each output and column."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree


def render(document: dict[str, Any]) -> str:
    """The XML of a document of :func:`smconvert.reports.document.document`."""
    root = ElementTree.Element("testsuites", name="smconvert compare")
    for signature in document["signatures"]:
        cases = [
            _case(signature, column, o["name"])
            for column in signature["columns"]
            for o in signature["outputs"]
        ]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=signature["name"],
            tests=str(len(cases)),
            failures=str(sum(c.find("failure") is not None for c in cases)),
            skipped=str(sum(c.find("skipped") is not None for c in cases)),
            errors="0",
            timestamp=document["provenance"]["time"],
        )
        suite.extend(cases)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


def _case(signature: dict[str, Any], column: dict[str, Any], output: str) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        classname=_text(f"{signature['name']}.{column['artifact']} on {column['place']}"),
        name=_text(output),
    )
    cells = [c for c in column["cells"] if c["name"] == output]
    failed = [c for c in cells if c["verdict"] == "failed"]
    if failed or (column["verdict"] == "failed" and not cells):
        reason = f"{failed[0]['call']}: {failed[0]['reason']}" if failed else column["reason"]
        ElementTree.SubElement(case, "failure", message=_text(reason))
    elif not any(c["verdict"] == "passed" for c in cells):
        reason = column["reason"] or (cells[0]["reason"] if cells else "not run")
        ElementTree.SubElement(case, "skipped", message=_text(reason))
    return case


def _text(value: str) -> str:
    """Without the control characters that XML 1.0 has no way to write."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
