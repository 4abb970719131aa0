"""A Python function as a graph to try, like those of single ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from proof import Built
from smconvert.model import Array, DType, TensorInfo


def traced(function: Callable[[Any], Any], x: Array, shape: tuple[int | None, ...] | None) -> Built:
    """The graph of ``function`` of one input of this shape, fed ``x``."""
    with tf.Graph().as_default() as graph:
        dtype = tf.as_dtype(x.dtype)
        made = function(tf.compat.v1.placeholder(dtype, shape, "x"))
        outputs = []
        for i, tensor in enumerate(tf.nest.flatten(made)):
            tf.identity(tensor, name=f"y{i}")
            known = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
            kind = DType.from_label(tensor.dtype.name)
            outputs.append(TensorInfo(f"y{i}", kind, known, f"y{i}:0"))
    given = TensorInfo("x", DType.from_label(dtype.name), shape, "x:0")
    names = (tuple(o.name for o in outputs),)
    return Built(graph.as_graph_def(), (given,), tuple(outputs), {"x": x}, names)
