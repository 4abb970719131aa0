"""How a handler writes ONNX: ops called by their names, with types worked out from their schemas.

    def emit(self, g: Builder, op: Op, x: Tensor) -> Tensor:
        return g.Sub(1, g.Erf(x))

A number or array among the arguments becomes an initializer of the type that its place asks for.
Nothing here knows TensorFlow or tf2onnx: a builder records nodes, and whoever made it puts them
where they belong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NoReturn, Protocol, TypeAlias

import numpy as np
import onnx
from onnx import defs

from smconvert.errors import ConversionError
from smconvert.graph.protos import node_def_pb2, op_def_pb2
from smconvert.model import Array, DType, Shape
from smconvert_onnx.types import formal

Number: TypeAlias = bool | int | float
Argument: TypeAlias = "Tensor | Array | Number | Sequence[Any] | None"

STANDARD = ""
ML = "ai.onnx.ml"
ML_VERSION = 2
"""The operator set that tf2onnx declares as well."""

EXTENSIONS = "ai.onnx.contrib"
NEXT = "smconvert.next"
"""Domain of standard ops that are newer than tf2onnx writes, until the model is raised."""

ONNX_TYPES: Mapping[DType, int] = {
    DType.FLOAT32: onnx.TensorProto.FLOAT,
    DType.FLOAT64: onnx.TensorProto.DOUBLE,
    DType.FLOAT16: onnx.TensorProto.FLOAT16,
    DType.BFLOAT16: onnx.TensorProto.BFLOAT16,
    DType.INT8: onnx.TensorProto.INT8,
    DType.INT16: onnx.TensorProto.INT16,
    DType.INT32: onnx.TensorProto.INT32,
    DType.INT64: onnx.TensorProto.INT64,
    DType.UINT8: onnx.TensorProto.UINT8,
    DType.UINT16: onnx.TensorProto.UINT16,
    DType.UINT32: onnx.TensorProto.UINT32,
    DType.UINT64: onnx.TensorProto.UINT64,
    DType.BOOL: onnx.TensorProto.BOOL,
    DType.STRING: onnx.TensorProto.STRING,
    DType.QINT8: onnx.TensorProto.INT8,
    DType.QUINT8: onnx.TensorProto.UINT8,
    DType.QINT32: onnx.TensorProto.INT32,
    DType.QINT16: onnx.TensorProto.INT16,
    DType.QUINT16: onnx.TensorProto.UINT16,
}
QUANTIZED = frozenset({"qint8", "quint8", "qint16", "quint16", "qint32"})
"""Types that are plain integers in ONNX."""

_DTYPES = {number: dtype for dtype, number in list(ONNX_TYPES.items())[::-1]}
_TEXTS = {
    "float": DType.FLOAT32,
    "double": DType.FLOAT64,
    **{d.label: d for d in DType if d is not DType.FLOAT32 and d is not DType.FLOAT64},
}


def dtype_of(onnx_type: int) -> DType:
    """The type with an ``onnx.TensorProto.DataType`` number; raises KeyError."""
    return _DTYPES[onnx_type]


@dataclass(frozen=True)
class Tensor:
    """A value in the ONNX graph.

    Attributes:
        name: Of the value.
        dtype: Its element type.
        shape: What is known of its dimensions; None where not even the rank is.
        value: What it is, where that is known before the graph runs.
        sequence: Whether it is a sequence of such tensors.
    """

    name: str
    dtype: DType
    shape: Shape | None = None
    value: Array | None = field(default=None, compare=False, repr=False)
    sequence: bool = False

    @property
    def rank(self) -> int | None:
        """The number of dimensions, where known."""
        return None if self.shape is None else len(self.shape)

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The dimensions, where all are known."""
        if self.shape is None or not all(isinstance(d, int) for d in self.shape):
            return None
        return tuple(d for d in self.shape if isinstance(d, int))


@dataclass(frozen=True)
class Result:
    """What TensorFlow says of an output of an op: its type, and what is known of its shape."""

    dtype: DType
    shape: Shape | None


@dataclass(frozen=True)
class Table:
    """What a look-up table holds: the value of ``keys[i]`` is ``values[i]``."""

    keys: Array
    values: Array


def _no_function(name: str) -> Body:
    raise KeyError(name)


