"""Gradients of recurrent cells, and of sequences of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from cases.recurrent import NEAR, WEIGHTS, lstm_weights, state
from proof import Case
from values import HALF, SINGLE, plain

MADE = ("i", "cs", "f", "o", "ci", "co")


def cases() -> Iterator[Case]:
    yield from _cells()
    yield from _sequences()


def _cells() -> Iterator[Case]:
    for dtype in (SINGLE, HALF):
        for batch in (1, 3):
            for peephole in (False, True):
                weights = lstm_weights(dtype, 2, 4)
                given = {"x": plain(dtype, (batch, 2)), **state(dtype, batch, 4), **weights}
                attributes = {"use_peephole": peephole}
                made = tf.raw_ops.LSTMBlockCell(**_constants(given), **attributes)
                grads = {f"{n}_grad": plain(dtype, (batch, 4), 8 + len(n)) for n in ("cs", "h")}
                found = {name: getattr(made, name).numpy() for name in MADE}
                known = WEIGHTS if peephole else frozenset[str]()
                inputs = {**given, **found, **grads}
                yield Case("LSTMBlockCellGrad", inputs, attributes, known, NEAR[dtype])
    for batch in (1, 3):
        given = {
            "x": plain(SINGLE, (batch, 2)),
            "h_prev": plain(SINGLE, (batch, 4), 1),
            "w_ru": plain(SINGLE, (6, 8), 2),
            "w_c": plain(SINGLE, (6, 4), 3),
            "b_ru": plain(SINGLE, (8,), 4),
            "b_c": plain(SINGLE, (4,), 5),
        }
        r, u, c, _ = (v.numpy() for v in tf.raw_ops.GRUBlockCell(**_constants(given)))
        grads = {"r": r, "u": u, "c": c, "d_h": plain(SINGLE, (batch, 4), 6)}
        yield Case("GRUBlockCellGrad", {**given, **grads}, tolerance=NEAR[SINGLE])


def _sequences() -> Iterator[Case]:
    for version in ("", "V2"):
        for dtype in (SINGLE, HALF):
            for peephole in (False, True):
                for batch, steps in ((3, 5), (1, 3), (2, 0)):
                    yield _sequence(version, dtype, batch, steps, peephole)


def _sequence(version: str, dtype: np.dtype[Any], batch: int, steps: int, peephole: bool) -> Case:
    given = {
        "seq_len_max": np.array(steps, np.int64),
        "x": plain(dtype, (5, batch, 2)),
        **state(dtype, batch, 4),
        **lstm_weights(dtype, 2, 4),
    }
    attributes = {"use_peephole": peephole}
    made = getattr(tf.raw_ops, f"BlockLSTM{version}")(**_constants(given), **attributes)
    # What the kernel does not compute is left as it was in memory.
    found = {
        name: np.concatenate([getattr(made, name).numpy()[:steps], np.zeros((5 - steps, batch, 4))])
        for name in (*MADE, "h")
    }
    grads = {f"{n}_grad": plain(dtype, (5, batch, 4), 8 + len(n)) for n in ("cs", "h")}
    inputs = {**given, **{n: v.astype(dtype) for n, v in found.items()}, **grads}
    return Case(f"BlockLSTMGrad{version}", inputs, attributes, tolerance=NEAR[dtype])


def _constants(given: dict[str, Any]) -> dict[str, Any]:
    return {name: tf.constant(value) for name, value in given.items()}
