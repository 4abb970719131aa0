"""What a function that compares elements compares: the criteria of a sort.

A comparator of XLA's Sort takes two elements of each array, side by side, and says whether the
first come before the others. One that compares what it makes of either, in the same way, orders
them by that; with another comparison where they are equal, by that next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from smconvert.graph.names import is_control
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.tensors import array_of
from smconvert_onnx.handlers.xla_computations import Computation


@dataclass(frozen=True)
class Criterion:
    """What elements are sorted by.

    Attributes:
        node: The node of the comparator that makes it of an element.
        is_descending: Whether the larger come first.
        is_total: Whether -0 comes before 0.
    """

    node: str
    is_descending: bool
    is_total: bool


def criteria(comparator: Computation) -> list[Criterion]:
    """By what a comparator orders elements, the most important first.

    Raises:
        ConversionError: it is no such function.
    """
    return _Reading(comparator).criteria(comparator.source(comparator.outputs[0]))


class _Reading:
    def __init__(self, comparator: Computation) -> None:
        self._comparator = comparator
        self._nodes = comparator.nodes

    def criteria(self, name: str) -> list[Criterion]:
        first = self._compared(name)
        if first is not None:
            return [self._criterion(*first)]
        found = self._choice(name)
        if found is None:
            self._refuse()
        less, equal, rest = found
        compared = self._compared(less)
        forms = {self._form(n)[0] for n in self._inputs(self._nodes[equal])}
        if compared is None or forms != {self._form(compared[0])[0]}:
            self._refuse()
        return [self._criterion(*compared), *self.criteria(rest)]

    def _choice(self, name: str) -> tuple[str, str, str] | None:
        """What is compared first, what tells that it is equal, and what counts then."""
        given = self._inputs_of(name, "SelectV2")
        if given is not None and self._op(given[0]) == "Equal":
            return given[2], given[0], given[1]
        given = self._inputs_of(name, "LogicalOr") or []
        for less, both in (given, given[::-1]) if given else ():
            parts = self._inputs_of(both, "LogicalAnd") or []
            for equal, rest in (parts, parts[::-1]) if parts else ():
                if self._compared(less) is not None and self._op(equal) == "Equal":
                    return less, equal, rest
        return None

    def _compared(self, name: str) -> tuple[str, str] | None:
        """The smaller and the larger of what a node compares."""
        node = self._nodes.get(name)
        if node is None:
            return None
        given = self._inputs(node)
        if node.op == "Less":
            return given[0], given[1]
        if node.op == "Greater":
            return given[1], given[0]
        if node.op == "LogicalAnd":
            # Of booleans, False comes before True.
            for no, yes in (given, given[::-1]):
                if self._op(no) == "LogicalNot" and self._form(yes)[1]:
                    negated = self._inputs(self._nodes[no])[0]
                    if self._form(negated)[0] == self._form(yes)[0]:
                        return negated, yes
        return None

    def _criterion(self, smaller: str, larger: str) -> Criterion:
        form, places = self._form(smaller)
        other, others = self._form(larger)
        if form != other or len(places) != 1 or len(others) != 1 or places == others:
            self._refuse()
        value = self._of_bits(smaller)
        return Criterion(value or smaller, places == {1}, value is not None)

    def _form(self, name: str) -> tuple[str, frozenset[int]]:
        """How a value is made of elements, and whether of the first or second of each array."""
        names = self._comparator.inputs
        if name in names:
            place = names.index(name)
            return f"array {place // 2}", frozenset({place % 2})
        node = self._nodes[name]
        if node.op == "Const":
            return f"constant {array_of(node.attr['value'].tensor)!r}", frozenset()
        parts = [self._form(i) for i in self._inputs(node)]
        kinds = sorted((k, str(v)) for k, v in node.attr.items() if not k.startswith("_"))
        places = frozenset[int]().union(*(p for _, p in parts))
        return f"{node.op}{kinds}({', '.join(form for form, _ in parts)})", places

    def _of_bits(self, name: str) -> str | None:
        """The number whose bits, as an integer that is ordered as the numbers are, a node gives.

        Of the negative ones all bits but the sign are turned over: jax2tf writes it so.
        """
        turned = self._inputs_of(name, "BitwiseXor")
        if turned is None:
            return None
        for bits, mask in (turned, turned[::-1]):
            number = self._inputs_of(bits, "Bitcast")
            shifted = self._shifted(self._shifted(mask))
            if number is not None and shifted == bits:
                return number[0]
        return None

    def _shifted(self, name: str | None) -> str | None:
        """What is shifted to the right, and then seen as another type."""
        cast = None if name is None else self._inputs_of(name, "Bitcast")
        shifted = None if cast is None else self._inputs_of(cast[0], "RightShift")
        return None if shifted is None else shifted[0]

    def _inputs_of(self, name: str, op: str) -> list[str] | None:
        return self._inputs(self._nodes[name]) if self._op(name) == op else None

    def _inputs(self, node: node_def_pb2.NodeDef) -> list[str]:
        return [self._comparator.source(i) for i in node.input if not is_control(i)]

    def _op(self, name: str) -> str:
        return self._nodes[name].op if name in self._nodes else ""

    def _refuse(self) -> NoReturn:
        name = self._comparator.definition.signature.name
        self._comparator.op.refuse(f"its comparator {name} is not one that orders by values")
