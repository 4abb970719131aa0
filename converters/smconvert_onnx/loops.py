"""How deep the while loops of a graph lie in each other.

TensorFlow's executor gives each node a frame, which its inputs and control inputs hand down,
``Enter`` opens and ``Exit`` leaves (tensorflow/core/graph/control_flow.cc, BuildControlFlowInfo).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from smconvert.graph.names import node_of
from smconvert.graph.protos import graph_pb2


def loop_depths(graph: graph_pb2.GraphDef) -> Mapping[str, int]:
    """``LoopCond`` node to the number of loops it lies in: 1 for a loop in no other."""
    nodes: dict[str, Any] = {node.name: node for node in graph.node}
    consumers: dict[str, list[str]] = {name: [] for name in nodes}
    for node in graph.node:
        for tensor in node.input:
            consumers[node_of(tensor)].append(node.name)
    frames: dict[str, tuple[str, ...]] = {n: () for n in nodes if not nodes[n].input}
    waiting = deque(frames)
    while waiting:
        name = waiting.popleft()
        left = frames[name][:-1] if nodes[name].op == "Exit" else frames[name]
        for consumer in consumers[name]:
            if consumer not in frames:
                node = nodes[consumer]
                opened = (node.attr["frame_name"].s.decode(),) if node.op == "Enter" else ()
                frames[consumer] = left + opened
                waiting.append(consumer)
    return {n: len(frames[n]) for n in frames if nodes[n].op == "LoopCond"}
