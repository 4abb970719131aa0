"""A slice of the op suite: a few cases of each op; ``-m slow`` has them all.

``python tests/ops`` shows them one by one, and writes the coverage page.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from proof import FAULTS, Case, Shapes, Verdict, outcomes
from smconvert_onnx import support
from smconvert_onnx.handlers import handlers
from smconvert_onnx.writing import DEFAULT_OPSET
from suite import cases, groups

FEW = 8

BY_OP = {op: own for group in groups() for op, own in cases(group).items()}


@pytest.mark.parametrize("op", sorted(BY_OP))
def test_few(op: str) -> None:
    own = BY_OP[op]
    step = max(1, len(own) // FEW)
    judge(op, own[::step], (Shapes.DIMENSIONS,))


@pytest.mark.slow
@pytest.mark.parametrize("op", sorted(BY_OP))
def test_all(op: str) -> None:
    judge(op, BY_OP[op], tuple(Shapes))


def judge(op: str, own: list[Case], shapes: tuple[Shapes, ...]) -> None:
    found = [o for s in shapes for o in outcomes(own, s, DEFAULT_OPSET)]
    faults = [
        f"{o.verdict.value}: {o.case.dtype}, {o.reason}" for o in found if o.verdict in FAULTS
    ]
    assert not faults, "\n".join(faults)
    promised = support.support()[op].verdict is support.Verdict.EXACT
    refused = [o for o in found if o.verdict is Verdict.REFUSED and not o.case.refusable]
    assert not (promised and refused), f"exact, but refused: {refused[0].reason}"


REGISTERED = """
from tensorflow.python.framework import kernels
for kernel in kernels.get_all_registered_kernels().kernel:
    if kernel.device_type in {"CPU", "DEFAULT"}:
        print(kernel.op)
"""


def test_every_op_has_its_row() -> None:
    """Every op that TensorFlow itself, in a process of its own, has a CPU kernel for."""
    found = subprocess.run(
        [sys.executable, "-c", REGISTERED], check=True, capture_output=True, text=True
    )
    registered = set(found.stdout.split())
    assert len(registered) > 1400
    assert sorted(registered - set(support.support())) == []


def test_what_a_handler_writes_is_in_the_table() -> None:
    table = support.support()
    assert [op for op in handlers() if not table[op].is_written(extensions=True)] == []


def test_what_has_cases_is_in_the_table() -> None:
    assert [op for op in BY_OP if op not in support.support()] == []
