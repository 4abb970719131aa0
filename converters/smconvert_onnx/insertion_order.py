"""Sets that are walked in the order in which they were filled.

tf2onnx walks sets of names and of nodes, whose order changes from process to process with the hash
seed and with addresses in memory. Its result changes with it: the order of loop variables, which of
two equal nodes stays, and, for nested V1 loops, whether the conversion succeeds at all.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator, MutableSet
from typing import TypeVar

T = TypeVar("T")

MODULES = (
    "graph",
    "symbolic_executor",
    "utils",
    "tf_utils",
    "optimizer.back_to_back_optimizer",
    "optimizer.transpose_optimizer",
    "rewriter.cond_rewriter",
    "rewriter.loop_rewriter",
    "rewriter.loop_rewriter_base",
    "rewriter.lstm_rewriter_base",
    "rewriter.random_uniform",
    "rewriter.rnn_utils",
    "rewriter.unit_rnn_rewriter_base",
)
"""The modules of tf2onnx 1.17 that walk sets."""


class InsertionOrderedSet(MutableSet[T]):
    """A set that is walked in the order in which it was filled."""

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, value: T) -> None:
        """Adds an item, last."""
        self._items[value] = None

    def discard(self, value: T) -> None:
        """Takes an item away, if it is there."""
        self._items.pop(value, None)

    def update(self, *others: Iterable[T]) -> None:
        """Adds the items of others, in their order."""
        for other in others:
            self._items.update(dict.fromkeys(other))

    def union(self, *others: Iterable[T]) -> InsertionOrderedSet[T]:
        """This set and others, in order."""
        result = InsertionOrderedSet(self)
        result.update(*others)
        return result

    def intersection(self, other: Iterable[T]) -> InsertionOrderedSet[T]:
        """The items that are in ``other`` too, in order."""
        kept = frozenset(other)
        return InsertionOrderedSet(item for item in self if item in kept)

    def issubset(self, other: Iterable[T]) -> bool:
        """Whether ``other`` holds every item."""
        return self._items.keys() <= frozenset(other)


@contextlib.contextmanager
def insertion_order() -> Iterator[None]:
    """While it is entered, `set(...)` in tf2onnx makes sets that are walked in order."""
    modules = [importlib.import_module(f"tf2onnx.{name}") for name in MODULES]
    for module in modules:
        vars(module)["set"] = InsertionOrderedSet
    try:
        yield
    finally:
        for module in modules:
            del vars(module)["set"]
