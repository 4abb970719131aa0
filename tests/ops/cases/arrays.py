"""Arrays: what moves values, and what asks for shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from proof import Case, Shapes, Tolerance
from smconvert.model import Array
from values import (
    BOOL,
    BRAIN,
    DOUBLE,
    FLOATS,
    HALF,
    INTEGERS,
    NUMBERS,
    SINGLE,
    TEXT,
    edges,
    plain,
)

ALL = (*NUMBERS, BOOL, TEXT)
INDICES = (np.dtype(np.int32), np.dtype(np.int64))
KNOWN = (Shapes.STATIC, Shapes.DIMENSIONS)
Index: TypeAlias = "slice | int | EllipsisType | None"


def cases() -> Iterator[Case]:
    yield from _slices()
    yield from _gathers()
    yield from _scatters()
    yield from _pieces()
    yield from _made()
    yield from _borders()
    yield from _orders()
    yield from _blocks()
    yield from _shapes()
    yield from _same()


def ints(*values: Any, dtype: Any = np.int32) -> Array:
    return np.array(values, dtype)


def also_fed(case: Case) -> Iterator[Case]:
    """The case with its constants, and with all of them fed."""
    yield case
    yield Case(
        case.op,
        case.inputs,
        case.attributes,
        frozenset(),
        case.tolerance,
        case.outputs,
        case.refusable,
        case.shapes,
    )


def strided(
    spec: Sequence[Index], dtype: Any = np.int32
) -> tuple[dict[str, Array], dict[str, int]]:
    """Inputs and masks that Python's own notation stands for."""
    begin, end, strides = [], [], []
    masks = dict.fromkeys(("begin", "end", "ellipsis", "new_axis", "shrink_axis"), 0)
    for i, item in enumerate(spec):
        span = item if isinstance(item, slice) else slice(0, 0, 1)
        if item is None:
            masks["new_axis"] |= 1 << i
        elif item is Ellipsis:
            masks["ellipsis"] |= 1 << i
        elif isinstance(item, int):
            masks["shrink_axis"] |= 1 << i
            span = slice(item, item + 1)
        else:
            masks["begin"] |= (span.start is None) << i
            masks["end"] |= (span.stop is None) << i
        begin.append(span.start or 0)
        end.append(span.stop or 0)
        strides.append(1 if span.step is None else span.step)
    arrays = {
        name: np.array(value, dtype)
        for name, value in (("begin", begin), ("end", end), ("strides", strides))
    }
    return arrays, {f"{name}_mask": mask for name, mask in masks.items()}


SPECS: tuple[tuple[Index, ...], ...] = (
    (slice(1, 3),),
    (slice(None), slice(None), slice(0, 2)),
    (slice(None, None, -1),),
    (slice(3, 0, -2), slice(None, 1, -1), slice(-1, None)),
    (slice(-100, 100), slice(100, -100, -3), slice(5, 7)),
    (slice(2, 1), slice(0, 0)),
    (1,),
    (-1, slice(1, 3)),
    (slice(None), -2, 0),
    (0, 1, 2),
    (Ellipsis, 1),
    (Ellipsis,),
    (),
    (1, Ellipsis, slice(0, 2)),
    (slice(None), slice(None), slice(None), Ellipsis),
    (None, slice(None)),
    (Ellipsis, None),
    (slice(1, 2), None, 0, None, Ellipsis, None),
    (None, None, 2),
    (slice(1, None), slice(None, -1), None, -1),
)


def _slices() -> Iterator[Case]:
    x = plain(SINGLE, (4, 5, 3))
    parts = frozenset({"begin", "end", "strides"})
    for spec in SPECS:
        for dtype in INDICES:
            arrays, masks = strided(spec, dtype)
            yield Case("StridedSlice", {"input": x, **arrays}, masks, parts)
        arrays, masks = strided(spec)
        yield Case("StridedSlice", {"input": x, **arrays}, masks, refusable=True)
        yield Case("StridedSlice", {"input": x, **arrays}, masks, parts - {"begin"})
        yield Case("StridedSlice", {"input": x, **arrays}, masks, parts - {"end"})
        yield Case("StridedSlice", {"input": x, **arrays}, masks, frozenset({"strides"}))
    for dtype in ALL:
        for spec in SPECS[3], SPECS[-1]:
            arrays, masks = strided(spec)
            yield Case("StridedSlice", {"input": plain(dtype, (4, 5, 3)), **arrays}, masks, parts)
    for spec in (slice(1, 3),), (Ellipsis, None), (slice(None, None, -1), 0), (slice(2, 9), None):
        arrays, masks = strided(spec)
        yield Case("StridedSlice", {"input": plain(SINGLE, (0, 2)), **arrays}, masks, parts)
    for spec in (Ellipsis, None), (None,), ():
        arrays, masks = strided(spec)
        yield Case("StridedSlice", {"input": plain(SINGLE, ()), **arrays}, masks, parts)
    arrays, masks = strided((slice(4, 1, -2), Ellipsis, 1))
    yield Case(
        "StridedSlice", {"input": x, **arrays}, {**masks, "begin_mask": 7, "end_mask": 7}, parts
    )
    for begin, size in ([1, 0, 2], [2, -1, 1]), ([0, 5, 0], [4, 0, -1]), ([0] * 3, [-1] * 3):
        for dtype in INDICES:
            sliced = {"input": x, "begin": np.array(begin, dtype), "size": np.array(size, dtype)}
            yield from also_fed(Case("Slice", sliced, constants=frozenset({"begin", "size"})))
            yield Case("Slice", sliced, constants=frozenset({"begin"}))
            yield Case("Slice", sliced, constants=frozenset({"size"}))
    for dtype in ALL:
        sliced = {"input": plain(dtype, (3, 4)), "begin": ints(1, 1), "size": ints(-1, 2)}
        yield Case("Slice", sliced, constants=frozenset({"begin", "size"}))
    none = {"input": plain(SINGLE, ()), "begin": ints(), "size": ints()}
    yield from also_fed(Case("Slice", none, constants=frozenset({"begin", "size"})))
    yield from _updated_slices()


