"""Two artifacts at several places, on the same inputs: every output of every call, compared.

The reference is the first artifact at its first place. Each other place, of either artifact, is a
column: run twice, so that its own noise is known, and compared with the reference call by call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smconvert.converters import Executable
from smconvert.errors import RuntimeFailure, Unavailable
from smconvert.model import Array, SignatureInfo
from smconvert.parity.comparison import OutputParity, Verdict, compare
from smconvert.parity.distribution import Distribution, distribution
from smconvert.parity.rounding import ROUNDING
from smconvert.runtimes.places import Place
from smconvert.runtimes.workers import Ran, Workers


@dataclass(frozen=True)
class Call:
    """Inputs by name, with what is special about them (``batch 3``, ``data[0]``)."""

    label: str
    feeds: Mapping[str, Array]


@dataclass(frozen=True)
class Contender:
    """An artifact at a place.

    Attributes:
        label: Which artifact it is.
        executable: Its signature, in its own names.
        place: Where it runs.
        names: The reference's name of an input or output to its own, where they differ.
    """

    label: str
    executable: Executable
    place: Place
    names: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.label} on {self.place}"


@dataclass(frozen=True)
class Cell:
    """One output of one call in one column."""

    call: str
    parity: OutputParity


@dataclass(frozen=True)
class Column:
    """One contender against the reference.

    Attributes:
        contender: Who ran.
        verdict: Failed if any cell failed; not run with the reason; otherwise passed.
        cells: By call and output.
        reason: Why it failed or was not run.
        noise: Output to the largest absolute difference between two runs of the contender itself.
        placement: Nodes by execution provider, where the runtime proves it.
        distributions: Output to how its errors are spread.
    """

    contender: Contender
    verdict: Verdict
    cells: tuple[Cell, ...] = ()
    reason: str | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    placement: Mapping[str, int] = field(default_factory=dict)
    distributions: Mapping[str, Distribution] = field(default_factory=dict)

    @property
    def worst(self) -> Cell | None:
        """The cell that is furthest out, or furthest off."""
        order = {Verdict.FAILED: 2, Verdict.PASSED: 1, Verdict.NOT_RUN: 0}
        return max(
            self.cells,
            key=lambda c: (order[c.parity.verdict], c.parity.share_out, c.parity.max_abs),
            default=None,
        )


@dataclass(frozen=True)
class Matrix:
    """One signature of both artifacts, compared.

    Attributes:
        signature: The reference's.
        reference: Who the others are compared with.
        calls: What was fed, in order.
        columns: One for each other contender.
        expected: What the reference made of each call; empty without a reference.
        reason: Why there is no reference, if there is none.
        noise: As in :class:`Column`, of the reference.
        placement: Likewise.
    """

    signature: SignatureInfo
    reference: Contender
    calls: tuple[Call, ...]
    columns: tuple[Column, ...]
    expected: tuple[Mapping[str, Array], ...] = ()
    reason: str | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    placement: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Failed if a column failed; not run if none ran; otherwise passed."""
        found = {column.verdict for column in self.columns}
        for verdict in (Verdict.FAILED, Verdict.PASSED):
            if verdict in found:
                return verdict
        return Verdict.NOT_RUN


def build(
    signature: SignatureInfo,
    reference: Contender,
    others: Sequence[Contender],
    calls: Sequence[Call],
    workers: Workers,
    rtol: float | None = None,
    atol: float | None = None,
) -> Matrix:
    """Runs every contender on every call and compares each with the reference.

    Args:
        signature: Names that inputs and outputs have in ``calls`` and in the result.
        reference: Whose outputs are taken as expected.
        others: Compared with it.
        calls: At least one.
        workers: The processes to run in.
        rtol: Relative tolerance of floats; None for one by type and precision.
        atol: Absolute tolerance, likewise.
    """
    try:
        expected, again = _run_twice(reference, calls, workers)
    except RuntimeFailure as error:
        reason = f"the reference did not run: {error.message}"
        columns = tuple(Column(o, Verdict.NOT_RUN, reason=reason) for o in others)
        return Matrix(signature, reference, tuple(calls), columns, reason=reason)
    noise = _noise(signature, expected, again)
    random = {
        o.name
        for o in signature.outputs
        if compare(
            o.name,
            [e[o.name] for e in expected.outputs],
            [a[o.name] for a in again.outputs],
            rtol,
            atol,
        ).verdict
        is Verdict.FAILED
    }
    return Matrix(
        signature,
        reference,
        tuple(calls),
        tuple(
            _column(signature, other, calls, expected, random, workers, rtol, atol)
            for other in others
        ),
        tuple(expected.outputs),
        noise=noise,
        placement=expected.placement,
    )


