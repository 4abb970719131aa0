"""Recurrent cells, and sequences of them, as TensorFlow's fused kernels compute them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor


@dataclass(frozen=True)
class _Gates:
    """The gates of one step before their functions."""

    i: Tensor
    ci: Tensor
    f: Tensor
    o: Tensor


@dataclass(frozen=True)
class _Cell:
    """The rule of an LSTM cell (lstm_ops.h, LSTMBlockCellFprop).

    Attributes:
        clip: The cell's state stays within it; 0 or less for no limit.
        peepholes: Of i, f and o; None without.
    """

    clip: float
    peepholes: tuple[Tensor, Tensor, Tensor] | None

    def step(self, g: Builder, gates: _Gates, cs_prev: Tensor) -> tuple[Tensor, ...]:
        """i, cs, f, o, ci, co and h."""
        i = g.Sigmoid(self._seen(g, gates.i, cs_prev, 0))
        f = g.Sigmoid(self._seen(g, gates.f, cs_prev, 1))
        ci = g.Tanh(gates.ci)
        cs = g.Add(g.Mul(ci, i), g.Mul(cs_prev, f))
        if self.clip > 0:
            cs = g.Clip(cs, -self.clip, self.clip)
        co = g.Tanh(cs)
        o = g.Sigmoid(self._seen(g, gates.o, cs, 2))
        return i, cs, f, o, ci, co, g.Mul(o, co)

    def _seen(self, g: Builder, gate: Tensor, state: Tensor, which: int) -> Tensor:
        if self.peepholes is None:
            return gate
        return g.Add(gate, g.Mul(state, self.peepholes[which]))


class LstmBlockCell:
    """One step of an LSTM; gates in the order i, ci, f, o (lstm_ops.cc)."""

    ops = ("LSTMBlockCell",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        cs_prev: Tensor,
        h_prev: Tensor,
        w: Tensor,
        wci: Tensor,
        wcf: Tensor,
        wco: Tensor,
        b: Tensor,
    ) -> tuple[Tensor, ...]:
        cell = _Cell(op.attr("cell_clip"), (wci, wcf, wco) if op.attr("use_peephole") else None)
        i, ci, f, o = split(g, _affine(g, g.Concat(x, h_prev, axis=1), w, b), 4)
        gates = _Gates(i, ci, g.Add(f, op.attr("forget_bias")), o)
        return cell.step(g, gates, cs_prev)


class BlockLstm:
    """An LSTM over time [time, batch, input] (lstm_ops.cc, BlockLSTMOp).

    Gates are in the order i, ci, f, o, and in V2, which has no forget bias, i, f, ci, o. After
    ``seq_len_max`` steps ``cs`` and ``h`` are 0; the kernel leaves the other outputs as they are
    in memory, and here they are 0 as well.

    ``h`` is that of the LSTM op where there is one for it, which is many times faster; what
    nothing uses of the two is dropped.
    """

    ops = ("BlockLSTM", "BlockLSTMV2")

    def emit(
        self,
        g: Builder,
        op: Op,
        seq_len_max: Tensor,
        x: Tensor,
        cs_prev: Tensor,
        h_prev: Tensor,
        w: Tensor,
        wci: Tensor,
        wcf: Tensor,
        wco: Tensor,
        b: Tensor,
    ) -> tuple[Tensor, ...]:
        peepholes = (wci, wcf, wco) if op.attr("use_peephole") else None
        cell = _Cell(op.attr("cell_clip"), peepholes)
        b = self._bias(g, op, b)
        made = self._scan(g, op, cell, (x, cs_prev, h_prev, w, b))
        hidden = _hidden((h_prev, 1), (cs_prev, 1), (w, 4), (b, 4))
        if cell.clip <= 0 and x.dtype is DType.FLOAT32 and hidden:
            h = self._lstm(g, op, hidden, peepholes, (x, cs_prev, h_prev, w, b))
            made = (*made[:-1], h)
        return tuple(_cut(g, value, x, seq_len_max) for value in made)

    @staticmethod
    def _order(op: Op) -> str:
        return "ifco" if op.type == "BlockLSTMV2" else "icfo"

    def _bias(self, g: Builder, op: Op, b: Tensor) -> Tensor:
        """The bias with the forget bias in it."""
        if op.type == "BlockLSTMV2" or not op.attr("forget_bias"):
            return b
        parts = dict(zip(self._order(op), split(g, b, 4, axis=0), strict=True))
        parts["f"] = g.Add(parts["f"], op.attr("forget_bias"))
        return g.Concat(*(parts[gate] for gate in self._order(op)), axis=0)

    def _scan(self, g: Builder, op: Op, cell: _Cell, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        x, cs_prev, h_prev, w, b = given
        inputs = g.Slice(g.Shape(x), [2], [3])
        of_x, of_h = g.Slice(w, [0], inputs, [0]), g.Slice(w, inputs, [_END], [0])
        of_inputs = g.Add(g.MatMul(x, of_x), b)

        ranked = all(tensor.rank is not None for tensor in (*given, *(cell.peepholes or ())))

        def step(g: Builder, cs: Tensor, h: Tensor, row: Tensor) -> list[Tensor]:
            values = split(g, g.Add(row, g.MatMul(h, of_h)), 4)
            parts = dict(zip(self._order(op), values, strict=True))
            gates = _Gates(parts["i"], parts["c"], parts["f"], parts["o"])
            made = cell.step(g, gates, cs)
            # Scan wants to know the rank of what it gives.
            made = made if ranked else tuple(g.Reshape(value, [0, -1]) for value in made)
            return [made[1], made[6], *made]

        state = (x.dtype, (None, None))
        body = g.body([state, state, state], step)
        found = g.Scan(cs_prev, h_prev, of_inputs, body=body, num_scan_inputs=1, outputs=9)
        return tuple(found[2:])

    def _lstm(
        self,
        g: Builder,
        op: Op,
        hidden: int,
        peepholes: tuple[Tensor, Tensor, Tensor] | None,
        given: Sequence[Tensor],
    ) -> Tensor:
        x, cs_prev, h_prev, w, b = given
        inputs = g.Slice(g.Shape(x), [2], [3])

        def onnx_order(value: Tensor, axis: int) -> Tensor:
            parts = dict(zip(self._order(op), split(g, value, 4, axis=axis), strict=True))
            return g.Concat(*(parts[gate] for gate in "iofc"), axis=axis)

        turned = g.Transpose(onnx_order(w, 1), perm=[1, 0])
        of_x, of_h = g.Slice(turned, [0], inputs, [1]), g.Slice(turned, inputs, [_END], [1])
        bias = onnx_order(b, 0)
        bias = g.Concat(bias, g.constant(np.zeros(4 * hidden, np.float32)), axis=0)
        seen = None
        if peepholes is not None:
            wci, wcf, wco = peepholes
            seen = g.Unsqueeze(g.Concat(wci, wco, wcf, axis=0), [0])
        h, _, _ = g.LSTM(
            x,
            g.Unsqueeze(of_x, [0]),
            g.Unsqueeze(of_h, [0]),
            g.Unsqueeze(bias, [0]),
            None,
            g.Unsqueeze(h_prev, [0]),
            g.Unsqueeze(cs_prev, [0]),
            seen,
            hidden_size=hidden,
            outputs=3,
        )
        return g.Squeeze(h, [1])


class GruBlockCell:
    """One step of a GRU (gru_ops.h, GRUBlockCellFprop)."""

    ops = ("GRUBlockCell",)

    def emit(
        self,
        g: Builder,
        op: Op,
        x: Tensor,
        h_prev: Tensor,
        w_ru: Tensor,
        w_c: Tensor,
        b_ru: Tensor,
        b_c: Tensor,
    ) -> tuple[Tensor, ...]:
        gates = g.Sigmoid(_affine(g, g.Concat(x, h_prev, axis=1), w_ru, b_ru))
        r, u = split(g, gates, 2)
        c = g.Tanh(_affine(g, g.Concat(x, g.Mul(h_prev, r), axis=1), w_c, b_c))
        h = g.Add(g.Mul(u, h_prev), g.Mul(g.Sub(1, u), c))
        return r, u, c, h


_END = int(np.iinfo(np.int64).max)


def _affine(g: Builder, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return g.Add(g.MatMul(x, w), b)


def split(g: Builder, x: Tensor, parts: int, axis: int = 1) -> tuple[Tensor, ...]:
    """A tensor in parts of equal size along an axis."""
    made: tuple[Tensor, ...] = g.Split(
        x, axis=axis, outputs=parts, num_outputs=parts if g.opset >= 18 else None
    )
    return made


def _hidden(*known: tuple[Tensor, int]) -> int | None:
    """The size of the state: the first known of the last dimensions, each a multiple of it."""
    for tensor, multiple in known:
        size = tensor.shape[-1] if tensor.shape else None
        if isinstance(size, int):
            return size // multiple
    return None


def _cut(g: Builder, value: Tensor, x: Tensor, seq_len_max: Tensor) -> Tensor:
    """``value`` with 0 for the steps that are not computed."""
    time = x.shape[0] if x.shape else None
    if isinstance(time, int) and seq_len_max.value is not None and seq_len_max.value >= time:
        return value
    steps = g.Range(0, g.Squeeze(g.Slice(g.Shape(x), [0], [1])), 1)
    is_computed = g.Unsqueeze(g.Less(steps, seq_len_max), [1, 2])
    return g.Where(is_computed, value, 0)


HANDLERS: tuple[Handler, ...] = (LstmBlockCell(), BlockLstm(), GruBlockCell())
