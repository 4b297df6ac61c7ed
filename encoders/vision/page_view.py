"""How large a page is to be looked at, and which part of it: from the lines of its print.

A scan may be mostly empty paper, and its print four pixels high or eighty. In a narrow strip of
the page a line of print is ink from its top to its foot, and paper then: the height that most of
the ink has tells the scale at which letters are read.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from encoders.pixels import Pixels, shrink

_SMALL = 2048
"""Longer side in pixels of the small picture in which lines are measured."""
_STRIP = 32
"""Width of a strip in its pixels: some letters, of which no blank makes a gap."""
_PAPER = 32
"""Side in its pixels of the squares whose mean is taken for the paper's shade."""
_COARSE = 1024
"""Longer side in pixels of the smaller picture in which ink is looked for."""
_STEP = 8
"""Side in its pixels of the squares that are inked or not."""
_CONTRAST = 24
"""Least difference between the lightest and the darkest pixel of an inked square."""
_MARGIN = 1
"""Squares around the ink that are read besides."""
LARGEST = 4.0
"""How much a page may be enlarged."""


class View(NamedTuple):
    """The part of an image that is read, in pixels of the image at `scale`."""

    scale: float
    top: int
    left: int
    height: int
    width: int


def view_of(image: Pixels, line: int, most: int, unit: int) -> View:
    """The part of `image` with ink in it, at a scale at which its lines are `line` pixels high.

    Before its sides are rounded up to multiples of `unit` pixels, the part has no more than `most`
    pixels. An image without lines is not enlarged, and has a quarter of these.
    """
    _, tall, wide = image.shape
    grey = _within(image, _SMALL).mean(0, keepdim=True)
    high = line_height(grey[0])
    small = _within(grey, _COARSE)
    shrunk = max(small.shape) / max(tall, wide)
    inked = _inked(small[0])
    printed = inked * _accompanied(inked)
    rows, columns = _extent(printed.sum(1)), _extent(printed.sum(0))
    square = _STEP / shrunk  # side in pixels of the image
    part = min(tall, (rows[1] - rows[0]) * square) * min(wide, (columns[1] - columns[0]) * square)
    if high is None:
        scale = min(1.0, math.sqrt(most / 4 / part))
    else:
        scale = min(
            line / high * max(grey.shape) / max(tall, wide), LARGEST, math.sqrt(most / part)
        )
    step = square * scale / unit
    top, bottom = _ends(rows, step, math.ceil(tall * scale / unit))
    left, right = _ends(columns, step, math.ceil(wide * scale / unit))
    return View(scale, top * unit, left * unit, (bottom - top) * unit, (right - left) * unit)


def line_height(grey: Tensor) -> float | None:
    """How many pixels high the lines of print are in `grey` `[H, W]`, None where there are none.

    Half of what is inked, in strips from top to foot of a line, is in lines no higher than that.
    """
    high, wide = grey.shape
    paper = avg_pool2d(grey[None, None], _PAPER, ceil_mode=True, count_include_pad=False)
    dark = (interpolate(paper, (high, wide), mode="bilinear")[0, 0] - grey).clamp(min=0)
    some = dark.flatten()[::7]
    strong = float(some.kthvalue(max(1, int(0.99 * len(some)))).values)
    ink = (dark > max(_CONTRAST / 2, 0.35 * strong)).float()
    strips = max_pool2d(ink[None], (1, min(wide, _STRIP)), (1, _STRIP // 2))[0].T
    ends = pad(strips, (1, 1)).diff(dim=1)
    heights = (ends == -1).nonzero()[:, 1] - (ends == 1).nonzero()[:, 1]
    heights = heights[(heights >= 4) & (heights < high / 8)].sort().values
    if not len(heights):
        return None
    total = heights.cumsum(0)
    return float(heights[int((2 * total < total[-1]).sum())])


def _within(image: Pixels, side: int) -> Tensor:
    """`image` with no side longer than `side` pixels."""
    _, tall, wide = image.shape
    shrunk = min(1.0, side / max(tall, wide))
    return shrink(image, max(1, round(tall * shrunk)), max(1, round(wide * shrunk)))


def look(image: Pixels, view: View) -> Tensor:
    """What `view` shows of `image`, fp32 `[3, height, width]` in [0, 255]; white around it."""
    _, tall, wide = image.shape
    # The pixels of the image that the part shows, and the size they then have.
    ends = [
        (int(start / view.scale), min(whole, math.ceil((start + length) / view.scale)))
        for start, length, whole in (
            (view.top, view.height, tall),
            (view.left, view.width, wide),
        )
    ]
    (top, bottom), (left, right) = ends
    size = [max(1, round((end - start) * view.scale)) for start, end in ends]
    cut = _Part(image, top, left, bottom - top, right - left)
    if view.scale < 1:
        found = shrink(cut, *size)
    else:
        whole = cut[:, :, :].float().unsqueeze(0)
        found = interpolate(whole, size, mode="bicubic", antialias=False).squeeze(0)
    page = torch.full((3, view.height, view.width), 255.0, device=found.device)
    rows, columns = min(size[0], view.height), min(size[1], view.width)
    page[:, :rows, :columns] = found[:, :rows, :columns].clamp(0, 255)
    return page


class _Part:
    """A rectangle of an image, itself an image."""

    def __init__(self, image: Pixels, top: int, left: int, height: int, width: int) -> None:
        self.image, self.top, self.left = image, top, left
        self.shape = (3, height, width)

    def __getitem__(self, piece: tuple[slice, slice, slice], /) -> Tensor:
        channels, rows, columns = piece
        first, last, _ = rows.indices(self.shape[1])
        start, end, _ = columns.indices(self.shape[2])
        across = slice(self.left + start, self.left + end)
        return self.image[channels, self.top + first : self.top + last, across]


def _inked(grey: Tensor) -> Tensor:
    """Which squares have ink: fp32 `[rows, columns]`, 0 or 1; those at the end may not be whole."""
    down, across = (-side % _STEP for side in grey.shape)
    whole = pad(grey[None, None], (0, across, 0, down), mode="replicate")[0, 0]
    squares = whole.unflatten(0, (-1, _STEP)).unflatten(2, (-1, _STEP))
    contrast = squares.amax((1, 3)) - squares.amin((1, 3))
    strong = contrast.flatten().kthvalue(max(1, int(0.98 * contrast.numel()))).values
    return (contrast > max(_CONTRAST, 0.35 * float(strong))).float()


def _accompanied(inked: Tensor) -> Tensor:
    """Which squares have another inked one at most two away: print does, a speck of dust seldom."""
    reach = 2
    count = avg_pool2d(inked[None], 2 * reach + 1, 1, reach, divisor_override=1)[0]
    return (count - inked >= 1).float()


def _extent(counts: Tensor) -> tuple[int, int]:
    """The first and one after the last of `counts` that are not zero; all if none is."""
    found = counts.nonzero().flatten()
    if not len(found):
        return 0, len(counts)
    return max(0, int(found[0]) - _MARGIN), min(len(counts), int(found[-1]) + 1 + _MARGIN)


def _ends(extent: tuple[int, int], step: float, whole: int) -> tuple[int, int]:
    first = int(extent[0] * step)
    return first, max(first + 1, min(whole, math.ceil(extent[1] * step)))