def _column(
    signature: SignatureInfo,
    contender: Contender,
    calls: Sequence[Call],
    expected: Ran,
    random: set[str],
    workers: Workers,
    rtol: float | None,
    atol: float | None,
) -> Column:
    try:
        actual, again = _run_twice(contender, calls, workers)
    except Unavailable as error:
        return Column(contender, Verdict.NOT_RUN, reason=error.message)
    except RuntimeFailure as error:
        if len(calls) == 1:
            return Column(contender, Verdict.FAILED, reason=f"it did not run: {error.message}")
        return _one_by_one(signature, contender, calls, expected, random, workers, rtol, atol)
    if actual.placement and not contender.place.is_in(actual.placement):
        return Column(
            contender,
            Verdict.NOT_RUN,
            reason=f"no node ran on {contender.place.device}: {_counts(actual.placement)}",
            placement=actual.placement,
        )
    rounding = ROUNDING.get(contender.place.precision)
    noise = _noise(signature, actual, again)
    cells = []
    for call, e, a in zip(calls, expected.outputs, actual.outputs, strict=True):
        for output in signature.outputs:
            name = output.name
            parity = compare(name, [e[name]], [a[name]], rtol, atol, rounding)
            if name in random:
                parity = OutputParity(
                    name, Verdict.NOT_RUN, reason="the reference gives another value each time"
                )
            elif parity.verdict is Verdict.FAILED and 0 < parity.max_abs <= noise[name]:
                parity = replace(
                    parity,
                    verdict=Verdict.NOT_RUN,
                    reason=f"two runs of it differ by as much ({noise[name]:.3g})",
                )
            cells.append(Cell(call.label, parity))
    failed = [c for c in cells if c.parity.verdict is Verdict.FAILED]
    compared = [c for c in cells if c.parity.verdict is not Verdict.NOT_RUN]
    verdict = Verdict.FAILED if failed else Verdict.PASSED if compared else Verdict.NOT_RUN
    named = failed or ([] if compared else cells)
    return Column(
        contender,
        verdict,
        tuple(cells),
        f"{named[0].call}, {named[0].parity.name}: {named[0].parity.reason}" if named else None,
        noise,
        actual.placement,
        {
            o.name: distribution(
                [e[o.name] for e in expected.outputs], [a[o.name] for a in actual.outputs]
            )
            for o in signature.outputs
        },
    )


def _one_by_one(
    signature: SignatureInfo,
    contender: Contender,
    calls: Sequence[Call],
    expected: Ran,
    random: set[str],
    workers: Workers,
    rtol: float | None,
    atol: float | None,
) -> Column:
    """The column of a contender that does not run on all calls: what it makes of each alone."""
    cells: list[Cell] = []
    reasons = []
    for call, outputs in zip(calls, expected.outputs, strict=True):
        alone = Ran([outputs], expected.placement)
        column = _column(signature, contender, [call], alone, random, workers, rtol, atol)
        if column.reason is not None:
            reasons.append(column.reason if column.cells else f"{call.label}: {column.reason}")
        cells += column.cells or [
            Cell(
                call.label,
                OutputParity(o.name, Verdict.FAILED, share_out=1.0, reason=column.reason),
            )
            for o in signature.outputs
        ]
    ran = any(cell.parity.max_abs or not cell.parity.reason for cell in cells)
    return Column(
        contender,
        Verdict.FAILED if reasons else Verdict.PASSED,
        tuple(cells) if ran else (),
        reasons[0] if reasons else None,
    )


def _run_twice(contender: Contender, calls: Sequence[Call], workers: Workers) -> tuple[Ran, Ran]:
    """Runs the calls in a fresh session, and once more in another."""
    to_theirs = contender.names
    to_ours = {theirs: ours for ours, theirs in to_theirs.items()}
    feeds = [{to_theirs.get(n, n): v for n, v in call.feeds.items()} for call in calls]
    runs = [workers.measure(contender.executable, feeds, contender.place) for _ in range(2)]
    first, again = (
        Ran([{to_ours.get(n, n): v for n, v in o.items()} for o in run.outputs], run.placement)
        for run in runs
    )
    return first, again


def _noise(signature: SignatureInfo, run: Ran, again: Ran) -> dict[str, float]:
    return {
        o.name: max(
            compare(o.name, [a[o.name]], [b[o.name]], 0.0, 0.0).max_abs
            for a, b in zip(run.outputs, again.outputs, strict=True)
        )
        for o in signature.outputs
    }


def _counts(placement: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} on {provider}" for provider, count in placement.items())
