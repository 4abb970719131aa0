"""One op against its own kernel: a graph of it, run by TensorFlow and, converted, by ONNX Runtime.

Many cases go into one graph, for speed; what goes wrong there is tried again by itself.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.framework import op_def_library

from smconvert.errors import ConversionError
from smconvert.graph.freeze import FrozenGraph
from smconvert.model import Array, DType, TensorInfo
from smconvert.runtimes import ort_values
from smconvert_onnx import audit
from smconvert_onnx.lowering import lower

onnxruntime.set_default_logger_severity(4)


class Shapes(enum.Enum):
    """What the graph says of the shapes of its inputs."""

    STATIC = "static"
    DIMENSIONS = "unknown dimensions"
    RANK = "unknown rank"


class Verdict(enum.Enum):
    """How a case ended; the last two are faults."""

    EXACT = "exact"
    CLOSE = "within tolerance"
    REFUSED = "refused"
    UNDEFINED = "undefined"
    """TensorFlow itself refuses these values."""
    WRONG = "wrong"
    UNLOADABLE = "unloadable"


@dataclass(frozen=True)
class Tolerance:
    """How far a result may lie from TensorFlow's: in units of the last place, or by size.

    NaN and infinities have to be where TensorFlow has them.
    """

    ulps: float = 0
    rtol: float = 0
    atol: float = 0


EXACT = Tolerance()


@dataclass(frozen=True)
class Case:
    """One use of an op.

    Attributes:
        op: A name of ``tf.raw_ops``, or an op of XLA.
        inputs: Argument to its value, or values where it takes a list.
        attributes: Argument to Python value.
        constants: The inputs that are constants of the graph; the others are fed.
        tolerance: Of every output.
        outputs: Which outputs count; None for all.
        refusable: Whether a refusal is as good as a result: what ONNX cannot say for these values.
        shapes: What may be tried to be unknown.
        producer: The version of the graph, where TensorFlow refuses the op in newer ones.
    """

    op: str
    inputs: Mapping[str, Array | Sequence[Array]]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: frozenset[str] = frozenset()
    tolerance: Tolerance = EXACT
    outputs: tuple[int, ...] | None = None
    refusable: bool = False
    shapes: tuple[Shapes, ...] = tuple(Shapes)
    producer: int = tf.version.GRAPH_DEF_VERSION

    @property
    def dtype(self) -> str:
        """The type that the page counts the case under: that of its first input."""
        for value in self.inputs.values():
            first = value if isinstance(value, np.ndarray) else next(iter(value), None)
            if first is not None:
                own = np.asarray(first).dtype
                return DType.from_numpy(own).label if own.names is None else own.names[0]
        named = self.attributes.get("dtype")
        return tf.as_dtype(named).name if named is not None else "none"


@dataclass(frozen=True)
class Outcome:
    """How a case ended, and why, in a line."""

    case: Case
    shapes: Shapes
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class Built:
    """A graph of some cases, with what to feed and what each of them gives."""

    graph: Any
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    feeds: Mapping[str, Array]
    of_case: tuple[tuple[str, ...], ...]

    def frozen(self) -> FrozenGraph:
        return FrozenGraph(self.graph, self.inputs, self.outputs, (), (), len(self.graph.node))


def build(cases: Sequence[Case], shapes: Shapes) -> Built:
    """The graph; raises what TensorFlow raises where it refuses one of the cases."""
    inputs, outputs, feeds, of_case = [], [], {}, []
    with tf.Graph().as_default() as graph:
        # A graph is of the oldest version of what is imported into it.
        versions = {"producer": min(case.producer for case in cases)}
        tf.graph_util.import_graph_def(tf.compat.v1.GraphDef(versions=versions), name="")
        for number, case in enumerate(cases):
            given: dict[str, Any] = {}
            for name, value in case.inputs.items():
                several = not isinstance(value, np.ndarray)
                made = []
                for i, array in enumerate(value if several else [value]):
                    array = np.asarray(array)
                    dtype = tf.as_dtype(array.dtype if array.dtype != object else tf.string)
                    label = f"in_{number}_{name}_{i}"
                    if name in case.constants:
                        made.append(tf.constant(array, dtype, name=label))
                        continue
                    shape: Any = {
                        Shapes.STATIC: list(array.shape),
                        Shapes.DIMENSIONS: [None] * array.ndim,
                        Shapes.RANK: None,
                    }[shapes]
                    made.append(tf.compat.v1.placeholder(dtype, shape, label))
                    feeds[label] = array
                    known = None if shape is None else tuple(shape)
                    inputs.append(
                        TensorInfo(label, DType.from_label(dtype.name), known, f"{label}:0")
                    )
                given[name] = made if several else made[0]
            result = _op(case.op)(**given, **case.attributes, name=f"op_{number}")
            results = tf.nest.flatten(result)
            names = []
            for i, tensor in enumerate(results):
                if case.outputs is not None and i not in case.outputs:
                    continue
                label = f"out_{number}_{i}"
                tf.identity(tensor, name=label)
                static = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
                dtype = DType.from_label(tensor.dtype.name)
                outputs.append(TensorInfo(label, dtype, static, f"{label}:0"))
                names.append(label)
            of_case.append(tuple(names))
    return Built(graph.as_graph_def(), tuple(inputs), tuple(outputs), feeds, tuple(of_case))


def _op(name: str) -> Callable[..., Any]:
    """An op of ``tf.raw_ops``, one of XLA's own, which TensorFlow compiles as it comes, or one
    that has no name in Python."""
    for module in (tf.raw_ops, gen_xla_ops):
        if name in dir(module):
            made: Callable[..., Any] = getattr(module, name)
            return made
    return partial(op_def_library.apply_op, name)


def reference(built: Built) -> dict[str, Array]:
    """What TensorFlow computes, op by op, with nothing optimised."""
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = -1
    config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = 1
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(built.graph, name="")
        with tf.compat.v1.Session(graph=graph, config=config) as session:
            names = [o.name for o in built.outputs]
            # Copies, for some ops write into what they are given.
            feeds = {f"{name}:0": np.array(value) for name, value in built.feeds.items()}
            found = session.run([f"{n}:0" for n in names], feeds)
    # A scalar text is bytes, which numpy takes for an array of them.
    values = (np.array(v, object) if isinstance(v, bytes) else v for v in found)
    return dict(zip(names, values, strict=True))


def ours(built: Built, opset: int, *, extensions: bool = False) -> bytes:
    """The model that smconvert makes; raises ConversionError where it refuses."""
    lowered = lower(built.frozen(), opset, extensions=extensions)
    audit.ensure_valid(lowered.model)
    return lowered.model.SerializeToString()


def theirs(built: Built, opset: int) -> bytes:
    """The model that plain tf2onnx makes; raises ConversionError where it raises at all."""
    import tf2onnx

    try:
        model, _ = tf2onnx.convert.from_graph_def(
            built.graph,
            input_names=[i.tensor for i in built.inputs],
            output_names=[o.tensor for o in built.outputs],
            opset=opset,
            tensors_to_rename={t.tensor: t.name for t in (*built.inputs, *built.outputs)},
        )
    except Exception as error:
        raise ConversionError(f"{type(error).__name__}: {error}") from error
    return model.SerializeToString()


def run(model: bytes, feeds: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
    """What ONNX Runtime computes on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    taken = {i.name for i in session.get_inputs()}
    given = {n: unquantized(v) for n, v in feeds.items() if n in taken}
    return dict(zip(outputs, ort_values.run(session, given, outputs), strict=True))


