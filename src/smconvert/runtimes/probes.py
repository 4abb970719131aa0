"""The smallest models, to find out where a runtime runs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx

from smconvert.converters import Executable
from smconvert.graph.protos import graph_pb2
from smconvert.model import DType, SignatureInfo, TensorInfo

Probes: TypeAlias = Mapping[str, Executable]

FEEDS = {"x": np.eye(4, dtype=np.float32)}


@contextlib.contextmanager
def folder() -> Iterator[Probes]:
    """``y = x @ x`` for each runtime, as files that are there while it is entered."""
    with tempfile.TemporaryDirectory(prefix="smconvert-probe-") as name:
        shape = (None, 4)
        signature = SignatureInfo(
            "probe",
            (TensorInfo("x", DType.FLOAT32, shape, "x:0"),),
            (TensorInfo("y", DType.FLOAT32, shape, "y:0"),),
        )
        graph = Path(name) / "probe.pb"
        graph.write_bytes(_graph().SerializeToString())
        model = Path(name) / "probe.onnx"
        onnx.save(_model(), str(model))
        yield {
            "tf": Executable("tf1-session", graph, signature, {"graph": "graphdef"}),
            "ort": Executable("ort", model, signature),
        }


def _graph() -> graph_pb2.GraphDef:
    graph = graph_pb2.GraphDef()
    x = graph.node.add(name="x", op="Placeholder")
    x.attr["dtype"].type = DType.FLOAT32.number
    y = graph.node.add(name="y", op="MatMul", input=["x", "x"])
    y.attr["T"].type = DType.FLOAT32.number
    return graph


def _model() -> onnx.ModelProto:
    x, y = (
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", 4]) for n in ("x", "y")
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "x"], ["y"])], "p", [x], [y]
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
