"""The same bytes for the same model: nodes, initializers and names in an order of their own.

tf2onnx walks sets and numbers what it makes from one counter, so both order and names differ from
run to run. The rules, in order:

1. Nodes stand in the order of a depth-first walk from the outputs, inputs first.
2. Initializers stand in the order of their first use, and those without use go.
3. Equal initializers, and nodes that compute the same of the same inputs, become one: the first.
   (tf2onnx's own pass keeps any one of them.)
4. Identity nodes go, but for those that give one value to several outputs: the first of these is
   the value itself, and each other one an Identity of it.
5. The numbers that tf2onnx puts into names (``__12``) are taken out; a name that then comes up
   again gets the next free number in this order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import onnx

from smconvert.parity.onnx_graph import reads
from smconvert_onnx.walk import subgraphs

_NUMBER = re.compile(r"__\d+(?=$|[^0-9A-Za-z])")


def canonicalize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Reorders and renames in place, and returns the model."""
    kept = {v.name for v in (*model.graph.input, *model.graph.output)}
    _reorder(model.graph)
    _merge(model.graph)
    _drop_identities(model.graph)
    _reorder(model.graph)
    names = _Names(kept)
    _rename(model.graph, names, _Names(set()))
    del model.graph.value_info[:]
    imports = sorted((o.domain, o.version) for o in model.opset_import)
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(d, v) for d, v in imports)
    return model


class _Names:
    """New names in order of first appearance."""

    def __init__(self, kept: set[str]) -> None:
        self._new: dict[str, str] = {name: name for name in kept}
        self._taken = {"", *kept}
        self._counts: dict[str, int] = {}

    def of(self, old: str) -> str:
        if not old:
            return old
        if old not in self._new:
            base = candidate = _NUMBER.sub("", old) or "tensor"
            while candidate in self._taken:
                self._counts[base] = self._counts.get(base, 0) + 1
                candidate = f"{base}__{self._counts[base]}"
            self._taken.add(candidate)
            self._new[old] = candidate
        return self._new[old]


def _reorder(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for inner in subgraphs(node):
            _reorder(inner)
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    needs = [[makers[n] for n in reads(node) if n in makers] for node in graph.node]
    order: list[int] = []
    seen: set[int] = set()
    ends = [makers[v.name] for v in graph.output if v.name in makers]
    for start in [*ends, *range(len(graph.node))]:
        stack = [] if start in seen else [(start, iter(needs[start]))]
        seen.add(start)
        while stack:
            number, following = stack[-1]
            deeper = next((n for n in following if n not in seen), None)
            if deeper is None:
                order.append(number)
                stack.pop()
            else:
                seen.add(deeper)
                stack.append((deeper, iter(needs[deeper])))
    nodes = [_copied(graph.node[i]) for i in order]
    del graph.node[:]
    graph.node.extend(nodes)
    _reorder_initializers(graph)


def _reorder_initializers(graph: onnx.GraphProto) -> None:
    own = {t.name: t for t in graph.initializer}
    used = dict.fromkeys(
        name
        for name in (
            *(v.name for v in graph.input),
            *(n for node in graph.node for n in reads(node)),
            *(v.name for v in graph.output),
        )
        if name in own
    )
    kept = [onnx.TensorProto.FromString(own[name].SerializeToString()) for name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _merge(graph: onnx.GraphProto) -> None:
    """Lets equal initializers and equal nodes of one graph be one."""
    outputs = {v.name for v in graph.output}
    same: dict[str, str] = {}
    first: dict[bytes, list[str]] = {}
    for tensor in graph.initializer:
        if tensor.name not in outputs and not any(v.name == tensor.name for v in graph.input):
            anonymous = onnx.TensorProto.FromString(tensor.SerializeToString())
            anonymous.name = ""
            key = hashlib.sha256(anonymous.SerializeToString(deterministic=True)).digest()
            same[tensor.name] = first.setdefault(key, [tensor.name])[0]
    kept = []
    for node in graph.node:
        _replace(node, same)
        if not (outputs & {*node.output}) and not any(subgraphs(node)) and _is_pure(node):
            anonymous_node = _copied(node)
            anonymous_node.name = ""
            del anonymous_node.output[:]
            present = bytes(bool(name) for name in node.output)
            key = anonymous_node.SerializeToString(deterministic=True) + present
            made = first.setdefault(key, list(node.output))
            if made != list(node.output):
                same.update(zip(node.output, made, strict=True))
                continue
        kept.append(_copied(node))
    del graph.node[:]
    graph.node.extend(kept)
    for node in graph.node:
        for inner in subgraphs(node):
            _merge(inner)


def _replace(node: onnx.NodeProto, same: Mapping[str, str]) -> None:
    for i, name in enumerate(node.input):
        node.input[i] = same.get(name, name)
    for inner in subgraphs(node):
        own = {name for n in inner.node for name in n.output} | {t.name for t in inner.initializer}
        outer = {k: v for k, v in same.items() if k not in own}
        for inner_node in inner.node:
            _replace(inner_node, outer)
        for value in inner.output:
            value.name = outer.get(value.name, value.name)


def _drop_identities(graph: onnx.GraphProto) -> None:
    aliases: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "Identity":
            aliases[node.output[0]] = aliases.get(node.input[0], node.input[0])
    made = {name for node in graph.node if node.op_type != "Identity" for name in node.output}
    final: dict[str, str] = {}
    outputs = [v.name for v in graph.output]
    identities = []
    for name in outputs:
        root = aliases.get(name, name)
        if root == name:
            continue
        if root in made and root not in outputs and root not in final:
            final[root] = name
        else:
            identities.append((name, root))
    same = {alias: final.get(root, root) for alias, root in aliases.items()} | final
    kept = [_copied(node) for node in graph.node if node.op_type != "Identity"]
    for node in kept:
        _replace(node, same)
        for i, name in enumerate(node.output):
            node.output[i] = final.get(name, name)
    kept += [
        onnx.helper.make_node("Identity", [final.get(root, root)], [name], name=f"{name}/copy")
        for name, root in identities
    ]
    del graph.node[:]
    graph.node.extend(kept)
    for node in graph.node:
        for inner in subgraphs(node):
            _drop_identities(inner)


def _is_pure(node: onnx.NodeProto) -> bool:
    return not node.op_type.startswith(("Random", "Bernoulli", "Multinomial", "Dropout"))


def _rename(graph: onnx.GraphProto, names: _Names, node_names: _Names) -> None:
    for value in graph.input:
        value.name = names.of(value.name)
    for node in graph.node:
        node.name = node_names.of(node.name)
        for i, name in enumerate(node.input):
            node.input[i] = names.of(name)
        for inner in subgraphs(node):
            inner.name = node_names.of(inner.name)
            _rename(inner, names, node_names)
        for i, name in enumerate(node.output):
            node.output[i] = names.of(name)
    for tensor in graph.initializer:
        tensor.name = names.of(tensor.name)
    for value in graph.output:
        value.name = names.of(value.name)
    del graph.value_info[:]


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