def _updated_slices() -> Iterator[Case]:
    parts = frozenset({"begin", "end", "strides"})
    for spec in SPECS:
        x = plain(SINGLE, (4, 5, 3))
        arrays, masks = strided(spec)
        taken = tf.raw_ops.StridedSlice(input=x, **arrays, **masks).numpy()
        value = plain(SINGLE, taken.shape, 1)
        yield Case("TensorStridedSliceUpdate", {"input": x, **arrays, "value": value}, masks, parts)
        whole = ints(4, 5, 3)
        grad = {"shape": whole, **arrays, "dy": value}
        yield Case("StridedSliceGrad", grad, masks, parts | {"shape"})
        yield Case("StridedSliceGrad", grad, masks, parts)
        if value.size:
            one = plain(SINGLE, (), 1)
            update = {"input": x, **arrays, "value": one}
            yield Case("TensorStridedSliceUpdate", update, masks, parts)
    for dtype in ALL:
        arrays, masks = strided((slice(3, 0, -2), 1, slice(None, 2)))
        value = plain(dtype, (2, 2), 1)
        update = {"input": plain(dtype, (4, 5, 3)), **arrays, "value": value}
        yield Case("TensorStridedSliceUpdate", update, masks, parts)
        yield Case(
            "StridedSliceGrad", {"shape": ints(4, 5, 3), **arrays, "dy": value}, masks, parts
        )


def _gathers() -> Iterator[Case]:
    for dtype in ALL:
        params, indices = plain(dtype, (4, 3)), ints([3, 0], [1, 1])
        yield Case("Gather", {"params": params, "indices": indices})
        second = {"params": params, "indices": ints(2, 0, 0), "axis": np.array(1, np.int32)}
        yield Case("GatherV2", second, constants=frozenset({"axis"}))
        yield Case("GatherNd", {"params": params, "indices": ints([3, 0], [1, 1])})
        batched = {"params": plain(dtype, (2, 3, 4)), "indices": ints([3, 0], [1, 1])}
        axis = {"axis": np.array(2, np.int32)}
        yield Case("GatherV2", {**batched, **axis}, {"batch_dims": 1}, frozenset({"axis"}))
        wide = {"params": batched["params"], "indices": ints([1, 0], [1, 1])}
        for axis in 0, 1, -1:
            wide["axis"] = np.array(axis, np.int32)
            yield from also_fed(Case("GatherV2", dict(wide), constants=frozenset({"axis"})))
    x = plain(SINGLE, (2, 3, 4))
    for dtype in (np.int16, *INDICES):
        for indices in np.array(1, dtype), np.array([], dtype), np.array([[1, 0]], dtype):
            for axis in -3, -1, 0, 2:
                for kind in INDICES:
                    given = {"params": x, "indices": indices, "axis": np.array(axis, kind)}
                    yield Case("GatherV2", given, constants=frozenset({"axis"}))
            yield Case("GatherV2", {"params": x, "indices": indices, "axis": np.array(-2)})
            yield Case("Gather", {"params": x, "indices": indices})
    for batch in 1, 2, -1:
        for axis in range(batch % 3, 3):
            indices = ints([[1, 0, 0], [0, 1, 1]])[0]
            given = {"params": x, "indices": indices, "axis": np.array(axis, np.int32)}
            yield from also_fed(Case("GatherV2", given, {"batch_dims": batch}, frozenset({"axis"})))
    four = plain(SINGLE, (2, 3, 4, 5))
    for batch, axis in (1, 1), (1, 3), (2, 2), (2, -1), (1, -2):
        indices = np.random.default_rng(0).integers(0, 2, (2, 3, 2, 2))
        given = {"params": four, "indices": indices, "axis": np.array(axis)}
        yield Case("GatherV2", given, {"batch_dims": batch}, frozenset({"axis"}))
    for params, indices, axis in (
        (plain(SINGLE, (0, 3)), ints(), 0),
        (plain(SINGLE, (2, 0)), ints(1, 0), 0),
        (plain(SINGLE, (2, 0)), np.zeros((0, 2), np.int32), 1),
        (plain(SINGLE, (3,)), np.array(2, np.int32), 0),
    ):
        given = {"params": params, "indices": indices, "axis": np.array(axis)}
        yield Case("GatherV2", given, constants=frozenset({"axis"}))
        if axis == 0:
            yield Case("Gather", {"params": params, "indices": indices})
    for dtype in (np.int16, *INDICES):
        for indices in (
            np.array([[1, 2, 3], [0, 0, 0]], dtype),
            np.array([[1], [0]], dtype),
            np.array([1, 2], dtype),
            np.array([[[1, 0]], [[0, 2]]], dtype),
            np.zeros((0, 2), dtype),
            np.zeros((2, 0), dtype),
            np.zeros((0,), dtype),
            np.zeros((2, 0, 1), dtype),
        ):
            yield Case("GatherNd", {"params": x, "indices": indices})
    yield Case("GatherNd", {"params": plain(SINGLE, (0, 3)), "indices": np.zeros((0, 1), np.int32)})
    yield Case("GatherNd", {"params": plain(SINGLE, (2, 0)), "indices": ints([1], [0])})
    yield Case("GatherNd", {"params": plain(SINGLE, ()), "indices": np.zeros((2, 0), np.int32)})


