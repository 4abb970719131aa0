"""Branches of TensorFlow 1 as functional ones.

A ``Switch`` sends a value the way that its predicate says, and a ``Merge`` takes what comes of
either way. Each node gets the predicates, and the ways of each, that it stands under
(tensorflow/compiler/tf2xla/functionalize_cond.cc); what comes together in a Merge differs in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smconvert.errors import ConversionError
from smconvert.graph.names import full, is_control, node_of, port_of, short
from smconvert.model import DType
from smconvert_onnx.flow.program import Program, Region, extracted, pass_in

Ways = dict[str, int]
"""Predicate to 1 where it holds, 0 where it does not; the outermost first."""


@dataclass(frozen=True)
class _Join:
    """A Merge: the predicate, and the tensor of each way."""

    merge: str
    predicate: str
    tensors: tuple[str, str]


def branches_to_functions(region: Region, program: Program) -> None:
    """Puts an If in the place of the Merges under one predicate; inner ones come first.

    Raises:
        ConversionError: a Merge joins what no predicate tells apart.
    """
    while any(node.op == "Merge" for node in region.nodes.values()):
        ways = _ways(region)
        joins = [_join(region, n.name, ways) for n in region.order() if n.op == "Merge"]
        ready = [j for j in joins if not _before(region, j, joins)]
        first = ready[0].predicate
        _replace(region, program, [j for j in ready if j.predicate == first], ways)


def _predicate(region: Region, switch: str) -> str:
    return region.source(region.nodes[switch].input[1])


def _ways(region: Region) -> Mapping[str, Ways]:
    found: dict[str, Ways] = {}

    def of(tensor: str) -> Ways:
        node = region.nodes[node_of(tensor)]
        ways = found.get(node.name, {})
        if node.op == "Switch" and not is_control(tensor):
            return {**ways, _predicate(region, node.name): port_of(tensor)}
        return ways

    for node in region.order():
        each = [of(i) for i in node.input]
        if node.op == "Merge":
            same = set(each[0].items()).intersection(*(set(w.items()) for w in each[1:]))
            found[node.name] = {k: v for k, v in each[0].items() if (k, v) in same}
        else:
            found[node.name] = {k: v for ways in each for k, v in ways.items()}
    return found


def _join(region: Region, merge: str, ways: Mapping[str, Ways]) -> _Join:
    node = region.nodes[merge]
    data = [i for i in node.input if not is_control(i)]
    if len(data) != 2:
        raise ConversionError("a Merge of other than two values", where=f"node {merge}")
    left, right = (_of(region, i, ways) for i in data)
    differing = [p for p in left if p in right and left[p] != right[p]]
    # A constant may stand under no predicate: it was computed when the graph was folded.
    differing = (
        differing or [p for p in left if p not in right] or [p for p in right if p not in left]
    )
    if not differing:
        raise ConversionError("a Merge joins what no predicate tells apart", where=f"node {merge}")
    predicate = differing[-1]
    way = left[predicate] if predicate in left else 1 - right[predicate]
    tensors = (full(data[0]), full(data[1]))
    return _Join(merge, predicate, tensors if way == 0 else tensors[::-1])


def _of(region: Region, tensor: str, ways: Mapping[str, Ways]) -> Ways:
    own = ways[node_of(tensor)]
    if region.nodes[node_of(tensor)].op != "Switch":
        return own
    return {**own, _predicate(region, node_of(tensor)): port_of(tensor)}


def _before(region: Region, join: _Join, joins: list[_Join]) -> bool:
    """Whether another Merge lies before this one."""
    merges = {j.merge for j in joins}
    waiting, seen = [node_of(t) for t in join.tensors], set()
    while waiting:
        name = waiting.pop()
        if name in merges:
            return True
        if name not in seen:
            seen.add(name)
            waiting += [node_of(i) for i in region.nodes[name].input if not is_control(i)]
    return False


def _replace(
    region: Region, program: Program, joins: list[_Join], ways: Mapping[str, Ways]
) -> None:
    predicate = joins[0].predicate
    parts, asked = [], []
    for way in (0, 1):

        def argument(tensor: str, way: int = way) -> str | None:
            node = region.nodes[node_of(tensor)]
            if node.op == "Switch" and _predicate(region, node.name) == predicate:
                return full(node.input[0])
            if node.op == "Const" or ways[node.name].get(predicate) == way:
                return None
            return full(tensor)

        part, given = extracted(region, [j.tensors[way] for j in joins], argument)
        parts.append(part)
        asked.append(given)
    arguments = list(dict.fromkeys([*asked[0], *asked[1]]))
    base = joins[0].merge.rpartition("/")[0] or joins[0].merge
    whole = region.add("StatelessIf", base, [predicate, *arguments])
    whole.attr["Tcond"].type = DType.BOOL.number
    whole.attr["Tin"].list.type.extend(region.dtype(t).number for t in arguments)
    whole.attr["Tout"].list.type.extend(region.dtype(full(j.merge)).number for j in joins)
    for key, part, given in zip(("else_branch", "then_branch"), parts, asked, strict=True):
        pass_in(part, arguments, given, region)
        whole.attr[key].func.name = program.add(f"{whole.name}/{key}", part)
    for number, join in enumerate(joins):
        node = region.nodes[join.merge]
        dtype = region.dtype(full(join.merge))
        which = f"{join.merge}:1"
        if any(full(i) == which for n in region.nodes.values() for i in n.input):
            raise ConversionError(
                "the graph asks which way a Merge took", where=f"node {node.name}"
            )
        node.Clear()
        node.name, node.op = join.merge, "Identity"
        node.input.append(short(f"{whole.name}:{number}"))
        node.attr["T"].type = dtype.number
    region.prune()