@dataclass(frozen=True)
class Op:
    """One TensorFlow op of the graph.

    Attributes:
        node: Its NodeDef; attributes with default values may be absent from it.
        definition: Its OpDef.
        inputs: Its data inputs, in order.
        outputs: Its outputs, in order.
        tables: By the name of the input, the look-up tables among its inputs.
        functions: Gives the function of a name, as it is in ONNX.
    """

    node: node_def_pb2.NodeDef
    definition: op_def_pb2.OpDef
    inputs: tuple[Tensor, ...]
    outputs: tuple[Result, ...]
    tables: Mapping[str, Table] = field(default_factory=dict)
    functions: Callable[[str], Body] = field(default=_no_function, compare=False, repr=False)

    @property
    def type(self) -> str:
        """The name of the op, such as ``MatMul``."""
        return self.node.op

    def attr(self, name: str) -> Any:
        """An attribute as a Python value: int, float, bool, str, DType, Shape, Array, or a list.

        Raises:
            KeyError: the op has no such attribute.
        """
        if name in self.node.attr:
            return _python(self.node.attr[name])
        for attribute in self.definition.attr:
            if attribute.name == name and attribute.HasField("default_value"):
                return _python(attribute.default_value)
        raise KeyError(name)

    def refuse(self, message: str, hint: str | None = None) -> NoReturn:
        """Ends the conversion: this op, as it is used here, cannot be said in ONNX.

        Raises:
            ConversionError: always.
        """
        raise ConversionError(
            f"{self.type} cannot be written: {message}",
            where=f"node {self.node.name} ({self.type})",
            hint=hint or "choose --outputs before it; or convert to a SavedModel",
        )

    def constant(self, tensor: Tensor, what: str) -> Array:
        """The value of an input that has to be known before the graph runs.

        Raises:
            ConversionError: it is computed from the model's inputs.
        """
        if tensor.value is None:
            self.refuse(f"its {what} must be constant", f"--set the input that {what} depends on")
        return tensor.value

    def table(self, handle: Tensor) -> Table:
        """What the look-up table holds that an input refers to.

        Raises:
            ConversionError: its contents are not known before the graph runs.
        """
        if handle.name not in self.tables:
            self.refuse("the contents of its table are not known: it is chosen in a loop or branch")
        return self.tables[handle.name]

    def rank(self, tensor: Tensor) -> int:
        """The rank of an input that has to be known before the graph runs.

        Raises:
            ConversionError: it is unknown.
        """
        if tensor.rank is None:
            self.refuse("the rank of its input is unknown", "give the input a shape: --inputs")
        return tensor.rank


class Handler(Protocol):
    """Writes one TensorFlow op, or a few that are alike, in ONNX."""

    @property
    def ops(self) -> tuple[str, ...]:
        """The TensorFlow ops."""

    @property
    def emit(self) -> Callable[..., Tensor | tuple[Tensor, ...]]:
        """Called with a Builder, an Op and its inputs, writes the op and gives its outputs.

        Raises:
            ConversionError: as it is used here, it cannot be written.
        """


@dataclass
class Emitted:
    """One ONNX node that a builder recorded."""

    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    name: str = ""


