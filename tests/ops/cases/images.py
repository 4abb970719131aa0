"""Images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import ml_dtypes
import numpy as np

from proof import EXACT, Case, Shapes, Tolerance
from smconvert.model import Array
from values import BRAIN, DOUBLE, FLOATS, HALF, INTEGERS, SINGLE, plain

IMAGES = tuple(d for d in (*FLOATS, *INTEGERS) if d.name not in {"uint32", "uint64"})
NEAR = Tolerance(rtol=1e-5, atol=1e-5)
MODES = (
    {"align_corners": False, "half_pixel_centers": False},
    {"align_corners": True, "half_pixel_centers": False},
    {"align_corners": False, "half_pixel_centers": True},
)
SIZES = (
    # From, to; ratios that float32 has and has not, down and up, and a single pixel.
    ((4, 6), (8, 12)),
    ((4, 6), (2, 3)),
    ((5, 7), (9, 4)),
    ((3, 10), (10, 3)),
    ((1, 5), (4, 1)),
    ((6, 4), (6, 4)),
    ((33, 49), (65, 7)),
    ((9, 5), (1, 1)),
)


FED, KNOWN = frozenset(), frozenset({"size"})
SOME_SHAPES = (Shapes.STATIC, Shapes.RANK)


def cases() -> Iterator[Case]:
    yield from resizes()
    yield from scaled()
    yield from crops()
    yield from drawings()
    yield from suppressions()
    yield from colored()
    yield from patches()
    yield from glimpses()
    yield from projections()
    yield from gradients()


def resized(
    op: str, images: Array, target: tuple[int, int], mode: Mapping[str, bool]
) -> Iterator[Case]:
    """With a size that is known, and one that is not."""
    size = np.array(target, np.int32)
    tolerance = EXACT if op == "ResizeNearestNeighbor" else NEAR
    inputs = {"images": images, "size": size}
    yield Case(op, inputs, mode, KNOWN, tolerance, shapes=(Shapes.STATIC, Shapes.DIMENSIONS))
    yield Case(op, inputs, mode, FED, tolerance, shapes=(Shapes.RANK,))


def resizes() -> Iterator[Case]:
    edges = np.array([np.inf, 1, np.nan, 2, -np.inf, 3, 0, 1, 5], np.float32).reshape(1, 3, 3, 1)
    for op in ("ResizeNearestNeighbor", "ResizeBilinear", "ResizeBicubic", "ResizeArea"):
        modes = MODES
        if op == "ResizeArea":
            modes = ({"align_corners": False}, {"align_corners": True})
        for mode in modes:
            for source, target in SIZES:
                yield from resized(op, plain(SINGLE, (2, *source, 3)), target, mode)
            for dtype in IMAGES:
                yield from resized(op, plain(dtype, (1, 5, 4, 2)), (4, 8), mode)
            for target in ((8, 12), (3, 7)):
                yield from resized(op, plain(SINGLE, (0, 4, 6, 2)), target, mode)
            # ONNX's Resize has 0 * inf where TensorFlow has no product.
            for target in ((3, 3), (5, 4)):
                known, fed = resized(op, edges, target, mode)
                yield from (known, fed) if op == "ResizeNearestNeighbor" else (fed,)
            # Large enough that float32 places and exact ones fall into different pixels.
            if op in {"ResizeNearestNeighbor", "ResizeBilinear"}:
                yield from resized(op, plain(SINGLE, (1, 1, 899, 1)), (1, 1300), mode)
                yield from resized(op, plain(SINGLE, (1, 1, 1000, 1)), (1, 3000), mode)
    for dtype in IMAGES:
        yield from resized("ResizeNearestNeighbor", plain(dtype, (1, 2, 3, 2)), (4, 9), MODES[2])


def scaled() -> Iterator[Case]:
    for kernel in (
        "lanczos1",
        "lanczos3",
        "lanczos5",
        "gaussian",
        "box",
        "triangle",
        "keyscubic",
        "mitchellcubic",
    ):
        for antialias in (False, True):
            for source, target in SIZES[1:6]:
                exact = np.array(target, np.float32) / np.array(source, np.float32)
                for scale, shift in ((exact, (0, 0)), (exact * np.float32(1.3), (-1.5, 2.25))):
                    known = frozenset({"size", "scale", "translation"})
                    fed = kernel in {"lanczos3", "triangle"} and not any(shift)
                    yield Case(
                        "ScaleAndTranslate",
                        {
                            "images": plain(SINGLE, (2, *source, 3)),
                            "size": np.array(target, np.int32),
                            "scale": scale,
                            "translation": np.array(shift, np.float32),
                        },
                        {"kernel_type": kernel, "antialias": antialias},
                        FED if fed else known,
                        Tolerance(rtol=1e-5, atol=3e-5),
                        shapes=(Shapes.RANK,) if fed else (Shapes.STATIC,),
                    )
    for dtype in IMAGES:
        yield Case(
            "ScaleAndTranslate",
            {
                "images": plain(dtype, (2, 5, 6, 3)),
                "size": np.array((3, 8), np.int32),
                "scale": np.array((0.6, 1.3), np.float32),
                "translation": np.zeros(2, np.float32),
            },
            {"kernel_type": "triangle", "antialias": True},
            tolerance=NEAR,
            shapes=SOME_SHAPES,
        )


def crops() -> Iterator[Case]:
    boxes = np.array(
        [
            [0, 0, 1, 1],
            [0.1, 0.2, 0.7, 0.9],
            [0.8, 0.9, 0.3, 0.1],
            [-0.2, 0.4, 1.3, 0.6],
            [0.5, 0.5, 0.5, 0.5],
            [2, 2, 3, 3],
        ],
        np.float32,
    )
    index = np.array([0, 1, 1, 0, 1, 0], np.int32)
    for method in ("bilinear", "nearest"):
        for size in ((3, 4), (1, 5), (4, 1), (7, 9)):
            for known in (FED, frozenset({"crop_size"})):
                yield Case(
                    "CropAndResize",
                    {
                        "image": plain(SINGLE, (2, 5, 6, 3)),
                        "boxes": boxes,
                        "box_ind": index,
                        "crop_size": np.array(size, np.int32),
                    },
                    {"method": method, "extrapolation_value": -1.5},
                    known,
                    NEAR,
                )
        for dtype in (d for d in IMAGES if d != BRAIN):
            yield Case(
                "CropAndResize",
                {
                    "image": plain(dtype, (2, 4, 3, 2)),
                    "boxes": boxes,
                    "box_ind": index,
                    "crop_size": np.array((3, 2), np.int32),
                },
                {"method": method},
                tolerance=NEAR,
                shapes=SOME_SHAPES,
            )
        for batch in (0, 2):
            yield Case(
                "CropAndResize",
                {
                    "image": plain(SINGLE, (batch, 4, 3, 2)),
                    "boxes": boxes[:0],
                    "box_ind": index[:0],
                    "crop_size": np.array((3, 2), np.int32),
                },
                {"method": method},
                tolerance=NEAR,
            )


def drawings() -> Iterator[Case]:
    boxes = np.array(
        [
            [[0.1, 0.1, 0.9, 0.7], [0, 0, 1, 1], [0.5, 0.2, 0.4, 0.9], [-0.5, 0.3, 0.6, 1.7]],
            [[0.3, 0.3, 0.3, 0.3], [1.5, 0, 2, 1], [-1, -1, -0.1, 2], [0.2, 0.1, 0.9, 0.95]],
        ],
        np.float32,
    )
    for dtype in (SINGLE, HALF):
        for depth in (1, 3, 4):
            images = plain(dtype, (2, 9, 11, depth))
            yield Case("DrawBoundingBoxes", {"images": images, "boxes": boxes})
            for count in (0, 1, 3):
                yield Case(
                    "DrawBoundingBoxesV2",
                    {"images": images, "boxes": boxes, "colors": plain(SINGLE, (count, 4))},
                    shapes=SOME_SHAPES,
                )
        yield Case("DrawBoundingBoxes", {"images": images, "boxes": boxes[:, :0]})
        yield Case("DrawBoundingBoxes", {"images": images[:0], "boxes": boxes[:0]})


def candidates(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Boxes and scores: flipped, empty and equal boxes among them, equal scores and NaN."""
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 1, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0, 0.6, (count, 2))], 1)
    scores = random.normal(size=count)
    if count > 12:
        boxes[1::7] = boxes[1::7][:, [2, 3, 0, 1]]
        boxes[3] = [0.5, 0.5, 0.5, 0.9]
        boxes[4], boxes[5] = [0, 0, 1, 1], [0, 0, 1, 0.5]
        boxes[6] = boxes[7]
        scores[:8] = scores[8]
        scores[9:12] = [np.nan, np.inf, -np.inf]
    return boxes.astype(np.float32), scores.astype(np.float32)


