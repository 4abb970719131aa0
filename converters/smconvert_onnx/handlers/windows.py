"""Windows that slide over the space of a tensor: those of convolutions, pools and the like.

Where ONNX has a kernel for the type, its own Conv and pools take the windows as attributes;
elsewhere ``patches`` makes a tensor of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smconvert.model import DType, Shape
from smconvert_onnx.handlers.builder import Builder, Op, Tensor, replace_shape

_Sizes = Sequence[int | None]


@dataclass(frozen=True)
class Windows:
    """How windows lie, axis of space by axis of space.

    Attributes:
        strides: From one window to the next.
        dilations: From one element of a window to the next.
        padding: SAME, VALID or EXPLICIT.
        explicit: What EXPLICIT adds before and after each axis.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: str
    explicit: tuple[tuple[int, int], ...] = ()

    @property
    def rank(self) -> int:
        """The number of axes of space."""
        return len(self.strides)

    def pads(self, size: _Sizes, window: _Sizes) -> list[tuple[int, int]] | None:
        """What is added before and after each axis; None where that depends on unknown sizes.

        SAME is ``GetWindowedOutputSizeVerbose`` of framework/kernel_shape_util.cc: as many windows
        as strides, and of what is missing the smaller half before.
        """
        if self.padding == "EXPLICIT":
            return list(self.explicit)
        if self.padding == "VALID":
            return [(0, 0)] * self.rank
        axes = zip(size, window, self.strides, self.dilations, strict=True)
        found = [_same(*axis) for axis in axes]
        known = [pads for pads in found if pads is not None]
        return known if len(known) == self.rank else None

    def automatic(self, window: _Sizes) -> bool:
        """Whether ONNX Runtime works out the padding for SAME by itself."""
        steps = zip(window, self.strides, self.dilations, strict=True)
        return all(size is not None and size >= step and apart == 1 for size, step, apart in steps)


