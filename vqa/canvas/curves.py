"""Dashed curves between four points, in a window that grows with the objects, not the canvas."""

import math
import random

import numpy as np

from vqa.canvas.scene import Box, Segment
from vqa.canvas.sheet import Crowded, Sheet

Point = tuple[float, float]
Pair = tuple[np.ndarray, np.ndarray]
"""Two curves, each [48, 2]."""

# All in units, the size of an object.
_WINDOW = 12.0
_EDGE = 0.6
_ENDS_APART = 2.5
_CURVES_APART = 0.8  # four times the gap between dashes: no end is ambiguous
_BEND = 2.5
_DASH = 0.25
_GAP = 0.2

_T = np.linspace(0, 1, 48)
_BERNSTEIN = np.stack(
    [(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3], axis=1
)  # [48, 4]
_TRIES = 60


def pairings(sheet: Sheet) -> tuple[list[Point], Pair, Pair]:
    """Four points a, b, c, d; curves a-b and c-d; curves a-c and b-d. Raises Crowded.

    Points are kept only where both pairings can be drawn: where they stand says nothing about which
    one is.
    """
    window = int(min(sheet.width, sheet.height, _WINDOW * sheet.unit))
    left = sheet.rng.randint(0, sheet.width - window)
    top = sheet.rng.randint(0, sheet.height - window)
    for _ in range(_TRIES):
        a, b, c, d = ends = _ends(sheet, window, left, top)
        bounds = (left, top, left + window, top + window)
        joined = _pair(sheet.rng, (a, b, c, d), sheet.unit, bounds)
        crossed = joined and _pair(sheet.rng, (a, c, b, d), sheet.unit, bounds)
        if joined and crossed:
            return ends, joined, crossed
    raise Crowded


def dashes(line: np.ndarray, unit: int) -> list[Segment]:
    """The curve [48, 2] in straight dashes of equal length, the first and last at its ends."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(2, round((along[-1] / unit + _GAP) / (_DASH + _GAP)))
    scale = along[-1] / (count * (_DASH + _GAP) - _GAP)
    starts = np.arange(count) * (_DASH + _GAP) * scale
    ends = starts + _DASH * scale
    x0, x1 = (np.interp(place, along, line[:, 0]).tolist() for place in (starts, ends))
    y0, y1 = (np.interp(place, along, line[:, 1]).tolist() for place in (starts, ends))
    return list(zip(x0, y0, x1, y1, strict=True))


def _ends(sheet: Sheet, window: int, left: int, top: int) -> list[Point]:
    """Four points, no two near each other."""
    edge = _EDGE * sheet.unit
    apart = (_ENDS_APART * sheet.unit) ** 2
    points: list[Point] = []
    while len(points) < 4:
        x = left + sheet.rng.uniform(edge, window - edge)
        y = top + sheet.rng.uniform(edge, window - edge)
        if all((x - u) ** 2 + (y - v) ** 2 >= apart for u, v in points):
            points.append((x, y))
        elif sheet.rng.random() < 0.02:
            points.clear()
    return points


def _pair(
    rng: random.Random, ends: tuple[Point, Point, Point, Point], unit: int, bounds: Box
) -> Pair | None:
    """Two curves, first to second and third to fourth end, that keep clear of each other."""
    edge = _EDGE / 2 * unit
    low, high = np.array(bounds[:2]) + edge, np.array(bounds[2:]) - edge
    for _ in range(4):
        one, two = _curve(rng, *ends[:2], unit), _curve(rng, *ends[2:], unit)
        both = np.concatenate([one, two])
        if (both.min(0) >= low).all() and (both.max(0) <= high).all():
            x, y = (np.subtract.outer(one[:, axis], two[:, axis]) for axis in (0, 1))
            if (x * x + y * y).min() >= (_CURVES_APART * unit) ** 2:
                return one, two
    return None


def _curve(rng: random.Random, start: Point, end: Point, unit: int) -> np.ndarray:
    """A cubic Bezier curve [48, 2] that bends to either side, or to both."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = (x1 - x0) / 3, (y1 - y0) / 3
    scale = _BEND * unit / math.hypot(3 * dx, 3 * dy)
    one, two = (rng.uniform(-scale, scale) for _ in range(2))
    handles = [(x0 + dx + 3 * one * dy, y0 + dy - 3 * one * dx)]
    handles += [(x1 - dx + 3 * two * dy, y1 - dy - 3 * two * dx)]
    return _BERNSTEIN @ np.array([start, *handles, end])