@dataclass(frozen=True)
class Body:
    """A graph within a Loop, Scan or If: what a builder recorded, between inputs and outputs."""

    builder: Builder
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Builder:
    """Records ONNX nodes; each standard op is a method, with inputs by position.

    Attributes:
        opset: The version of the standard operator set, which the nodes are written for.
        extensions: Whether ops of ``onnxruntime-extensions`` may be written.
    """

    def __init__(
        self,
        opset: int,
        fresh: Callable[[str], str],
        *,
        extensions: bool = False,
        scope: str = "",
    ) -> None:
        self.opset = opset
        self.extensions = extensions
        self.nodes: list[Emitted] = []
        self.constants: dict[str, Array] = {}
        self.shapes: dict[str, Shape] = {}
        self._fresh = fresh
        self._scope = scope

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        """The standard op of that name."""
        if not op_type[:1].isupper():
            raise AttributeError(op_type)
        return lambda *inputs, **attributes: self.node(op_type, *inputs, **attributes)

    def node(
        self,
        op_type: str,
        *inputs: Argument,
        domain: str = STANDARD,
        outputs: int = 1,
        dtype: DType | Sequence[DType] | None = None,
        **attributes: Any,
    ) -> Any:
        """Records a node and gives its output, or a tuple of several.

        Args:
            op_type: An op of ``domain``.
            inputs: Tensors; numbers and arrays, which become constants; None for one left out.
            domain: Of the operator set.
            outputs: How many there are.
            dtype: The type of the outputs, where the schema leaves it to an attribute.
            attributes: Of the node; those that are None are left out, and a Body is a graph.

        Raises:
            ConversionError: the op is in newer operator sets only.
            KeyError: an output's type cannot be told.
        """
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        schema, domain = self._schema(op_type, domain)
        given = self._given(schema, inputs)
        kept = {k: _attribute(v) for k, v in attributes.items() if v is not None}
        if isinstance(dtype, DType) and schema is not None and "dtype" in schema.attributes:
            kept["dtype"] = ONNX_TYPES[dtype]
        names = tuple(self._fresh(f"{self._scope}{op_type}") for _ in range(outputs))
        self.nodes.append(
            Emitted(op_type, domain, tuple(t.name if t else "" for t in given), names, kept)
        )
        types = _output_types(schema, given, kept, dtype, outputs)
        made = tuple(Tensor(n, t) for n, t in zip(names, types, strict=True))
        return made[0] if outputs == 1 else made

    def _schema(self, op_type: str, domain: str) -> tuple[Any, str]:
        if domain == EXTENSIONS:
            return None, domain
        if domain == ML:
            return defs.get_schema(op_type, ML_VERSION, ML), domain
        try:
            return _schema(op_type, min(self.opset, 18)), domain
        except defs.SchemaError:
            try:
                return _schema(op_type, self.opset), NEXT
            except defs.SchemaError:
                since = _newest(op_type)
                raise ConversionError(
                    f"{op_type} is in ONNX since opset {since}", hint=f"--opset {since}"
                ) from None

    def _given(self, schema: Any, inputs: Sequence[Argument]) -> list[Tensor | None]:
        formal = [_formal(schema, i) for i in range(len(inputs))]
        bound = {
            kind: tensor.dtype
            for kind, tensor in zip(formal, inputs, strict=True)
            if isinstance(tensor, Tensor)
        }
        return [
            value
            if value is None or isinstance(value, Tensor)
            else self.constant(value, _TEXTS.get(kind[7:-1]) or bound.get(kind))
            for kind, value in zip(formal, inputs, strict=True)
        ]

    def constant(self, value: Any, dtype: DType | None = None) -> Tensor:
        """An initializer; without ``dtype`` it is int64, float32 or bool, or the array's own."""
        if dtype is None and not isinstance(value, (np.ndarray, np.generic)):
            array = np.asarray(value)
            kinds = {"i": np.int64, "u": np.int64, "f": np.float32}
            array = array.astype(kinds.get(array.dtype.kind, array.dtype))
            if not array.size and array.dtype == np.float32:
                array = array.astype(np.int64)
        else:
            array = np.asarray(value)
        if dtype is None:
            dtype = DType.from_numpy(array.dtype)
        elif dtype is DType.STRING:
            array = np.asarray(value, object)
        else:
            array = array.astype(dtype_of(ONNX_TYPES[dtype]).numpy)
        name = self._fresh(f"{self._scope}const")
        self.constants[name] = array
        return Tensor(name, dtype, tuple(array.shape), array)

    def cast(self, x: Tensor, dtype: DType) -> Tensor:
        """``x`` as ``dtype``, or as it is where that is its type."""
        if x.dtype is dtype:
            return x
        to = ONNX_TYPES[dtype]
        if x.value is not None and DType.STRING not in {x.dtype, dtype}:
            return self.constant(x.value, dtype)
        return replace_shape(self.node("Cast", x, to=to, dtype=dtype), x.shape)

    def shaped(self, x: Tensor, shape: Shape | None) -> Tensor:
        """``x``, with what is known of its shape: what moves transposes looks for it."""
        if shape is not None:
            self.shapes[x.name] = shape
        return replace_shape(x, shape)

    def shape(self, x: Tensor) -> Tensor:
        """The shape of ``x``, int64 [rank]: a constant where it is known."""
        if x.sizes is not None:
            return self.constant(np.array(x.sizes, np.int64))
        return replace_shape(self.node("Shape", x), (x.rank,))

    def _inner(self) -> Builder:
        """One for a graph within."""
        return Builder(self.opset, self._fresh, extensions=self.extensions, scope=self._scope)

    def inline(self, body: Body, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Records the nodes of a body anew, and gives its outputs for these inputs."""
        given = dict(zip((own.name for own in body.inputs), inputs, strict=True))
        names = {own: tensor.name for own, tensor in given.items()}
        self._copy(body.builder, names)
        return tuple(
            given.get(made.name) or replace(made, name=names.get(made.name, made.name))
            for made in body.outputs
        )

    def _copy(self, other: Builder, names: dict[str, str]) -> None:
        for name, array in other.constants.items():
            names[name] = self._fresh(name)
            self.constants[names[name]] = array
        names.update((name, self._fresh(name)) for node in other.nodes for name in node.outputs)
        for node in other.nodes:
            attributes = {
                k: self._copied(v, dict(names)) if isinstance(v, Body) else v
                for k, v in node.attributes.items()
            }
            inputs = tuple(names.get(name, name) for name in node.inputs)
            outputs = tuple(names[name] for name in node.outputs)
            name = self._fresh(node.name) if node.name else ""
            self.nodes.append(Emitted(node.op_type, node.domain, inputs, outputs, attributes, name))
        self.shapes.update((names[n], s) for n, s in other.shapes.items() if n in names)

    def _copied(self, body: Body, names: dict[str, str]) -> Body:
        """A body within a body that is inlined."""
        inner = self._inner()
        inputs = tuple(replace(t, name=self._fresh(t.name)) for t in body.inputs)
        names.update((own.name, new.name) for own, new in zip(body.inputs, inputs, strict=True))
        inner._copy(body.builder, names)
        outputs = tuple(replace(t, name=names.get(t.name, t.name)) for t in body.outputs)
        return Body(inner, inputs, outputs)

    def body(
        self,
        inputs: Sequence[tuple[DType, Shape | None] | Tensor],
        write: Callable[..., Tensor | Sequence[Tensor]],
    ) -> Body:
        """A graph for Loop, Scan or If; it sees the tensors around it.

        Args:
            inputs: Type and shape of each input, or a tensor that is like it, name and all.
            write: Takes the graph's builder and inputs, and gives its outputs.
        """
        inner = self._inner()
        like = [i if isinstance(i, Tensor) else Tensor("", *i) for i in inputs]
        given = tuple(replace(t, name=self._fresh(t.name or "in"), value=None) for t in like)
        made = write(inner, *given)
        outputs = [made] if isinstance(made, Tensor) else list(made)
        own = {name for node in inner.nodes for name in node.outputs}
        seen: set[str] = set()
        for i, output in enumerate(outputs):
            # An output is a value that the graph itself computes, and each is one of its own.
            if output.name not in own or output.name in seen:
                copy = inner.node("Identity", output)
                outputs[i] = replace(output, name=copy.name, value=None)
            seen.add(outputs[i].name)
        return Body(inner, given, tuple(outputs))


def replace_shape(tensor: Tensor, shape: Shape | None) -> Tensor:
    """The same tensor, with what is known of its shape."""
    return replace(tensor, shape=shape)


def counter() -> Callable[[str], str]:
    """Gives a new name for each call, that starts with what it is given."""
    numbers = itertools.count(1)
    return lambda base: f"{base}__{next(numbers)}"


@cache
def _schema(op_type: str, opset: int) -> Any:
    return defs.get_schema(op_type, opset, "")


def _newest(op_type: str) -> int:
    return max(s.since_version for s in defs.get_all_schemas() if s.name == op_type)


def _formal(schema: Any, position: int) -> str:
    """The type constraint of an input; empty where the op has no schema here."""
    return "" if schema is None else formal(schema, position)


def _output_types(
    schema: Any,
    given: Sequence[Tensor | None],
    attributes: Mapping[str, Any],
    dtype: DType | Sequence[DType] | None,
    outputs: int,
) -> list[DType]:
    if dtype is not None:
        return [dtype] * outputs if isinstance(dtype, DType) else list(dtype)
    bodies = [v for v in attributes.values() if isinstance(v, Body)]
    if bodies:
        own = [o.dtype for o in bodies[0].outputs]
        return own[len(own) - outputs :]
    bound = {_formal(schema, i): t.dtype for i, t in enumerate(given) if t is not None}
    return [_output_type(schema, i, bound, attributes) for i in range(outputs)]


def _output_type(
    schema: Any, position: int, bound: Mapping[str, DType], attributes: Mapping[str, Any]
) -> DType:
    kind = formal(schema, position, output=True)
    if kind in bound:
        return bound[kind]
    if kind.startswith("tensor("):
        return _TEXTS[kind[7:-1]]
    for name in ("to", "dtype"):
        if name in attributes:
            return dtype_of(attributes[name])
    (allowed,) = (t.allowed_type_strs for t in schema.type_constraints if t.type_param_str == kind)
    if len(allowed) == 1:
        return _TEXTS[allowed[0][7:-1]]
    raise KeyError(f"{schema.name} does not say the type of its output {position}: give dtype=")


def _attribute(value: Any) -> Any:
    if isinstance(value, DType):
        return ONNX_TYPES[value]
    if isinstance(value, np.ndarray):
        return onnx.numpy_helper.from_array(value)
    return value


def _python(value: Any) -> Any:
    """The value of a TensorFlow AttrValue (attr_value.proto)."""
    kind = value.WhichOneof("value")
    if kind == "list":
        (field,) = value.list.ListFields() or ((None, ()),)
        if field[0] is None:
            return []
        return [_scalar(field[0].name, item) for item in field[1]]
    return _scalar(kind, getattr(value, kind)) if kind else None


def _scalar(kind: str, value: Any) -> Any:
    if kind == "s":
        return value.decode("utf-8", "surrogateescape")
    if kind == "type":
        return DType.from_number(value)
    if kind == "shape":
        from smconvert.graph.tensors import shape_of

        return shape_of(value)
    if kind == "tensor":
        from smconvert.graph.tensors import array_of

        return array_of(value)
    return value
