"""Look-up tables, whose contents are known."""

from __future__ import annotations

import numpy as np

from smconvert.model import Array, DType
from smconvert_onnx.handlers.builder import ML, Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.indexing import gathered

_NAMES = {DType.STRING: "strings", DType.INT64: "int64s", DType.FLOAT32: "floats"}
_DEFAULTS = {DType.STRING: "string", DType.INT64: "int64", DType.FLOAT32: "float"}


class Find:
    """The value of each key, or the default (lookup_table_op.cc).

    Where LabelEncoder has no such type of values, and where the default is computed, it gives the
    places of the keys; and values, with the default behind them, are gathered from there.
    """

    ops = ("LookupTableFindV2",)

    def emit(self, g: Builder, op: Op, handle: Tensor, keys: Tensor, default: Tensor) -> Tensor:
        table = op.table(handle)
        if table.keys.ndim != 1:
            op.refuse("the keys of its table are vectors")
        if keys.dtype is not DType.STRING:
            keys = g.cast(keys, DType.INT64)
        if not len(table.keys):
            return g.Expand(default, g.Concat(g.shape(keys), g.shape(default), axis=0))
        if default.dtype in _NAMES and default.value is not None and table.values.ndim == 1:
            return _encoded(g, table.keys, keys, table.values, default.value, default.dtype)
        count = len(table.keys)
        places = _encoded(g, table.keys, keys, np.arange(count), np.array(count), DType.INT64)
        row = g.Unsqueeze(default, [0])
        held = g.constant(table.values, default.dtype)
        return gathered(g, g.Concat(held, row, axis=0), places, 0)


def _encoded(
    g: Builder, keys: Array, given: Tensor, values: Array, default: Array, dtype: DType
) -> Tensor:
    attributes = {
        f"keys_{_NAMES[given.dtype]}": keys.tolist(),
        f"values_{_NAMES[dtype]}": values.tolist(),
        f"default_{_DEFAULTS[dtype]}": default.item(),
    }
    made = g.node("LabelEncoder", given, domain=ML, dtype=dtype, **attributes)
    return replace_shape(made, given.shape)


class Size:
    """How many keys there are (lookup_table_op.cc)."""

    ops = ("LookupTableSizeV2",)

    def emit(self, g: Builder, op: Op, handle: Tensor) -> Tensor:
        return g.constant(np.int64(len(op.table(handle).keys)))


HANDLERS: tuple[Handler, ...] = (Find(), Size())
