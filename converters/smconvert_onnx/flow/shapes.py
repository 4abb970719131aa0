"""What is known of shapes in loops and branches, from what goes into them.

A function is imported with the shapes of its arguments, and TensorFlow infers the rest. The shape
of a loop's variable is one that a further iteration does not change: from that of its start, sizes
that differ are given up until nothing differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smconvert.graph.names import full, is_control
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.tensors import shape_of
from smconvert.model import Shape
from smconvert_onnx.flow.program import FUNCTIONS, WHILES, Program, Region

Shapes = tuple[Shape | None, ...]


def infer_shapes(program: Program) -> None:
    """Writes what is known of shapes into placeholders of functions, and loops and branches."""
    inference = _Inference(program)
    inference.write(program.main, ())


class _Inference:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._found: dict[tuple[str, Shapes], Shapes] = {}

    def outputs(self, function: str, arguments: Shapes) -> Shapes:
        """The shapes that a function gives for those that it takes."""
        key = (function, arguments)
        if key not in self._found:
            region = self._program.functions[function]
            shapes = self._all(region, self._declared(region, arguments))
            self._found[key] = tuple(shapes[full(t)] for t in region.outputs)
        return self._found[key]

    def write(self, region: Region, arguments: Shapes) -> None:
        arguments = self._declared(region, arguments)
        for name, shape in zip(region.inputs, arguments, strict=True):
            _write(region.nodes[name].attr["shape"].shape, shape)
        shapes = self._all(region, arguments)
        for node in region.nodes.values():
            if node.op not in FUNCTIONS:
                continue
            given, made = self._of(node, shapes)
            del node.attr["output_shapes"].list.shape[:]
            for shape in made:
                _write(node.attr["output_shapes"].list.shape.add(), shape)
            for key in FUNCTIONS[node.op]:
                self.write(self._program.functions[node.attr[key].func.name], given)

    def _declared(self, region: Region, arguments: Shapes) -> Shapes:
        return tuple(
            _both(shape, shape_of(region.nodes[name].attr["shape"].shape))
            for name, shape in zip(region.inputs, arguments, strict=True)
        )

    def _all(self, region: Region, arguments: Shapes) -> dict[str, Shape | None]:
        """The shape of every tensor of a region."""
        graph = region.graph()
        known = dict(zip(region.inputs, arguments, strict=True))
        flow = []
        for node in graph.node:
            if node.name in known:
                _write(node.attr["shape"].shape, known[node.name])
            if node.op in FUNCTIONS:
                flow.append(node)
            node.attr.pop("_output_shapes", None)
        shapes = imported(graph)
        changed = True
        while changed:
            changed = False
            for node in flow:
                _, made = self._of(node, shapes)
                before = [shape_of(s) for s in node.attr["output_shapes"].list.shape]
                if list(made) != before:
                    changed = True
                    del node.attr["output_shapes"].list.shape[:]
                    for shape in made:
                        _write(node.attr["output_shapes"].list.shape.add(), shape)
                    shapes = imported(graph)
        return shapes

    def _of(
        self, node: node_def_pb2.NodeDef, shapes: dict[str, Shape | None]
    ) -> tuple[Shapes, Shapes]:
        """The shapes that the functions of a loop or branch take, and those that it gives."""
        given = tuple(shapes[full(i)] for i in node.input if not is_control(i))
        declared = [shape_of(s) for s in node.attr["output_shapes"].list.shape]
        if node.op not in WHILES:
            parts = [self.outputs(node.attr[k].func.name, given[1:]) for k in FUNCTIONS[node.op]]
            made = tuple(either(*pair) for pair in zip(*parts, strict=True))
            return given[1:], _known(made, declared)
        while True:
            made = self.outputs(node.attr["body"].func.name, given)
            following = tuple(
                either(old, _both(new, limit))
                for old, new, limit in zip(
                    given, made, declared or [None] * len(given), strict=True
                )
            )
            if following == given:
                return given, given
            given = following


def _known(made: Shapes, declared: Sequence[Shape | None]) -> Shapes:
    if not declared:
        return made
    return tuple(_both(*pair) for pair in zip(made, declared, strict=True))


def _both(one: Shape | None, other: Shape | None) -> Shape | None:
    """What is known of a shape that fits both."""
    if one is None or other is None or len(one) != len(other):
        return other if one is None else one
    return tuple(a if isinstance(a, int) else b for a, b in zip(one, other, strict=True))


def either(one: Shape | None, other: Shape | None) -> Shape | None:
    """What is known of a shape that is one of both."""
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


def _write(proto: Any, shape: Shape | None) -> None:
    proto.Clear()
    proto.SetInParent()
    proto.unknown_rank = shape is None
    for size in shape or ():
        proto.dim.add(size=size if isinstance(size, int) else -1)


def imported(graph: Any) -> dict[str, Shape | None]:
    """The shape of every tensor of a graph, as TensorFlow infers it."""
    import tensorflow as tf

    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph, name="")
        return {
            tensor.name: None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
            for operation in imported.get_operations()
            for tensor in operation.outputs
        }
