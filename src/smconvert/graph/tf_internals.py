"""The private parts of TensorFlow that the core needs. Tested with TensorFlow 2.21.

``tests/graph/test_tf_internals.py`` tells when they change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smconvert.graph.protos import function_pb2, graph_pb2, op_def_pb2


_KEEPS_CALLS = ("api_implements", "_noinline", "_XlaMustCompile", "_XlaCompile")
"""Attributes that keep a call from being inlined: a second implementation for cuDNN, XLA."""


def registered_op(op: str) -> op_def_pb2.OpDef | None:
    """TensorFlow's definition of ``op``, or None (op_def_registry)."""
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(op)


def unused_number() -> int:
    """A number that TensorFlow gives to no other function of this process (ops.uid)."""
    from tensorflow.python.framework import ops

    return int(ops.uid())


def empty_function_graph(name: str) -> Any:
    """A FuncGraph to import nodes into."""
    from tensorflow.python.framework import func_graph

    return func_graph.FuncGraph(name)


def wrapped_function(
    graph: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any], variables: Iterable[Any]
) -> Any:
    """What ``wrap_function(...).prune(inputs, outputs)`` gives, of a FuncGraph that is cut already.

    ``prune`` copies the nodes in an order that changes with the hash seed, and leaves a number of
    placeholders where V1 loops close (lift_to_graph.py); here the nodes stay as they are.

    Args:
        graph: Holds exactly the nodes of the function.
        inputs: Keyword to the placeholder's tensor.
        outputs: Output name to tensor.
        variables: Those that the function uses; freezing skips a variable that is not among them.
    """
    import tensorflow as tf
    from tensorflow.python.eager import wrap_function

    # Inputs in any other order than that of their names are bound to the wrong arguments.
    names = sorted(inputs)
    specs = {n: tf.TensorSpec(inputs[n].shape, inputs[n].dtype, name=n) for n in names}
    graph.inputs[:0] = [inputs[name] for name in names]
    graph.outputs.extend(outputs[name] for name in sorted(outputs))
    graph.structured_input_signature = ((), specs)
    graph.structured_outputs = dict(outputs)
    graph.variables = tuple(variables)
    function = wrap_function.WrappedFunction(graph, wrap_function.VariableHolder())
    return name_arguments(function, names)


def name_arguments(function: Any, names: Sequence[str]) -> Any:
    """Makes a function take its inputs by keyword only, under ``names`` in feed order."""
    function._arg_keywords = list(names)
    function._num_positional_args = 0
    return function


def capture(graph: Any, tensor: Any) -> Any:
    """The placeholder inside ``graph`` that stands for an outer tensor."""
    return graph.capture(tensor)


def stored_variable(name: str, dtype: str, shape: Sequence[int], read: Callable[[], Any]) -> Any:
    """A variable without a value in TensorFlow; ``numpy()`` gives what ``read`` does, each time."""
    variable = _stored()(name=name, dtype=dtype, shape=tuple(shape), trainable=False)
    variable.read = read
    return variable


def ensure_initialized(variable: Any) -> None:
    """Gives a stored variable its value; others have theirs."""
    if type(variable) is _stored():
        variable.assign(variable.read())


@cache
def _stored() -> Any:
    from tensorflow.python.ops.resource_variable_ops import UninitializedVariable

    class StoredVariable(UninitializedVariable):
        read: Callable[[], Any]

        def numpy(self) -> Any:
            return self.read()

    return StoredVariable


def inline(graph: graph_pb2.GraphDef, fetches: Sequence[str]) -> graph_pb2.GraphDef:
    """Inlines the functions that a graph calls, but for the bodies of loops and branches.

    As ``convert_variables_to_constants_v2(lower_control_flow=False, aggressive_inlining=True)``
    does, without its copies of the variables.
    """
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.grappler import tf_optimizer

    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.graph_def.CopyFrom(graph)
    library = meta_graph.graph_def.library.function
    for function in library:
        for note in _KEEPS_CALLS:
            function.attr.pop(note, None)
    for nodes in (meta_graph.graph_def.node, *(f.node_def for f in library)):
        for node in nodes:
            for note in _KEEPS_CALLS:
                node.attr.pop(note, None)
            if "_lower_using_switch_merge" in node.attr:
                node.attr["_lower_using_switch_merge"].b = False
    meta_graph.collection_def["train_op"].node_list.value.extend(fetches)
    config = config_pb2.ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.min_graph_nodes = -1
    rewrite.optimizers.append("function")
    rewrite.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    return tf_optimizer.OptimizeGraph(config, meta_graph)


def function_nodes(function: function_pb2.FunctionDef) -> graph_pb2.GraphDef:
    """A function's body as a graph, with a placeholder for each argument."""
    from tensorflow.python.framework import function_def_to_graph

    graph, _ = function_def_to_graph.function_def_to_graph_def(function)
    return graph


def variables_to_constants(function: Any) -> Any:
    """A function with its variables as constants, also inside functional loops."""
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    return convert_variables_to_constants_v2(
        function, lower_control_flow=False, aggressive_inlining=True
    )


def argument_keywords(function: Any) -> list[str]:
    """The keywords of a concrete function's own inputs, in the order of ``function.inputs``."""
    return list(function._arg_keywords)
