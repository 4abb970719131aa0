"""A Pad of zeros before a Conv2D, as explicit padding of the Conv2D. Tested with tf2onnx 1.17.

tf2onnx's own pass converts the Conv2D on the way, with whichever handler, and sets ONNX attributes
on the node that it had before; it drops explicit padding that the Conv2D already has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def merged_pads() -> Iterator[None]:
    """Has tf2onnx merge them so."""
    from tf2onnx import tfonnx

    replaced = tfonnx.rewrite_conv2d_with_pad
    tfonnx.rewrite_conv2d_with_pad = _merge
    try:
        yield
    finally:
        tfonnx.rewrite_conv2d_with_pad = replaced


def _merge(graph: Any, nodes: Any) -> Any:
    for conv in nodes:
        if conv.type == "Conv2D" and conv.inputs[0].type == "Pad":
            pad = conv.inputs[0]
            explicit = _explicit(conv, pad)
            if explicit is not None:
                conv.set_attr("padding", b"EXPLICIT")
                conv.set_attr("explicit_paddings", explicit)
                graph.replace_input(conv, conv.input[0], pad.input[0], 0)
    return nodes


def _explicit(conv: Any, pad: Any) -> list[int] | None:
    """What both add around the input; None where a Conv2D alone cannot say it."""
    padding = conv.get_attr_value("padding")
    if padding == b"SAME" or not pad.inputs[1].is_const():
        return None
    added = np.asarray(pad.inputs[1].get_tensor_value(as_list=False), np.int64)
    channels = 1 if conv.get_attr_value("data_format") == b"NCHW" else 3
    if added.shape != (4, 2) or added[[0, channels]].any():
        return None
    if padding == b"EXPLICIT":
        added = added + np.reshape(conv.get_attr_value("explicit_paddings"), (4, 2))
    return [int(amount) for amount in added.ravel()]