def _scatters() -> Iterator[Case]:
    several = ints([0], [2], [0], [0])
    for dtype in ALL:
        x, updates = plain(dtype, (4, 3)), plain(dtype, (4, 3), 1)
        near = Tolerance(ulps=4, atol={HALF: 4e-3, BRAIN: 4e-2}.get(dtype, 1e-6))
        added = {"indices": several, "updates": updates}
        if dtype != TEXT:
            shape = ints(4, 3)
            yield Case("ScatterNd", {**added, "shape": shape}, tolerance=near)
            yield Case(
                "ScatterNd",
                {**added, "shape": shape},
                constants=frozenset({"shape"}),
                tolerance=near,
            )
        for index in several, ints([3, 1], [0, 0], [3, 1]), np.zeros((0, 1), np.int64):
            part = plain(dtype, (*index.shape[:1], *x.shape[index.shape[1] :]), 1)
            given = {"tensor": x, "indices": index, "updates": part}
            yield Case("TensorScatterUpdate", given)
            if dtype not in (BOOL, TEXT):
                for op in "Add", "Sub", "Max", "Min":
                    yield Case(f"TensorScatter{op}", given, tolerance=near)
            if dtype != TEXT:
                given = {"input": x, "indices": index, "updates": part}
                yield Case("ScatterNdNonAliasingAdd", given, tolerance=near)
    x = plain(DOUBLE, (2, 3, 4))
    for dtype in INDICES:
        for index in (
            np.array([[1, 2, 3], [0, 0, 0], [0, 0, 0]], dtype),
            np.array([[1], [0]], dtype),
            np.array([1, 2], dtype),
            np.array([[[1, 0]], [[0, 2]]], dtype),
            np.zeros((0, 2), dtype),
            np.zeros((2, 0), dtype),
            np.zeros((0,), dtype),
        ):
            updates = plain(DOUBLE, (*index.shape[:-1], *x.shape[index.shape[-1] :]), 1)
            for op in "Add", "Sub", "Max", "Min", "Update":
                given = {"tensor": x, "indices": index, "updates": updates}
                yield Case(f"TensorScatter{op}", given)
            given = {"indices": index, "updates": updates, "shape": np.array(x.shape, dtype)}
            yield Case("ScatterNd", given)
            yield Case("ScatterNd", given, constants=frozenset({"shape"}))
            yield Case(
                "ScatterNdNonAliasingAdd", {"input": x, "indices": index, "updates": updates}
            )
    for op in "Max", "Min":
        for dtype in FLOATS:
            values = edges(dtype)
            pairs = np.stack(np.meshgrid(values, values)).reshape(2, -1)
            index = np.arange(pairs.shape[1], dtype=np.int32)[:, None]
            given = {"tensor": pairs[0], "indices": index, "updates": pairs[1]}
            yield Case(f"TensorScatter{op}", given)
    for dtype in INTEGERS:
        given = {"tensor": edges(dtype), "indices": ints([0], [1]), "updates": edges(dtype)[:2]}
        for op in "Add", "Sub", "Max", "Min", "Update":
            yield Case(f"TensorScatter{op}", given)
    empty = {"indices": ints([1], [1]), "updates": plain(SINGLE, (2, 0)), "shape": ints(3, 0)}
    yield from also_fed(Case("ScatterNd", empty, constants=frozenset({"shape"})))
    for dtype in ALL:
        x = plain(dtype, (4, 2))
        for where in np.array(2, np.int32), ints(2, 0, 2), ints(-1, 5):
            value = plain(dtype, (*where.shape, 2), 1)
            if dtype != TEXT:
                yield Case("InplaceUpdate", {"x": x, "i": where, "v": value}, shapes=KNOWN)
            if dtype not in (BOOL, TEXT):
                yield Case("InplaceAdd", {"x": x, "i": where, "v": value}, shapes=KNOWN)
                yield Case("InplaceSub", {"x": x, "i": where, "v": value}, shapes=KNOWN)


