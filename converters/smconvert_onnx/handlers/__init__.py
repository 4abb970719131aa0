"""TensorFlow ops that smconvert writes in ONNX itself: by group, one small class for an op."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module

from smconvert_onnx.handlers.builder import Handler

GROUPS = (
    "arrays",
    "slices",
    "indexing",
    "joining",
    "filling",
    "borders",
    "orders",
    "control_flow",
    "control_flow_lists",
    "convolutions",
    "convolutions_gradients",
    "convolutions_padded",
    "extensions",
    "images",
    "images_boxes",
    "images_boxes_gradients",
    "images_colors",
    "images_gradients",
    "images_kernels",
    "images_patches",
    "images_suppression",
    "linear_algebra",
    "linear_algebra_diagonals",
    "linear_algebra_einsum",
    "linear_algebra_iterations",
    "linear_algebra_solvers",
    "mathematics",
    "mathematics_bessel",
    "mathematics_casts",
    "mathematics_functions",
    "mathematics_gradients",
    "mathematics_incomplete",
    "mathematics_integers",
    "mathematics_integrals",
    "mathematics_special",
    "mathematics_zeta",
    "neural_networks",
    "normalizations",
    "pooling",
    "pooling_gradients",
    "quantization",
    "quantization_fused",
    "quantization_gradients",
    "quantization_kernels",
    "quantization_ranges",
    "quantization_uniform",
    "quantization_windows",
    "random",
    "random_sampling",
    "random_indices",
    "recurrent",
    "recurrent_gradients",
    "reductions",
    "reductions_isotonic",
    "reductions_order",
    "reductions_segments",
    "signal",
    "sparse",
    "sparse_arithmetic",
    "sparse_crosses",
    "sparse_gradients",
    "sparse_ragged",
    "sparse_sets",
    "text",
    "text_pieces",
    "text_sequences",
    "text_tables",
    "xla",
    "xla_convolutions",
    "xla_indexing",
    "xla_precision",
    "xla_random",
    "xla_reductions",
    "xla_sorting",
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
