"""tf2onnx's pass over transposes, in a tenth of the time. Tested with tf2onnx 1.17.

The pass starts over after each of its steps, and tries every transpose again. A transpose that
could not move can move only after something near it has changed, so that only those near the last
step are tried again. The steps and their order are tf2onnx's own: another order leaves more
transposes.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from tf2onnx.optimizer.transpose_optimizer import (
    TransposeOptimizer,
    is_transpose,
    is_useless_transpose,
)

_REACH = 2
"""How many edges away a step can make a difference to whether a transpose moves past a node."""


class FasterTransposeOptimizer(TransposeOptimizer):
    """Pushes transposes down until they meet their inverse."""

    def pre_optimize_action(self) -> None:
        """Makes constants of reshaped constants, and sorts the graph once."""
        self._output_names = [self._g.get_node_by_output(out).name for out in self._g.outputs]
        reshapes = [
            node
            for node in self.nodes
            if node.type == "Reshape" and all(source.is_const() for source in node.inputs[:2])
        ]
        for node in reshapes:
            value = node.inputs[0].get_tensor_value(as_list=False)
            wanted = node.inputs[1].get_tensor_value(as_list=True)
            shape = [value.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
            name = node.output[0]
            self._g.remove_node(node.name)
            self._g.make_const(name, np.reshape(value, shape))
        if reshapes:
            self._g.topological_sort(self._g.get_nodes())

    def _add_handler(self, trans: Any, node: Any) -> Any:
        """Does not make the constant the bias of a convolution: see ``scaling.py``.

        tf2onnx would take a constant along the height for one along the channels where both have
        the same size, and fails over a scalar.
        """
        return self._handle_node_having_branches(trans, node)

    def _optimize_at_current_graph_level(self, graph: Any) -> Any:
        self._g = graph
        self._force_stop: dict[str, int] = {}
        self.pre_optimize_action()
        with _Changes.of(graph) as changes:
            while self._pass(changes):
                pass
        self.merge_duplicated_transposes()
        self.post_optimize_action()
        return self._g

    def _pass(self, changes: _Changes) -> bool:
        """Moves transposes until none moves; whether any did."""
        waiting = [(changes.place[n.name], n.name) for n in self.nodes if n.type == "Transpose"]
        heapq.heapify(waiting)
        behind: list[tuple[int, str]] = []
        moved = False
        while waiting or behind:
            if not waiting:
                waiting, behind = behind, []
                heapq.heapify(waiting)
            place, name = heapq.heappop(waiting)
            node = self._g.get_node_by_name(name)
            if node is None or node.type != "Transpose":
                continue
            stepped = self._step(node)
            moved |= stepped
            for found in changes.near():
                # After a step tf2onnx starts again at the first node, otherwise it goes on.
                heapq.heappush(waiting if stepped or found[0] > place else behind, found)
            if stepped:
                for found in behind:
                    heapq.heappush(waiting, found)
                behind.clear()
        return moved

    def _step(self, node: Any) -> bool:
        """Moves a transpose, or takes it away; whether it could be."""
        if is_transpose(node) and self._handle_nhwc_tranpose(node):
            self.graph_been_opt = True
            return True
        if self._g.get_node_by_name(node.name) is not None and is_useless_transpose(node):
            self._remove_useless_tranpose(node)
            return True
        return False


class _Changes:
    """What was changed in a tf2onnx graph since the last question.

    Attributes:
        place: Name of each node to its place in the graph's list, to which new ones are appended.
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._touched: set[str] = set()
        self.place = {node.name: number for number, node in enumerate(graph.get_nodes())}

    @classmethod
    @contextlib.contextmanager
    def of(cls, graph: Any) -> Iterator[_Changes]:
        """Watches a graph."""
        changes = cls(graph)
        watched = {
            "make_node": changes._made,
            "remove_node": changes._removed,
            "replace_input": changes._replaced,
            "replace_all_inputs": changes._all_replaced,
        }
        for name, watch in watched.items():
            setattr(graph, name, watch(getattr(graph, name)))
        try:
            yield changes
        finally:
            for name in watched:
                delattr(graph, name)

    def near(self) -> list[tuple[int, str]]:
        """The transposes near what was changed, with their places."""
        reached = {n for n in map(self._graph.get_node_by_name, self._touched) if n is not None}
        self._touched.clear()
        edge = reached
        for _ in range(_REACH):
            # A constant may be read all over the graph, which makes nothing near to anything.
            edge = {n for node in edge if not node.is_const() for n in self._around(node)}
            edge -= reached
            reached |= edge
        reached |= {n for node in reached for n in node.inputs if n is not None}
        return [(self.place[n.name], n.name) for n in reached if n.type == "Transpose"]

    def _around(self, node: Any) -> Iterator[Any]:
        yield from (n for n in node.inputs if n is not None and n.graph is self._graph)
        for output in node.output:
            consumers = self._graph.find_output_consumers(output)
            yield from (n for n in consumers if n.graph is self._graph)

    def _touch(self, tensors: Iterable[str]) -> None:
        for tensor in tensors:
            producer = self._graph.get_node_by_output(tensor, search_in_parent_graphs=False)
            if producer is None:
                continue
            self._touched.add(producer.name)
            if not producer.is_const():
                consumers = self._graph.find_output_consumers(tensor)
                self._touched.update(n.name for n in consumers if n.graph is self._graph)

    def _made(self, make_node: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            node = make_node(*args, **kwargs)
            self.place.setdefault(node.name, len(self.place))
            self._touched.add(node.name)
            self._touch(node.input)
            return node

        return watched

    def _removed(self, remove_node: Callable[..., Any]) -> Callable[..., Any]:
        def watched(name: str) -> None:
            node = self._graph.get_node_by_name(name)
            self._touch([*node.input, *node.output])
            remove_node(name)
            self._touched.discard(name)

        return watched

    def _replaced(self, replace_input: Callable[..., Any]) -> Callable[..., Any]:
        def watched(node: Any, old: str, new: str, index: int | None = None) -> Any:
            self._touch([old])
            found = replace_input(node, old, new, index)
            self._touched.add(node.name)
            self._touch([new])
            return found

        return watched

    def _all_replaced(self, replace_all_inputs: Callable[..., Any]) -> Callable[..., Any]:
        def watched(old: str, new: str, ops: Any = None) -> None:
            self._touch([old])
            replace_all_inputs(old, new, ops)
            self._touch([new])

        return watched
