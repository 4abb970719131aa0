"""What may be the inputs and outputs of a graph that does not say.

The rules, in order:

1. Inputs are placeholders, and the outputs of dataset iterators and queues, that the outputs need.
2. Outputs are nodes that nothing for inference consumes and that depend on an input; side branches
   of training (losses, metrics, gradients, optimizers, initialisers, savers, summaries) are cut off
   first, so that what feeds only them counts as unconsumed.
3. A name such as ``prob``, ``softmax`` or ``predictions`` and an op such as ``Softmax`` raise a
   candidate, a scalar lowers it. The best is taken when it stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from smconvert.converters import Candidate
from smconvert.graph.names import is_control, node_of, port_of
from smconvert.model import DType

if TYPE_CHECKING:
    from smconvert.graph.protos import graph_pb2

INPUT_OPS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
PIPELINE_OPS = frozenset(
    {
        "IteratorGetNext",
        "QueueDequeue",
        "QueueDequeueV2",
        "QueueDequeueMany",
        "QueueDequeueManyV2",
        "QueueDequeueUpTo",
        "QueueDequeueUpToV2",
    }
)
_TRAINING = re.compile(
    r"(^|/)(gradients\w*|save(_\d+)?|init(_\d+)?|Initializer|report_uninitialized_\w*|"
    r"global_step\w*|metrics?|accuracy\w*|loss(es)?\w*|total_loss|train(_op|ing_op)?|"
    r"Adam\w*|Momentum\w*|RMSProp\w*|GradientDescent\w*|Adagrad\w*|Ftrl\w*|"
    r"ExponentialMovingAverage\w*|AssignMovingAvg\w*|summar\w*|cross_entropy\w*|softmax_cross\w*|"
    r"sparse_softmax_cross\w*|labels?|beta\d_power|init_all_tables|group_deps\w*)(/|$|_\d+$)",
    re.IGNORECASE,
)
_TRAINING_OPS = re.compile(
    r"Assign|Apply|Save|Restore|Summary|^Init|NoOp|Assert|Print|CrossEntropy|L2Loss|Initialize|"
    r"Queue(Enqueue|Close)|Iterator(?!GetNext)|Dataset|Delete|Shard|MergeV2"
)
_LABELS = re.compile(r"(^|/)(labels?|targets?|y_true|ground_truth)\w*$", re.IGNORECASE)
_METRIC_OPS = frozenset({"ArgMax", "Equal", "Cast", "InTopK", "InTopKV2", "OneHot", "Mean", "Sum"})
_SOURCES = frozenset({"Const", "Variable", "VariableV2", "VarHandleOp", "HashTableV2", "HashTable"})
_LIKELY = re.compile(
    r"(prob|softmax|sigmoid|predict|output|logits?|class|score|detection|result|embedding)",
    re.IGNORECASE,
)
_LIKELY_OPS = {"Softmax": 2.0, "Sigmoid": 2.0, "ArgMax": 1.0, "Identity": 0.5, "TopKV2": 1.0}


def inputs(graph: graph_pb2.GraphDef) -> tuple[Candidate, ...]:
    """All tensors that may be fed, best first."""
    consumed: dict[str, set[int]] = {}
    for node in graph.node:
        for i in node.input:
            ports = consumed.setdefault(node_of(i), set())
            if not is_control(i):
                ports.add(port_of(i))
    found = []
    for node in graph.node:
        if node.op in INPUT_OPS:
            used = node.name in consumed
            reason = node.op + ("" if used else ", but nothing consumes it")
            found.append(Candidate(f"{node.name}:0", node.name, 2.0 if used else 0.5, reason))
        elif node.op in PIPELINE_OPS:
            taken = sorted(consumed.get(node.name, ()))
            found += [
                Candidate(
                    f"{node.name}:{port}",
                    node.name if len(taken) == 1 else f"{node.name}_{port}",
                    1.0,
                    f"comes out of {node.op}",
                )
                for port in taken
            ]
    return tuple(sorted(found, key=lambda c: -c.score))


def outputs(graph: graph_pb2.GraphDef) -> tuple[Candidate, ...]:
    """All tensors that may be outputs, best first."""
    nodes = {node.name: node for node in graph.node}
    training = _training_nodes(graph)
    fed = _downstream_of_inputs(graph, training)
    consumed = {
        node_of(i)
        for name, node in nodes.items()
        if name not in training
        for i in node.input
        if not is_control(i)
    }
    found = []
    for name, node in nodes.items():
        if name in training or name in consumed or name not in fed:
            continue
        if node.op in INPUT_OPS | _SOURCES or _is_scope_of_training(name):
            continue
        score, reasons = 1.0, ["nothing consumes it"]
        if node.op in _LIKELY_OPS:
            score += _LIKELY_OPS[node.op]
            reasons.append(f"it is a {node.op}")
        if _LIKELY.search(name.rpartition("/")[2]):
            score += 1.0
            reasons.append("its name is that of an output")
        found.append(Candidate(f"{name}:0", name, score, ", ".join(reasons)))
    return tuple(sorted(found, key=lambda c: (-c.score, c.tensor)))


def needed_inputs(graph: graph_pb2.GraphDef, fetches: Iterable[str]) -> tuple[Candidate, ...]:
    """The input candidates that ``fetches`` need and that must be fed, in the graph's order."""
    nodes = {node.name: node for node in graph.node}
    ranked = {c.tensor: c for c in inputs(graph)}
    stops = {node_of(c.tensor) for c in ranked.values()}
    needed: dict[str, None] = {}
    pending, seen = [node_of(f) for f in fetches], set()
    while pending:
        name = pending.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        if name in stops:
            needed[name] = None
        else:
            pending += [node_of(i) for i in nodes[name].input]
    by_node: dict[str, list[Candidate]] = {}
    for tensor, candidate in ranked.items():
        by_node.setdefault(node_of(tensor), []).append(candidate)
    return tuple(
        candidate
        for node in graph.node
        if node.name in needed and node.op != "PlaceholderWithDefault"
        for candidate in by_node[node.name]
    )


