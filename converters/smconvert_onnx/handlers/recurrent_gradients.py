"""Gradients of recurrent cells, as TensorFlow's fused kernels compute them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.precision import single
from smconvert_onnx.handlers.recurrent import split

_END = 2**62


@dataclass(frozen=True)
class _Cell:
    """The gradient of an LSTM cell (lstm_ops.h, LSTMBlockCellBprop).

    Attributes:
        peepholes: Of i, f and o; None without.
        order: Of the gates.
    """

    peepholes: tuple[Tensor, Tensor, Tensor] | None
    order: str

    def step(
        self, g: Builder, made: Mapping[str, Tensor], cs_prev: Tensor, dcs: Tensor, dh: Tensor
    ) -> tuple[Tensor, Tensor]:
        """That of the state before the step, and those of the gates, side by side.

        Args:
            g: Writes.
            made: What the step made: i, f, o, ci and co.
            cs_prev: The state before it.
            dcs: The gradient of the state after it.
            dh: That of its output.
        """
        i, f, o, ci, co = (made[name] for name in ("i", "f", "o", "ci", "co"))
        do = g.Mul(g.Mul(_of_sigmoid(g, o), dh), co)
        dcs = g.Add(g.Mul(g.Mul(_of_tanh(g, co), dh), o), dcs)
        if self.peepholes is not None:
            dcs = g.Add(dcs, g.Mul(do, self.peepholes[2]))
        gates = {
            "i": g.Mul(g.Mul(_of_sigmoid(g, i), dcs), ci),
            "c": g.Mul(g.Mul(_of_tanh(g, ci), dcs), i),
            "f": g.Mul(g.Mul(_of_sigmoid(g, f), dcs), cs_prev),
            "o": do,
        }
        before = g.Mul(dcs, f)
        if self.peepholes is not None:
            before = g.Add(before, g.Mul(gates["i"], self.peepholes[0]))
            before = g.Add(before, g.Mul(gates["f"], self.peepholes[1]))
        return before, g.Concat(*(gates[gate] for gate in self.order), axis=-1)

    def of_peepholes(
        self, g: Builder, gates: Tensor, cs_prev: Tensor, cs: Tensor, like: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Of i, f and o: sums over all rows [rows, cells]; 0 without peepholes."""
        if self.peepholes is None:
            return tuple(g.Expand(g.constant(0, gates.dtype), g.Shape(p)) for p in like)
        parts = dict(zip(self.order, split(g, gates, 4), strict=True))
        states = {"i": cs_prev, "f": cs_prev, "o": cs}
        return tuple(
            g.ReduceSum(g.Mul(parts[gate], state), [0], keepdims=0)
            for gate, state in states.items()
        )


def _of_sigmoid(g: Builder, y: Tensor) -> Tensor:
    made: Tensor = g.Mul(y, g.Sub(1, y))
    return made


def _of_tanh(g: Builder, y: Tensor) -> Tensor:
    made: Tensor = g.Sub(1, g.Mul(y, y))
    return made


class LstmBlockCellGradient:
    """One step of an LSTM; the gates are in the order i, ci, f, o (lstm_ops.cc)."""

    ops = ("LSTMBlockCellGrad",)

    def emit(self, g: Builder, op: Op, *given: Tensor) -> tuple[Tensor, ...]:
        dtype = given[0].dtype
        names = [a.name for a in op.definition.input_arg]
        t = {n: single(g, value) for n, value in zip(names, given, strict=True)}
        weights = (t["wci"], t["wcf"], t["wco"])
        cell = _Cell(weights if op.attr("use_peephole") else None, "icfo")
        before, gates = cell.step(g, t, t["cs_prev"], t["cs_grad"], t["h_grad"])
        seen = cell.of_peepholes(g, gates, t["cs_prev"], t["cs"], weights)
        return tuple(g.cast(value, dtype) for value in (before, gates, *seen))


