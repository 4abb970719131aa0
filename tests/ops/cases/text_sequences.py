"""Sequences of texts: stripped, in windows, by segments, crossed, and their distances."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.sparse import named, sparse
from cases.text import SPACED, shaped, texts
from proof import Case
from smconvert.model import Array
from values import BOOL, FLOATS, NUMBERS, TEXT, edges

LETTERS = texts("a", "b", "c", "d", "", "f", "ü", "")


def cases() -> Iterator[Case]:
    yield from stripped()
    yield from windows()
    yield from segments()
    yield from distances()
    yield from crosses()


def stripped() -> Iterator[Case]:
    spaces = texts(*SPACED, " \t\n", "\n a\t\tb \n", "\v\f\rx", "x\r", "\u3000a\xa0", "a", " ")
    for x in (*shaped(), spaces):
        yield Case("StringStrip", {"input": x}, refusable=True)


def windows() -> Iterator[Case]:
    none = {"data": LETTERS[:0], "data_splits": np.array([0, 0, 0])}
    for pad in (0, -1, 1, 3):
        for keeps in (False, True):
            given = {
                "separator": "" if pad == 3 else "-",
                "left_pad": "L",
                "right_pad": "" if pad == 1 else "Rü",
                "pad_width": pad,
                "preserve_short_sequences": keeps,
            }
            for splits, widths in (
                ([0, 4, 4, 5, 8], [3, 1]),
                ([0, 4, 4, 5, 8], [6]),
                ([0, 8], [9]),
                ([0, 0, 1, 8, 8], [1, 2, 4]),
                ([0, 0, 1, 8, 8], []),
            ):
                small = np.int32 if keeps else np.int64
                inputs = {"data": LETTERS, "data_splits": np.array(splits, small)}
                given = {**given, "ngram_widths": widths}
                yield Case("StringNGrams", inputs, given, refusable=True)
            yield Case("StringNGrams", none, {**given, "ngram_widths": [2, 3]}, refusable=True)
    nothing = {"data": LETTERS[:0], "data_splits": np.array([], np.int64)}
    yield Case("StringNGrams", nothing, {**given, "ngram_widths": [2]}, refusable=True)


def segments() -> Iterator[Case]:
    for separator in ("", ", ", "ü"):
        for shape, ids, count in (
            ((8,), [2, 0, 0, 1, 2, 4, 4, 2], 6),
            ((8,), [1, 1, 0, 0, 1, 0, 0, 0], 2),
            ((4, 2), [1, 1, 0, 4], 5),
            ((2, 2, 2), [[1, 0], [2, 1]], 3),
            ((4, 2), [[1, 0], [2, 1], [0, 0], [2, 2]], 3),
            ((0,), [], 2),
            ((0, 3), [], 2),
            ((2, 0), [1, 0], 2),
            ((0,), [], 0),
        ):
            for small in (np.int32, np.int64):
                inputs = {
                    "inputs": LETTERS[: int(np.prod(shape))].reshape(shape),
                    "segment_ids": np.array(ids, small),
                    "num_segments": np.array(count, np.int64 if shape == (8,) else small),
                }
                yield Case("UnsortedSegmentJoin", inputs, {"separator": separator}, refusable=True)


def distances() -> Iterator[Case]:
    for dtype in (*NUMBERS, BOOL, TEXT):
        for shape, other in (((3, 5), (3, 7)), ((2, 3, 9), (2, 2, 4)))[
            :: 1 if dtype == TEXT else 2
        ]:
            for normal in (False, True):
                inputs = {
                    **named("hypothesis_", few(dtype, shape, 1)),
                    **named("truth_", few(dtype, other, 2)),
                }
                yield Case("EditDistance", inputs, {"normalize": normal})
    for shape, other in (
        ((4, 9), (4, 3)),
        ((2, 6), (5, 6)),
        ((2, 0), (3, 4)),
        ((2, 0), (3, 0)),
        ((1, 1), (1, 1)),
        ((9, 30), (9, 25)),
    ):
        for normal in (False, True):
            for seed in (1, 2, 3):
                inputs = {
                    **named("hypothesis_", few(np.dtype(np.int64), shape, seed)),
                    **named("truth_", few(np.dtype(np.int64), other, seed + 3)),
                }
                yield Case("EditDistance", inputs, {"normalize": normal})
    for dtype in FLOATS:
        odd = np.array([np.nan, 0.0, -0.0, np.inf], dtype)
        place = np.argwhere(np.ones((1, 4)))
        one = (place, odd, np.array([1, 4]))
        two = (place, odd[[0, 2, 1, 3]], np.array([1, 4]))
        inputs = {**named("hypothesis_", one), **named("truth_", two)}
        yield Case("EditDistance", inputs)


def few(dtype: np.dtype, shape: tuple[int, ...], seed: int) -> tuple[Array, Array, Array]:
    """Elements in order, of three values."""
    indices, _, size = sparse(dtype, shape, seed)
    chosen = np.random.default_rng(seed).integers(0, 3, len(indices))
    return indices, np.resize(edges(dtype), 3)[chosen], size


def crosses() -> Iterator[Case]:
    first = (np.array([[0, 0], [0, 1], [2, 0], [3, 1], [3, 4]]), np.array([5, 3, -1, 2**40, 0]))
    second = (np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2]]), texts("a", "", "b", "ü", "a"))
    wide, names = np.arange(8).reshape(4, 2) - 3, LETTERS.reshape(4, 2)
    for columns, dense in (
        ((first,), ()),
        ((first, second), ()),
        ((second, first), (wide,)),
        ((second,), (names, wide)),
        ((), (wide, names, names)),
        ((first,), (names[:, :0],)),
    ):
        for separator in ("_X_", ""):
            inputs = {
                "indices": [indices for indices, _ in columns],
                "values": [values for _, values in columns],
                "shapes": [np.array([4, 5]) for _ in columns],
                "dense_inputs": list(dense),
                "sep": np.array(separator.encode(), object),
            }
            yield Case("SparseCrossV2", inputs, refusable=True)
    none = {
        "indices": [np.zeros((0, 2), np.int64)],
        "values": [np.zeros((0,), np.int64)],
        "shapes": [np.array([0, 5])],
        "dense_inputs": [names[:0]],
        "sep": np.array(b"x", object),
    }
    yield Case("SparseCrossV2", none, refusable=True)