def sensible(ranked: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The one candidate that stands alone at the top; nothing if there is none."""
    if len(ranked) == 1 or (len(ranked) > 1 and ranked[0].score > ranked[1].score):
        return ranked[:1]
    return ()


def dtype_of(node: graph_pb2.NodeDef, port: int) -> DType | None:
    """The type of an output as the node's own attributes tell it, if they do."""
    for key in ("dtype", "T", "output_types", "component_types", "Tout", "DstT", "dst_type"):
        if key not in node.attr:
            continue
        attr = node.attr[key]
        if attr.list.type:
            return DType.from_number(attr.list.type[port]) if port < len(attr.list.type) else None
        if attr.type:
            return DType.from_number(attr.type)
    return None


def _training_nodes(graph: graph_pb2.GraphDef) -> set[str]:
    """Training's own nodes, what is computed from labels, and what only such nodes consume."""
    consumers: dict[str, list[str]] = {}
    for node in graph.node:
        for i in _data_inputs(node):
            consumers.setdefault(i, []).append(node.name)
    training = {node.name for node in graph.node if _is_training(node)}
    pending = [n.name for n in graph.node if n.op in INPUT_OPS and _LABELS.search(n.name)]
    while pending:
        for name in consumers.get(pending.pop(), ()):
            if name not in training:
                training.add(name)
                pending.append(name)
    metrics = {n.name: n for n in graph.node if n.op in _METRIC_OPS}
    pending = [name for name in metrics if training.issuperset(consumers.get(name, "?"))]
    while pending:
        name = pending.pop()
        if name in training:
            continue
        training.add(name)
        pending += [
            i
            for i in _data_inputs(metrics[name])
            if i in metrics and training.issuperset(consumers[i])
        ]
    return training


def _is_training(node: graph_pb2.NodeDef) -> bool:
    if node.op in INPUT_OPS:
        return False
    return bool(_TRAINING_OPS.search(node.op)) or _is_scope_of_training(node.name)


def _is_scope_of_training(name: str) -> bool:
    return _TRAINING.search(name) is not None


def _downstream_of_inputs(graph: graph_pb2.GraphDef, training: set[str]) -> set[str]:
    """Nodes that an input reaches without passing through training."""
    consumers: dict[str, list[str]] = {}
    for node in graph.node:
        for i in _data_inputs(node):
            consumers.setdefault(i, []).append(node.name)
    starts = [n.name for n in graph.node if n.op in INPUT_OPS | PIPELINE_OPS]
    reached, pending = set(starts), starts
    while pending:
        for name in consumers.get(pending.pop(), ()):
            if name not in reached and name not in training:
                reached.add(name)
                pending.append(name)
    return reached


def _data_inputs(node: graph_pb2.NodeDef) -> Iterator[str]:
    return (node_of(i) for i in node.input if not is_control(i))