def _pieces() -> Iterator[Case]:
    for dtype in ALL:
        a, b = plain(dtype, (2, 3)), plain(dtype, (2, 1), 1)
        axis = np.array(-1, np.int32)
        yield Case("ConcatV2", {"values": [a, b, a], "axis": axis}, constants=frozenset({"axis"}))
        yield Case(
            "Concat",
            {"concat_dim": np.array(1, np.int32), "values": [a, b]},
            constants=frozenset({"concat_dim"}),
        )
        yield Case("Pack", {"values": [a, a]}, {"axis": -1})
        yield Case("Unpack", {"value": a}, {"num": 3, "axis": 1})
        yield Case(
            "Split",
            {"axis": np.array(1, np.int32), "value": a},
            {"num_split": 3},
            frozenset({"axis"}),
        )
        yield Case(
            "SplitV",
            {"value": a, "size_splits": ints(1, -1), "axis": np.array(1, np.int32)},
            {"num_split": 2},
            frozenset({"axis", "size_splits"}),
        )
        yield Case("ParallelConcat", {"values": [a[:1], a[1:]]}, {"shape": [2, 3]})
        data = [plain(dtype, (3, 2)), plain(dtype, (2, 2), 1)]
        merged = {"indices": [ints(0, 2, 2), ints(1, 0)], "data": data}
        yield Case("DynamicStitch", merged)
        yield Case(
            "ParallelDynamicStitch",
            {"indices": [ints(0, 2, 4), ints(1, 3)], "data": data},
        )
        yield Case(
            "DynamicPartition",
            {"data": plain(dtype, (4, 2)), "partitions": ints(1, 0, 2, 1)},
            {"num_partitions": 4},
        )
        tiled = {"input": a, "multiples": ints(2, 3)}
        yield from also_fed(Case("Tile", tiled, constants=frozenset({"multiples"})))
    cube = plain(SINGLE, (2, 3, 4))
    for axis in -3, -1, 1:
        for kind in INDICES:
            values = [cube, cube[:, :0] if axis == 1 else cube]
            pieces = {"values": values, "axis": np.array(axis, kind)}
            yield from also_fed(Case("ConcatV2", pieces, constants=frozenset({"axis"})))
    for axis in 0, 1, -2:
        given = {"concat_dim": np.array(axis, np.int32), "values": [cube, cube]}
        yield from also_fed(Case("Concat", given, constants=frozenset({"concat_dim"})))
    axis = np.array(0, np.int32)
    for pieces in (
        [plain(SINGLE, (0,)), plain(SINGLE, (2,))],
        [plain(SINGLE, (0,)), plain(SINGLE, (0,))],
        [plain(SINGLE, (0, 3)), plain(SINGLE, (2, 3))],
        [plain(SINGLE, (1, 0)), plain(SINGLE, (2, 0))],
    ):
        yield Case("ConcatV2", {"values": pieces, "axis": axis}, constants=frozenset({"axis"}))
        constant = frozenset({"axis", "values"})
        yield Case("ConcatV2", {"values": pieces, "axis": axis}, constants=constant)
    for axis in -4, -1, 0, 2, 3:
        yield Case("Pack", {"values": [cube, cube, cube]}, {"axis": axis})
    yield Case("Pack", {"values": [plain(SINGLE, ())] * 2}, {"axis": 0})
    yield Case("Pack", {"values": [plain(SINGLE, ())]}, {"axis": -1})
    yield Case("Pack", {"values": [plain(SINGLE, (0, 2))] * 2}, {"axis": 1})
    for axis, num in (0, 2), (-1, 4), (1, 3):
        yield Case("Unpack", {"value": cube}, {"num": num, "axis": axis})
    yield Case("Unpack", {"value": cube[:1]}, {"num": 1, "axis": 0})
    yield Case("Unpack", {"value": cube[:, :, :0]}, {"num": 2, "axis": 0})
    for where, num in (0, 2), (-1, 4), (2, 2), (1, 1):
        given = {"axis": np.array(where, np.int32), "value": cube}
        yield from also_fed(Case("Split", given, {"num_split": num}, frozenset({"axis"})))
    given = {"axis": np.array(0, np.int32), "value": plain(SINGLE, (0, 2))}
    yield Case("Split", given, {"num_split": 2}, frozenset({"axis"}))
    for sizes, where in ([1, 2, 1], 2), ([0, -1, 1], -1), ([-1], 0), ([3, 0], 1), ([0, 0, 2], 0):
        for dtype in INDICES:
            given = {
                "value": cube,
                "size_splits": np.array(sizes, dtype),
                "axis": np.array(where, np.int32),
            }
            count, both = {"num_split": len(sizes)}, frozenset({"axis", "size_splits"})
            yield from also_fed(Case("SplitV", given, count, both))
            yield Case("SplitV", given, count, frozenset({"axis"}))
            yield Case("SplitV", given, count, frozenset({"size_splits"}))
    for multiples in [0, 1, 2], [1, 1, 1], [2, 3, 1]:
        for dtype in INDICES:
            given = {"input": cube, "multiples": np.array(multiples, dtype)}
            yield from also_fed(Case("Tile", given, constants=frozenset({"multiples"})))
    given = {"input": plain(SINGLE, ()), "multiples": ints()}
    yield from also_fed(Case("Tile", given, constants=frozenset({"multiples"})))
    for op in "DynamicStitch", "ParallelDynamicStitch":
        for indices, shapes in (
            ([np.array(1), np.array(0)], [(3,), (3,)]),
            ([ints([0, 3], [1, 5]), np.array(2), ints(4)], [(2, 2), (), (1,)]),
            ([ints(), ints(1, 0)], [(0, 2), (2, 2)]),
            ([ints(), ints()], [(0, 2), (0, 2)]),
            ([ints(0, 1, 2)], [(3, 0)]),
            ([ints(0), np.array([[1, 2]])], [(1, 2, 2), (1, 2, 2, 2)]),
        ):
            given = {
                "indices": [np.asarray(i, np.int32) for i in indices],
                "data": [plain(SINGLE, shape, n) for n, shape in enumerate(shapes)],
            }
            yield from also_fed(Case(op, given, constants=frozenset({"indices"})))
    overlaps = {
        "indices": [ints(3, 1, 1), ints(1, 0), ints(2, 2, 3)],
        "data": [plain(SINGLE, (n,), n) for n in (3, 2, 3)],
    }
    yield from also_fed(Case("DynamicStitch", overlaps, constants=frozenset({"indices"})))
    for partitions, shape in (
        (np.array(1), ()),
        (ints([0, 1], [1, 2]), (2, 2)),
        (ints([0, 1], [1, 2]), (2, 2, 3)),
        (ints(), (0, 2)),
        (ints(0, 0), (2, 0)),
    ):
        given = {"data": plain(SINGLE, shape), "partitions": np.asarray(partitions, np.int32)}
        yield from also_fed(
            Case("DynamicPartition", given, {"num_partitions": 3}, frozenset({"partitions"}))
        )