def suppressions() -> Iterator[Case]:
    limits = ((0.5, 0.0), (0.0, -0.3), (1.0, -np.inf))
    for count, wanted, some in ((40, 20, 3), (40, 3, 1), (40, 0, 1), (0, 5, 1), (1, 5, 1)):
        boxes, scores = candidates(count)
        for overlap, least in limits[:some]:
            for dtype in (SINGLE, HALF):
                yield from suppressed(boxes, scores, dtype, wanted, overlap, least)
            yield Case(
                "NonMaxSuppressionWithOverlaps",
                {
                    "overlaps": plain(SINGLE, (count, count)),
                    "scores": scores,
                    "max_output_size": np.array(wanted, np.int32),
                    "overlap_threshold": np.array(overlap, np.float32),
                    "score_threshold": np.array(least, np.float32),
                },
                shapes=SOME_SHAPES,
            )
    for batch, count, classes in ((2, 30, 3), (1, 4, 1), (0, 5, 2), (2, 0, 3)):
        for boxes_of in (1, classes):
            for each, total in ((4, 7), (50, 100)):
                for pads, clips in ((False, True), (True, False)):
                    yield combined(batch, count, classes, boxes_of, pads, clips, each, total)


def suppressed(
    boxes: Array, scores: Array, dtype: np.dtype, wanted: int, overlap: float, least: float
) -> Iterator[Case]:
    inputs = {
        "boxes": boxes.astype(dtype),
        "scores": scores.astype(dtype),
        "max_output_size": np.array(wanted, np.int32),
    }
    limit = {"iou_threshold": np.array(overlap, dtype)}
    both = {**limit, "score_threshold": np.array(least, dtype)}
    if dtype == SINGLE:
        yield Case("NonMaxSuppression", inputs, {"iou_threshold": overlap})
    yield Case("NonMaxSuppressionV2", {**inputs, **limit}, shapes=SOME_SHAPES)
    yield Case("NonMaxSuppressionV3", {**inputs, **both})
    yield Case("NonMaxSuppressionV3", {**inputs, **both}, constants=frozenset(both))
    for pads in (False, True):
        padded = {"pad_to_max_output_size": pads}
        yield Case("NonMaxSuppressionV4", {**inputs, **both}, padded, shapes=SOME_SHAPES)
    for sigma, known in ((0.0, True), (0.0, False), (0.5, True), (0.1, False)):
        softly = {**both, "soft_nms_sigma": np.array(sigma, dtype)}
        yield Case(
            "NonMaxSuppressionV5",
            {**inputs, **softly},
            {"pad_to_max_output_size": known},
            frozenset({"soft_nms_sigma"}) if known else FED,
            Tolerance(ulps=4),
            shapes=(Shapes.STATIC,) if known else (Shapes.RANK,),
        )


