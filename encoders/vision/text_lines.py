"""Lines of print: from a map of where they are to strips of the page, and the order of reading."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

CORE = 0.3
"""Probability from which a pixel counts as the core of a line."""
SURE = 0.5
"""Mean probability of a core, below which it is none."""
UNCLIP = 1.6
"""How much is added around a core: this times its area over its perimeter, on each side."""
_LEAST = 3
"""Pixels across the narrower side of a core, at least."""
_LONG = 3.0
"""Length over height from which a line tells its own direction."""
_UPRIGHT = 1.5
"""Height over width from which a core is a line that runs upwards."""
_APART = 0.5
"""Heights between the end of a line and the start of the next from which they are two rows."""
_TOLD = 6.0
"""Length over height from which a line tells where its ends are; others are taken for level."""
_FLAT = 0.3
"""Radians up to which a page's tilt is taken from its lines; steeper ones tell nothing of it."""


class Line(NamedTuple):
    """A line of print, in pixels of the page: its middle, the direction in which it is read in
    radians (0: to the right, -pi / 2: upwards), its length and its height."""

    x: float
    y: float
    angle: float
    length: float
    height: float


def lines_of(likely: Tensor, scale: float) -> list[Line]:
    """Lines where pixels are `likely` `[H, W]` to be the core of one.

    `scale`: pixels of the map per pixel of the page.
    """
    from scipy import ndimage  # half a second, which models of other images need not wait

    chance = likely.float().cpu().numpy()
    # A dilation by a pixel, as the detector's own post-processing: cores in pieces grow together.
    core = ndimage.binary_dilation(chance > CORE, np.ones((2, 2), bool))
    labels, count = ndimage.label(core, np.ones((3, 3), int))
    if not count:
        return []
    sure = ndimage.mean(chance, labels, np.arange(1, count + 1))
    rough = []
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if sure[number - 1] < SURE:
            continue
        down, across = np.nonzero(labels[place] == number)
        points = np.stack([across + place[1].start, down + place[0].start], 1) + 0.5
        rough.append((points, _direction(points)))
    tilt = _tilt(rough)
    found = (_line(points, tilt if angle is None else angle) for points, angle in rough)
    return [
        Line(line.x / scale, line.y / scale, line.angle, line.length / scale, line.height / scale)
        for line in found
        if line is not None
    ]


def tilt_of(lines: list[Line]) -> float:
    """Radians by which the rows of a page fall to the right: the median of its lines by length."""
    return median_angle([(line.angle, line.length) for line in lines if abs(line.angle) < _FLAT])


def median_angle(angles: list[tuple[float, float]]) -> float:
    """The median of pairs of an angle and its weight; 0 of none."""
    half = sum(weight for _, weight in angles) / 2
    for angle, weight in sorted(angles):
        half -= weight
        if half <= 0:
            return angle
    return 0.0


def in_rows(lines: list[Line]) -> list[Line]:
    """`lines` in the order of reading: row by row from the top, each row from the left."""
    return [line for row in group_rows(lines) for line in row]


def group_rows(lines: list[Line]) -> list[list[Line]]:
    """Rows of `lines` from the top, each from the left.

    A line goes on the row of the nearest one to its left that ends where it begins, as high.
    """
    tilt = tilt_of(lines)
    spans = sorted((_span(line, tilt), number) for number, line in enumerate(lines))
    rows: list[list[int]] = []
    for place, (span, _) in enumerate(spans):
        fits = [row for row in rows if _goes_on(spans[row[-1]][0], span)]
        if fits:
            max(fits, key=lambda row: spans[row[-1]][0].right).append(place)
        else:
            rows.append([place])
    rows.sort(key=lambda row: sum(spans[place][0].middle for place in row) / len(row))
    return [[lines[spans[place][1]] for place in row] for row in rows]


class _Span(NamedTuple):
    """A line on the page turned level: from where to where, how high its ends are, its height."""

    left: float
    right: float
    start: float
    end: float
    height: float

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