def _made() -> Iterator[Case]:
    for dtype in (*FLOATS, *(np.dtype(t) for t in (np.int32, np.int64))):
        for start, limit, delta in (
            (0, 5, 1),
            (2, 3, 2),
            (5, 0, -2),
            (0, 0, 1),
            (3, 1, -1),
            (1, 2, 3),
        ):
            given = {
                "start": np.array(start, dtype),
                "limit": np.array(limit, dtype),
                "delta": np.array(delta, dtype),
            }
            yield Case("Range", given)
            yield Case("Range", given, constants=frozenset({"start", "delta"}))
    for dtype in FLOATS:
        for start, limit, delta in (0, 1, 0.1), (0.5, -1, -0.3), (0, 2.5, 0.5), (1e-3, 7.3, 0.7):
            given = {
                "start": np.array(start, dtype),
                "limit": np.array(limit, dtype),
                "delta": np.array(delta, dtype),
            }
            yield Case("Range", given)
    for dtype in SINGLE, DOUBLE:
        for start, stop, num in (0, 1, 5), (3, -2, 4), (2, 9, 1), (1, 1, 3), (0.1, 0.7, 2):
            for kind in INDICES:
                given = {
                    "start": np.array(start, dtype),
                    "stop": np.array(stop, dtype),
                    "num": np.array(num, kind),
                }
                near = Tolerance(ulps=2, atol=1e-7)
                yield from also_fed(Case("LinSpace", given, {}, frozenset({"num"}), tolerance=near))
    for dtype in ALL:
        given = {
            "indices": ints([0, 2], [-1, 5]),
            "depth": np.array(4, np.int32),
            "on_value": plain(dtype, (), 3),
            "off_value": plain(dtype, (), 4),
        }
        fixed = frozenset({"depth", "on_value", "off_value"})
        yield from also_fed(Case("OneHot", given, {"axis": -1}, fixed))
    for dtype in (np.uint8, np.int8, *INDICES):
        for axis in -1, 0, 1:
            for depth in 0, 3:
                given = {
                    "indices": np.array([[0, 2, 1], [100, 3, 2]], dtype),
                    "depth": np.array(depth, np.int32),
                    "on_value": np.array(1, np.float32),
                    "off_value": np.array(0, np.float32),
                }
                fixed = frozenset({"depth", "on_value", "off_value"})
                yield from also_fed(Case("OneHot", given, {"axis": axis}, fixed))
    for indices in np.array(1), np.array([], np.int64), np.array([-1, -2, -3, -4, 2**40]):
        given = {
            "indices": indices,
            "depth": np.array(3, np.int32),
            "on_value": np.array(5, np.int64),
            "off_value": np.array(-2, np.int64),
        }
        yield Case("OneHot", given, {"axis": -1}, frozenset({"depth"}))
        yield Case("OneHot", given, {"axis": 0}, frozenset({"depth", "on_value", "off_value"}))
    for dtype in ALL:
        value = plain(dtype, (), 5)
        for kind in INDICES:
            dims = np.array([2, 3], kind)
            yield from also_fed(
                Case("Fill", {"dims": dims, "value": value}, constants=frozenset({"dims"}))
            )
        yield Case("Fill", {"dims": dims, "value": value}, constants=frozenset({"value"}))
        yield from also_fed(
            Case(
                "Empty",
                {"shape": ints(2, 3)},
                {"dtype": dtype if dtype != TEXT else tf.string, "init": True},
                frozenset({"shape"}),
            )
        )
        for x in edges(dtype), plain(dtype, ()), plain(dtype, (2, 0, 3)):
            if dtype != TEXT:
                yield Case("OnesLike", {"x": x})
            yield Case("ZerosLike", {"x": x})
        given = {"input": plain(dtype, (2, 1)), "shape": ints(4, 2, 3)}
        yield from also_fed(Case("BroadcastTo", given, constants=frozenset({"shape"})))
    for dims in [], [0, 2], [3]:
        given = {"dims": np.array(dims, np.int32), "value": np.array(2, np.float32)}
        yield from also_fed(Case("Fill", given, constants=frozenset({"dims"})))
    for start, end in (
        ((), (2, 3)),
        ((), ()),
        ((1, 3), (0, 3)),
        ((0, 3), (2, 0, 3)),
        ((1,), (0,)),
        ((2, 1, 3), (2, 5, 3)),
    ):
        for kind in INDICES:
            given = {"input": plain(SINGLE, start), "shape": np.array(end, kind)}
            yield from also_fed(Case("BroadcastTo", given, constants=frozenset({"shape"})))
    for a, b in (
        ([2, 3], [3]),
        ([2, 1], [4, 1, 5]),
        ([], [2]),
        ([1], [0]),
        ([3, 1, 2], [1, 2, 1]),
        ([], []),
        ([2, 3, 1], [2, 3, 1]),
        ([1, 1], [1]),
        ([0, 1], [1, 1]),
    ):
        for kind in INDICES:
            given = {"s0": np.array(a, kind), "s1": np.array(b, kind)}
            yield Case("BroadcastArgs", given)
            yield Case("BroadcastGradientArgs", given)


