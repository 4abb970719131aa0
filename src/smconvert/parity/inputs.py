"""Inputs for a comparison, generated from the signature and seeded.

Generated calls come in two batch sizes where the batch is free. Some models take not every input
that their signature allows (a smallest image, lengths within a sequence, indices within a range
that no table shows), so there are several attempts, from rich to plain; the first that the source
accepts is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from smconvert.graph.hints import Hint
from smconvert.graph.protos import example_pb2
from smconvert.model import Array, DType, SignatureInfo, TensorInfo

BATCHES = (1, 3)
CALLS_OF_FIXED_BATCH = (1, 1)
"""Never one call only: state that is lost shows in the second."""
WORDS: tuple[bytes, ...] = (b"", b"unknown word", "größe".encode(), b"a")
_SPARSE = ("/indices", "/values", "/dense_shape")


@dataclass(frozen=True)
class Attempt:
    """How to choose what a signature leaves open.

    Attributes:
        size: Of free dimensions other than the batch.
        integers: Unbounded integers go from 0 to below this.
        spread: Floats are this times a standard normal.
        scalars: Integers and booleans of unknown rank are scalars (counts, switches).
    """

    size: int
    integers: int
    spread: float = 1.0
    scalars: bool = False


ATTEMPTS = (
    Attempt(4, 4),
    Attempt(4, 4, scalars=True),
    Attempt(4, 2),
    Attempt(32, 2, scalars=True),
    Attempt(1, 1),
    Attempt(96, 1, 0.1),
)


def generated(
    signature: SignatureInfo, hints: Mapping[str, Hint], seed: int, attempt: Attempt
) -> list[dict[str, Array]]:
    """The calls of one attempt."""
    random = np.random.default_rng(seed)
    free = any(_is_free(i) for i in signature.inputs)
    calls = [
        dict(_call(signature, hints, random, batch, attempt))
        for batch in (BATCHES if free else CALLS_OF_FIXED_BATCH)
    ]
    if any(i.default is not None for i in signature.inputs):
        defaults = {i.name: i.default for i in signature.inputs if i.default is not None}
        calls.append({**calls[-1], **defaults})
    return calls


def further(
    signature: SignatureInfo,
    hints: Mapping[str, Hint],
    seed: int,
    attempt: Attempt,
    special: bool = False,
) -> dict[str, dict[str, Array]]:
    """More calls by label, that find faults which ordinary values pass by; a model may refuse them.

    An odd batch and an empty one, zeros only, and, if ``special``, what floats hold besides
    numbers: signed zeros, denormals, the largest values, infinities and NaN.
    """
    calls: dict[str, dict[str, Array]] = {}

    def call(batch: int) -> dict[str, Array]:
        random = np.random.default_rng(seed + batch)
        return dict(_call(signature, hints, random, batch, attempt))

    if any(_is_free(i) for i in signature.inputs):
        calls["batch 7"] = call(7)
        calls["empty batch"] = call(0)
    plain = call(BATCHES[-1])
    numeric = [n for n, value in plain.items() if value.dtype.kind in "fc"]
    if numeric:
        calls["zeros"] = {n: np.zeros_like(v) if n in numeric else v for n, v in plain.items()}
    if special and numeric:
        calls["special values"] = {
            n: _special(v) if v.dtype.kind == "f" else v for n, v in plain.items()
        }
    return calls


def _special(array: Array) -> Array:
    """The array's shape, filled with what its type holds besides ordinary numbers."""
    limits = np.finfo(array.dtype)
    small, large = float(limits.smallest_subnormal), float(limits.max)
    edges = [0.0, -0.0, 1.0, small, -small, large, -large, np.inf, -np.inf, np.nan]
    return np.resize(np.array(edges, array.dtype), array.shape)


def _is_free(info: TensorInfo) -> bool:
    return info.shape is None or (len(info.shape) > 0 and not isinstance(info.shape[0], int))


def _call(
    signature: SignatureInfo,
    hints: Mapping[str, Hint],
    random: np.random.Generator,
    batch: int,
    attempt: Attempt,
) -> Iterator[tuple[str, Array]]:
    sparse = _sparse_inputs(signature)
    for info in signature.inputs:
        base = info.name.rpartition("/")[0]
        if base in sparse:
            if info.name.endswith(_SPARSE[0]):
                known = hints.get(f"{base}/dense_shape", Hint())
                yield from _sparse(sparse[base], base, known, random, batch, attempt)
            continue
        shape = _shape(info, batch, attempt)
        yield info.name, _values(info.dtype, shape, hints.get(info.name, Hint()), random, attempt)


