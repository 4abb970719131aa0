"""Formulas of several TensorFlow ops that are one op in ONNX.

Each fusion looks at one node of tf2onnx's graph, before the nodes become ONNX ones, and either
writes the whole formula that ends there, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from smconvert_onnx.fusions.gelu import Gelu
from smconvert_onnx.fusions.hard_swish import HardSwish
from smconvert_onnx.fusions.layer_normalization import LayerNormalization
from smconvert_onnx.fusions.rms_normalization import RmsNormalization
from smconvert_onnx.fusions.tensordot import Tensordot
from smconvert_onnx.fusions.terms import Terms
from smconvert_onnx.handlers.builder import Builder, Tensor
from smconvert_onnx.placing import fresh, put


class Fusion(Protocol):
    """Writes one formula."""

    @property
    def ends(self) -> frozenset[str]:
        """The types of the TensorFlow node that the formula ends with."""

    @property
    def since(self) -> int:
        """The first opset that has the op."""

    def write(self, g: Builder, terms: Terms, node: Any) -> Tensor | None:
        """What ``node`` computes, as one op; None where it is not the formula."""


FUSIONS: tuple[Fusion, ...] = (
    Tensordot(),
    LayerNormalization(),
    RmsNormalization(),
    Gelu(),
    HardSwish(),
)


def rewriters(opset: int) -> list[Callable[[Any, Any], Any]]:
    """The fusions that ``opset`` has, as tf2onnx calls its rewriters."""
    return [partial(_rewrite, fusion, opset) for fusion in FUSIONS if fusion.since <= opset]


def _rewrite(fusion: Fusion, opset: int, ctx: Any, nodes: Sequence[Any]) -> Any:
    for node in list(nodes):
        if node.type in fusion.ends and not node.skip_conversion:
            builder = Builder(opset, fresh, scope=f"{node.name}/")
            made = fusion.write(builder, Terms(ctx), node)
            if made is not None:
                put(ctx, node, builder, [made])
    return ctx.get_nodes()
