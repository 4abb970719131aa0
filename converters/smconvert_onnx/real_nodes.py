"""New nodes of real types in a GraphDef."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from smconvert.graph.constants import constant
from smconvert.graph.names import unused_name
from smconvert.graph.protos import graph_pb2
from smconvert.model import Array, DType


@dataclass(frozen=True)
class Pair:
    """The names of two tensors: a complex one in parts. A real one has no imaginary part."""

    real: str
    imag: str


class Nodes:
    """Writes nodes next to one that they stand for.

    Attributes:
        dtype: Of the tensors, where nothing else is said.
    """

    def __init__(self, graph: graph_pb2.GraphDef, taken: set[str], base: str, dtype: DType) -> None:
        self._graph = graph
        self._taken = taken
        self._base = base
        self.dtype = dtype

    def typed(self, dtype: DType) -> Nodes:
        """The same for tensors of another type."""
        return Nodes(self._graph, self._taken, self._base, dtype)

    def name(self, base: str) -> str:
        """A new name for a node."""
        name = unused_name(f"{self._base}/{base}", self._taken)
        self._taken.add(name)
        return name

    def of(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node, of type ``T`` unless that is said, or None; gives the name of its output."""
        node = self._graph.node.add(name=self.name(op), op=op, input=inputs)
        for key, value in {"T": self.dtype, **attributes}.items():
            if isinstance(value, DType):
                node.attr[key].type = value.number
            elif isinstance(value, bool):
                node.attr[key].b = value
            elif isinstance(value, int):
                node.attr[key].i = value
            elif isinstance(value, str):
                node.attr[key].s = value.encode()
            elif value is not None:
                node.attr[key].list.i.extend(value)
        return str(node.name)

    def constant(self, value: Any, dtype: DType) -> str:
        """A constant."""
        array: Array = np.asarray(value).astype(dtype.numpy)
        node = constant(self.name("Const"), array, dtype)
        self._graph.node.append(node)
        return str(node.name)

    def end(self, tensor: str) -> None:
        """Gives a tensor the name of the node that is stood for."""
        node = self._graph.node.add(name=self._base, op="Identity", input=[tensor])
        node.attr["T"].type = self.dtype.number
