"""Where two models part: the first tensor that differs, and whether the difference is born there.

Tensors are followed by name from A's graph to B's, which is ONNX. Every one that both have is
computed three times on the input that failed: by A; by B; and by B from A's values of the tensors
just before it. The last tells a difference that is born at a tensor from one that came down to it.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
from onnx import numpy_helper

from smconvert.bundle.write import archive
from smconvert.comparison import CompareOptions, Comparison, compare
from smconvert.converters import Executable, SourceOptions, importer_for
from smconvert.errors import RuntimeFailure, SmconvertError, UsageError
from smconvert.graph import loops
from smconvert.graph.freeze import FrozenGraph, freeze, whole
from smconvert.graph.protos import node_def_pb2
from smconvert.model import Array, DType, SignatureInfo, TensorInfo
from smconvert.parity import onnx_graph
from smconvert.parity.comparison import Verdict, difference, finite, tolerance_for
from smconvert.parity.matrix import Call, Matrix
from smconvert.runtimes.workers import Workers, opened

BATCH = 256
"""Tensors that one run fetches."""

SUSPECTS = 16
"""Tensors, of those at which a difference is born, that are tried as the cause."""

_MIN_EXCESS = 0.05
"""A difference of a twentieth of the tolerance is rounding, wherever it is born."""


@dataclass(frozen=True)
class Parting:
    """Where the difference begins.

    Attributes:
        tensor: The first tensor, in B's order, at which the difference is born.
        born: False if no tensor differs from values that are right; rounding only grew here.
        excess: The difference there, from right values, in units of the tolerance.
        nodes: B's nodes that compute it from tensors that both models have, one line each.
        source_tensor: A's name of the tensor.
        source_node: A's node, in one line.
        expected: A's value.
        actual: What B makes of A's values.
        inputs: A's values of what the nodes read.
        model: The nodes alone, as a model.
    """

    tensor: str
    born: bool
    excess: float
    nodes: tuple[str, ...]
    source_tensor: str
    source_node: str | None
    expected: Array = field(repr=False)
    actual: Array = field(repr=False)
    inputs: Mapping[str, Array] = field(repr=False)
    model: onnx.ModelProto = field(repr=False)


@dataclass(frozen=True)
class Bisection:
    """What was found.

    Attributes:
        comparison: Of the two models as wholes.
        tensors: How many tensors both have.
        parting: Where they part; None if they agree.
        differing: Tensors that differ in B's own run from there on, in order, with their excess.
        others: Further tensors at which a difference is born, if the right value at the parting
            does not make B's outputs right.
    """

    comparison: Comparison
    tensors: int = 0
    parting: Parting | None = None
    differing: tuple[tuple[str, float], ...] = ()
    others: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the two models agree as wholes."""
        return self.comparison.verdict is Verdict.PASSED

    def told(self, most: int) -> Iterator[str]:
        """What was found, in lines; at most so many of a kind."""
        if self.agrees:
            yield "they agree"
            return
        if self.parting is None:
            yield f"they differ, and none of {self.tensors} tensors that both have shows where"
            return
        parting = self.parting
        how = "is born" if parting.born else "is only rounding that grew; most of it"
        yield f"the difference {how} at {parting.tensor}"
        yield f"  {parting.excess:.3g} times the tolerance, computed from right values"
        if parting.source_node:
            yield f"  in A: {parting.source_node}"
        yield from (f"  in B: {node}" for node in parting.nodes)
        yield f"  looked at {self.tensors} tensors; {len(self.differing)} differ in B's own run"
        yield from (f"    {name}: {excess:.3g}" for name, excess in self.differing[:most])
        if self.others:
            yield f"  also born at {', '.join(self.others[:most])}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        parting = self.parting
        return {
            "agrees": self.agrees,
            "tensors": self.tensors,
            "parting": parting
            and {
                "tensor": parting.tensor,
                "born": parting.born,
                "excess": finite(parting.excess),
                "source_node": parting.source_node,
                "nodes": list(parting.nodes),
                "inputs": {n: [v.dtype.name, *v.shape] for n, v in parting.inputs.items()},
            },
            "differing": [{"tensor": n, "excess": finite(e)} for n, e in self.differing],
            "others": list(self.others),
        }


