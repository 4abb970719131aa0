"""tf2onnx's work on its whole graph, in one sweep over it each time. Tested with tf2onnx 1.17.

After each of its 22 passes tf2onnx counts all ops, writes all nodes into protobufs, and looks for
unused nodes once for each input and output; its sort looks for the next node among all that are
left. The results are the same here.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any


@contextlib.contextmanager
def single_sweeps() -> Iterator[None]:
    """While it is entered, tf2onnx's graphs are cleaned and sorted in linear time."""
    from tf2onnx.graph import Graph, Node
    from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase

    replaced = {
        (Graph, "extract_sub_graph_nodes"): _needed(Graph.extract_sub_graph_nodes),
        (Graph, "topological_sort"): _sort,
        (Graph, "dump_node_statistics"): _no_statistics,
        (Node, "get_implicit_inputs"): _implicit_inputs(Node.get_implicit_inputs),
        (GraphOptimizerBase, "optimize"): _optimize(GraphOptimizerBase.optimize),
    }
    originals = {place: getattr(*place) for place in replaced}
    for place, function in replaced.items():
        setattr(*place, function)
    try:
        yield
    finally:
        for place, function in originals.items():
            setattr(*place, function)


def _needed(original: Callable[..., Any]) -> Callable[..., Any]:
    """The nodes that the outputs need, and the inputs unless these may go."""

    def extract_sub_graph_nodes(
        graph: Any, outputs: Iterable[str], checker: Any = None, remove_unused_inputs: bool = True
    ) -> Any:
        if checker is not None:
            return original(graph, outputs, checker, remove_unused_inputs)
        ends = list(outputs)
        if not remove_unused_inputs:
            ends += [node.output[0] for node in graph.inputs]
        found: dict[str, Any] = {}
        for end in ends:
            node = graph.get_node_by_output(end, search_in_parent_graphs=False)
            pending = {} if node is None or node.name in found else {node.name: node}
            while pending:
                _, node = pending.popitem()
                found[node.name] = node
                for name in (*node.input, *node.get_implicit_inputs()):
                    source = graph.get_node_by_output(name, search_in_parent_graphs=False)
                    if source is not None and source.name not in found:
                        pending.setdefault(source.name, source)
        return list(found.values())

    return extract_sub_graph_nodes


def _sort(graph: Any, ops: list[Any]) -> None:
    """Depth first, from the node whose name comes first; what reads a node comes after it."""
    ops.sort(key=lambda op: op.name)
    place = {op.name: number for number, op in enumerate(ops)}
    readers: list[list[int]] = [[] for _ in ops]
    for number, op in enumerate(ops):
        for name in sorted({*op.input, *op.get_implicit_inputs()} - {""}):
            source = graph.get_node_by_output(name)
            if source is None:
                raise ValueError(f"no node of the graph {graph.graph_name} gives {name}")
            if source.name in place:
                readers[place[source.name]].append(number)
            elif not graph.parent_graph:
                raise ValueError(f"{name} comes from outside of the graph {graph.graph_name}")
    finished: dict[int, None] = {}
    open_: set[int] = set()
    for start in range(len(ops)):
        if start in finished:
            continue
        stack = [(start, iter(readers[start]))]
        open_.add(start)
        while stack:
            number, rest = stack[-1]
            reader = next((r for r in rest if r not in finished), None)
            if reader is None:
                stack.pop()
                open_.discard(number)
                finished[number] = None
            elif reader in open_:
                raise ValueError(f"the graph has a cycle through {ops[reader].name}")
            else:
                open_.add(reader)
                stack.append((reader, iter(readers[reader])))
    graph.reset_nodes([ops[number] for number in reversed(finished)])


def _no_statistics(graph: Any, include_attrs: bool = False, include_subgraphs: bool = True) -> Any:
    """Nothing: they are only logged, and the log is off."""
    return (Counter[str](), Counter[str]()) if include_attrs else Counter[str]()


def _implicit_inputs(original: Callable[..., Any]) -> Callable[..., Any]:
    """What the graphs inside a node read from outside; most nodes have none."""

    def get_implicit_inputs(node: Any, recursive: bool = True) -> Any:
        return original(node, recursive) if node.name in node.graph.contained_graphs else []

    return get_implicit_inputs


def _optimize(original: Callable[..., Any]) -> Callable[..., Any]:
    """One pass. Protobufs are written after it only where one of them holds a graph.

    The passes look at a node's attributes, and those that are graphs are there only once written.
    """

    def optimize(self: Any, graph: Any, iteration: int) -> Any:
        if graph.contained_graphs:
            return original(self, graph, iteration)
        self.opt_iteration = iteration
        graph = self._optimize(graph)
        if graph.contained_graphs:
            graph.update_proto()
        graph.delete_unused_nodes(graph.outputs)
        return graph

    return optimize