def outcomes(
    cases: Iterable[Case],
    shapes: Shapes,
    opset: int,
    convert: Callable[[Built, int], bytes] = ours,
) -> Iterator[Outcome]:
    """How each case ends: all in one graph first, and one by one what does not end well there."""
    tried = [case for case in cases if shapes in case.shapes]
    for start in range(0, len(tried), TOGETHER):
        group = tried[start : start + TOGETHER]
        found = _together(group, shapes, opset, convert)
        if len(group) > 1 and any(o.verdict not in GOOD for o in found):
            found = [_together([case], shapes, opset, convert)[0] for case in group]
        yield from found


TOGETHER = 24
GOOD = frozenset({Verdict.EXACT, Verdict.CLOSE})
FAULTS = frozenset({Verdict.WRONG, Verdict.UNLOADABLE})


def _together(
    cases: Sequence[Case], shapes: Shapes, opset: int, convert: Callable[[Built, int], bytes]
) -> list[Outcome]:
    def all_end(verdict: Verdict, error: Exception) -> list[Outcome]:
        text = f"{type(error).__name__}: {error}" if verdict is not Verdict.REFUSED else str(error)
        line = " ".join(text.split())[:300]
        return [Outcome(case, shapes, verdict, line) for case in cases]

    try:
        built = build(cases, shapes)
        expected = reference(built)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        return all_end(Verdict.UNDEFINED, error)
    try:
        model = convert(built, opset)
    except ConversionError as error:
        return all_end(Verdict.REFUSED, error)
    except Exception as error:
        return all_end(Verdict.UNLOADABLE, error)
    try:
        actual = run(model, built.feeds, list(expected))
    except Exception as error:
        return all_end(Verdict.UNLOADABLE, error)
    return [
        Outcome(case, shapes, *_judged(case, names, expected, actual))
        for case, names in zip(cases, built.of_case, strict=True)
    ]


