"""Stacks as lists, which are values.

The gradient of a TensorFlow 1 loop pops, in a loop of its own, what the loop pushed in each
iteration (tensorflow/python/ops/control_flow_state.py). What is done to a stack comes in the order
that the graph says, with control inputs too; the list goes from one to the next, and round a loop
as one more variable of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cmp_to_key
from typing import NoReturn

from smconvert.errors import ConversionError
from smconvert.graph.loops import frames
from smconvert.graph.names import full, is_control, node_of, port_of, short
from smconvert.graph.protos import node_def_pb2
from smconvert.graph.references import PASSES
from smconvert.model import DType, Shape
from smconvert_onnx.flow.arrays import FLOWING, reached, shape_constant
from smconvert_onnx.flow.frames import without_constants
from smconvert_onnx.flow.program import Region, constant
from smconvert_onnx.flow.shapes import either, imported

Frame = tuple[str, ...]
"""The names of the loops that a node lies in, the outermost first."""

_UNKNOWN = -1
_USES = frozenset({"StackPush", "StackPushV2", "StackPop", "StackPopV2"})


def stacks_to_lists(region: Region) -> None:
    """Puts lists in the place of stacks.

    Raises:
        ConversionError: a stack is used in a branch, or the graph leaves an order open.
    """
    stacks = [n for n in region.nodes.values() if n.op in {"Stack", "StackV2"}]
    if not stacks:
        return
    for tensor in reached(region, {full(s.name) for s in stacks}):
        node = region.nodes[node_of(tensor)]
        if node.op in FLOWING:
            node.op = PASSES.get(node.op, node.op)
            node.attr["T"].type = DType.RESOURCE.number
    for node in list(region.nodes.values()):
        if node.op == "Stack":
            node.input.insert(0, short(constant(region, f"{node.name}/size", -1, DType.INT32)))
        if node.op in {"Stack", "StackClose", *_USES}:
            node.op = f"{node.op.removesuffix('V2')}V2"
    graph = without_constants(region)
    where = {name: frame for name, frame in frames(graph).items() if name in region.nodes}
    shapes = imported(region.graph())
    for stack in stacks:
        _Stack(region, stack, where, shapes).replace()


class _Stack:
    def __init__(
        self,
        region: Region,
        stack: node_def_pb2.NodeDef,
        where: Mapping[str, Frame],
        shapes: Mapping[str, Shape | None],
    ) -> None:
        self._region = region
        self._stack = stack
        self._where = where
        self._handles = reached(region, {full(stack.name)})
        self._uses = [
            n.name
            for n in region.nodes.values()
            if n.op in _USES and full(n.input[0]) in self._handles
        ]
        pushed = [
            shapes[full(region.nodes[n].input[1])]
            for n in self._uses
            if region.nodes[n].op == "StackPushV2"
        ]
        self._shape = pushed[0] if pushed else None
        for shape in pushed[1:]:
            self._shape = either(self._shape, shape)

    def replace(self) -> None:
        """Puts a list in the place of the stack."""
        region, stack = self._region, self._stack
        for tensor in self._handles:
            if region.nodes[node_of(tensor)].op not in {"StackV2", "Enter", "Identity"}:
                self._refuse("it is used in a branch")
        order = {frame: self._ordered(frame) for frame in self._frames()}
        dtype = stack.attr["elem_type"].type
        shape = constant(region, f"{stack.name}/any_shape", _UNKNOWN, DType.INT32)
        size = constant(region, f"{stack.name}/any_size", _UNKNOWN, DType.INT32)
        empty = region.add("EmptyTensorList", f"{stack.name}/list", [shape, size])
        empty.attr["element_dtype"].type = dtype
        empty.attr["shape_type"].type = DType.INT32.number
        own = self._where.get(stack.name, ())
        self._thread(own, full(empty.name), order)
        gone = {node_of(t) for t in self._handles}
        gone |= {
            n.name
            for n in region.nodes.values()
            if n.op.startswith("StackClose") and full(n.input[0]) in self._handles
        }
        for name in gone:
            del region.nodes[name]
        for node in region.nodes.values():
            read = [i for i in node.input if node_of(i) not in gone]
            if len(read) != len(node.input):
                del node.input[:]
                node.input.extend(read)

    def _frames(self) -> list[Frame]:
        """The stack's own frame, and the loops in it that use the stack."""
        own = self._where.get(self._stack.name, ())
        found = {own}
        for name in self._uses:
            frame = self._where[name]
            if frame[: len(own)] != own:
                self._refuse("it is used outside of the loop that makes it")
            found |= {frame[:depth] for depth in range(len(own), len(frame) + 1)}
        return sorted(found, key=len)

    def _ordered(self, frame: Frame) -> list[list[str]]:
        """What is done to the stack in a frame, in order; a loop is all that is done in it."""
        units: dict[str, list[str]] = {}
        for name in self._uses:
            inner = self._where[name]
            if inner == frame:
                units[name] = [name]
                if frame and not self._is_in_body(name):
                    self._refuse("the condition of a loop changes it")
            elif inner[: len(frame)] == frame:
                units.setdefault("/".join(inner[: len(frame) + 1]), []).append(name)
        after = {key: self._after(names, frame) for key, names in units.items()}

        def compare(one: str, other: str) -> int:
            before = any(n in after[one] for n in units[other])
            behind = any(n in after[other] for n in units[one])
            if before == behind:
                self._refuse("the graph leaves the order open in which it is used")
            return -1 if before else 1

        keys = list(units)
        for number, one in enumerate(keys):
            for other in keys[number + 1 :]:
                compare(one, other)
        return [units[key] for key in sorted(units, key=cmp_to_key(compare))]

    def _after(self, names: Collection[str], frame: Frame) -> set[str]:
        """The nodes that wait for some, within an iteration of a frame."""
        consumers: dict[str, list[str]] = {}
        for node in self._region.nodes.values():
            for tensor in node.input:
                consumers.setdefault(node_of(tensor), []).append(node.name)
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            for name in consumers.get(waiting.pop(), ()):
                inner = self._where.get(name, ())
                goes_round = self._region.nodes[name].op == "NextIteration"
                if name in found or (goes_round and inner == frame[: len(inner)]):
                    continue
                found.add(name)
                waiting.append(name)
        return found

    def _is_in_body(self, name: str) -> bool:
        """Whether a node of a loop waits for what the condition lets through."""
        waiting, seen = [name], {name}
        while waiting:
            for tensor in self._region.nodes[waiting.pop()].input:
                node = self._region.nodes[node_of(tensor)]
                if node.op == "Switch":
                    decides = self._region.nodes[node_of(self._region.source(node.input[1]))]
                    if decides.op == "LoopCond" and port_of(tensor) == 1:
                        return True
                if node.op not in {"Merge", "Enter", "Exit"} and node.name not in seen:
                    seen.add(node.name)
                    waiting.append(node.name)
        return False

    def _thread(
        self, frame: Frame, given: str, order: Mapping[Frame, Sequence[Sequence[str]]]
    ) -> str:
        """Hands a list through all that is done in a frame; gives what becomes of it."""
        for names in order[frame]:
            inner = self._where[names[0]]
            if inner == frame:
                given = self._use(self._region.nodes[names[0]], given)
            else:
                given = self._round(inner[: len(frame) + 1], given, order)
        return given

    def _round(
        self, frame: Frame, given: str, order: Mapping[Frame, Sequence[Sequence[str]]]
    ) -> str:
        """Makes a list a variable of a loop; gives it as it leaves the loop."""
        region = self._region
        inside = [
            region.nodes[n] for n, f in self._where.items() if f == frame and n in region.nodes
        ]
        condition = next((n.name for n in inside if n.op == "LoopCond"), None)
        entry = next(n for n in inside if n.op == "Enter")
        if condition is None:
            self._refuse("a loop that uses it has no condition")
        base = f"{self._stack.name}/{frame[-1]}"
        enter = self._variant("Enter", f"{base}/enter", [given])
        enter.attr["frame_name"].s = entry.attr["frame_name"].s
        enter.attr["parallel_iterations"].i = entry.attr["parallel_iterations"].i
        merge = self._variant("Merge", f"{base}/merge", [enter.name])
        switch = self._variant("Switch", f"{base}/switch", [merge.name, condition])
        last = self._thread(frame, f"{switch.name}:1", order)
        again = self._variant("NextIteration", f"{base}/next", [last])
        merge.input.append(again.name)
        merge.attr["N"].i = 2
        return full(self._variant("Exit", f"{base}/exit", [switch.name]).name)

    def _variant(self, op: str, name: str, inputs: Sequence[str]) -> node_def_pb2.NodeDef:
        node = self._region.add(op, name, inputs)
        node.attr["T"].type = DType.VARIANT.number
        return node

    def _use(self, node: node_def_pb2.NodeDef, given: str) -> str:
        """Makes a push or a pop that of a list; gives the list after it."""
        region = self._region
        data = [i for i in node.input if not is_control(i)]
        after = [i for i in node.input if is_control(i)]
        is_push = node.op == "StackPushV2"
        name = node.name
        node.Clear()
        node.name = name
        node.attr["element_dtype"].type = self._stack.attr["elem_type"].type
        if is_push:
            region.replace({full(name): full(data[1])})
            node.op = "TensorListPushBack"
            node.input.extend([short(given), data[1], *after])
        else:
            shape = shape_constant(region, f"{name}/element_shape", self._shape)
            region.replace({full(name): f"{name}:1"})
            node.op = "TensorListPopBack"
            node.input.extend([short(given), short(shape), *after])
        return full(name)

    def _refuse(self, why: str) -> NoReturn:
        raise ConversionError(
            f"a stack of the graph cannot become a list: {why}",
            where=f"node {self._stack.name}",
            hint="choose --outputs that need no gradient through a loop",
        )
