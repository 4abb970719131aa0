"""Two artifacts of any formats, at any places: do they compute the same?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smconvert.converters import Executable, Match, Reader, SourceOptions, reader_for
from smconvert.errors import RuntimeFailure, SmconvertError, UsageError
from smconvert.graph.hints import Hint, hints
from smconvert.model import SignatureInfo, TensorInfo
from smconvert.parity import inputs, matrix, warmup
from smconvert.parity.comparison import Verdict
from smconvert.parity.data import calls_from
from smconvert.parity.matrix import Call, Contender, Matrix
from smconvert.parity.shrink import Feeds, shrink
from smconvert.runtimes.places import Place, family, places
from smconvert.runtimes.workers import Workers, opened

FIRST, SECOND = "A", "B"


@dataclass(frozen=True)
class CompareOptions:
    """On what, where, and how strictly to compare.

    Attributes:
        on: Places, such as ``tf:cpu,ort:cpu,ort:cuda``; empty runs each artifact on the CPU.
        data: A file with inputs (see :mod:`smconvert.parity.data`).
        seed: Of generated inputs.
        special: Generated floats hold infinities, NaN and denormals too.
        quick: Two batches of generated inputs are enough.
        rtol: Relative tolerance for floats; None for one by type and precision.
        atol: Absolute tolerance, likewise.
        names: Name of an input or output in A to its name in B, where they differ.
    """

    on: str = ""
    data: Path | None = None
    seed: int = 0
    special: bool = False
    quick: bool = False
    rtol: float | None = None
    atol: float | None = None
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        first: A, and how it was recognised.
        second: B.
        matrices: One for each signature that both have.
        smallest: The smallest input on which B failed, if one was looked for and found.
    """

    first: Match
    second: Match
    matrices: tuple[Matrix, ...]
    smallest: Feeds | None = None

    @property
    def verdict(self) -> Verdict:
        """Failed if a column failed; not run if nothing ran; otherwise passed."""
        found = {m.verdict for m in self.matrices}
        for verdict in (Verdict.FAILED, Verdict.NOT_RUN):
            if verdict in found:
                return verdict
        return Verdict.PASSED

    def missing(self, devices: Sequence[str]) -> list[str]:
        """Those of ``devices`` on which no column ran."""
        ran = {
            column.contender.place.device
            for matrix in self.matrices
            for column in matrix.columns
            if column.verdict is not Verdict.NOT_RUN
        }
        return [device for device in devices if device not in ran]


@dataclass(frozen=True)
class _Side:
    match: Match
    reader: Reader
    options: SourceOptions
    signatures: Mapping[str, SignatureInfo]

    def executable(self, name: str) -> Executable:
        return self.reader.executable(self.match.path, self.options, self.signatures[name])


