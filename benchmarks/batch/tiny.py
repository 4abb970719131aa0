"""Models that cost nothing to run, each different: what is measured is all that is around them."""

from __future__ import annotations

from pathlib import Path

from smconvert.graph.protos import graph_pb2

FLOAT = 1


def write(folder: Path, count: int) -> None:
    """``count`` frozen graphs below ``folder``, each ``y = x * number``."""
    for number in range(count):
        path = folder / f"{number // 100:03d}" / f"model-{number:05d}.pb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(graph(number).SerializeToString())


def graph(number: int) -> graph_pb2.GraphDef:
    """One of them."""
    found = graph_pb2.GraphDef()
    x = found.node.add(name="x", op="Placeholder")
    x.attr["dtype"].type = FLOAT
    x.attr["shape"].shape.dim.add(size=-1)
    factor = found.node.add(name="factor", op="Const")
    factor.attr["dtype"].type = FLOAT
    factor.attr["value"].tensor.dtype = FLOAT
    factor.attr["value"].tensor.tensor_shape.SetInParent()
    factor.attr["value"].tensor.float_val.append(float(number))
    y = found.node.add(name="y", op="Mul", input=["x", "factor"])
    y.attr["T"].type = FLOAT
    found.versions.producer = 1087
    return found