def combined(
    batch: int,
    count: int,
    classes: int,
    boxes_of: int,
    pads: bool,
    clips: bool,
    each: int,
    total: int,
) -> Case:
    random = np.random.default_rng(batch + count + classes)
    corner = random.uniform(-0.2, 1, (batch, count, boxes_of, 2))
    extent = random.uniform(0, 0.6, (batch, count, boxes_of, 2))
    return Case(
        "CombinedNonMaxSuppression",
        {
            "boxes": np.concatenate([corner, corner + extent], -1).astype(np.float32),
            "scores": random.normal(size=(batch, count, classes)).astype(np.float32),
            "max_output_size_per_class": np.array(each, np.int32),
            "max_total_size": np.array(total, np.int32),
            "iou_threshold": np.array(0.4, np.float32),
            "score_threshold": np.array(-0.2, np.float32),
        },
        {"pad_per_class": pads, "clip_boxes": clips},
        frozenset({"max_output_size_per_class", "max_total_size"}) if pads else FED,
    )


def colored() -> Iterator[Case]:
    near = Tolerance(rtol=1e-5, atol=2e-6)
    for shape in ((4, 5, 3), (2, 4, 5, 3), (2, 1, 3, 4, 3), (0, 4, 5, 3), (2, 0, 5, 3)):
        image = np.abs(plain(SINGLE, shape))
        for factor in (0.0, 0.4, 1.7, -2.0):
            scalar = np.array(factor, np.float32)
            some = Shapes if factor == 0.4 else (Shapes.STATIC,)
            for op, name in (
                ("AdjustContrastv2", "contrast_factor"),
                ("AdjustSaturation", "scale"),
            ):
                yield Case(op, {"images": image, name: scalar}, tolerance=near, shapes=tuple(some))
        for delta in (0.0, 0.3, -0.4, 1.0, -1.0, 2.6):
            turned = {"images": image, "delta": np.array(delta, np.float32)}
            yield Case("AdjustHue", turned, tolerance=near)
    grid = np.stack(np.meshgrid(*[[-0.5, 0, 0.25, 0.5, 1, 2]] * 3), -1).astype(np.float32)
    yield Case(
        "AdjustSaturation", {"images": grid, "scale": np.array(1.5, np.float32)}, tolerance=near
    )
    yield Case("AdjustHue", {"images": grid, "delta": np.array(0.2, np.float32)}, tolerance=near)
    for dtype in FLOATS:
        few = {SINGLE: near, DOUBLE: Tolerance(rtol=1e-13, atol=1e-15)}.get(
            dtype, Tolerance(ulps=4, atol=4 * float(ml_dtypes.finfo(dtype).eps))
        )
        for op in ("RGBToHSV", "HSVToRGB"):
            for image in (grid, np.abs(plain(DOUBLE, (2, 3, 4, 3))), grid[0, 0, 0], grid[:0]):
                yield Case(op, {"images": image.astype(dtype)}, tolerance=few)