def compare(
    first: str | Path,
    second: str | Path,
    options: CompareOptions | None = None,
    *,
    first_options: SourceOptions | None = None,
    second_options: SourceOptions | None = None,
    smallest: bool = False,
    workers: Workers | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Comparison:
    """Compares two artifacts.

    Args:
        first: A, the reference.
        second: B.
        options: On what, where, and how strictly.
        first_options: How to read A.
        second_options: How to read B.
        smallest: If B fails, look for the smallest input on which it does.
        workers: Runtimes to use again.
        progress: Told the start of each step.

    Raises:
        SourceError: one of them cannot be read.
        UsageError: they have no signature in common, or an option does not fit them.
    """
    options = options or CompareOptions()
    a = _side(first, first_options or SourceOptions())
    b = _side(second, second_options or SourceOptions())
    wanted = places(options.on)
    found = []
    shrunk = None
    with opened(workers) as running:
        for ours, theirs in _pairs(a, b):
            signature = a.signatures[ours]
            names = _names(signature, b.signatures[theirs], options.names)
            here = _contenders(FIRST, a.executable(ours), wanted, {})
            there = _contenders(SECOND, b.executable(theirs), wanted, names)
            _ensure_used(wanted, [*here, *there])
            progress(f"running {ours}")
            calls = _calls(a, b, signature, here[0], options, running)
            calls = _sayable(calls, [*here, *there])
            built = matrix.build(
                signature,
                here[0],
                [*here[1:], *there],
                calls,
                running,
                options.rtol,
                options.atol,
            )
            found.append(built)
            if smallest and shrunk is None and built.verdict is Verdict.FAILED:
                progress("looking for the smallest input that fails")
                shrunk = _smallest(built, calls, options, running)
    return Comparison(a.match, b.match, tuple(found), shrunk)


def _side(path: str | Path, options: SourceOptions) -> _Side:
    reader, match = reader_for(Path(path))
    described = reader.describe(match.path, options).signatures
    if not described:
        raise UsageError("it has no signature", where=str(path), hint="name --inputs and --outputs")
    return _Side(match, reader, options, {s.name: s for s in described})


def _pairs(a: _Side, b: _Side) -> list[tuple[str, str]]:
    """Signatures of the same name; or the only one of each, whatever their names."""
    if len(a.signatures) == len(b.signatures) == 1:
        return [(next(iter(a.signatures)), next(iter(b.signatures)))]
    common = [(name, name) for name in a.signatures if name in b.signatures]
    if not common:
        raise UsageError(
            "the two have no signature in common",
            where=f"A has {', '.join(a.signatures)}; B has {', '.join(b.signatures)}",
            hint="choose one of each with --signature",
        )
    return common


def _names(
    ours: SignatureInfo, theirs: SignatureInfo, given: Mapping[str, str]
) -> Mapping[str, str]:
    """Our names to theirs, where they differ.

    Raises:
        UsageError: an input or output has no counterpart.
    """
    names: dict[str, str] = {}
    for kind, here, there in (
        ("input", ours.inputs, theirs.inputs),
        ("output", ours.outputs, theirs.outputs),
    ):
        known = {info.name for info in there}
        for info in here:
            name = given.get(info.name, info.name)
            if name not in known and len(here) == len(there) == 1 and info.name not in given:
                name = there[0].name
            if name in known:
                names[info.name] = name
            elif kind == "output" or info.default is None:
                raise _unmatched(kind, info, name, known)
        left = known - set(names.values())
        needed = [i for i in there if i.name in left and i.default is None]
        if kind == "input" and needed:
            raise _unmatched(kind, needed[0], needed[0].name, {i.name for i in here}, "B")
    return {ours: theirs for ours, theirs in names.items() if ours != theirs}


def _unmatched(
    kind: str, info: TensorInfo, name: str, known: set[str], side: str = "A"
) -> UsageError:
    other = "B" if side == "A" else "A"
    return UsageError(
        f"the {kind} {info.name!r} of {side} has no counterpart {name!r} in {other}",
        where=f"{other} has {', '.join(sorted(known)) or 'none'}",
        hint="say what it is called there: --map NAME_IN_A=NAME_IN_B",
    )


def _contenders(
    label: str, executable: Executable, wanted: Sequence[Place], names: Mapping[str, str]
) -> list[Contender]:
    fitting = [p for p in wanted if p.runs(executable.runtime)]
    return [
        Contender(label, executable, p, names)
        for p in fitting or [Place(family(executable.runtime))]
    ]


def _ensure_used(wanted: Sequence[Place], contenders: Sequence[Contender]) -> None:
    unused = [p for p in wanted if p not in {c.place for c in contenders}]
    if unused:
        runtimes = sorted({family(c.executable.runtime) for c in contenders})
        raise UsageError(
            f"nothing here runs at {unused[0]}",
            where="--on",
            hint=f"the two run in {' and '.join(runtimes)}",
        )


def _calls(
    a: _Side,
    b: _Side,
    signature: SignatureInfo,
    reference: Contender,
    options: CompareOptions,
    workers: Workers,
) -> list[Call]:
    """The user's inputs; else the warm-up requests of A; else generated ones that A accepts."""
    if options.data is not None:
        given = calls_from(options.data, signature)
        return [Call(f"{options.data.name}[{i}]", call) for i, call in enumerate(given)]
    recorded = warmup.requests(a.match.path, signature)
    if recorded:
        return [Call(f"warm-up request {i}", call) for i, call in enumerate(recorded)]
    known = _hints(a, signature.name) or _hints(b, signature.name)
    for attempt in inputs.ATTEMPTS:
        generated = inputs.generated(signature, known, options.seed, attempt)
        if not _accepted(reference, generated, workers):
            continue
        calls = [Call(_label(call, i), call) for i, call in enumerate(generated)]
        if options.quick:
            return calls
        more = inputs.further(signature, known, options.seed, attempt, options.special)
        together = _accepted(reference, list(more.values()), workers)
        return calls + [
            Call(label, call)
            for label, call in more.items()
            if together or _accepted(reference, [call], workers)
        ]
    return [Call(_label(c, i), c) for i, c in enumerate(generated)]


def _sayable(calls: Sequence[Call], contenders: Sequence[Contender]) -> list[Call]:
    """Without empty tensors, where a contender is spoken to in JSON: it has no shape for them."""
    if all(c.executable.settings.get("takes_empty", True) for c in contenders):
        return list(calls)
    return [c for c in calls if all(value.size for value in c.feeds.values())]


def _label(call: Feeds, number: int) -> str:
    rows = {len(v) for v in call.values() if v.ndim}
    return f"batch {rows.pop()}" if len(rows) == 1 else f"call {number}"


def _accepted(reference: Contender, calls: Sequence[Feeds], workers: Workers) -> bool:
    try:
        workers.measure(reference.executable, calls, reference.place)
    except RuntimeFailure:
        return False
    return True


def _hints(side: _Side, name: str) -> Mapping[str, Hint]:
    """What the graph says about its inputs; nothing where it cannot be loaded."""
    load = getattr(side.reader, "load", None)
    if load is None or name not in side.signatures:
        return {}
    try:
        model = load(side.match.path, side.options)
        return hints(model.signatures[name])
    except (SmconvertError, KeyError):
        return {}


def _smallest(
    built: Matrix, calls: Sequence[Call], options: CompareOptions, workers: Workers
) -> Feeds | None:
    column = next(c for c in built.columns if c.verdict is Verdict.FAILED)
    if column.worst is None:
        return None
    worst = next(c for c in calls if c.label == column.worst.call)
    batched = {
        i.name
        for i in built.signature.inputs
        if i.shape and not isinstance(i.shape[0], int) and i.name in worst.feeds
    }

    def fails(candidates: Sequence[Feeds]) -> list[bool]:
        (again,) = matrix.build(
            built.signature,
            built.reference,
            [column.contender],
            [Call(str(number), candidate) for number, candidate in enumerate(candidates)],
            workers,
            options.rtol,
            options.atol,
        ).columns
        if not again.cells and len(candidates) > 1:
            return [failed for candidate in candidates for failed in fails([candidate])]
        failed = {c.call for c in again.cells if c.parity.verdict is Verdict.FAILED}
        return [str(number) in failed for number in range(len(candidates))]

    return shrink(worst.feeds, batched, fails)
