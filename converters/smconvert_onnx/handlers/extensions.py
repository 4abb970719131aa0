"""Text in words of onnxruntime-extensions, on ``--extensions``.

Only ops whose values are equal are here. Its hashes are not TensorFlow's (StringToHashBucketFast
differs for every text, StringToHashBucket for those whose length is a multiple of 8), and neither
are its letters beyond ASCII (tried with onnxruntime-extensions 0.15).
"""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import EXTENSIONS, Builder, Handler, Op, Tensor

HINT = "--extensions"


def regex_replaced(
    g: Builder, texts: Tensor, pattern: str, rewrite: str, *, everywhere: bool
) -> Tensor:
    """What matches a pattern of RE2 replaced; both sides compile the same RE2."""
    return g.node(
        "StringRegexReplace",
        texts,
        np.array([pattern], object),
        np.array([rewrite], object),
        domain=EXTENSIONS,
        dtype=DType.STRING,
        global_replace=int(everywhere),
    )


def stripped(g: Builder, texts: Tensor) -> Tensor:
    """Texts without white space of ASCII around them."""
    return g.node("StringStrip", texts, domain=EXTENSIONS, dtype=DType.STRING)


class Length:
    """How many characters texts have (string_length_op.cc, unit UTF8_CHAR)."""

    ops = ("StringLength",)

    def emit(self, g: Builder, op: Op, texts: Tensor) -> Tensor:
        if not g.extensions:
            op.refuse("standard ONNX does not see the characters of a text", HINT)
        if op.attr("unit") != "UTF8_CHAR":
            op.refuse("onnxruntime-extensions counts characters, and not bytes")
        counts = g.node("StringLength", texts, domain=EXTENSIONS, dtype=DType.INT64)
        return g.cast(counts, DType.INT32)


HANDLERS: tuple[Handler, ...] = (Length(),)
