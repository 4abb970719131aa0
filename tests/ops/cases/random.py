"""Random numbers of given seeds; those of others are looked at in tests/onnx/test_random.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from proof import EXACT, Case, Tolerance

SHAPES = ((), (5,), (2, 3), (0, 4), (17, 9))
SEEDS = ((1, 2), (-7, 2**31 - 1), (0, 0))
KEYS = (7, 2**63 + 12345)
COUNTERS = ((3, 0), (2**64 - 2, 2**64 - 1), (2**32 - 3, 5))


def cases() -> Iterator[Case]:
    for seed in SEEDS:
        for dtype in (np.int32, np.int64):
            given = {"seed": np.array(seed, dtype)}
            yield Case("StatelessRandomGetKeyCounter", given)
            yield Case("StatelessRandomGetKeyCounterAlg", given)
    yield Case("StatelessRandomGetAlg", {})
    floats = (tf.float32, tf.float64, tf.float16, tf.bfloat16)
    for dtype in floats:
        yield from _drawn("StatelessRandomUniform", dtype, EXACT)
        ulps = Tolerance(ulps=4, atol=1e-6 if dtype is not tf.float64 else 1e-14)
        yield from _drawn("StatelessRandomNormal", dtype, ulps)
    for dtype in (tf.int32, tf.int64, tf.uint32, tf.uint64):
        yield from _drawn("StatelessRandomUniformFullInt", dtype, EXACT)
    for dtype in (tf.int32, tf.int64):
        for low, high in ((-3, 11), (dtype.min, dtype.max), (5, 6)):
            limits = {
                "minval": np.array(low, dtype.as_numpy_dtype),
                "maxval": np.array(high, dtype.as_numpy_dtype),
            }
            yield from _drawn("StatelessRandomUniformInt", dtype, EXACT, limits)


def _drawn(
    op: str,
    dtype: tf.DType,
    tolerance: Tolerance,
    limits: dict[str, np.ndarray] | None = None,
) -> Iterator[Case]:
    named = {} if limits else {"dtype": dtype}
    # Few of them: the generator is a hundred nodes.
    first = dtype.as_datatype_enum % len(SHAPES)
    for number in (first, first + 1):
        shape = SHAPES[number % len(SHAPES)]
        seed = np.array(SEEDS[number % len(SEEDS)], np.int64)
        given = {"shape": np.array(shape, np.int32), "seed": seed, **(limits or {})}
        yield Case(op, given, named, tolerance=tolerance)
        given = {
            "shape": np.array(shape, np.int64),
            "key": np.array([KEYS[number % len(KEYS)]], np.uint64),
            "counter": np.array(COUNTERS[number % len(COUNTERS)], np.uint64),
            "alg": np.array(1 if number % 2 else 3, np.int32),
            **(limits or {}),
        }
        yield Case(f"{op}V2", given, named, frozenset({"shape"}), tolerance)
