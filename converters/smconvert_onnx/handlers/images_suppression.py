"""Boxes chosen among those that overlap."""

from __future__ import annotations

import numpy as np

from smconvert.model import DType
from smconvert_onnx.handlers.builder import Body, Builder, Handler, Op, Tensor, replace_shape
from smconvert_onnx.handlers.folding import dimension
from smconvert_onnx.handlers.images_boxes import coordinates
from smconvert_onnx.handlers.pixels import counted

FLOAT, INT32, INT64 = DType.FLOAT32, DType.INT32, DType.INT64


class NonMaxSuppression:
    """Boxes by falling score, without those that overlap one before too much
    (non_max_suppression_op.cc): the rule of ONNX's own op, for finite boxes.

    Half precision compares rounded overlaps, and soft suppression lowers scores as it goes; both
    take a loop.
    """

    ops = (
        "NonMaxSuppression",
        "NonMaxSuppressionV2",
        "NonMaxSuppressionV3",
        "NonMaxSuppressionV4",
        "NonMaxSuppressionV5",
    )

    def emit(
        self,
        g: Builder,
        op: Op,
        boxes: Tensor,
        scores: Tensor,
        count: Tensor,
        overlap: Tensor | None = None,
        least: Tensor | None = None,
        sigma: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        dtype = scores.dtype
        if overlap is None:
            overlap = g.constant(np.float32(op.attr("iou_threshold")))
        if least is None:
            least = g.constant(_lowest(dtype), dtype)
        overlap, least = g.cast(overlap, dtype), g.cast(least, dtype)
        hard = sigma is None or (sigma.value is not None and float(sigma.value) == 0)
        if dtype is FLOAT and hard:
            chosen = _standard(g, boxes, scores, count, overlap, least)
            kept = g.Gather(scores, chosen)
        else:
            if sigma is None:
                sigma = g.constant(0, dtype)
            rule = _Rule(overlap, least, sigma)
            chosen, kept = _in_turn(g, _Overlaps(boxes, None), scores, count, rule)
        return _results(g, op, chosen, kept, count)


def _lowest(dtype: DType) -> float:
    return float(np.finfo(np.float16 if dtype is DType.FLOAT16 else np.float32).min)


def _standard(
    g: Builder, boxes: Tensor, scores: Tensor, count: Tensor, overlap: Tensor, least: Tensor
) -> Tensor:
    """ONNX's own op: the indices of the boxes, int64."""
    picked = g.NonMaxSuppression(
        g.Unsqueeze(boxes, [0]),
        g.Unsqueeze(scores, [0, 1]),
        g.Reshape(g.cast(count, INT64), [1]),
        g.Reshape(overlap, [1]),
        g.Reshape(least, [1]),
    )
    chosen: Tensor = g.Gather(picked, np.int64(2), axis=1)
    return chosen


def _results(
    g: Builder, op: Op, chosen: Tensor, kept: Tensor, count: Tensor
) -> Tensor | tuple[Tensor, ...]:
    indices = g.cast(chosen, INT32)
    if op.type in {"NonMaxSuppressionV4", "NonMaxSuppressionV5"}:
        found = g.Size(chosen)
        if op.attr("pad_to_max_output_size"):
            missing = g.Sub(g.cast(count, INT64), found)
            pads = g.Concat([0], g.Reshape(missing, [1]), axis=0)
            indices, kept = g.Pad(indices, pads), g.Pad(kept, pads)
        valid = g.cast(found, INT32)
        return (indices, valid) if op.type.endswith("4") else (indices, kept, valid)
    return indices


class NonMaxSuppressionWithOverlaps:
    """As NonMaxSuppression, with the overlap of each two boxes given."""

    ops = ("NonMaxSuppressionWithOverlaps",)

    def emit(
        self,
        g: Builder,
        op: Op,
        overlaps: Tensor,
        scores: Tensor,
        count: Tensor,
        overlap: Tensor,
        least: Tensor,
    ) -> Tensor:
        rule = _Rule(overlap, least, g.constant(np.float32(0)))
        chosen, _ = _in_turn(g, _Overlaps(None, overlaps), scores, count, rule)
        return g.cast(chosen, INT32)


class _Rule:
    """When a box is suppressed: thresholds of the overlap and of the score, and softness."""

    def __init__(self, overlap: Tensor, least: Tensor, sigma: Tensor) -> None:
        self.overlap = overlap
        self.least = least
        self.sigma = sigma

    def weights(self, g: Builder, overlaps: Tensor) -> Tensor:
        """What each overlap leaves of a score."""
        soft = g.Greater(self.sigma, 0.0)
        scale = g.Where(soft, g.Div(-0.5, self.sigma), 0)
        weight = g.Exp(g.Mul(g.Mul(scale, overlaps), overlaps))
        return g.Where(g.Or(soft, g.LessOrEqual(overlaps, self.overlap)), weight, 0)

    def suppressed(self, g: Builder, overlap: Tensor) -> Tensor:
        """Whether an overlap is too much, whatever the score."""
        hard = g.LessOrEqual(self.sigma, 0.0)
        return g.And(hard, g.Greater(overlap, self.overlap))


class _Overlaps:
    """How much boxes overlap: intersection over union, or what a matrix says."""

    def __init__(self, boxes: Tensor | None, matrix: Tensor | None) -> None:
        self._boxes = boxes
        self._matrix = matrix

    def of(self, g: Builder, box: Tensor, others: Tensor) -> Tensor:
        """Of one box with others, float32 [others]."""
        if self._matrix is not None:
            found: Tensor = g.Gather(g.Gather(self._matrix, box), others)
            return found
        assert self._boxes is not None
        first, second = (
            _corners(g, g.cast(g.Gather(self._boxes, which), FLOAT)) for which in (box, others)
        )
        heights, widths = (
            g.Max(g.Sub(g.Min(first[i + 2], second[i + 2]), g.Max(first[i], second[i])), 0.0)
            for i in (0, 1)
        )
        common = g.Mul(heights, widths)
        areas = [g.Mul(g.Sub(b[2], b[0]), g.Sub(b[3], b[1])) for b in (first, second)]
        empty = g.Or(g.LessOrEqual(areas[0], 0.0), g.LessOrEqual(areas[1], 0.0))
        return g.Where(empty, 0, g.Div(common, g.Sub(g.Add(*areas), common)))


def _corners(g: Builder, boxes: Tensor) -> tuple[Tensor, ...]:
    """Top, left, bottom and right, whichever corners are given."""
    a, b, c, d = coordinates(g, boxes)
    return g.Min(a, c), g.Min(b, d), g.Max(a, c), g.Max(b, d)


def _in_turn(
    g: Builder, overlaps: _Overlaps, scores: Tensor, count: Tensor, rule: _Rule
) -> tuple[Tensor, Tensor]:
    """The indices of the boxes, int64, and their scores, as TensorFlow's queue gives them out.

    The best candidate loses score to the boxes chosen since it was last looked at; if that changes
    its score it goes back into the queue.
    """
    dtype = scores.dtype
    gone = g.constant(-np.inf, dtype)
    queue = g.Where(g.Greater(scores, rule.least), scores, gone)
    wanted = g.cast(count, INT64)

    def goes_on(b: Builder, queue: Tensor, chosen: Tensor) -> Tensor:
        left = b.Greater(
            b.ReduceMax(b.Concat(queue, b.Reshape(gone, [1]), axis=0), keepdims=0), gone
        )
        return b.And(left, b.Less(b.Size(chosen), wanted))

    def step(
        b: Builder,
        number: Tensor,
        go: Tensor,
        queue: Tensor,
        seen: Tensor,
        chosen: Tensor,
        kept: Tensor,
    ) -> list[Tensor]:
        box = b.ArgMax(queue, axis=0, keepdims=0)
        score = b.Gather(queue, box)
        amounts = b.cast(overlaps.of(b, box, chosen), dtype)
        after, dropped = _lowered(b, score, amounts, b.Gather(seen, box), rule)
        stays = b.Not(dropped)
        taken = b.And(stays, b.Equal(after, score))
        back = b.And(b.And(stays, b.Not(taken)), b.Greater(after, rule.least))
        place = b.Reshape(box, [1])
        queue = b.ScatterElements(queue, place, b.Reshape(b.Where(back, after, gone), [1]))
        seen = b.ScatterElements(seen, place, b.Reshape(b.Size(chosen), [1]))
        new = b.Reshape(taken, [1])
        chosen = b.Concat(chosen, b.Compress(place, new), axis=0)
        kept = b.Concat(kept, b.Compress(b.Reshape(score, [1]), new), axis=0)
        return [goes_on(b, queue, chosen), queue, seen, chosen, kept]

    vector = (None,)
    none = g.constant(np.zeros(0, np.int64))
    body = g.body(
        [
            (INT64, ()),
            (DType.BOOL, ()),
            (dtype, vector),
            (INT64, vector),
            (INT64, vector),
            (dtype, vector),
        ],
        step,
    )
    seen = g.cast(g.Mul(g.Shape(scores), 0), INT64)
    seen = g.Expand(seen, g.Shape(scores))
    *_, chosen, kept = g.Loop(
        None,
        goes_on(g, queue, none),
        queue,
        seen,
        none,
        g.constant(np.zeros(0), dtype),
        body=body,
        outputs=4,
    )
    return chosen, kept


def _lowered(
    g: Builder, score: Tensor, overlaps: Tensor, seen: Tensor, rule: _Rule
) -> tuple[Tensor, Tensor]:
    """What the boxes chosen since leave of a score, the latest first, and whether it is dropped."""
    weights = rule.weights(g, overlaps)
    count = g.Size(overlaps)

    def step(
        b: Builder, number: Tensor, go: Tensor, score: Tensor, dropped: Tensor
    ) -> list[Tensor]:
        last = b.Sub(b.Sub(count, 1), number)
        score = b.Mul(score, b.Gather(weights, last))
        dropped = rule.suppressed(b, b.Gather(overlaps, last))
        ends = b.Or(dropped, b.LessOrEqual(score, rule.least))
        return [b.Not(ends), score, dropped]

    body: Body = g.body([(INT64, ()), (DType.BOOL, ()), (score.dtype, ()), (DType.BOOL, ())], step)
    after, dropped = g.Loop(
        g.Sub(count, seen), None, score, g.constant(np.bool_(False)), body=body, outputs=2
    )
    return after, dropped


class CombinedNonMaxSuppression:
    """The best boxes of all classes, each class by itself (non_max_suppression_op.cc).

    Equal scores come in the order of classes and boxes; TensorFlow leaves open in which.
    """

    ops = ("CombinedNonMaxSuppression",)

    def emit(
        self,
        g: Builder,
        op: Op,
        boxes: Tensor,
        scores: Tensor,
        each: Tensor,
        total: Tensor,
        overlap: Tensor,
        least: Tensor,
    ) -> tuple[Tensor, ...]:
        boxes, scores = _at_least_one(g, boxes, scores)
        batch, count, classes = (dimension(g, scores, i) for i in range(3))
        each, total = g.cast(each, INT64), g.cast(total, INT64)
        of_class = g.Transpose(scores, perm=[0, 2, 1])
        shared = boxes.shape is not None and boxes.shape[2] == 1
        if shared:
            candidates, own_scores = g.Squeeze(boxes, [2]), of_class
        else:
            # A class's boxes are a batch to ONNX, for which all classes have the same.
            shape = _vector(g, batch, classes, count, 4)
            spread = g.Expand(g.Transpose(boxes, perm=[0, 2, 1, 3]), shape)
            rows = g.Mul(batch, classes)
            candidates = g.Reshape(spread, _vector(g, rows, count, 4))
            own_scores = g.Reshape(of_class, _vector(g, rows, 1, count))
        picked = g.NonMaxSuppression(
            candidates,
            own_scores,
            g.Reshape(each, [1]),
            g.Reshape(overlap, [1]),
            g.Reshape(least, [1]),
        )
        nothing = g.Expand(g.constant(np.float32(-np.inf)), g.Shape(own_scores))
        found = g.ScatterND(nothing, picked, g.GatherND(own_scores, picked))
        found = g.Reshape(found, _vector(g, batch, g.Mul(classes, count)))
        size = total
        if op.attr("pad_per_class"):
            size = g.Min(total, g.Mul(each, classes))
        few = g.Min(size, g.Mul(classes, count))
        best, at = g.TopK(found, g.Reshape(few, [1]), outputs=2)
        valid = g.Greater(best, -np.inf)
        box, label = g.Mod(at, count), g.Div(at, count)
        row = g.Unsqueeze(counted(g, batch, INT64), [1])
        if not shared:
            row = g.Add(g.Mul(row, classes), label)
        row = g.Expand(row, g.Shape(at))
        where = g.Concat(g.Unsqueeze(row, [2]), g.Unsqueeze(box, [2]), axis=2)
        result = g.GatherND(candidates, where)
        if op.attr("clip_boxes"):
            result = g.Max(g.Min(result, 1), 0)
        result = g.Where(g.Unsqueeze(valid, [2]), result, 0)
        best = g.Where(valid, best, 0)
        label = g.Where(valid, g.cast(label, FLOAT), 0)
        missing = g.Sub(size, few)
        after = _vector(g, 0, 0, 0, missing)
        result = g.Pad(result, _vector(g, 0, 0, 0, 0, missing, 0))
        number = g.ReduceSum(g.cast(valid, INT32), [1], keepdims=0)
        return result, g.Pad(best, after), g.Pad(label, after), number


def _at_least_one(g: Builder, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes, and one more that no score chooses, where there may be none at all.

    Reshape and Mod know nothing of sizes of 0.
    """
    count = scores.shape[1] if scores.shape else None
    if isinstance(count, int) and count > 0:
        return boxes, scores
    more_boxes = g.Pad(boxes, [0, 0, 0, 0, 0, 1, 0, 0])
    more_scores = g.Pad(scores, [0, 0, 0, 0, 1, 0], -np.inf)
    shape = boxes.shape and (boxes.shape[0], None, *boxes.shape[2:])
    return replace_shape(more_boxes, shape), more_scores


def _vector(g: Builder, *sizes: Tensor | int) -> Tensor:
    """An int64 vector of scalars."""
    parts = [
        g.constant(np.array([size], np.int64)) if isinstance(size, int) else g.Reshape(size, [1])
        for size in sizes
    ]
    vector: Tensor = g.Concat(*parts, axis=0)
    return vector


HANDLERS: tuple[Handler, ...] = (
    NonMaxSuppression(),
    NonMaxSuppressionWithOverlaps(),
    CombinedNonMaxSuppression(),
)