def bisect(
    first: str | Path,
    second: str | Path,
    options: CompareOptions | None = None,
    *,
    first_options: SourceOptions | None = None,
    workers: Workers | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Bisection:
    """Finds where B, an ONNX model, parts from A.

    Args:
        first: A, which is right: a TensorFlow artifact, or ONNX.
        second: B.
        options: Inputs and tolerances.
        first_options: How to read A; one signature must be left.
        workers: Runtimes to use again.
        progress: Told the start of each step.

    Raises:
        UsageError: B is not ONNX, or the two have no tensor in common.
        RuntimeFailure: A does not run.
    """
    options = options or CompareOptions()
    reading = first_options or SourceOptions()
    with opened(workers) as running:
        progress("comparing the whole")
        here = replace(options, on="")
        found = compare(first, second, here, first_options=reading, workers=running)
        if found.second.format != "onnx":
            raise UsageError(
                f"B is of the format {found.second.format}",
                where=str(second),
                hint="bisect follows tensors into ONNX models; convert it first",
            )
        if found.verdict is Verdict.PASSED:
            return Bisection(found)
        matrix, call = _failing(found)
        with tempfile.TemporaryDirectory(prefix="smconvert-bisect-") as name:
            progress("opening both graphs")
            a = _source(first, found, matrix, reading, Path(name))
            b = _Onnx(Path(second), Path(name) / "b")
            return _search(a, b, found, matrix, call, options, running, progress)


def _failing(found: Comparison) -> tuple[Matrix, Call]:
    """The signature that failed, and the input on which it failed most."""
    for matrix in found.matrices:
        if matrix.reason:
            raise RuntimeFailure(matrix.reason)
        for column in matrix.columns:
            if column.verdict is Verdict.FAILED:
                worst = column.worst
                label = worst.call if worst is not None else matrix.calls[0].label
                return matrix, next(c for c in matrix.calls if c.label == label)
    raise RuntimeFailure("nothing was compared: " + (found.matrices[0].columns[0].reason or ""))


def write_reproducer(parting: Parting, path: Path, options: CompareOptions | None = None) -> None:
    """Writes the nodes where two models part, with their inputs and A's value, as a bundle.

    ``python FILE`` runs it with numpy and onnxruntime alone, and shows the difference.
    """

    def info(name: str, value: Array) -> TensorInfo:
        return TensorInfo(name, DType.from_numpy(value.dtype), value.shape)

    inputs = tuple(info(name, value) for name, value in parting.inputs.items())
    signature = SignatureInfo("reproducer", inputs, (info(parting.tensor, parting.expected),))
    with tempfile.TemporaryDirectory(prefix="smconvert-reproducer-") as name:
        model = Path(name) / "model.onnx"
        onnx.save(parting.model, str(model))
        archive(
            path,
            model,
            signature,
            {},
            [Call("right inputs", parting.inputs)],
            [{parting.tensor: parting.expected}],
            options or CompareOptions(),
            {"source": parting.source_node or parting.tensor, "format": "bisect"},
        )


class _Onnx:
    """An ONNX model whose inner tensors can be fetched and fed."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._open(onnx.load(str(path)), folder)

    @classmethod
    def of(cls, model: onnx.ModelProto, folder: Path) -> Self:
        """A model that is in no file."""
        made = cls.__new__(cls)
        made._open(model, folder)
        return made

    def _open(self, model: onnx.ModelProto, folder: Path) -> None:
        self.model = model
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.tensors = list(onnx_graph.producers(model))
        self.inputs = [value.name for value in model.graph.input]
        self.following: Mapping[str, str] = {}

    @property
    def constants(self) -> dict[str, Array]:
        """The initializers."""
        return {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}

    def loop_body(self, parting: Parting, feeds: Mapping[str, Array], folder: Path) -> Self | None:
        """The body of the loop that a tensor is computed from."""
        nodes = onnx_graph.segment(self.model, parting.source_tensor, feeds)
        node = next((node for node in nodes if node.op_type == "Loop"), None)
        if node is None:
            return None
        return self.of(onnx_graph.body(self.model, node, feeds), folder / "right-body")

    def node(self, tensor: str) -> str | None:
        """The node that makes a tensor, in one line."""
        return onnx_graph.described(onnx_graph.producers(self.model)[tensor])

    def fetch(
        self, names: Sequence[str], feeds: Mapping[str, Array], workers: Workers
    ) -> dict[str, Array]:
        """The values of inner tensors."""
        return self.run(onnx_graph.exposed(self.model, names), names, feeds, workers)

    def run(
        self,
        model: onnx.ModelProto,
        names: Sequence[str],
        feeds: Mapping[str, Array],
        workers: Workers,
    ) -> dict[str, Array]:
        """The outputs of an opened model."""
        path = self.folder / "opened.onnx"
        onnx.save(
            model,
            str(path),
            save_as_external_data=model.ByteSize() > 1 << 30,
            location="opened.data",
        )
        outputs = tuple(TensorInfo(n, DType.FLOAT32, None) for n in names)
        inputs = tuple(TensorInfo(n, DType.FLOAT32, None) for n in feeds)
        signature = SignatureInfo("opened", inputs, outputs)
        return workers.run(Executable("ort", path, signature), [feeds])[0]


class _Graph:
    """A frozen TensorFlow graph whose inner tensors can be fetched."""

    def __init__(
        self, frozen: FrozenGraph, folder: Path, following: Mapping[str, str] | None = None
    ) -> None:
        self._frozen = frozen
        self.following = following or {}
        self._path = folder / "a.pb"
        self._path.write_bytes(frozen.graph.SerializeToString())
        self._nodes = {n.name: n for n in frozen.graph.node}
        self._ends = {o.name: o.tensor or "" for o in frozen.outputs}
        self.inputs = [i.name for i in frozen.inputs]

    @property
    def tensors(self) -> Iterator[str]:
        """Those that a session can fetch: none inside V1 loops, none without a value."""
        frames = loops.frames(self._frozen.graph)
        for name, node in self._nodes.items():
            depth = len(frames.get(name, ())) - (node.op == "Exit")
            if depth <= 0 and node.op not in {"NoOp", "HashTableV2", "Switch", "Const"}:
                yield from (f"{name}:{port}" for port in range(_outputs(node)))
        yield from self._ends

    def node(self, tensor: str) -> str | None:
        """The node that makes a tensor, in one line."""
        node = self._nodes[self._ends.get(tensor, tensor).partition(":")[0]]
        attributes = ", ".join(
            f"{key}={_attribute(node.attr[key])}"
            for key in sorted(node.attr)
            if not key.startswith("_") and key not in {"T", "dtype", "value"}
        )
        return f"{node.op} {node.name!r} ({attributes or 'no attributes'}) of " + ", ".join(
            node.input
        )

    def loop_body(
        self, parting: Parting, feeds: Mapping[str, Array], folder: Path
    ) -> _Graph | None:
        """One iteration of the loop that makes a tensor, as a graph fed by ONNX's names."""
        found = loops.iteration(self._frozen.graph, parting.source_tensor, feeds)
        if found is None:
            return None
        place = folder / "right-body"
        place.mkdir()
        bare = FrozenGraph(found.graph, found.inputs, (), (), (), 0, ())
        return _Graph(bare, place, found.following)

    def fetch(
        self, names: Sequence[str], feeds: Mapping[str, Array], workers: Workers
    ) -> dict[str, Array]:
        """The values of inner tensors."""
        outputs = tuple(TensorInfo(n, DType.FLOAT32, None, self._ends.get(n, n)) for n in names)
        signature = SignatureInfo("opened", self._frozen.inputs, outputs)
        executable = Executable("tf1-session", self._path, signature, {"graph": "graphdef"})
        return workers.run(executable, [feeds])[0]


def _attribute(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _outputs(node: node_def_pb2.NodeDef) -> int:
    from smconvert.graph.tf_internals import registered_op

    definition = registered_op(node.op)
    if definition is None:
        return 1
    count = 0
    for argument in definition.output_arg:
        if argument.number_attr:
            count += int(node.attr[argument.number_attr].i)
        elif argument.type_list_attr:
            count += len(node.attr[argument.type_list_attr].list.type)
        else:
            count += 1
    return count


def _source(
    path: str | Path, found: Comparison, matrix: Matrix, options: SourceOptions, folder: Path
) -> _Onnx | _Graph:
    if found.first.format == "onnx":
        return _Onnx(Path(path), folder / "a")
    importer, match = importer_for(Path(path))
    model = importer.load(match.path, options, live=False)
    return _Graph(whole(freeze(model.signatures[matrix.signature.name])), folder)


def _search(
    a: _Onnx | _Graph,
    b: _Onnx,
    found: Comparison,
    matrix: Matrix,
    call: Call,
    options: CompareOptions,
    workers: Workers,
    progress: Callable[[str], None],
) -> Bisection:
    contender = matrix.columns[0].contender
    theirs = contender.names
    feeds_b = {theirs.get(n, n): v for n, v in call.feeds.items()}
    settings = contender.executable.settings.get("output_names", {})
    ends = {o.name: theirs.get(o.name, o.name) for o in matrix.signature.outputs}
    ends = {ours: settings.get(name, name) for ours, name in ends.items()}
    known = set(a.tensors)
    pairs = {name: name for name in b.tensors if name in known}
    pairs |= {b_name: ours for ours, b_name in ends.items() if b_name in set(b.tensors)}
    if not pairs:
        raise UsageError(
            "the two graphs have no tensor in common", hint="a converter that keeps names is needed"
        )
    progress(f"computing {len(pairs)} tensors on both sides")
    place = _located(a, b, pairs, list(ends.values()), call.feeds, feeds_b, options, workers)
    parting = place.parting
    if parting is not None and parting.born:
        progress("looking into the loop")
        parting = _inside(a, b, parting, place.values, feeds_b, options, workers) or parting
    return Bisection(found, len(place.values), parting, place.differing, place.others)


@dataclass(frozen=True)
class _Place:
    """Where two graphs part: what :class:`Bisection` says, with the values in B's layout."""

    values: Mapping[str, Array]
    parting: Parting | None
    differing: tuple[tuple[str, float], ...]
    others: tuple[str, ...]


def _located(
    a: _Onnx | _Graph,
    b: _Onnx,
    pairs: Mapping[str, str],
    ends: Sequence[str],
    feeds_a: Mapping[str, Array],
    feeds_b: Mapping[str, Array],
    options: CompareOptions,
    workers: Workers,
) -> _Place:
    """Computes each tensor by A, by B, and by B from right values.

    Args:
        a: What is right.
        b: What is looked into.
        pairs: B's tensors to A's.
        ends: B's outputs.
        feeds_a: What A is fed.
        feeds_b: The same by B's names.
        options: With the tolerances.
        workers: The processes to run in.
    """
    order = [name for name in b.tensors if name in pairs]
    expected = _fetched(a, [pairs[n] for n in order], feeds_a, workers)
    actual = _fetched(b, order, feeds_b, workers)
    values: dict[str, Array] = {}
    differing = []
    for name in order:
        right, own = expected.get(pairs[name]), actual.get(name)
        laid = None if right is None or own is None else _laid_out(right, own)
        if laid is None or own is None:
            continue
        values[name] = laid
        excess = _excess(laid, own, options)
        if excess > 1:
            differing.append((name, excess))
    recomputed = _recomputed(b, values, feeds_b, actual, workers)
    born = {
        name: _excess(values[name], recomputed[name], options)
        for name in values
        if name in recomputed
    }
    known_ends = {name: values[name] for name in ends if name in values}
    cause, left = _cause(b, born, values, known_ends, feeds_b, actual, options, workers)
    parting = None
    if cause is not None:
        below = [name for name, _ in differing]
        if left <= 1 and cause in below:
            differing = differing[below.index(cause) :]
        parting = _parting(a, b, pairs[cause], cause, values, recomputed, born[cause], feeds_b)
    others = [n for n, excess in born.items() if excess > 1 and n != cause and left > 1]
    return _Place(values, parting, tuple(differing), tuple(others))


def _inside(
    a: _Onnx | _Graph,
    b: _Onnx,
    parting: Parting,
    values: Mapping[str, Array],
    feeds: Mapping[str, Array],
    options: CompareOptions,
    workers: Workers,
) -> Parting | None:
    """Where the body of a loop parts in its first iteration; None if that does not show it."""
    nodes = onnx_graph.segment(b.model, parting.tensor, values)
    loop = next((node for node in nodes if node.op_type == "Loop"), None)
    if loop is None:
        return None
    known = {**b.constants, **feeds, **values}
    variables = list(onnx_graph.loop_inputs(loop))
    outer = onnx_graph.outer_reads(loop)
    known |= _fetched(
        b, [n for n in b.tensors if n not in known and n in {*variables, *outer}], feeds, workers
    )
    if any(tensor not in known for tensor in (*variables, *outer)):
        return None
    body = onnx_graph.body(b.model, loop, known)
    inner = _Onnx.of(body, b.folder / "body")
    number, condition, *states = inner.inputs[: 2 + len(variables)]
    fed = {n: known[tensor] for n, tensor in zip(states, variables, strict=True)}
    fed |= {number: np.array(0, np.int64), condition: np.array(True)}
    fed |= {name: known[name] for name in inner.inputs[2 + len(variables) :]}
    right = a.loop_body(parting, fed, b.folder)
    if right is None:
        return None
    ours = set(right.tensors)
    pairs = {name: name for name in inner.tensors if name in ours}
    ends = [value.name for value in body.graph.output][1:]
    for state, end in zip(states, ends, strict=False):
        if right.following.get(state) in ours and end in set(inner.tensors):
            pairs.setdefault(end, right.following[state])
    feeds_a = {n: v for n, v in fed.items() if n in right.inputs}
    if not pairs:
        return None
    place = _located(right, inner, pairs, [], feeds_a, fed, options, workers)
    found = place.parting
    return found if found is not None and found.born else None


def _fetched(
    side: _Onnx | _Graph, names: Sequence[str], feeds: Mapping[str, Array], workers: Workers
) -> dict[str, Array]:
    """The values of those tensors that can be fetched; halves a batch that cannot be run."""
    if not names:
        return {}
    if len(names) > BATCH:
        return {
            **_fetched(side, names[:BATCH], feeds, workers),
            **_fetched(side, names[BATCH:], feeds, workers),
        }
    try:
        return side.fetch(list(dict.fromkeys(names)), feeds, workers)
    except (RuntimeFailure, SmconvertError):
        if len(names) == 1:
            return {}
    half = len(names) // 2
    return {
        **_fetched(side, names[:half], feeds, workers),
        **_fetched(side, names[half:], feeds, workers),
    }


def _laid_out(right: Array, own: Array) -> Array | None:
    """A's value in B's layout: the permutation of axes that brings it nearest; None without one."""
    if right.dtype == object or own.dtype == object:
        return right if right.shape == own.shape else None
    if right.ndim != own.ndim or right.ndim > 6:
        return None
    same_kind = own.dtype if own.dtype.kind == right.dtype.kind else right.dtype
    candidates = (
        [range(right.ndim)] if right.ndim < 3 else itertools.permutations(range(right.ndim))
    )
    fitting = [
        turned for axes in candidates if (turned := right.transpose(tuple(axes))).shape == own.shape
    ]
    if not fitting:
        return None

    def distance(value: Array) -> float:
        with np.errstate(all="ignore"):
            return float(np.nan_to_num(np.abs(value.astype(np.float64) - own), nan=0.0).sum())

    nearest = fitting[0] if len(fitting) == 1 else min(fitting, key=distance)
    return nearest.astype(same_kind, copy=False) if same_kind.itemsize > 2 else nearest


def _excess(right: Array, own: Array, options: CompareOptions) -> float:
    """The largest difference in units of the tolerance; infinite where values must be equal."""
    if right.shape != own.shape:
        return float("inf")
    if right.dtype == object or right.dtype.kind in "biu":
        return 0.0 if np.array_equal(right, own) else float("inf")
    tolerance = tolerance_for(DType.from_numpy(right.dtype), options.rtol, options.atol)
    if tolerance is None or not right.size:
        return 0.0
    distance, allowed = difference(right, own, tolerance)
    with np.errstate(all="ignore"):
        excess = np.where(distance == 0, 0.0, distance / allowed)
    return float(np.nan_to_num(np.max(excess), nan=np.inf))


def _recomputed(
    b: _Onnx,
    values: Mapping[str, Array],
    feeds: Mapping[str, Array],
    own: Mapping[str, Array],
    workers: Workers,
) -> dict[str, Array]:
    """What B makes of each tensor from right values of the tensors before it."""
    forced = {
        name: value.astype(own[name].dtype) if value.dtype != own[name].dtype else value
        for name, value in values.items()
    }
    names = [name + onnx_graph.RECOMPUTED for name in forced]
    inputs = {**feeds, **forced}
    found = b.run(onnx_graph.forced(b.model, forced), names, inputs, workers)
    return {name: found[name + onnx_graph.RECOMPUTED] for name in forced}


def _cause(
    b: _Onnx,
    born: Mapping[str, float],
    values: Mapping[str, Array],
    ends: Mapping[str, Array],
    feeds: Mapping[str, Array],
    own: Mapping[str, Array],
    options: CompareOptions,
    workers: Workers,
) -> tuple[str | None, float]:
    """The first tensor whose right value makes B's outputs right, and their excess then.

    A tensor that only shares its name with one of A's makes them no better. Without any that helps,
    it is the first at which a difference is born, or else where rounding grew most.
    """
    suspects = [name for name, excess in born.items() if excess > 1]
    if not suspects:
        grown = max(born, key=lambda name: born[name], default=None)
        return (grown if grown is not None and born[grown] >= _MIN_EXCESS else None), np.inf
    left: dict[str, float] = {}
    for name in suspects[:SUSPECTS] if len(suspects) > 1 else ():
        if name in ends and len(ends) == 1:
            continue
        value = values[name].astype(own[name].dtype)
        model = onnx_graph.forced(b.model, {name: value})
        wanted = [end for end in ends if end != name]
        del model.graph.output[:]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in wanted)
        found = b.run(model, wanted, {**feeds, name: value}, workers)
        left[name] = max((_excess(ends[n], found[n], options) for n in wanted), default=0.0)
        if left[name] <= 1:
            return name, left[name]
    nearest = min(left, key=lambda name: left[name], default=suspects[0])
    return nearest, left.get(nearest, 0.0 if len(suspects) == 1 else np.inf)


def _parting(
    a: _Onnx | _Graph,
    b: _Onnx,
    ours: str,
    tensor: str,
    values: Mapping[str, Array],
    recomputed: Mapping[str, Array],
    excess: float,
    feeds: Mapping[str, Array],
) -> Parting:
    nodes = onnx_graph.segment(b.model, tensor, values)
    reading = {n for node in nodes for n in onnx_graph.reads(node)}
    inputs = {n: v for n, v in {**values, **feeds}.items() if n in reading and n != tensor}
    return Parting(
        tensor,
        excess > 1,
        excess,
        tuple(map(onnx_graph.described, nodes)),
        ours,
        a.node(ours),
        values[tensor],
        recomputed[tensor],
        inputs,
        onnx_graph.alone(b.model, nodes, tensor, inputs),
    )
