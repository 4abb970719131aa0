"""The check that follows a conversion: source and result, each by its own runtime, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smconvert.converters import Executable
from smconvert.errors import RuntimeFailure
from smconvert.graph.hints import hints
from smconvert.model import Array, CanonicalModel, Signature
from smconvert.parity import inputs, warmup
from smconvert.parity.comparison import OutputParity, Verdict, compare
from smconvert.parity.data import calls_from
from smconvert.runtimes.workers import Workers

__all__ = ["CheckOptions", "OutputParity", "Parity", "SignatureParity", "Verdict", "check"]

Calls = Sequence[Mapping[str, Array]]

RERUNS = 3
"""Of the source, before a difference is held against the result: two draws can agree by chance."""


@dataclass(frozen=True)
class CheckOptions:
    """On what, and how strictly, to compare.

    Attributes:
        rtol: Relative tolerance for floating point; None for one by type.
        atol: Absolute tolerance, likewise.
        seed: Of the generated inputs.
        data: A file with inputs to use instead (see :mod:`smconvert.parity.data`).
    """

    rtol: float | None = None
    atol: float | None = None
    seed: int = 0
    data: Path | None = None


@dataclass(frozen=True)
class SignatureParity:
    """The comparison of one signature: a verdict, its reason, each output, and what was fed."""

    name: str
    verdict: Verdict
    outputs: tuple[OutputParity, ...] = ()
    reason: str | None = None
    calls: Calls = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Parity:
    """The comparison of all signatures."""

    signatures: tuple[SignatureParity, ...]

    @property
    def verdict(self) -> Verdict:
        """Failed if any failed; otherwise not run if any was not; otherwise passed."""
        found = {s.verdict for s in self.signatures}
        if Verdict.FAILED in found:
            return Verdict.FAILED
        return Verdict.NOT_RUN if Verdict.NOT_RUN in found or not found else Verdict.PASSED

    @property
    def reason(self) -> str | None:
        """Why, for the first signature that did not pass; else what was left uncompared."""
        for signature in self.signatures:
            if signature.verdict is self.verdict and signature.reason:
                return f"{signature.name}: {signature.reason}"
        return None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "signatures": [
                {
                    "name": s.name,
                    "verdict": s.verdict.value,
                    "reason": s.reason,
                    "outputs": [o.to_json() for o in s.outputs],
                }
                for s in self.signatures
            ],
        }


def check(
    model: CanonicalModel,
    references: Mapping[str, Executable],
    results: Mapping[str, Executable],
    options: CheckOptions,
    workers: Workers,
) -> Parity:
    """Runs both ends of a conversion on the same inputs and compares every output.

    Args:
        model: What the signatures are; used only to make inputs.
        references: By signature, how the source runs.
        results: By signature, how the result runs.
        options: Inputs and tolerances.
        workers: The processes to run in.

    Raises:
        UsageError: ``options.data`` cannot be used.
        SourceError: the source's warm-up requests are damaged.
    """
    return Parity(
        tuple(
            _check(model.signatures[name], references[name], result, options, workers)
            for name, result in results.items()
        )
    )


def _check(
    signature: Signature,
    reference: Executable,
    result: Executable,
    options: CheckOptions,
    workers: Workers,
) -> SignatureParity:
    try:
        calls, expected = _reference(signature, reference, options, workers)
    except RuntimeFailure as error:
        return SignatureParity(
            signature.name,
            Verdict.NOT_RUN,
            reason=f"the source did not run: {error.message}; --data FILE.npz gives its inputs",
        )
    try:
        actual = workers.run(result, calls)
    except RuntimeFailure as error:
        return SignatureParity(
            signature.name, Verdict.FAILED, reason=f"the result did not run: {error.message}"
        )
    outputs = [
        compare(
            o.name,
            [e[o.name] for e in expected],
            [a[o.name] for a in actual],
            options.rtol,
            options.atol,
        )
        for o in signature.outputs
    ]
    failed = {o.name for o in outputs if o.verdict is Verdict.FAILED}
    random = _random(failed, signature, reference, calls, expected, options, workers)
    outputs = [_not_compared(o) if o.name in random else o for o in outputs]
    return replace(_judged(signature.name, tuple(outputs)), calls=calls)


def _reference(
    signature: Signature, reference: Executable, options: CheckOptions, workers: Workers
) -> tuple[Calls, list[dict[str, Array]]]:
    """The inputs, and what the source makes of them."""
    if options.data is not None:
        given = calls_from(options.data, signature)
        return given, _run_source(signature, reference, given, workers)
    refused = None
    recorded = warmup.requests(reference.path, signature)
    if recorded:
        try:
            return recorded, _run_source(signature, reference, recorded, workers)
        except RuntimeFailure as error:
            refused = error
    known = hints(signature)
    for attempt in inputs.ATTEMPTS:
        calls = inputs.generated(signature, known, options.seed, attempt)
        try:
            return calls, _run_source(signature, reference, calls, workers)
        except RuntimeFailure as error:
            refused = refused or error
    raise refused or RuntimeFailure("no inputs could be generated")


def _run_source(
    signature: Signature, reference: Executable, calls: Calls, workers: Workers
) -> list[dict[str, Array]]:
    """Runs the source; a session is not fed a default, so that its own one is what counts."""
    if reference.runtime == "tf1-session":
        calls = [
            {n: value for n, value in call.items() if value is not signature.input(n).default}
            for call in calls
        ]
    return workers.run(reference, calls)


def _random(
    names: set[str],
    signature: Signature,
    reference: Executable,
    calls: Calls,
    expected: Calls,
    options: CheckOptions,
    workers: Workers,
) -> set[str]:
    """Those outputs that the source itself gives another value from run to run.

    Another value is one out of tolerance: sums by several threads differ in their last bits, and
    that must not excuse a result that is wrong.
    """
    random: set[str] = set()
    for _ in range(RERUNS):
        if random == names:
            break
        try:
            again = _run_source(signature, reference, calls, workers)
        except RuntimeFailure:
            break
        for name in names - random:
            values = [e[name] for e in expected], [a[name] for a in again]
            if compare(name, *values, options.rtol, options.atol).verdict is Verdict.FAILED:
                random.add(name)
    return random


def _not_compared(output: OutputParity) -> OutputParity:
    return OutputParity(
        output.name,
        Verdict.NOT_RUN,
        reason="it is random: the source gives another value on the same inputs",
    )


def _judged(name: str, outputs: tuple[OutputParity, ...]) -> SignatureParity:
    failed = [o for o in outputs if o.verdict is Verdict.FAILED]
    random = [o.name for o in outputs if o.verdict is Verdict.NOT_RUN]
    if failed:
        return SignatureParity(
            name, Verdict.FAILED, outputs, f"output {failed[0].name!r}: {failed[0].reason}"
        )
    if random and len(random) == len(outputs):
        return SignatureParity(
            name, Verdict.NOT_RUN, outputs, "every output is random, so none can be compared"
        )
    note = f"{', '.join(random)} not compared, being random" if random else None
    return SignatureParity(name, Verdict.PASSED, outputs, note)
