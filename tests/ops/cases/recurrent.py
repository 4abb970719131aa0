"""Recurrent cells, and sequences of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from proof import Case, Shapes, Tolerance
from smconvert.model import Array
from values import HALF, SINGLE, plain

NEAR = {SINGLE: Tolerance(rtol=1e-5, atol=1e-6), HALF: Tolerance(rtol=5e-3, atol=5e-3)}
WEIGHTS = frozenset({"w", "wci", "wcf", "wco", "b"})
CS, H = 1, 6


def lstm_weights(dtype: np.dtype, inputs: int, cells: int) -> Mapping[str, Array]:
    return {
        "w": plain(dtype, (inputs + cells, 4 * cells), 1),
        "wci": plain(dtype, (cells,), 2),
        "wcf": plain(dtype, (cells,), 3),
        "wco": plain(dtype, (cells,), 4),
        "b": plain(dtype, (4 * cells,), 5),
    }


def state(dtype: np.dtype, batch: int, cells: int) -> Mapping[str, Array]:
    return {"cs_prev": plain(dtype, (batch, cells), 6), "h_prev": plain(dtype, (batch, cells), 7)}


def cells() -> Iterator[Case]:
    attributes: list[Mapping[str, Any]] = [
        {},
        {"forget_bias": 0.5, "cell_clip": -1.0},
        {"use_peephole": True, "cell_clip": 0.3},
        {"use_peephole": True, "cell_clip": 0.0},
    ]
    for dtype in (SINGLE, HALF):
        for batch in (1, 3):
            given = {**state(dtype, batch, 4), **lstm_weights(dtype, 2, 4)}
            for chosen in attributes:
                x = plain(dtype, (batch, 2))
                tolerance = NEAR[dtype]
                yield Case("LSTMBlockCell", {"x": x, **given}, chosen, WEIGHTS, tolerance)
    for batch in (1, 3, 0):
        yield Case(
            "GRUBlockCell",
            {
                "x": plain(SINGLE, (batch, 2)),
                "h_prev": plain(SINGLE, (batch, 4), 1),
                "w_ru": plain(SINGLE, (6, 8), 2),
                "w_c": plain(SINGLE, (6, 4), 3),
                "b_ru": plain(SINGLE, (8,), 4),
                "b_c": plain(SINGLE, (4,), 5),
            },
            tolerance=NEAR[SINGLE],
        )


def sequences() -> Iterator[Case]:
    first: list[Mapping[str, Any]] = [
        {},
        {"forget_bias": 0.5, "cell_clip": -1.0},
        {"forget_bias": 0.0, "cell_clip": 0.0, "use_peephole": True},
        {"cell_clip": 0.3, "use_peephole": True},
    ]
    second: list[Mapping[str, Any]] = [
        {},
        {"cell_clip": 0.3},
        {"use_peephole": True},
        {"cell_clip": -1.0, "use_peephole": True},
    ]
    for op, attributes in (("BlockLSTM", first), ("BlockLSTMV2", second)):
        for dtype in (SINGLE, HALF):
            for chosen in attributes:
                for batch in (1, 3):
                    yield sequence(op, dtype, 5, batch, 5, chosen, None)
                    # The kernel leaves the other outputs as they are in memory.
                    yield sequence(op, dtype, 5, batch, 3, chosen, (CS, H))
                    yield sequence(op, dtype, 5, batch, 0, chosen, (CS, H))
            yield sequence(op, dtype, 1, 2, 1, {}, None)


def sequence(
    op: str,
    dtype: np.dtype,
    time: int,
    batch: int,
    steps: int,
    attributes: Mapping[str, Any],
    outputs: tuple[int, ...] | None,
) -> Case:
    given = {
        "seq_len_max": np.array(steps, np.int64),
        "x": plain(dtype, (time, batch, 2)),
        **state(dtype, batch, 4),
        **lstm_weights(dtype, 2, 4),
    }
    return Case(op, given, attributes, tolerance=NEAR[dtype], outputs=outputs)


def folded() -> Iterator[Case]:
    """What becomes the short form: the number of steps and the weights are constants."""
    for op in ("BlockLSTM", "BlockLSTMV2"):
        whole = sequence(op, SINGLE, 5, 3, 5, {"cell_clip": 0.0}, None)
        for outputs in (None, (H,)):
            yield Case(
                op,
                whole.inputs,
                whole.attributes,
                WEIGHTS | {"seq_len_max"},
                whole.tolerance,
                outputs,
                shapes=(Shapes.STATIC, Shapes.DIMENSIONS),
            )


def cases() -> Iterator[Case]:
    yield from cells()
    yield from sequences()
    yield from folded()