def _borders() -> Iterator[Case]:
    fixed = frozenset({"paddings"})
    for dtype in ALL:
        given = {"input": plain(dtype, (2, 3)), "paddings": ints([1, 0], [2, 1])}
        yield from also_fed(Case("Pad", given, constants=fixed))
        value = {"constant_values": plain(dtype, (), 7)}
        yield Case("PadV2", {**given, **value}, constants=fixed)
        yield Case("PadV2", {**given, **value}, constants=fixed | {"constant_values"})
        for mode in "REFLECT", "SYMMETRIC":
            yield from also_fed(Case("MirrorPad", given, {"mode": mode}, fixed))
    for shape, paddings in (
        ((), np.zeros((0, 2))),
        ((3,), [[0, 0]]),
        ((3,), [[2, 0]]),
        ((0, 2), [[1, 1], [0, 3]]),
        ((2, 1, 3, 2), [[0, 0], [1, 1], [2, 2], [0, 0]]),
    ):
        for kind in INDICES:
            given = {"input": plain(SINGLE, shape), "paddings": np.array(paddings, kind)}
            value = {"constant_values": np.array(7, np.float32)}
            yield from also_fed(Case("Pad", given, constants=fixed))
            yield from also_fed(Case("PadV2", {**given, **value}, constants=fixed))
    for shape, paddings in (
        ((), np.zeros((0, 2))),
        ((3,), [[2, 2]]),
        ((3,), [[0, 1]]),
        ((4, 3), [[0, 0], [2, 1]]),
        ((3, 4, 2), [[2, 0], [0, 3], [1, 1]]),
        ((2, 4, 4, 3), [[0, 0], [1, 2], [3, 3], [0, 0]]),
        ((0, 3), [[0, 0], [1, 1]]),
    ):
        for kind in INDICES:
            given = {"input": plain(SINGLE, shape), "paddings": np.array(paddings, kind)}
            for mode in "REFLECT", "SYMMETRIC":
                yield from also_fed(Case("MirrorPad", given, {"mode": mode}, fixed))
    for paddings in [[3, 3], [0, 0]], [[3, 1], [2, 2]]:
        given = {"input": plain(SINGLE, (3, 2)), "paddings": np.array(paddings, np.int32)}
        yield from also_fed(Case("MirrorPad", given, {"mode": "SYMMETRIC"}, fixed))
    for mode in "REFLECT", "SYMMETRIC":
        for shape, paddings in (
            ((5,), [[1, 2]]),
            ((5, 6), [[0, 2], [2, 1]]),
            ((3, 7, 4), [[0, 0], [2, 2], [1, 0]]),
            ((3, 5), [[1, 1], [0, 0]]),
        ):
            for dtype in (SINGLE, DOUBLE, HALF, BRAIN, *INTEGERS) if len(shape) == 2 else (SINGLE,):
                given = {"input": plain(dtype, shape), "paddings": np.array(paddings, np.int32)}
                near = Tolerance(ulps=4, atol=1e-2 if dtype in (HALF, BRAIN) else 1e-6)
                yield from also_fed(
                    Case("MirrorPadGrad", given, {"mode": mode}, fixed, tolerance=near)
                )


