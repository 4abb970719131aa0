"""Nodes that need themselves are refused; what only looks like it is not."""

from __future__ import annotations

import pytest

from smconvert.errors import SourceError
from smconvert.graph.cut import ensure_no_circle
from smconvert.graph.protos import node_def_pb2


def node(name: str, *inputs: str, op: str = "Identity") -> node_def_pb2.NodeDef:
    return node_def_pb2.NodeDef(name=name, op=op, input=inputs)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("a", "a")],
        [node("a", "b"), node("b", "c:1"), node("c", "a")],
        [node("a", "x", "^b"), node("b", "a:output:0")],
    ],
)
def test_a_circle(nodes: list[node_def_pb2.NodeDef]) -> None:
    with pytest.raises(SourceError, match="'a' needs itself"):
        ensure_no_circle(nodes, {"x"})


def test_a_loop_is_closed_by_its_own_op() -> None:
    ensure_no_circle([node("a", "b", op="Merge"), node("b", "a", op="NextIteration")])


def test_an_argument_may_be_waited_for() -> None:
    """As the gradient functions of Keras do."""
    ensure_no_circle([node("mul", "x", "^x"), node("y", "mul:z:0", "mul:z:0")], {"x"})


def test_a_node_may_have_the_name_of_an_argument() -> None:
    ensure_no_circle([node("x", "x"), node("y", "x:output:0")], {"x"})
