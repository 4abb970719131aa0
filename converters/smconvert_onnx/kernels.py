"""Which element types ONNX Runtime's CPU provider has kernels for.

``kernels.json`` is what ``tests/data/make_kernels.py`` found by asking onnxruntime 1.31 for a
session with each op, type by type; ``tests/onnx/test_widening.py`` asks again. ONNX Runtime
computes float16 in float32 by itself where it has no kernel, which counts as having one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources


@cache
def kernels() -> Mapping[str, Mapping[str, frozenset[int]]]:
    """``Op-version`` to type constraint to ``onnx.TensorProto.DataType`` numbers.

    Ops and constraints for which nothing is missing are left out.
    """
    text = resources.files("smconvert_onnx").joinpath("kernels.json").read_text("utf-8")
    return {
        op: {name: frozenset(numbers) for name, numbers in constraints.items()}
        for op, constraints in json.loads(text).items()
    }