def patches() -> Iterator[Case]:
    for padding in ("SAME", "VALID"):
        for size, stride, rate in (
            ((2, 3), (1, 1), (1, 1)),
            ((3, 2), (2, 3), (2, 1)),
            ((1, 1), (3, 3), (1, 1)),
            ((3, 3), (1, 2), (1, 2)),
        ):
            attributes = {
                "ksizes": [1, *size, 1],
                "strides": [1, *stride, 1],
                "rates": [1, *rate, 1],
                "padding": padding,
            }
            for shape in ((2, 7, 6, 3), (0, 7, 6, 3), (1, 5, 5, 1)):
                yield Case("ExtractImagePatches", {"images": plain(SINGLE, shape)}, attributes)
        for dtype in (*FLOATS, *INTEGERS):
            images = {"images": plain(dtype, (1, 7, 6, 2))}
            yield Case("ExtractImagePatches", images, attributes, shapes=SOME_SHAPES)
        for size, stride in (((2, 3, 1), (1, 2, 1)), ((2, 2, 3), (2, 1, 3))):
            attributes = {
                "ksizes": [1, *size, 1],
                "strides": [1, *stride, 1],
                "padding": padding,
            }
            for shape in ((2, 5, 6, 4, 3), (0, 5, 6, 4, 3)):
                yield Case("ExtractVolumePatches", {"input": plain(SINGLE, shape)}, attributes)
        for dtype in (*FLOATS, *INTEGERS):
            volume = {"input": plain(dtype, (1, 3, 4, 5, 2))}
            yield Case("ExtractVolumePatches", volume, attributes, shapes=SOME_SHAPES)


def glimpses() -> Iterator[Case]:
    offsets = np.array([[0, 0], [0.5, -0.75], [-1, 1], [1.5, -0.3], [-3, 0]], np.float32)
    for op in ("ExtractGlimpse", "ExtractGlimpseV2"):
        for centered in (False, True):
            for normalized in (False, True):
                for size in ((3, 4), (9, 2)):
                    at = offsets if normalized else offsets * 3
                    yield Case(
                        op,
                        {
                            "input": plain(SINGLE, (5, 7, 6, 2)),
                            "size": np.array(size, np.int32),
                            "offsets": at,
                        },
                        {
                            "centered": centered,
                            "normalized": normalized,
                            "uniform_noise": False,
                            "noise": "zero",
                        },
                        KNOWN if centered else FED,
                    )


