"""Loops, branches, calls and lists of a graph, so that ONNX has a word for each.

1. Loops of other kinds become While (``iterations.py``), calls are inlined, and each function has
   one caller.
2. TensorArrays become lists (``arrays.py``), old ones by way of today's (``old_arrays.py``).
   Stacks and tensors of lists become lists (``stacks.py``, ``batches.py``).
3. Loops and branches of TensorFlow 1 become functional ones (``frames.py``, ``branches.py``).
4. A Case becomes nested branches, and constants go into the functions that take them
   (``calls.py``).
5. The functions that XLA's ops combine elements with go with these ops (``computations.py``).
6. Shapes go from callers into functions (``shapes.py``).
7. Each list gets the form that it has in ONNX (``lists.py``).
"""

from __future__ import annotations

from dataclasses import replace

from smconvert.graph.freeze import FrozenGraph
from smconvert.graph.names import node_of
from smconvert.graph.ops import nodes_of
from smconvert_onnx.flow.arrays import arrays_to_lists
from smconvert_onnx.flow.batches import element_shapes, separate_batches
from smconvert_onnx.flow.branches import branches_to_functions
from smconvert_onnx.flow.calls import inline_calls, with_one_caller
from smconvert_onnx.flow.computations import plain_loops
from smconvert_onnx.flow.frames import loops_to_functions
from smconvert_onnx.flow.iterations import ITERATIONS, iterations_to_loops
from smconvert_onnx.flow.lists import mark_lists
from smconvert_onnx.flow.old_arrays import renew_arrays
from smconvert_onnx.flow.program import CALLS, CASES, FUNCTIONS, dump, load
from smconvert_onnx.flow.shapes import infer_shapes
from smconvert_onnx.flow.stacks import stacks_to_lists

_FLOW = frozenset({"Enter", "Merge", *CALLS, *CASES, *FUNCTIONS, *ITERATIONS})
_PREFIXES = ("TensorArray", "TensorList", "EmptyTensorList", "Stack", "Xla")


def functional(frozen: FrozenGraph) -> FrozenGraph:
    """The graph with its control flow in the form that handlers take.

    Raises:
        ConversionError: a loop or branch is not built as TensorFlow builds them.
    """
    if not any(n.op in _FLOW or n.op.startswith(_PREFIXES) for n in nodes_of(frozen.graph)):
        return frozen
    outputs = [o.tensor or "" for o in frozen.outputs]
    program = load(frozen.graph, outputs)
    for _, region in program.regions():
        plain_loops(region)
        iterations_to_loops(region, program)
    for _, region in program.regions():
        inline_calls(region, program)
        renew_arrays(region)
        arrays_to_lists(region)
        stacks_to_lists(region)
        separate_batches(region)
        element_shapes(region)
        loops_to_functions(region, program)
        branches_to_functions(region, program)
    program = with_one_caller(program)
    for _, region in program.regions():
        region.prune()
    infer_shapes(program)
    mark_lists(program)
    graph = dump(program)
    graph.versions.CopyFrom(frozen.graph.versions)
    tables = {t.node for t in frozen.tables}
    kept = {node_of(n.name) for n in graph.node}
    graph.node.extend(n for n in frozen.graph.node if n.name in tables and n.name not in kept)
    return replace(frozen, graph=graph)
