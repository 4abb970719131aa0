"""Gradients of floats put on a grid of integers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.quantization import GRID, RANGES
from proof import Case, Tolerance
from values import DOUBLE, SINGLE, edges, plain

SUMS = Tolerance(rtol=1e-5, atol=1e-5)


def cases() -> Iterator[Case]:
    yield from _fake()
    yield from _by_channel()
    yield from _there_and_back()


def _fake() -> Iterator[Case]:
    for low, high in (*RANGES[:4], (-0.01, 12.0), (-5.0, 1e-3)):
        for bits, narrow in ((8, False), (8, True), (2, False), (16, True)):
            attributes = {"num_bits": bits, "narrow_range": narrow}
            for x in (GRID, edges(SINGLE), np.asarray(plain(SINGLE, ())), plain(SINGLE, (0, 2))):
                given = {"gradients": np.asarray(plain(SINGLE, x.shape, 1)), "inputs": x}
                limits = {"min": low, "max": high}
                yield Case("FakeQuantWithMinMaxArgsGradient", given, {**attributes, **limits})
                ends = {name: np.array(end, np.float32) for name, end in limits.items()}
                for constants in (frozenset[str](), frozenset(ends)):
                    yield Case(
                        "FakeQuantWithMinMaxVarsGradient",
                        {**given, **ends},
                        attributes,
                        constants,
                        SUMS,
                    )
    given = {"gradients": edges(SINGLE), "inputs": edges(SINGLE)}
    yield Case("FakeQuantWithMinMaxArgsGradient", given)
    given = {"gradients": plain(SINGLE, GRID.shape, 1), "inputs": GRID}
    ends = {name: np.array(0, np.float32) for name in ("min", "max")}
    yield Case("FakeQuantWithMinMaxVarsGradient", {**given, **ends})


def _by_channel() -> Iterator[Case]:
    low, high = np.array([-6, 0, -0.3], np.float32), np.array([6, 4.4, 0.9], np.float32)
    for bits, narrow in ((8, False), (8, True), (4, False)):
        for x in (GRID, GRID[0], GRID[0, 0], GRID[:0], GRID[None, :]):
            for scale in (low * 0, low * 0 + 1, np.array([0, 1, 0], np.float32)):
                yield Case(
                    "FakeQuantWithMinMaxVarsPerChannelGradient",
                    {
                        "gradients": plain(SINGLE, x.shape, 1),
                        "inputs": x,
                        "min": low * scale,
                        "max": high * scale,
                    },
                    {"num_bits": bits, "narrow_range": narrow},
                    tolerance=SUMS,
                )


def _there_and_back() -> Iterator[Case]:
    op = "QuantizeAndDequantizeV4Grad"
    for dtype in (SINGLE, DOUBLE):
        for x in (GRID.astype(dtype), edges(dtype), plain(dtype, (0, 2))):
            given = {"gradients": plain(dtype, x.shape, 1), "input": x}
            ends = {"input_min": np.array(-1, dtype), "input_max": np.array(2, dtype)}
            yield Case(op, {**given, **ends})
        x = edges(dtype)
        yield Case(op, {"gradients": x, "input": x, **ends})
        for axis in (0, 1, 2):
            x = GRID.astype(dtype)
            steps = np.linspace(1, 2, x.shape[axis], dtype=dtype)
            given = {"gradients": plain(dtype, x.shape, 1), "input": x}
            yield Case(op, {**given, "input_min": -steps, "input_max": steps}, {"axis": axis})
