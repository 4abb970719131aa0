"""Samples of given seeds that take a varying number of random words."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import tensorflow as tf

from cases.random import COUNTERS, KEYS, SEEDS
from proof import Case, Tolerance
from values import BOOL, NUMBERS, TEXT, plain

FLOATS = (tf.float32, tf.float64, tf.float16, tf.bfloat16)
NEAR = {
    tf.float32: Tolerance(ulps=4, atol=1e-6),
    tf.float64: Tolerance(rtol=1e-11, atol=1e-13),
    tf.float16: Tolerance(ulps=2),
    tf.bfloat16: Tolerance(ulps=2),
}
STATES = [
    {
        "key": np.array([key], np.uint64),
        "counter": np.array(counter, np.uint64),
        "alg": np.array(alg, np.int32),
    }
    for key, counter, alg in zip((*KEYS, 0), COUNTERS, (1, 3, 1), strict=True)
]
SPREAD = ((), (7,), (3, 25), (0, 4))


def cases() -> Iterator[Case]:
    yield from truncated()
    yield from classes()
    yield from shuffled()
    yield from indices()
    yield from hits()
    yield from gammas()


def truncated() -> Iterator[Case]:
    for i, dtype in enumerate(FLOATS):
        for j in (i, i + 1):
            shape = np.array(SPREAD[j % len(SPREAD)], np.int32)
            seed = np.array(SEEDS[j % len(SEEDS)], np.int64)
            named, near = {"dtype": dtype}, NEAR[dtype]
            given = {"shape": shape, "seed": seed}
            yield Case("StatelessTruncatedNormal", given, named, tolerance=near, refusable=True)
            given = {"shape": shape.astype(np.int64), **STATES[j % len(STATES)]}
            yield Case("StatelessTruncatedNormalV2", given, named, tolerance=near, refusable=True)


def classes() -> Iterator[Case]:
    odd = np.array([[-np.inf, 1, 2, np.nan], [np.inf, 0, -1, 3], [-np.inf] * 4])
    for i, dtype in enumerate((np.float32, np.float64, np.float16, ml_dtypes.bfloat16)):
        for j, (logits, count) in enumerate(
            ((plain(np.dtype(dtype), (3, 5)), 7), (odd, 5), (np.zeros((0, 2)), 3), (odd, 0))
        ):
            given = {
                "logits": logits.astype(dtype),
                "num_samples": np.array(count, np.int32),
                "seed": np.array(SEEDS[(i + j) % len(SEEDS)], np.int32),
            }
            kind = tf.int32 if i % 2 else tf.int64
            yield Case("StatelessMultinomial", given, {"output_dtype": kind}, refusable=True)


def shuffled() -> Iterator[Case]:
    for i, dtype in enumerate((*NUMBERS, BOOL, TEXT)):
        given = {"value": plain(dtype, (9, 2)), **STATES[i % len(STATES)]}
        yield Case("StatelessShuffle", given, refusable=True)
    for i, shape in enumerate(((30,), (), (0,), (0, 3), (1, 4), (5, 0), (2, 3, 2))):
        given = {"value": plain(TEXT, shape), **STATES[i % len(STATES)]}
        yield Case("StatelessShuffle", given, refusable=True)


def indices() -> Iterator[Case]:
    for i, dtype in enumerate((np.int32, np.int64, np.uint32, np.uint64)):
        # Of few indices, the cipher takes thousands of steps to find one.
        limits = (0, 20000, 2**16, 2**16 + 1, 2**31 - 1)
        large = (*limits, 2**40, 2**50 + 1, 2**63 - 2)
        every = np.array(large if dtype in (np.int64, np.uint64) else limits, dtype)
        for rounds in (4, 6, 24):
            seeds = np.arange(3 * len(every)).reshape(-1, 3) * 987654321 - 5
            kind = (np.int32, np.int64, np.uint32, np.uint64)[(i + rounds) % 4]
            given = {
                "index": np.minimum(every, 5).astype(dtype),
                "seed": seeds.astype(kind),
                "max_index": every,
            }
            yield Case("RandomIndexShuffle", given, {"rounds": rounds}, refusable=True)
        given = {
            "index": np.arange(12).astype(dtype),
            "seed": np.array([1, 2, 3], np.int64),
            "max_index": np.array(511, dtype),
        }
        yield Case("RandomIndexShuffle", given, refusable=True)
        given = {**given, "index": np.array(4, dtype)}
        yield Case("RandomIndexShuffle", given, refusable=True)


def hits() -> Iterator[Case]:
    for true, sampled in (
        ([[1, 2], [3, 3], [9, 0]], [3, 7, 2, 3, 0]),
        ([[5]], [1, 2]),
        ([[1, 2]], []),
        (np.zeros((0, 2)), [1]),
        ([[-1, 2**40, 7]], [2**40, -1]),
    ):
        given = {
            "true_classes": np.array(true, np.int64),
            "sampled_candidates": np.array(sampled, np.int64),
        }
        count = given["true_classes"].shape[1]
        yield Case("ComputeAccidentalHits", given, {"num_true": count})


def gammas() -> Iterator[Case]:
    for i, dtype in enumerate(FLOATS):
        for j, (shape, alpha) in enumerate(
            (((40, 5), [0.1, 0.5, 1.0, 1.5, 40.0]), ((7,), 0.7), ((0, 2), [1, 2]))
        ):
            given = {
                "shape": np.array(shape, np.int32 if i % 2 else np.int64),
                "alpha": np.array(alpha, dtype.as_numpy_dtype),
            }
            # Few of them: each is more than a thousand nodes.
            if j == 0 or dtype is tf.float32:
                inputs = {**given, "seed": np.array(SEEDS[(i + j) % len(SEEDS)], np.int64)}
                op = "StatelessRandomGammaV2"
                yield Case(op, inputs, tolerance=NEAR[dtype], refusable=True)
            if j == 1 or dtype is tf.float64:
                inputs = {**given, **STATES[(i + j) % len(STATES)]}
                op = "StatelessRandomGammaV3"
                yield Case(op, inputs, tolerance=NEAR[dtype], refusable=True)
