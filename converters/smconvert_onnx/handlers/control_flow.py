"""Loops and branches: functions in the place of the subgraphs of Loop and If.

``flow`` prepares them: calls are inlined, each function has one caller, and each list of tensors
has its form (``flow/lists.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smconvert.model import DType, Shape
from smconvert_onnx.flow.lists import FULL, INPUTS, OUTPUTS, WRITTEN, Form, forms
from smconvert_onnx.handlers.builder import Body, Builder, Handler, Op, Tensor


class Branch:
    """One function or the other (functional_ops.cc, IfOp)."""

    ops = ("If", "StatelessIf")

    def emit(self, g: Builder, op: Op, predicate: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        if not op.outputs:
            return ()
        given = _formed(inputs, forms(op.node, INPUTS))
        made_forms = forms(op.node, OUTPUTS)
        then, otherwise = (op.functions(op.attr(k).name) for k in ("then_branch", "else_branch"))
        if predicate.value is not None and predicate.dtype is not DType.STRING:
            value = predicate.value
            taken = bool(value) if not value.ndim else bool(value.size)
            return g.inline(then if taken else otherwise, given)

        def branch(function: Body) -> Body:
            return g.body([], lambda inner: _formed(inner.inline(function, given), made_forms))

        made = g.If(
            _truth(g, op, predicate),
            then_branch=branch(then),
            else_branch=branch(otherwise),
            outputs=len(op.outputs),
        )
        made = (made,) if isinstance(made, Tensor) else made
        known = tuple(replace(t, shape=r.shape) for t, r in zip(made, op.outputs, strict=True))
        return _formed(known, made_forms)


class Loop:
    """The body, for as long as the condition holds (functional_ops.cc, WhileOp).

    What the body gives back as it came is no variable of the Loop: the body reads it where it is.
    What each iteration writes into a list, in order, is a scan output.
    """

    ops = ("While", "StatelessWhile")

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = _formed(inputs, forms(op.node, INPUTS))
        cond, body = (op.functions(op.attr(key).name) for key in ("cond", "body"))
        written = _numbers(op, WRITTEN)
        carried = [i for i in range(len(given)) if i not in written and not _passes(body, i)]
        made_forms = forms(op.node, OUTPUTS)
        # TensorFlow takes a list for a scalar, which says nothing of its elements.
        known = _formed([Tensor("", t.dtype, t.shape) for t in op.outputs], made_forms)
        shapes = [t.shape for t in known]
        results = list(given)
        if not carried and not written:
            return tuple(results)

        def iteration(
            inner: Builder, number: Tensor, going: Tensor, *variables: Tensor
        ) -> list[Tensor]:
            made = inner.inline(body, _with(given, carried, variables))
            made = _formed(made, made_forms)
            following = [made[i] for i in carried]
            (going,) = inner.inline(cond, _with(given, carried, following))
            return [_truth(inner, op, going), *following, *(made[i] for i in written)]

        starts = [given[i] for i in carried]
        like = [
            replace(t, name=body.inputs[i].name, shape=shapes[i])
            for i, t in zip(carried, starts, strict=True)
        ]
        part = g.body([(DType.INT64, ()), (DType.BOOL, ()), *like], iteration)
        going = _truth(g, op, g.inline(cond, given)[0])
        count = len(carried) + len(written)
        made = g.Loop(None, going, *starts, body=part, outputs=count)
        made = (made,) if isinstance(made, Tensor) else made
        for i, tensor in zip(carried, made, strict=False):
            results[i] = replace(given[i], name=tensor.name, shape=shapes[i], value=None)
        full = _numbers(op, FULL)
        for i, tensor in zip(written, made[len(carried) :], strict=True):
            element = _shape(body, i)
            rows = replace(tensor, shape=None if element is None else (None, *element))
            if element is not None and all(isinstance(d, int) and d for d in element):
                # Of no iterations ONNX Runtime gives rows of a shape that it may not know.
                rows = replace(rows, name=g.Reshape(rows, [-1, *element]).name)
            results[i] = rows if i in full else _filled(g, rows, given[i])
        return tuple(results)


def _numbers(op: Op, key: str) -> list[int]:
    return list(op.node.attr[key].list.i) if key in op.node.attr else []


def _with(
    given: Sequence[Tensor], numbers: Sequence[int], tensors: Sequence[Tensor]
) -> list[Tensor]:
    changed = list(given)
    for number, tensor in zip(numbers, tensors, strict=True):
        changed[number] = tensor
    return changed


def _formed(tensors: Sequence[Tensor], known: Sequence[Form | None]) -> tuple[Tensor, ...]:
    """Tensors, of which those that are lists have the type and form that was chosen for them."""
    return tuple(
        t if f is None else replace(t, dtype=f.dtype, sequence=f.is_sequence, shape=None)
        for t, f in zip(tensors, known or [None] * len(tensors), strict=True)
    )


def _passes(body: Body, number: int) -> bool:
    """Whether a body gives an input back as it is."""
    return _source(body, number) == body.inputs[number].name


def _source(body: Body, number: int) -> str:
    """What an output is, before any Identity."""
    aliases = {n.outputs[0]: n.inputs[0] for n in body.builder.nodes if n.op_type == "Identity"}
    name = body.outputs[number].name
    while name in aliases:
        name = aliases[name]
    return name


def _shape(body: Body, number: int) -> Shape | None:
    """What is known of the shape of an element that is written to a list."""
    name = _source(body, number)
    known = {t.name: t.shape for t in body.inputs} | body.builder.shapes
    value = body.builder.constants.get(name)
    return known.get(name) if value is None else tuple(value.shape)


def _truth(g: Builder, op: Op, value: Tensor) -> Tensor:
    """The value as a condition: of a scalar whether it is not 0, of a tensor whether it has any."""
    if value.rank:
        return g.Greater(g.Size(value), 0)
    if value.dtype is DType.BOOL:
        return value
    if value.dtype is DType.STRING:
        op.refuse("its condition is a string")
    return g.cast(value, DType.BOOL)


def _filled(g: Builder, rows: Tensor, length: Tensor) -> Tensor:
    """The elements of a list of which a loop wrote the first ones; the others are 0."""
    shape = g.Shape(rows)
    left = g.Max(g.Sub(g.Reshape(length, [1]), g.Slice(shape, [0], [1])), [0])
    # Abs keeps ONNX's inference from taking a rank that it does not know for 1.
    sizes = g.Abs(g.Concat(left, g.Slice(shape, [1], [_END]), axis=0))
    tail = g.Expand(zero(g, rows.dtype), sizes)
    return replace(g.Concat(rows, tail, axis=0), shape=rows.shape)


_END = int(np.iinfo(np.int64).max)


def zero(g: Builder, dtype: DType) -> Tensor:
    """What an element of a list is that nothing was written to."""
    return g.constant(b"" if dtype is DType.STRING else 0, dtype)


class DeviceIndex:
    """Where the CPU stands among the names of devices (control_flow_ops, DeviceIndexOp)."""

    ops = ("DeviceIndex",)

    def emit(self, g: Builder, op: Op) -> Tensor:
        names = op.attr("device_names")
        index = names.index("CPU") if "CPU" in names else len(names)
        return g.constant(index, DType.INT32)


class Gradient:
    """What is left of these: TensorFlow itself writes gradients out where calls are inlined.

    See InlineSymbolicGradient in tensorflow/core/grappler/optimizers/function_optimizer.cc.
    """

    ops = ("SymbolicGradient",)

    def emit(self, g: Builder, op: Op, *inputs: Tensor) -> Tensor:
        op.refuse("TensorFlow does not write it out as the ops of a gradient")


HANDLERS: tuple[Handler, ...] = (Branch(), Loop(), DeviceIndex(), Gradient())