def _shape(info: TensorInfo, batch: int, attempt: Attempt) -> tuple[int, ...]:
    if info.shape is None:
        numeric = info.dtype is DType.BOOL or info.dtype.label.startswith(("int", "uint"))
        return () if attempt.scalars and numeric else (batch, attempt.size)
    return tuple(
        dim if isinstance(dim, int) else (batch if axis == 0 else attempt.size)
        for axis, dim in enumerate(info.shape)
    )


def _values(
    dtype: DType,
    shape: tuple[int, ...],
    hint: Hint,
    random: np.random.Generator,
    attempt: Attempt,
) -> Array:
    if hint.features:
        count = int(np.prod(shape))
        return _objects([_example(hint.features, random, attempt) for _ in range(count)], shape)
    if dtype is DType.STRING:
        known = [w for w in hint.words if isinstance(w, bytes)]
        words = [*known, *WORDS] if known else list(WORDS)
        picked = random.permutation(len(words)).tolist()
        count = int(np.prod(shape))
        return _objects([words[picked[i % len(picked)]] for i in range(count)], shape)
    if dtype is DType.BOOL:
        return random.integers(0, 2, shape).astype(bool)
    kind = dtype.numpy.kind
    if kind in "iu" or dtype in {DType.INT4, DType.UINT4}:
        keys = [w for w in hint.words if isinstance(w, int)]
        if keys:
            return np.asarray(random.choice([*keys, max(keys) + 1], shape), dtype.numpy)
        top = hint.bound or (256 if dtype is DType.UINT8 else attempt.integers)
        return random.integers(0, top, shape).astype(dtype.numpy)
    if hint.low is not None and hint.high is not None and kind == "f":
        return np.asarray(random.uniform(hint.low, hint.high, shape)).astype(dtype.numpy)
    values = random.standard_normal(shape) * attempt.spread
    if kind == "c":
        return (values + 1j * random.standard_normal(shape)).astype(dtype.numpy)
    return np.asarray(values).astype(dtype.numpy)


def _objects(values: Sequence[bytes], shape: tuple[int, ...]) -> Array:
    flat = np.empty(len(values), object)
    flat[:] = values
    return flat.reshape(shape)


def _sparse_inputs(signature: SignatureInfo) -> dict[str, TensorInfo]:
    """Names of sparse inputs, which come as three parts, with the one that holds the values."""
    names = {i.name: i for i in signature.inputs}
    return {
        base: names[base + _SPARSE[1]]
        for name in names
        if name.endswith(_SPARSE[0])
        and all((base := name[: -len(_SPARSE[0])]) + p in names for p in _SPARSE)
    }


def _sparse(
    values: TensorInfo,
    base: str,
    hint: Hint,
    random: np.random.Generator,
    batch: int,
    attempt: Attempt,
) -> Iterator[tuple[str, Array]]:
    """One value in each row of a sparse tensor, in the order of their indices."""
    whole = _shape(replace(values, shape=values.sparse or (None, None)), batch, attempt)
    whole = (*whole[:-1], hint.bound or whole[-1])
    rows = range(whole[0]) if len(whole) > 1 else [0]
    indices = [[row, *(int(random.integers(0, d)) for d in whole[1:])] for row in rows]
    yield f"{base}/indices", np.array(indices, np.int64)
    yield f"{base}/values", _values(values.dtype, (len(indices),), Hint(), random, attempt)
    yield f"{base}/dense_shape", np.array(whole, np.int64)


def _example(
    features: Sequence[TensorInfo], random: np.random.Generator, attempt: Attempt
) -> bytes:
    """A serialized tf.Example with the features that the parser wants."""
    example = example_pb2.Example()
    for info in features:
        key, _, part = info.name.rpartition("/")
        if part in {"indices", "dense_shape"} and key:
            continue
        name = key if part == "values" and key else info.name
        dims = (info.shape or ())[1:] if name == info.name else (1,)
        count = int(np.prod([d if isinstance(d, int) else 1 for d in dims]))
        values = _values(info.dtype, (count,), Hint(), random, attempt).tolist()
        feature = example.features.feature[name]
        if info.dtype is DType.STRING:
            feature.bytes_list.value.extend(values)
        elif info.dtype is DType.INT64:
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return example.SerializeToString(deterministic=True)
