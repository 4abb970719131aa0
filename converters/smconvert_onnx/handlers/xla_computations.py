"""Functions of scalars, as XLA's ops take them: written for many elements at once.

Such a function reduces, scatters or compares. Each of its ops works on elements by themselves, so
what holds for scalars holds for tensors of one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smconvert.graph.names import node_of
from smconvert.graph.protos import function_pb2, node_def_pb2
from smconvert.graph.tensors import array_of
from smconvert.model import DType
from smconvert_onnx.flow.computations import marked
from smconvert_onnx.handlers import mathematics, mathematics_casts, mathematics_integers
from smconvert_onnx.handlers.axes import FLOATS, comparable
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Result, Tensor
from smconvert_onnx.handlers.indexing import negative

Write = Callable[..., Tensor]


def larger(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The larger of two; NaN where either is."""
    return _extreme(g, "Max", "Greater", x, y)


def smaller(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The smaller of two; NaN where either is."""
    return _extreme(g, "Min", "Less", x, y)


def _extreme(g: Builder, op_type: str, compare: str, x: Tensor, y: Tensor) -> Tensor:
    if x.dtype in FLOATS:
        made: Tensor = g.node(op_type, x, y)
        return made
    if x.dtype is DType.BOOL:
        return both(g, x, y) if op_type == "Min" else either(g, x, y)
    # Max and Min of ONNX Runtime 1.31 compare int64 by halves.
    return g.Where(g.node(compare, comparable(g, x), comparable(g, y)), x, y)


def both(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Whether both are true."""
    return g.And(x, y)


def either(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Whether either is true."""
    return g.Or(x, y)


def added(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The sum."""
    return g.Add(x, y)


def multiplied(g: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The product."""
    return g.Mul(x, y)


_PLAIN: Mapping[str, Write] = {
    "Abs": lambda g, x: g.Abs(x),
    "Add": added,
    "AddV2": added,
    "Exp": lambda g, x: g.Exp(x),
    "Log": lambda g, x: g.Log(x),
    "LogicalAnd": both,
    "LogicalNot": lambda g, x: g.Not(x),
    "LogicalOr": either,
    "Maximum": larger,
    "Minimum": smaller,
    "Mul": multiplied,
    "Neg": lambda g, x: negative(g, x),
    "OnesLike": lambda g, x: g.constant(1, x.dtype),
    "Select": lambda g, c, x, y: g.Where(c, x, y),
    "SelectV2": lambda g, c, x, y: g.Where(c, x, y),
    "Square": lambda g, x: g.Mul(x, x),
    "Sub": lambda g, x, y: g.Sub(x, y),
    "Tanh": lambda g, x: g.Tanh(x),
    "ZerosLike": lambda g, x: g.constant(0, x.dtype),
}
_COMPARED = {"Less": "Less", "LessEqual": "LessOrEqual", "Greater": "Greater"} | {
    "GreaterEqual": "GreaterOrEqual"
}
_PASSED = frozenset(
    {"BroadcastTo", "EnsureShape", "ExpandDims", "Fill", "Identity", "PreventGradient", "Reshape"}
    | {"Snapshot", "Squeeze", "StopGradient"}
)
"""Ops that of a scalar make the scalar itself."""

_SCALAR = {"BroadcastTo": 1, "Reshape": 1, "Fill": 0}
"""Where such an op has the shape of its result, which has to be that of a scalar."""

_BY_HANDLERS = (
    *("Bitcast", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Cast", "Div", "Equal", "FloorDiv"),
    *("FloorMod", "Invert", "IsFinite", "IsInf", "IsNan", "LeftShift", "Mod", "NotEqual", "Pow"),
    *("RealDiv", "RightShift", "Sign", "TruncateDiv", "TruncateMod"),
)


def _handlers() -> Mapping[str, Handler]:
    modules = (mathematics, mathematics_casts, mathematics_integers)
    found = {op: h for module in modules for h in module.HANDLERS for op in h.ops}
    return {op: found[op] for op in _BY_HANDLERS}


_HANDLERS = _handlers()

WRITTEN: Mapping[str, Write] = {
    "add": added,
    "and": both,
    "max": larger,
    "min": smaller,
    "mul": multiplied,
    "or": either,
}
"""How two elements are combined that a function of a known kind takes."""

KINDS: Mapping[str, str] = {
    "Add": "add",
    "AddV2": "add",
    "LogicalAnd": "and",
    "LogicalOr": "or",
    "Maximum": "max",
    "Minimum": "min",
    "Mul": "mul",
}
_OF_TRUTHS = {"max": "or", "min": "and", "mul": "and", "add": "or"}


@dataclass(frozen=True)
class Computation:
    """A function of scalars.

    Attributes:
        op: The op of XLA that has it.
        definition: The function.
    """

    op: Op
    definition: function_pb2.FunctionDef

    @property
    def kind(self) -> str:
        """``add``, ``mul``, ``max``, ``min``, ``and`` or ``or``, if it is that of its two inputs.

        ``first`` or ``second`` if it is one of these, and empty where it is anything else.
        """
        names = self.inputs
        if len(names) != 2:
            return ""
        source = self.source(self.outputs[0])
        if source in names:
            return "first" if source == names[0] else "second"
        node = self.nodes[source]
        given = sorted(self.source(i) for i in node.input)
        kind = KINDS.get(node.op, "")
        if given != sorted(names):
            return ""
        is_bool = self.definition.signature.input_arg[0].type == DType.BOOL.number
        return _OF_TRUTHS.get(kind, kind) if is_bool else kind

    def __call__(self, g: Builder, *given: Tensor) -> tuple[Tensor, ...]:
        """What it makes of tensors of one shape, element by element."""
        made = dict(zip(self.inputs, given, strict=True))
        return tuple(self._made(g, node_of(t), made) for t in self.outputs)

    def part(self, g: Builder, name: str, given: Mapping[str, Tensor]) -> Tensor:
        """What one of its nodes makes of tensors, by the names of inputs."""
        return self._made(g, name, dict(given))

    @property
    def inputs(self) -> list[str]:
        """Their names."""
        return [arg.name for arg in self.definition.signature.input_arg]

    @property
    def outputs(self) -> list[str]:
        """The tensors that it gives."""
        return [self.definition.ret[arg.name] for arg in self.definition.signature.output_arg]

    @property
    def nodes(self) -> dict[str, node_def_pb2.NodeDef]:
        """Its nodes, by name."""
        return {node.name: node for node in self.definition.node_def}

    def source(self, tensor: str) -> str:
        """The node or input that makes a tensor, before what leaves a scalar as it is."""
        nodes, name = self.nodes, node_of(tensor)
        while name in nodes and nodes[name].op in _PASSED and nodes[name].op != "Fill":
            name = node_of(nodes[name].input[0])
        return name

    def _made(self, g: Builder, name: str, made: dict[str, Tensor]) -> Tensor:
        if name not in made:
            node = self.nodes[name]
            made[name] = self._written(g, node, made)
        return made[name]

    def _written(self, g: Builder, node: node_def_pb2.NodeDef, made: dict[str, Tensor]) -> Tensor:
        if node.op == "Const":
            value = array_of(node.attr["value"].tensor)
            return g.constant(value, DType.from_number(node.attr["dtype"].type))
        if node.op in _PASSED:
            self._ensure_scalar(node)
            return self._made(g, node_of(node.input[1 if node.op == "Fill" else 0]), made)
        given = [self._made(g, node_of(i), made) for i in node.input if not i.startswith("^")]
        if node.op in _PLAIN:
            return _PLAIN[node.op](g, *given)
        if node.op in _COMPARED:
            compared = [comparable(g, x) for x in given]
            result: Tensor = g.node(_COMPARED[node.op], *compared)
            return result
        if node.op not in _HANDLERS:
            self.op.refuse(
                f"its function {self.definition.signature.name} has the op {node.op}, which is "
                "not known to work on each element by itself",
                "choose --outputs before it",
            )
        return self._by_handler(g, node, given)

    def _by_handler(
        self, g: Builder, node: node_def_pb2.NodeDef, given: Sequence[Tensor]
    ) -> Tensor:
        from smconvert.graph.tf_internals import registered_op

        registered = registered_op(node.op)
        assert registered is not None
        types = [registered.output_arg[0].type, node.attr[registered.output_arg[0].type_attr].type]
        result = Result(DType.from_number(max(types)), None)
        op = Op(node, registered, tuple(given), (result,))
        made = _HANDLERS[node.op].emit(g, op, *given)
        assert isinstance(made, Tensor)
        return made

    def _ensure_scalar(self, node: node_def_pb2.NodeDef) -> None:
        """Refuses an op that makes more of a scalar."""
        if node.op == "ExpandDims":
            self._refuse_shape(node)
        if node.op not in _SCALAR:
            return
        shape = self.nodes.get(self.source(node.input[_SCALAR[node.op]]))
        if shape is None or shape.op != "Const" or array_of(shape.attr["value"].tensor).size:
            self._refuse_shape(node)

    def _refuse_shape(self, node: node_def_pb2.NodeDef) -> None:
        self.op.refuse(f"{node.op} in its function {self.definition.signature.name}")


def computation(op: Op, key: str) -> Computation:
    """The function that an attribute of an op names."""
    return Computation(op, marked(op.node, key))


def identity(kind: str, dtype: DType) -> object:
    """What an element does not change when it is combined with it."""
    import ml_dtypes

    if kind in {"add", "or"}:
        return 0
    if kind in {"mul", "and"}:
        return 1
    if dtype in FLOATS:
        return -np.inf if kind == "max" else np.inf
    limits = ml_dtypes.iinfo(dtype.numpy)
    return limits.min if kind == "max" else limits.max