def projections() -> Iterator[Case]:
    transforms = np.array(
        [
            [1, 0, 0, 0, 1, 0, 0, 0],
            [0.8, -0.3, 2.5, 0.4, 1.1, -3.25, 0.01, -0.02],
            [-1.5, 0.2, 14, 0.1, -2, 21, 0, 0],
            [0.5, 0, 0.25, 0, 0.5, -0.25, -0.5, 0],
        ],
        np.float32,
    )
    for op in ("ImageProjectiveTransformV2", "ImageProjectiveTransformV3"):
        more = {"fill_value": np.array(1.75, np.float32)} if op.endswith("3") else {}
        for interpolation in ("NEAREST", "BILINEAR"):
            for fill in ("CONSTANT", "REFLECT", "WRAP", "NEAREST"):
                how = {"interpolation": interpolation, "fill_mode": fill}
                for source, target in (((5, 7), (9, 8)), ((1, 4), (3, 5))):
                    yield Case(
                        op,
                        {
                            "images": plain(SINGLE, (4, *source, 2)),
                            "transforms": transforms,
                            "output_shape": np.array(target, np.int32),
                            **more,
                        },
                        how,
                        frozenset({"output_shape"}) if source == (5, 7) else FED,
                        NEAR,
                    )
            for dtype in (*FLOATS, *(np.dtype(t) for t in (np.uint8, np.int32, np.int64))):
                yield Case(
                    op,
                    {
                        "images": plain(dtype, (2, 5, 7, 2)),
                        "transforms": transforms[1:2],
                        "output_shape": np.array((6, 6), np.int32),
                        **more,
                    },
                    {"interpolation": interpolation, "fill_mode": "CONSTANT"},
                    tolerance=Tolerance(ulps=2, atol=1e-5),
                    shapes=SOME_SHAPES,
                )


def gradients() -> Iterator[Case]:
    summed = {HALF: Tolerance(rtol=1e-2, atol=1e-2), BRAIN: Tolerance(rtol=5e-2, atol=5e-2)}
    for mode in MODES:
        for source, target in SIZES[1:5]:
            for batch in (2, 0):
                grads = plain(SINGLE, (batch, *target, 3))
                image = np.zeros((batch, *source, 3), np.float32)
                for op in ("ResizeBilinearGrad", "ResizeBicubicGrad"):
                    yield Case(op, {"grads": grads, "original_image": image}, mode, tolerance=NEAR)
                yield Case(
                    "ResizeNearestNeighborGrad",
                    {"grads": grads, "size": np.array(source, np.int32)},
                    mode,
                    KNOWN if batch else FED,
                    NEAR,
                )
        for op, dtypes in (("ResizeBilinearGrad", FLOATS), ("ResizeBicubicGrad", (SINGLE, DOUBLE))):
            for dtype in dtypes:
                yield Case(
                    op,
                    {
                        "grads": plain(SINGLE, (1, 3, 8, 2)),
                        "original_image": np.zeros((1, 5, 4, 2), dtype),
                    },
                    mode,
                    tolerance=summed.get(dtype, NEAR),
                    shapes=SOME_SHAPES,
                )
        for dtype in (*FLOATS, *(np.dtype(t) for t in (np.uint8, np.int8, np.int32))):
            yield Case(
                "ResizeNearestNeighborGrad",
                {"grads": plain(dtype, (1, 8, 3, 2)), "size": np.array((4, 5), np.int32)},
                mode,
                tolerance=summed.get(dtype, NEAR),
                shapes=SOME_SHAPES,
            )
    for kernel in ("lanczos3", "triangle", "box"):
        for antialias in (False, True):
            for shift in (0, 1.5):
                yield Case(
                    "ScaleAndTranslateGrad",
                    {
                        "grads": plain(SINGLE, (2, 3, 8, 2)),
                        "original_image": np.zeros((2, 5, 4, 2), np.float32),
                        "scale": np.array((0.6, 2), np.float32),
                        "translation": np.array((shift, -shift), np.float32),
                    },
                    {"kernel_type": kernel, "antialias": antialias},
                    frozenset({"scale", "translation"}) if antialias else FED,
                    NEAR,
                )
