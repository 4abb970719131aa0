"""Complex numbers as pairs of real ones: a graph that holds none, of TensorFlow's own real ops.

ONNX's tensors may be complex by the specification, but no runtime computes with them. Fourier
transforms become products with their matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from smconvert.errors import ConversionError
from smconvert.graph.freeze import FrozenGraph
from smconvert.graph.names import full, is_control, short, unused_name
from smconvert.graph.protos import graph_pb2, node_def_pb2
from smconvert.graph.tensors import array_of
from smconvert.model import DType, Shape
from smconvert_onnx.fourier import Transforms
from smconvert_onnx.real_nodes import Nodes, Pair

REAL = {DType.COMPLEX64: DType.FLOAT32, DType.COMPLEX128: DType.FLOAT64}

# fmt: off
LINEAR = frozenset({
    "Add", "AddN", "AddV2", "BroadcastTo", "Concat", "ConcatV2", "Cumsum", "DiagPart", "Diag",
    "ExpandDims", "Fill", "Gather", "GatherNd", "GatherV2", "Identity", "MatrixBandPart",
    "MatrixDiag", "MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3", "MatrixDiagV2",
    "MatrixDiagV3", "MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3", "Mean", "MirrorPad",
    "Neg", "Pack", "Pad", "PadV2", "PreventGradient", "Reshape", "Reverse", "ReverseSequence",
    "ReverseV2", "Roll", "Select", "SelectV2", "Slice", "Snapshot", "Split", "SplitV", "Squeeze",
    "StopGradient", "StridedSlice", "Sub", "Sum", "Tile", "Transpose", "Unpack", "ZerosLike",
})
# fmt: on
"""Ops that treat the parts alike, and each by itself."""

BILINEAR = frozenset({"Mul", "MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum"})
SHAPES = frozenset({"Rank", "Shape", "ShapeN", "Size"})


def _has_complex(nodes: Iterable[node_def_pb2.NodeDef]) -> bool:
    """Whether one of the nodes computes with complex numbers."""
    from smconvert.graph.tf_internals import registered_op

    complex_types = {d.number for d in REAL}
    for node in nodes:
        definition = registered_op(node.op)
        defaults = {a.name: a.default_value for a in definition.attr} if definition else {}
        attributes = {**defaults, **node.attr}
        for value in attributes.values():
            if value.type in complex_types or complex_types & set(value.list.type):
                return True
    return False


def in_parts(frozen: FrozenGraph) -> FrozenGraph:
    """The graph with two real tensors for each complex one; as it is where it has none.

    Raises:
        ConversionError: an input or output is complex, or an op is not known for complex numbers.
    """
    for function in frozen.graph.library.function:
        if _has_complex(function.node_def):
            raise ConversionError(
                "smconvert does not write loops and conditions of complex numbers",
                where=f"function {function.signature.name}",
            )
    if not _has_complex(frozen.graph.node):
        return frozen
    for info in (*frozen.inputs, *frozen.outputs):
        if info.dtype in REAL:
            raise ConversionError(
                f"ONNX has no complex tensors, and {info.name!r} is one",
                hint="end at its tf.math.real, imag or abs, with --inputs and --outputs",
            )
    return replace(frozen, graph=_Parts(frozen.graph).graph())


@dataclass(frozen=True)
class _Known:
    """What TensorFlow infers for the tensors of the graph."""

    dtypes: Mapping[str, DType]
    shapes: Mapping[str, Shape | None]


def _inferred(graph: graph_pb2.GraphDef) -> _Known:
    import tensorflow as tf

    with tf.Graph().as_default() as built:
        tf.graph_util.import_graph_def(graph, name="")
        tensors = [t for op in built.get_operations() for t in op.outputs]
        dtypes = {t.name: DType.from_number(t.dtype.as_datatype_enum) for t in tensors}
        shapes = {
            t.name: None if t.shape.rank is None else tuple(t.shape.as_list()) for t in tensors
        }
    return _Known(dtypes, shapes)


class _Parts:
    """Rewrites a graph, node by node."""

    def __init__(self, graph: graph_pb2.GraphDef) -> None:
        self._source = graph
        self._known = _inferred(graph)
        self._pairs: dict[str, Pair] = {}
        self._arrays = {
            n.name: array_of(n.attr["value"].tensor) for n in graph.node if n.op == "Const"
        }
        self._taken = {n.name for n in graph.node}
        self._made = graph_pb2.GraphDef(versions=graph.versions, library=graph.library)

    def graph(self) -> graph_pb2.GraphDef:
        for node in self._source.node:
            inputs = [i for i in node.input if not is_control(i)]
            taken = [full(i) for i in inputs]
            count = 0
            while f"{node.name}:{count}" in self._known.dtypes:
                count += 1
            outputs = [f"{node.name}:{i}" for i in range(count)]
            if not any(self._known.dtypes[t] in REAL for t in (*taken, *outputs)):
                self._made.node.add().CopyFrom(node)
                continue
            made = self._rewritten(node, inputs, outputs)
            self._pairs.update(zip(outputs, made, strict=False))
        kept = {node.name for node in self._made.node}
        for node in self._made.node:
            inputs = [i for i in node.input if not is_control(i) or i[1:] in kept]
            del node.input[:]
            node.input.extend(inputs)
        return self._made

    def _rewritten(
        self, node: node_def_pb2.NodeDef, inputs: Sequence[str], outputs: Sequence[str]
    ) -> Sequence[Pair]:
        """The pairs of the complex outputs; a real output keeps its name."""
        dtype = next(
            REAL[d] for d in (self._known.dtypes[full(t)] for t in (*outputs, *inputs)) if d in REAL
        )
        write = Nodes(self._made, self._taken, node.name, dtype)
        pairs = [self._pairs.get(full(i)) for i in inputs]
        if node.op in LINEAR:
            return self._each(node, pairs)
        if node.op in SHAPES:
            self._copy(node, [p.real if p else None for p in pairs], node.name)
            return ()
        if node.op in BILINEAR:
            return [self._product(write, node, *(p for p in pairs if p))]
        if node.op == "Const":
            value = self._arrays[node.name]
            return [Pair(write.constant(value.real, dtype), write.constant(value.imag, dtype))]
        if node.op == "Complex":
            return [self._joined(write, *inputs)]
        transforms = Transforms(write, self._known.shapes, self._arrays)
        if transforms.knows(node.op):
            return self._named(write, node, transforms.of(node, pairs[0] or Pair(inputs[0], "")))
        simple = _SIMPLE.get(node.op)
        if simple is None:
            raise ConversionError(
                f"smconvert does not write {node.op} of complex numbers",
                where=f"node {node.name} ({node.op})",
                hint="choose --outputs before it; or convert to a SavedModel",
            )
        made = simple(write, node, [p or Pair(i, "") for p, i in zip(pairs, inputs, strict=True)])
        return self._named(write, node, made)

    def _named(self, write: Nodes, node: node_def_pb2.NodeDef, made: Pair | str) -> Sequence[Pair]:
        if isinstance(made, Pair):
            return [made]
        write.end(made)
        return ()

    def _each(self, node: node_def_pb2.NodeDef, pairs: Sequence[Pair | None]) -> Sequence[Pair]:
        """The same op of the real parts, and of the imaginary ones."""
        names = [unused_name(f"{node.name}/{part}", self._taken) for part in ("real", "imag")]
        self._taken.update(names)
        self._copy(node, [p.real if p else None for p in pairs], names[0])
        self._copy(node, [p.imag if p else None for p in pairs], names[1])
        count = sum(full(t).startswith(f"{node.name}:") for t in self._known.dtypes)
        return [Pair(*(short(f"{name}:{i}") for name in names)) for i in range(count)]

    def _copy(self, node: node_def_pb2.NodeDef, given: Sequence[str | None], name: str) -> None:
        """The node with other inputs, and of a real type."""
        copy = self._made.node.add()
        copy.CopyFrom(node)
        copy.name = name
        for i, tensor in enumerate(given):
            if tensor is not None:
                copy.input[i] = tensor
        numbers = {d.number: r.number for d, r in REAL.items()}
        for attribute in copy.attr.values():
            if attribute.type in numbers:
                attribute.type = numbers[attribute.type]
            for i, number in enumerate(attribute.list.type):
                attribute.list.type[i] = numbers.get(number, number)

    def _joined(self, write: Nodes, real: str, imag: str) -> Pair:
        """Both as parts, which broadcast."""
        shapes = {self._known.shapes[full(x)] for x in (real, imag)}
        shape = shapes.pop()
        if not shapes and shape is not None and None not in shape:
            return Pair(real, imag)
        # Not a sum, which would lose the sign of a zero.
        zeros = write.of("ZerosLike", real), write.of("ZerosLike", imag)
        return Pair(write.of("Sub", real, zeros[1]), write.of("Sub", imag, zeros[0]))

    def _product(self, write: Nodes, node: node_def_pb2.NodeDef, *pairs: Pair) -> Pair:
        if len(pairs) != 2:
            (x,) = pairs
            made = self._each(node, [x])
            return made[0]
        x, y = pairs
        if node.op.startswith("BatchMatMul"):
            # The adjoint is conjugate.
            x = Pair(x.real, write.of("Neg", x.imag)) if node.attr["adj_x"].b else x
            y = Pair(y.real, write.of("Neg", y.imag)) if node.attr["adj_y"].b else y

        def times(a: str, b: str) -> str:
            name = write.name("times")
            self._copy(node, [a, b], name)
            return name

        return Pair(
            write.of("Sub", times(x.real, y.real), times(x.imag, y.imag)),
            write.of("AddV2", times(x.real, y.imag), times(x.imag, y.real)),
        )


Write = Callable[[Nodes, node_def_pb2.NodeDef, Sequence[Pair]], Pair | str]


def _magnitude(write: Nodes, x: Pair) -> str:
    """The square root of the sum of squares, of which none overflows."""
    parts = write.of("Abs", x.real), write.of("Abs", x.imag)
    high, low = write.of("Maximum", *parts), write.of("Minimum", *parts)
    same = write.of("Equal", high, low)
    ones = write.of("OnesLike", high)
    ratio = write.of("SelectV2", same, ones, write.of("RealDiv", low, high))
    return write.of(
        "Mul", high, write.of("Sqrt", write.of("AddV2", write.of("Square", ratio), ones))
    )


def _abs(write: Nodes, node: node_def_pb2.NodeDef, given: Sequence[Pair]) -> str:
    return _magnitude(write, given[0])


def _angle(write: Nodes, node: node_def_pb2.NodeDef, given: Sequence[Pair]) -> str:
    return write.of("Atan2", given[0].imag, given[0].real)


def _conjugate(write: Nodes, node: node_def_pb2.NodeDef, given: Sequence[Pair]) -> Pair:
    return Pair(given[0].real, write.of("Neg", given[0].imag))


def _cast(write: Nodes, node: node_def_pb2.NodeDef, given: Sequence[Pair]) -> Pair | str:
    source, target = (DType.from_number(node.attr[name].type) for name in ("SrcT", "DstT"))

    def cast(x: str) -> str:
        real_source, real_target = REAL.get(source, source), REAL.get(target, target)
        return write.of("Cast", x, T=None, SrcT=real_source, DstT=real_target)

    (x,) = given
    if target not in REAL:
        return cast(x.real)
    real = cast(x.real)
    wide = write.typed(REAL[target])
    return Pair(real, cast(x.imag) if source in REAL else wide.of("ZerosLike", real))


def _quotient(write: Nodes, node: node_def_pb2.NodeDef, given: Sequence[Pair]) -> Pair:
    """Both scaled by the magnitude of the divisor, so that nothing overflows."""
    x, y = given
    size = _magnitude(write, y)
    c, s = write.of("RealDiv", y.real, size), write.of("RealDiv", y.imag, size)
    real = write.of("AddV2", write.of("Mul", x.real, c), write.of("Mul", x.imag, s))
    imag = write.of("Sub", write.of("Mul", x.imag, c), write.of("Mul", x.real, s))
    return Pair(write.of("RealDiv", real, size), write.of("RealDiv", imag, size))


def _square(write: Nodes, node: node_def_pb2.NodeDef, given: Sequence[Pair]) -> Pair:
    (x,) = given
    both = write.of("Mul", x.real, x.imag)
    return Pair(
        write.of("Sub", write.of("Square", x.real), write.of("Square", x.imag)),
        write.of("AddV2", both, both),
    )


def _exponential(write: Nodes, node: node_def_pb2.NodeDef, given: Sequence[Pair]) -> Pair:
    (x,) = given
    size = write.of("Exp", x.real)
    return Pair(
        write.of("Mul", size, write.of("Cos", x.imag)),
        write.of("Mul", size, write.of("Sin", x.imag)),
    )


_SIMPLE: Mapping[str, Write] = {
    "Abs": _abs,
    "Angle": _angle,
    "Cast": _cast,
    "ComplexAbs": _abs,
    "Conj": _conjugate,
    "Div": _quotient,
    "Exp": _exponential,
    "Imag": lambda write, node, given: given[0].imag,
    "Real": lambda write, node, given: given[0].real,
    "RealDiv": _quotient,
    "Square": _square,
}
