"""TensorFlow ops that smconvert writes in ONNX itself: by group, one small class for an op."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module

from smconvert_onnx.handlers.builder import Handler

GROUPS = (
    "arrays",
    "control_flow",
    "images",
    "linear_algebra",
    "mathematics",
    "neural_networks",
    "quantization",
    "random",
    "recurrent",
    "reductions",
    "signal",
    "sparse",
    "text",
)
"""The modules of this package that have a tuple ``HANDLERS``."""


@cache
def handlers() -> Mapping[str, Handler]:
    """Each op's handler.

    Raises:
        ValueError: two handlers claim one op.
    """
    modules = (import_module(f"smconvert_onnx.handlers.{group}") for group in GROUPS)
    return _by_op(handler for module in modules for handler in module.HANDLERS)


def _by_op(handlers: Iterable[Handler]) -> Mapping[str, Handler]:
    found: dict[str, Handler] = {}
    for handler in handlers:
        for op in handler.ops:
            if op in found:
                raise ValueError(f"{op} has two handlers: {found[op]!r} and {handler!r}")
            found[op] = handler
    return found