class BlockLstmGradient:
    """An LSTM over time, from the last step back to the first (lstm_ops.cc, BlockLSTMGradOp).

    Gates are in the order i, ci, f, o, and in V2 i, f, ci, o. Steps from ``seq_len_max`` on count
    nothing.
    """

    ops = ("BlockLSTMGrad", "BlockLSTMGradV2")

    def emit(self, g: Builder, op: Op, length: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        dtype = given[0].dtype
        names = [a.name for a in op.definition.input_arg][1:]
        t = {n: single(g, value) for n, value in zip(names, given, strict=True)}
        weights = (t["wci"], t["wcf"], t["wco"])
        order = "ifco" if op.type == "BlockLSTMGradV2" else "icfo"
        cell = _Cell(weights if op.attr("use_peephole") else None, order)
        x, w = t["x"], t["w"]
        time, inputs = g.Slice(g.shape(x), [0], [1]), g.Slice(g.shape(x), [2], [3])
        steps = g.Range(0, g.Squeeze(time, [0]), 1)
        counted = g.Unsqueeze(g.Less(steps, length), [1, 2])
        of_x, of_h = g.Slice(w, [0], inputs, [0]), g.Slice(w, inputs, [_END], [0])
        cs_prev, h_prev = (
            g.Concat(g.Unsqueeze(t[f"{n}_prev"], [0]), g.Slice(t[n], [0], [-1], [0]), axis=0)
            for n in ("cs", "h")
        )
        dcs, dh, gates = self._scan(g, cell, t, cs_prev, of_h, counted)
        rows = _rows(g, gates)
        masked = {
            name: _rows(g, g.Where(counted, value, 0))
            for name, value in (("x", x), ("cs", t["cs"]), ("cs_prev", cs_prev), ("h", h_prev))
        }
        seen = g.Transpose(g.Concat(masked["x"], masked["h"], axis=1), perm=[1, 0])
        made = (
            g.MatMul(gates, g.Transpose(of_x, perm=[1, 0])),
            dcs,
            dh,
            g.MatMul(seen, rows),
            *cell.of_peepholes(g, rows, masked["cs_prev"], masked["cs"], weights),
            g.ReduceSum(rows, [0], keepdims=0),
        )
        return tuple(g.cast(value, dtype) for value in made)

    @staticmethod
    def _scan(
        g: Builder,
        cell: _Cell,
        t: Mapping[str, Tensor],
        cs_prev: Tensor,
        of_h: Tensor,
        counted: Tensor,
    ) -> tuple[Tensor, ...]:
        """The gradients of the first state and output, and those of all gates, step by step."""
        names = ("i", "f", "o", "ci", "co")
        back = g.Transpose(of_h, perm=[1, 0])

        def step(g: Builder, dcs: Tensor, dh: Tensor, *given: Tensor) -> list[Tensor]:
            *made, before, more_dcs, more_dh, counts = given
            values = dict(zip(names, made, strict=True))
            dcs, dh = g.Add(more_dcs, dcs), g.Add(more_dh, dh)
            dcs, gates = cell.step(g, values, before, dcs, dh)
            # What is beyond the steps may be anything; Scan wants to know the rank of it.
            results = (dcs, g.MatMul(gates, back), gates)
            return [g.Reshape(g.Where(counts, r, 0), [0, -1]) for r in results]

        state = (cs_prev.dtype, (None, None))
        body = g.body([*[state] * 10, (DType.BOOL, (None, None))], step)
        zeros = g.Mul(g.Where(g.IsNaN(t["cs_prev"]), 0, t["cs_prev"]), 0)
        taken = [t[name] for name in names]
        found: tuple[Tensor, ...] = g.Scan(
            zeros,
            zeros,
            *taken,
            cs_prev,
            t["cs_grad"],
            t["h_grad"],
            counted,
            body=body,
            num_scan_inputs=9,
            scan_input_directions=[1] * 9,
            scan_output_directions=[1],
            outputs=3,
        )
        return found


def _rows(g: Builder, x: Tensor) -> Tensor:
    """All steps and sequences [time, batch, n] as rows of a matrix."""
    count = g.ReduceProd(g.Slice(g.shape(x), [0], [2]), keepdims=1)
    shape = g.Concat(count, g.Slice(g.shape(x), [2], [3]), axis=0)
    return replace_shape(g.Reshape(x, shape), (None, None))


class GruBlockCellGradient:
    """One step of a GRU (gru_ops.h, GRUBlockCellBprop)."""

    ops = ("GRUBlockCellGrad",)

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
        r: Tensor,
        u: Tensor,
        c: Tensor,
        dh: Tensor,
    ) -> tuple[Tensor, ...]:
        inputs = g.Slice(g.shape(x), [1], [2])
        dc = g.Mul(g.Mul(dh, g.Sub(1, u)), _of_tanh(g, c))
        du = g.Mul(g.Mul(dh, g.Sub(h_prev, c)), _of_sigmoid(g, u))
        of_x, of_reset = self._parts(g, dc, w_c, inputs)
        dr = g.Mul(g.Mul(of_reset, h_prev), _of_sigmoid(g, r))
        gates = g.Concat(dr, du, axis=1)
        more_of_x, of_h = self._parts(g, gates, w_ru, inputs)
        through = g.Add(g.Mul(of_reset, r), g.Mul(dh, u))
        return g.Add(of_x, more_of_x), g.Add(of_h, through), dc, gates

    @staticmethod
    def _parts(g: Builder, dy: Tensor, w: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What of a product with the weights belongs to the input, and to the state."""
        both = g.MatMul(dy, g.Transpose(w, perm=[1, 0]))
        return g.Slice(both, [0], inputs, [1]), g.Slice(both, inputs, [_END], [1])


HANDLERS: tuple[Handler, ...] = (
    LstmBlockCellGradient(),
    BlockLstmGradient(),
    GruBlockCellGradient(),
)