def _orders() -> Iterator[Case]:
    for dtype in ALL:
        x = plain(dtype, (2, 3, 4))
        for kind in INDICES:
            perm = np.array([2, 0, 1], kind)
            for op in "Transpose", "ConjugateTranspose":
                yield from also_fed(Case(op, {"x": x, "perm": perm}, constants=frozenset({"perm"})))
        given = {"tensor": x, "axis": ints(0, -1)}
        yield from also_fed(Case("ReverseV2", given, constants=frozenset({"axis"})))
        given = {"tensor": x, "dims": np.array([True, False, True])}
        yield from also_fed(Case("Reverse", given, constants=frozenset({"dims"})))
        given = {"input": x, "shift": ints(1, -6, 2), "axis": ints(0, 2, -1)}
        yield from also_fed(Case("Roll", given, constants=frozenset({"shift", "axis"})))
        given = {"input": x, "seq_lengths": ints(3, 0)}
        yield Case("ReverseSequence", given, {"seq_dim": 1, "batch_dim": 0})
    for shape in (), (3,), (0, 2), (2, 1, 3, 2, 2):
        x, perm = plain(SINGLE, shape), np.arange(len(shape), dtype=np.int32)[::-1].copy()
        # ConjugateTranspose of a scalar ends the process, within TensorFlow.
        for op in ("Transpose", "ConjugateTranspose") if shape else ("Transpose",):
            yield from also_fed(Case(op, {"x": x, "perm": perm}, constants=frozenset({"perm"})))
        for axis in ints(), perm[:1], perm:
            given = {"tensor": x, "axis": axis}
            yield from also_fed(Case("ReverseV2", given, constants=frozenset({"axis"})))
            given = {"tensor": x, "axis": axis.astype(np.int64)}
            yield from also_fed(Case("ReverseV2", given, constants=frozenset({"axis"})))
        for dims in np.ones(len(shape), bool), np.zeros(len(shape), bool):
            given = {"tensor": x, "dims": dims}
            yield from also_fed(Case("Reverse", given, constants=frozenset({"dims"})))
        if shape:
            for shift in 0, 1, -100, 2**30:
                given = {"input": x, "shift": np.array(shift), "axis": np.array(-1)}
                yield from also_fed(Case("Roll", given, constants=frozenset({"axis", "shift"})))
                yield Case("Roll", given, constants=frozenset({"axis"}))
            given = {"input": x, "shift": ints(1, 1, -3), "axis": ints(0, 0, 0)}
            yield from also_fed(Case("Roll", given, constants=frozenset({"axis", "shift"})))
            yield Case("Roll", given, constants=frozenset({"axis"}))
    perm = ints(-1, 0, 1)
    yield from also_fed(
        Case("Transpose", {"x": plain(SINGLE, (2, 3, 4)), "perm": perm}, {}, frozenset({"perm"}))
    )
    for seq, batch, lengths in (
        (0, 1, [2, 1, 0]),
        (2, 0, [4, 1]),
        (1, 2, [3, 2, 1, 0]),
        (2, 1, [1, 4, 2]),
    ):
        for kind in INDICES:
            given = {"input": plain(SINGLE, (2, 3, 4)), "seq_lengths": np.array(lengths, kind)}
            yield Case("ReverseSequence", given, {"seq_dim": seq, "batch_dim": batch})
    given = {"input": plain(SINGLE, (0, 3)), "seq_lengths": ints()}
    yield Case("ReverseSequence", given, {"seq_dim": 1, "batch_dim": 0})
    given = {"input": plain(SINGLE, (2, 3, 0)), "seq_lengths": ints(1, 2)}
    yield Case("ReverseSequence", given, {"seq_dim": 1, "batch_dim": 0})
    for kind in INDICES:
        for x in [2, 0, 1, 3], [0], []:
            yield Case("InvertPermutation", {"x": np.array(x, kind)})
        for indices, dims in ([7, 0, 23], [2, 3, 4]), (5, [6]), ([1], [2, 1]), ([], [2, 2]):
            given = {"indices": np.array(indices, kind), "dims": np.array(dims, kind)}
            yield from also_fed(Case("UnravelIndex", given, constants=frozenset({"dims"})))
    for dtype in ALL:
        if dtype != BOOL:
            for index in tf.int32, tf.int64:
                given = {"x": edges(dtype), "y": edges(dtype)[1:4]}
                yield Case("ListDiff", given, {"out_idx": index})
            given = {"x": np.concatenate([edges(dtype)[:4]] * 2), "y": edges(dtype)[1:2]}
            yield Case("ListDiff", given)
            yield Case("ListDiff", {"x": edges(dtype), "y": edges(dtype)[:0]})
            yield Case("ListDiff", {"x": edges(dtype)[:0], "y": edges(dtype)})
        yield Case("Where", {"condition": edges(dtype)})
    yield Case("Where", {"condition": edges(BOOL)})
    for shape in (), (2, 3), (0, 2), (2, 1, 2, 1, 3):
        for dtype in ALL:
            if dtype != TEXT:
                yield Case("Where", {"condition": plain(dtype, shape)})
    yield Case("Where", {"condition": np.array(True)})
    yield Case("Where", {"condition": np.array(False)})
    yield Case("Where", {"condition": np.zeros((3, 2), bool)})
    for source, target in ("NHWC", "NCHW"), ("NCHW", "NHWC"), ("NHWC", "HWNC"), ("NDHWC", "NCDHW"):
        given = {"src_format": source, "dst_format": target}
        for kind in INDICES:
            size = len(source)
            for x in np.arange(-size, size), np.array(1), np.array([[0, 1], [2, -1]]):
                yield Case("DataFormatDimMap", {"x": x.astype(kind)}, given)
            for x in np.arange(size) * 7, np.arange(2 * size).reshape(size, 2):
                yield Case("DataFormatVecPermute", {"x": x.astype(kind)}, given)
            spatial = np.arange(size - 2) + 5
            yield Case("DataFormatVecPermute", {"x": spatial.astype(kind)}, given)


def _blocks() -> Iterator[Case]:
    fixed = frozenset({"block_shape", "paddings", "crops"})
    for dtype in ALL:
        x = plain(dtype, (2, 4, 6, 8))
        for layout in "NHWC", "NCHW":
            for op in "SpaceToDepth", "DepthToSpace":
                yield Case(op, {"input": x}, {"block_size": 2, "data_format": layout})
        if dtype in (BOOL, TEXT):
            continue
        given = {"input": x, "block_shape": ints(2, 3), "paddings": ints([1, 1], [0, 3])}
        yield from _some(Case("SpaceToBatchND", given, constants=fixed))
        given = {"input": plain(dtype, (12, 2, 3, 2))}
        given |= {"block_shape": ints(2, 3), "crops": ints([1, 0], [0, 3])}
        yield from _some(Case("BatchToSpaceND", given, constants=fixed))
        given = {"input": x, "paddings": ints([1, 1], [0, 2])}
        yield from _some(Case("SpaceToBatch", given, {"block_size": 2}, fixed))
        given = {"input": plain(dtype, (8, 2, 3, 2)), "crops": ints([1, 0], [0, 2])}
        yield from _some(Case("BatchToSpace", given, {"block_size": 2}, fixed))
    for shape in (0, 4, 4, 4), (2, 3, 6, 27), (1, 6, 3, 9), (1, 9, 6, 3):
        for layout in "NHWC", "NCHW":
            for op in "SpaceToDepth", "DepthToSpace":
                attributes = {"block_size": 2 if shape[0] == 0 else 3, "data_format": layout}
                yield Case(op, {"input": plain(SINGLE, shape)}, attributes)
    for shape, block, pads in (
        ((2, 4), [2], [[0, 0]]),
        ((2, 3, 5), [2], [[1, 0]]),
        ((2, 3, 5), [2, 5], [[1, 0], [0, 0]]),
        ((1, 2, 2, 2, 3), [2, 1, 2], [[0, 0], [0, 0], [2, 0]]),
        ((0, 4, 2), [2], [[1, 1]]),
        ((3, 2), [], np.zeros((0, 2))),
        ((1, 4, 2), [1], [[1, 0]]),
    ):
        for kind in INDICES:
            given = {"input": plain(SINGLE, shape), "block_shape": np.array(block, kind)}
            given["paddings"] = np.array(pads, kind)
            yield from _some(Case("SpaceToBatchND", given, constants=fixed))
    for shape, block, crops in (
        ((4, 3), [2], [[0, 0]]),
        ((4, 3, 2), [2], [[1, 2]]),
        ((12, 3, 2), [2, 3], [[0, 1], [2, 1]]),
        ((8, 2, 1, 2, 2), [2, 2, 2], [[0, 0], [0, 1], [2, 0]]),
        ((0, 3, 2), [2], [[1, 0]]),
        ((4, 3), [], np.zeros((0, 2))),
    ):
        for kind in INDICES:
            given = {"input": plain(SINGLE, shape), "block_shape": np.array(block, kind)}
            given["crops"] = np.array(crops, kind)
            yield from _some(Case("BatchToSpaceND", given, constants=fixed))