def _same(
    size: int | None, window: int | None, stride: int, dilation: int
) -> tuple[int, int] | None:
    if window == 1:
        return 0, 0
    if window is None or (size is None and stride > 1):
        return None
    extent = (window - 1) * dilation + 1
    # With steps of one, what is missing is the same for every size.
    missing = extent - 1 if size is None else (-(-size // stride) - 1) * stride + extent - size
    missing = max(missing, 0)
    return missing // 2, missing - missing // 2


def channels_last(op: Op) -> bool:
    """Whether the channels are the last axis, and not the one after the batch."""
    try:
        layout = str(op.attr("data_format"))
    except KeyError:
        return True
    if "VECT" in layout:
        op.refuse(f"its layout is {layout}")
    return (layout.startswith("N") and layout.endswith("C")) or layout == "CHANNELS_LAST"


def of_space(values: Sequence[Any], last: bool) -> tuple[Any, ...]:
    """Of what is given for each axis, that for those of space."""
    return tuple(values[1:-1] if last else values[2:])


def windows_of(op: Op, strides: Sequence[int] | None = None) -> Windows:
    """The windows that an op's attributes describe, with ``strides`` where they are an input."""
    last = channels_last(op)
    steps = of_space(op.attr("strides") if strides is None else strides, last)
    padding = str(op.attr("padding"))
    explicit: tuple[tuple[int, int], ...] = ()
    if padding == "EXPLICIT":
        flat = op.attr("explicit_paddings")
        explicit = of_space(list(zip(flat[::2], flat[1::2], strict=True)), last)
    return Windows(steps, _dilations(op, last) or (1,) * len(steps), padding, explicit)


def _dilations(op: Op, last: bool) -> tuple[int, ...]:
    for name in ("dilations", "rates"):
        try:
            return of_space(op.attr(name), last)
        except KeyError:
            continue
    return ()


def to_first(g: Builder, x: Tensor, rank: int) -> Tensor:
    """With the channels before ``rank`` axes of space, and not after them."""
    axes = [0, rank + 1, *range(1, rank + 1)]
    return g.shaped(g.Transpose(x, perm=axes), _permuted(x.shape, axes))


def to_last(g: Builder, x: Tensor, rank: int) -> Tensor:
    """With the channels after ``rank`` axes of space, and not before them."""
    axes = [0, *range(2, rank + 2), 1]
    return g.shaped(g.Transpose(x, perm=axes), _permuted(x.shape, axes))


def permuted(g: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Transposed; at once where ``x`` is a constant."""
    if x.value is not None:
        return g.constant(np.transpose(x.value, axes), x.dtype)
    return g.shaped(g.Transpose(x, perm=list(axes)), _permuted(x.shape, axes))


def _permuted(shape: Shape | None, axes: Sequence[int]) -> Shape | None:
    return None if shape is None else tuple(shape[axis] for axis in axes)


def sizes_of(x: Tensor, first: int, count: int) -> tuple[int | None, ...]:
    """What is known of the sizes of ``count`` axes, from axis ``first`` on."""
    if x.shape is None:
        return (None,) * count
    return tuple(d if isinstance(d, int) else None for d in x.shape[first : first + count])


def part(g: Builder, x: Tensor, first: int, count: int) -> Tensor:
    """The sizes of ``count`` axes, from axis ``first`` on, as int64 [count]."""
    known = sizes_of(x, first, count)
    if None not in known:
        return g.constant(np.array(known, np.int64))
    return replace_shape(g.Slice(g.shape(x), [first], [first + count]), (count,))


def fitted(
    g: Builder, x: Tensor, windows: Windows, window: Tensor | Sequence[int], fill: Any = None
) -> tuple[Tensor, dict[str, Any]]:
    """``x`` [N, C, space] and the padding attributes for a Conv or pool of ONNX.

    Args:
        g: Writes.
        x: With its channels first.
        windows: How they lie.
        window: Their sizes, or the kernel that has them in front.
        fill: What a pool has where the windows leave ``x``; None for 0.
    """
    known = sizes_of(window, 0, windows.rank) if isinstance(window, Tensor) else tuple(window)
    pads = windows.pads(sizes_of(x, 2, windows.rank), known)
    if pads is not None:
        if not any(before or after for before, after in pads):
            return x, {}
        return x, {"pads": [*(before for before, _ in pads), *(after for _, after in pads)]}
    if windows.automatic(known):
        return x, {"auto_pad": "SAME_UPPER"}
    return padded(g, x, windows, window, fill, 2), {}


def extents(g: Builder, windows: Windows, window: Tensor | Sequence[int]) -> Tensor:
    """How far windows reach along each axis, int64 [axes]."""
    dilations = np.array(windows.dilations, np.int64)
    if isinstance(window, Tensor):
        known = sizes_of(window, 0, windows.rank)
        if None in known:
            sizes = part(g, window, 0, windows.rank)
            return g.Add(g.Mul(g.Sub(sizes, 1), dilations), 1)
        window = [size for size in known if size is not None]
    return g.constant((np.array(window, np.int64) - 1) * dilations + 1)


def missing(g: Builder, windows: Windows, size: Tensor, extent: Tensor) -> Tensor:
    """What SAME adds to axes of ``size``, int64 [axes]; see ``Windows.pads``."""
    strides = np.array(windows.strides, np.int64)
    count = g.Div(g.Add(size, strides - 1), strides)
    return g.Max(g.Sub(g.Add(g.Mul(g.Sub(count, 1), strides), extent), size), np.int64(0))


def padded(
    g: Builder,
    x: Tensor,
    windows: Windows,
    window: Tensor | Sequence[int],
    fill: Any = None,
    first: int = 1,
) -> Tensor:
    """``x`` with ``fill`` as far as windows reach beyond it; its space begins at axis ``first``."""
    known = sizes_of(window, 0, windows.rank) if isinstance(window, Tensor) else tuple(window)
    pads = windows.pads(sizes_of(x, first, windows.rank), known)
    if pads is not None and not any(before or after for before, after in pads):
        return x
    if pads is not None:
        before = g.constant(np.array([p[0] for p in pads], np.int64))
        after = g.constant(np.array([p[1] for p in pads], np.int64))
    else:
        size = part(g, x, first, windows.rank)
        total = missing(g, windows, size, extents(g, windows, window))
        before = g.Div(total, 2)
        after = g.Sub(total, before)
    return around(g, x, before, after, first, fill)


def around(
    g: Builder, x: Tensor, before: Tensor, after: Tensor, first: int = 1, fill: Any = None
) -> Tensor:
    """``x`` with ``fill`` around its space, or cut where the amounts are negative."""
    head, tail = np.zeros(first, np.int64), np.zeros(2 - first, np.int64)
    ends = [end for end in (head, before, tail, head, after, tail) if not _empty(end)]
    return g.Pad(x, g.Concat(*ends, axis=0), fill)


def _empty(end: Any) -> bool:
    return isinstance(end, np.ndarray) and not end.size


def patches(
    g: Builder,
    x: Tensor,
    windows: Windows,
    window: Tensor | Sequence[int],
    fill: Any = None,
) -> Tensor:
    """All windows of ``x`` [N, space, C], as [N, space, window, C]."""
    rank = windows.rank
    x = padded(g, x, windows, window, fill)
    extent = extents(g, windows, window)
    ends = g.Add(g.Sub(g.Slice(g.shape(x), [1], [rank + 1]), extent), 1)
    for axis in range(rank):
        starts = g.Range(0, g.Gather(ends, axis), windows.strides[axis])
        steps = g.Range(0, g.Gather(extent, axis), windows.dilations[axis])
        x = g.Gather(x, g.Add(g.Unsqueeze(starts, [1]), steps), axis=1 + 2 * axis)
    axes = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
    return g.Transpose(x, perm=axes)


def lowest(dtype: DType) -> Any:
    """The smallest finite number of a type, with which TensorFlow starts a maximum."""
    import ml_dtypes

    if dtype.numpy.kind in "iu":
        return np.iinfo(dtype.numpy).min
    return ml_dtypes.finfo(dtype.numpy).min