def _span(line: Line, tilt: float) -> _Span:
    cos, sin = math.cos(tilt), math.sin(tilt)
    across, down = line.x * cos + line.y * sin, line.y * cos - line.x * sin
    if abs(line.angle) >= _FLAT:  # upwards: a row of its own, as wide as it is high
        return _Span(across - line.height / 2, across + line.height / 2, down, down, line.height)
    half = line.length / 2
    falls = half * math.sin(line.angle - tilt)
    if line.length < _TOLD * line.height:
        falls = 0.0
    return _Span(across - half, across + half, down - falls, down + falls, line.height)


def _goes_on(before: _Span, after: _Span) -> bool:
    """Whether `after` stands in the row of `before`, to its right."""
    least = min(before.height, after.height)
    overlap = before.right - after.left
    return abs(before.end - after.start) < _APART * least and overlap < least


def strip(pages: list[Tensor], line: Line, height: int, width: int) -> Tensor:
    """What `line` shows, `[3, height, width]`, read to the right; beyond its end a middle grey.

    `pages`: the page `[3, H, W]`, and that at half, a quarter of its size, ... (`pyramid`).
    """
    zoom = height / line.height
    level = min(len(pages) - 1, max(0, math.floor(math.log2(1 / zoom))))
    page = pages[level]
    used = min(width, max(1, round(line.length * zoom)))
    along = (torch.arange(used, device=page.device) + 0.5) / zoom - line.length / 2
    beside = (torch.arange(height, device=page.device) + 0.5 - height / 2) / zoom
    cos, sin = math.cos(line.angle), math.sin(line.angle)
    x = line.x + along * cos - beside.unsqueeze(1) * sin
    y = line.y + along * sin + beside.unsqueeze(1) * cos
    sides = torch.tensor(pages[0].shape[:0:-1], device=page.device)  # width, height
    grid = torch.stack([x, y], -1) / sides * 2 - 1
    shown = grid_sample(
        page.float().unsqueeze(0), grid.unsqueeze(0), padding_mode="border", align_corners=False
    )[0]
    found = shown.new_full((3, height, width), 127.5)  # what the recogniser takes for no line
    found[:, :, :used] = shown
    return found


def pyramid(page: Tensor, levels: int = 3) -> list[Tensor]:
    """`page` `[3, H, W]`, and it halved again and again while it has a pixel."""
    pages = [page]
    while len(pages) < levels and min(pages[-1].shape[1:]) > 1:
        pages.append(avg_pool2d(pages[-1].unsqueeze(0), 2)[0])
    return pages


def _direction(points: np.ndarray) -> float | None:
    """The direction of a core's longer axis; None where it is too short to tell."""
    spread = np.cov(points.T) if len(points) > 1 else np.zeros((2, 2))
    short, long = np.sqrt(np.maximum(np.linalg.eigvalsh(spread), 1e-9))
    if long < _LONG * short:
        across, down = np.ptp(points, 0) + 1
        return -math.pi / 2 if down > _UPRIGHT * across else None
    x, y = np.linalg.eigh(spread)[1][:, 1]
    if abs(y) > abs(x):  # upwards
        return math.atan2(-abs(y), -x if y > 0 else x)
    return math.atan2(y if x > 0 else -y, abs(x))


def _tilt(rough: list[tuple[np.ndarray, float | None]]) -> float:
    lines = [
        Line(0.0, 0.0, angle, float(np.ptp(points, 0).max()), 0.0)
        for points, angle in rough
        if angle is not None
    ]
    return tilt_of(lines)


def _line(points: np.ndarray, angle: float) -> Line | None:
    """The rectangle around a core, grown; None where it is too narrow."""
    cos, sin = math.cos(angle), math.sin(angle)
    along, beside = points @ (cos, sin), points @ (-sin, cos)
    length, height = np.ptp(along) + 1, np.ptp(beside) + 1
    if min(length, height) < _LEAST:
        return None
    more = UNCLIP * length * height / (2 * (length + height))
    u, v = (along.max() + along.min()) / 2, (beside.max() + beside.min()) / 2
    x, y = u * cos - v * sin, u * sin + v * cos
    return Line(float(x), float(y), angle, float(length + 2 * more), float(height + 2 * more))