def _some(case: Case) -> Iterator[Case]:
    """The case with all of its constants, with some, and with none."""
    named = case.constants & set(case.inputs)
    for constants in named, named - {"paddings", "crops"}, frozenset[str]():
        yield Case(case.op, case.inputs, case.attributes, frozenset(constants), case.tolerance)


def _shapes() -> Iterator[Case]:
    for out in tf.int32, tf.int64:
        for x in plain(SINGLE, (2, 3)), plain(BOOL, ()), plain(TEXT, (0, 2)), plain(HALF, (1,)):
            yield Case("Shape", {"input": x}, {"out_type": out})
            yield Case("ShapeN", {"input": [x, x, x]}, {"out_type": out})
            yield Case("Size", {"input": x}, {"out_type": out})
    for x in plain(SINGLE, (2, 3)), plain(BOOL, ()), plain(TEXT, (0, 2)), plain(HALF, (1,)):
        yield Case("Rank", {"input": x})
    for dtype in ALL:
        x = plain(dtype, (1, 3, 1))
        for axis in -1, 0, 2, -4:
            given = {"input": x, "axis": np.array(axis, np.int32)}
            yield from also_fed(Case("ExpandDims", given, constants=frozenset({"axis"})))
        for axes in [], [0], [-1], [2, 0]:
            yield Case("Squeeze", {"input": x}, {"axis": axes})
        given = {"tensor": x, "shape": ints(3, -1)}
        yield from also_fed(Case("Reshape", given, constants=frozenset({"shape"})))
        yield Case("EnsureShape", {"input": x}, {"shape": [None, 3, 1]})
    for shape in (), (2,), (0, 1):
        given = {"input": plain(SINGLE, shape), "axis": np.array(-1, np.int32)}
        yield from also_fed(Case("ExpandDims", given, constants=frozenset({"axis"})))
        given = {"input": plain(SINGLE, shape), "axis": np.array([0])}
        yield from also_fed(Case("ExpandDims", given, constants=frozenset({"axis"})))
        yield Case("Squeeze", {"input": plain(SINGLE, shape)}, {"axis": []})
        yield Case("EnsureShape", {"input": plain(SINGLE, shape)}, {"shape": None})
    yield Case("Squeeze", {"input": plain(SINGLE, (1, 1))}, {"axis": []})
    for shape, target in (
        ((2, 3), [3, 2]),
        ((2, 3), [-1]),
        ((2, 3), [6, -1]),
        ((1, 1), []),
        ((), [1, 1]),
        ((), [-1]),
        ((0, 3), [0]),
        ((0, 3), [0, 5]),
        ((0, 3), [-1, 3]),
        ((0, 3), [2, -1]),
        ((2, 0, 3), [0, 7, 0]),
        ((2, 0), [5, 0, 1]),
        ((2, 3), [2, 3]),
    ):
        for kind in INDICES:
            given = {"tensor": plain(SINGLE, shape), "shape": np.array(target, kind)}
            yield from also_fed(Case("Reshape", given, constants=frozenset({"shape"})))
    for kind in INDICES:
        for axis in 0, 1:
            pieces = [np.array([2, 3], kind), np.array([2, 3], kind), np.array([2, 3], kind)]
            pieces[1][axis] = 5
            given = {"concat_dim": np.array(axis, np.int32), "shape": pieces}
            yield from also_fed(Case("ConcatOffset", given, constants=frozenset({"concat_dim"})))


def _same() -> Iterator[Case]:
    named = {
        "Identity": "input",
        "StopGradient": "input",
        "Snapshot": "input",
        "PreventGradient": "input",
        "DebugGradientIdentity": "input",
        "DeepCopy": "x",
        "Copy": "input",
        "CopyHost": "input",
        "GuaranteeConst": "input",
    }
    for op, name in named.items():
        for dtype in ALL:
            if op == "Snapshot" and dtype == TEXT:
                continue
            for x in edges(dtype), plain(dtype, ()), plain(dtype, (0, 2)):
                yield Case(op, {name: x})
    for dtype in ALL:
        yield Case("IdentityN", {"input": [edges(dtype), plain(SINGLE, (2, 0))]})
        given = {"input": plain(dtype, (2, 2)), "data": [plain(SINGLE, (2,))]}
        yield Case("Print", given, {"message": "printed"})
        default = {"input": plain(dtype, (2, 2))}
        yield Case("PlaceholderWithDefault", default, {"shape": [2, None]}, frozenset({"input"}))
