"""The loops that tf2onnx makes an LSTM or a GRU of: those that are one. Tested with tf2onnx 1.17.

tf2onnx looks for the ops of a cell. Whether each gate is the part of the product that it takes it
for, whether the loop's variables become what the cell computes, and whether each step reads and
writes the element of its own number, it does not ask; here that is asked of each match. The order
of factors, which it does ask for in an LSTM, does not matter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

_LSTM, _KERAS_LSTM = {"it": 0, "gt": 1, "ft": 2, "ot": 3}, {"it": 0, "ft": 1, "gt": 2, "ot": 3}
_BETWEEN = frozenset({"Add", "AddV2", "Maximum", "Minimum", "Mul", "Sigmoid", "Sub"})


@contextlib.contextmanager
def verified_cells() -> Iterator[None]:
    """Has tf2onnx pass over the others."""
    from tf2onnx.graph_matcher import GraphMatcher
    from tf2onnx.rewriter import gru_tf2_rewriter, lstm_tf2_rewriter

    class LstmMatcher(GraphMatcher):
        def __init__(self, pattern: Any, allow_reorder: bool = True) -> None:
            super().__init__(pattern, allow_reorder=True)

        def match_ops(self, ops: Any) -> Iterator[Any]:
            return (match for match in super().match_ops(ops) if _is_lstm(match))

    class GruMatcher(GraphMatcher):
        def match_ops(self, ops: Any) -> Iterator[Any]:
            return (match for match in super().match_ops(ops) if _is_gru(match))

    lstm_tf2_rewriter.GraphMatcher = LstmMatcher
    gru_tf2_rewriter.GraphMatcher = GruMatcher
    try:
        yield
    finally:
        lstm_tf2_rewriter.GraphMatcher = gru_tf2_rewriter.GraphMatcher = GraphMatcher


def _is_lstm(match: Any) -> bool:
    of_keras = match.get_op("xt")
    gates = _LSTM if of_keras is None else _KERAS_LSTM
    if any(_ports(match.get_op(name)) != {port} for name, port in gates.items()):
        return False
    ht, ct = match.get_op("ht"), match.get_op("ct")
    graph = ht.graph
    if of_keras is None:
        both = match.get_op("xh")
        read, h = both.inputs[0], both.input[1]
    else:
        read, h = of_keras, match.get_op("ht-1").output[0]
    if graph.get_node_by_output(h).is_graph_input():
        c = match.get_op("c").output[0]
        kept = _becomes(graph, h, ht.output[0]) and _becomes(graph, c, ct.output[0])
    else:
        kept = _becomes_both(graph, h, [ct.output[0], ht.output[0]])
    return kept and _is_in_step(graph, read, ht.output[0])


def _is_gru(match: Any) -> bool:
    made = match.get_op("cell_output")
    graph = made.graph
    of_keras = match.get_op("state")
    if of_keras is None:
        both = match.get_op("cell_inputs")
        read, h, update, reset = both.inputs[0], both.input[1], 1, 0
    else:
        read, h, update, reset = match.get_op("gru_input"), of_keras.output[0], 0, 1
    kept = [n for n in made.inputs if h in n.input]
    new = [n for n in made.inputs if h not in n.input]
    if len(kept) != 1 or len(new) != 1 or _ports(kept[0]) != {update}:
        return False
    rest = [n for n in new[0].inputs if n.type == "Sub"]
    if len(rest) != 1 or _ports(rest[0]) != {update} or not _is_one(rest[0].inputs[0]):
        return False
    activation = match.get_op("optional_activation")
    if of_keras is None:
        product = activation.inputs[0].inputs[0]
        (joined,) = (n for n in product.inputs if n.type in {"Concat", "ConcatV2"})
        gated = joined.inputs[1]
        right = gated.type == "Mul" and h in gated.input and _ports(gated) == {reset}
    else:
        parts = activation.inputs[0].inputs
        split = [n for n in parts if n.type == "Split"]
        gated = [n for n in parts if n.type == "Mul"]
        right = (
            len(split) == len(gated) == 1
            and _direct(activation.inputs[0]) == {2}
            and _direct(gated[0]) == {2}
            and [_ports(n) for n in gated[0].inputs if n.type == "Sigmoid"] == [{reset}]
        )
    return bool(
        right and _becomes(graph, h, made.output[0]) and _is_in_step(graph, read, made.output[0])
    )


def _direct(node: Any) -> set[int]:
    """Which outputs of Splits a node reads."""
    pairs = zip(node.input, node.inputs, strict=True)
    return {maker.output.index(name) for name, maker in pairs if maker.type == "Split"}


def _ports(node: Any) -> set[int]:
    """Which outputs of Splits a gate is computed from."""
    found = _direct(node)
    for maker in node.inputs:
        if maker is not None and maker.type in _BETWEEN:
            found |= _ports(maker)
    return found


def _is_one(node: Any) -> bool:
    return bool(node.is_const() and np.all(node.get_tensor_value(as_list=False) == 1))


def _following(graph: Any, variable: str) -> str | None:
    """What a variable of a loop becomes, in the graph of the loop's body."""
    if variable not in graph.input_names:
        return None
    name: str = graph.outputs[graph.input_names.index(variable)]
    while (maker := graph.get_node_by_output(name)).type == "Identity":
        name = maker.input[0]
    return name


def _becomes(graph: Any, variable: str, value: str) -> bool:
    """Whether a variable becomes a value, or stays what it is where a sequence has ended."""
    following = _following(graph, variable)
    if following is None:
        return False
    maker = graph.get_node_by_output(following)
    chosen = maker.type in {"Select", "SelectV2"} and list(maker.input[1:]) == [variable, value]
    return following == value or (chosen and maker.inputs[0].type == "GreaterEqual")


def _becomes_both(graph: Any, part: str, values: list[str]) -> bool:
    """Whether a variable, of which ``part`` is a slice, becomes two values side by side."""
    maker = graph.get_node_by_output(part)
    following = _following(graph, maker.input[0]) if maker.input else None
    if following is None:
        return False
    joined = graph.get_node_by_output(following)
    return joined.type in {"Concat", "ConcatV2"} and list(joined.input[:2]) == values


def _is_in_step(graph: Any, read: Any, value: str) -> bool:
    """Whether what is written for a step has the number of what is read for it."""
    if read.type != "TensorListGetItem" or read.input[1] not in graph.input_names:
        return False
    readers = graph.find_output_consumers(value)
    chosen = [n for n in readers if n.type in {"Select", "SelectV2"}]
    readers += [r for n in chosen for r in graph.find_output_consumers(n.output[0])]
    writes = [n for n in readers if n.type == "TensorListSetItem"]
    return all(n.input[1] == read.input[1] for n in writes)