def _judged(
    case: Case, names: Iterable[str], expected: Mapping[str, Array], actual: Mapping[str, Array]
) -> tuple[Verdict, str]:
    exact = True
    for name in names:
        reason = differs(expected[name], actual[name], case.tolerance)
        if reason:
            return Verdict.WRONG, f"{name}: {reason}"
        exact = exact and not differs(expected[name], actual[name], EXACT)
    return (Verdict.EXACT if exact else Verdict.CLOSE), ""


def unquantized(array: Array) -> Array:
    """The integers of an array of a quantized type, as ONNX has them; others as they are."""
    return array if array.dtype.names is None else array.view(array.dtype[0])


def differs(expected: Array, actual: Array, tolerance: Tolerance) -> str:
    """How two arrays differ by more than is allowed; empty where they do not."""
    expected, actual = unquantized(np.asarray(expected)), np.asarray(actual)
    if expected.dtype != actual.dtype:
        return f"{actual.dtype} for {expected.dtype}"
    if expected.shape != actual.shape:
        return f"shape {actual.shape} for {expected.shape}"
    if not expected.size:
        return ""
    if expected.dtype.kind not in "fV" and expected.dtype.name != "bfloat16":
        same = expected == actual
    else:
        same = _near(expected, actual, tolerance)
    if np.all(same):
        return ""
    at = tuple(int(i) for i in np.argwhere(~same)[0])
    count = int(np.size(same) - np.count_nonzero(same))
    return f"{actual[at]!r} for {expected[at]!r} at {at}, {count} of {np.size(same)}"


def _near(expected: Array, actual: Array, tolerance: Tolerance) -> Array:
    wide, found = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(all="ignore"):
        same = (wide == found) | (np.isnan(wide) & np.isnan(found))
        size = np.abs(wide)
        smallest = float(ml_dtypes.finfo(expected.dtype).smallest_normal)
        digits = ml_dtypes.finfo(expected.dtype).eps
        last = digits * 2.0 ** np.floor(np.log2(np.maximum(size, smallest)))
        allowed = tolerance.ulps * last + tolerance.rtol * size + tolerance.atol
        return same | (np.isfinite(wide) & np.isfinite(found) & (np.abs(wide - found) <= allowed))
