"""Reading a formula off tf2onnx's graph: products, sums and constants, however they are nested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from smconvert.model import Array, Shape
from smconvert_onnx.handlers.builder import Tensor
from smconvert_onnx.placing import shape_of, tensor_of

_SUMS = frozenset({"Add", "AddV2", "BiasAdd"})
_PASS = frozenset({"Identity", "StopGradient"})


@dataclass(frozen=True)
class Terms:
    """tf2onnx's graph, before its nodes are ONNX ones.

    Attributes:
        ctx: The graph.
    """

    ctx: Any

    def maker(self, name: str) -> Any:
        """The node that makes a tensor, past nodes that only pass it on."""
        node = self.ctx.get_node_by_output(name)
        while node is not None and node.type in _PASS:
            node = self.ctx.get_node_by_output(node.input[0])
        return node

    def made_by(self, name: str, *types: str) -> Any | None:
        """The node that makes a tensor, if it is of one of these types."""
        node = self.maker(name)
        return node if node is not None and node.type in types else None

    def constant(self, name: str) -> Array | None:
        """The value of a tensor that is constant."""
        node = self.maker(name)
        if node is None or not node.is_const():
            return None
        return np.asarray(node.get_tensor_value(as_list=False))

    def scalar(self, name: str) -> float | None:
        """The value of a tensor that is one constant number."""
        value = self.constant(name)
        if value is None or value.size != 1 or value.dtype == object:
            return None
        return float(value.reshape(-1)[0])

    def shape(self, name: str) -> Shape | None:
        """What is known of a tensor's shape."""
        return shape_of(self.ctx.get_shape(name))

    def tensor(self, name: str) -> Tensor:
        """The tensor as a builder takes it."""
        return tensor_of(self.ctx, name)

    def same(self, one: str, other: str) -> bool:
        """Whether two names stand for one value."""
        return self._root(one) == self._root(other)

    def _root(self, name: str) -> str:
        node = self.ctx.get_node_by_output(name)
        while node is not None and node.type in _PASS:
            name = node.input[0]
            node = self.ctx.get_node_by_output(name)
        return name

    def product(self, name: str) -> tuple[float, list[str]]:
        """A product as a number and the factors that are not constant numbers."""
        number, factors = 1.0, []
        for value in self._factors(name):
            if isinstance(value, float):
                number *= value
            else:
                factors.append(value)
        return number, factors

    def _factors(self, name: str) -> Iterator[float | str]:
        value = self.scalar(name)
        node = self.maker(name)
        if value is not None:
            yield value
        elif node is None:
            yield name
        elif node.type == "Mul":
            for operand in node.input:
                yield from self._factors(operand)
        elif node.type == "Neg":
            yield -1.0
            yield from self._factors(node.input[0])
        elif node.type in {"RealDiv", "Div"} and self.scalar(node.input[1]):
            yield from self._factors(node.input[0])
            yield 1.0 / (self.scalar(node.input[1]) or 1.0)
        elif node.type == "Square":
            for _ in range(2):
                yield from self._factors(node.input[0])
        elif node.type == "Pow" and self.scalar(node.input[1]) in {2.0, 3.0}:
            for _ in range(int(self.scalar(node.input[1]) or 0)):
                yield from self._factors(node.input[0])
        else:
            yield self._root(name)

    def sum(self, name: str) -> list[tuple[float, str | None]]:
        """A sum as terms, each a number times a tensor; a constant number is one without."""
        return list(self._terms(name, 1.0))

    def _terms(self, name: str, sign: float) -> Iterator[tuple[float, str | None]]:
        value = self.scalar(name)
        node = self.maker(name)
        if value is not None:
            yield sign * value, None
        elif node is not None and node.type in _SUMS:
            for operand in node.input:
                yield from self._terms(operand, sign)
        elif node is not None and node.type == "Sub":
            yield from self._terms(node.input[0], sign)
            yield from self._terms(node.input[1], -sign)
        elif node is not None and node.type == "Neg":
            yield from self._terms(node.input[0], -sign)
        else:
            yield sign, self._root(name)
