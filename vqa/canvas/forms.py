"""Shapes and icons, each a few filled polygons and ellipses in a square of 100 x 100."""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

Primitive = tuple[str, tuple[float, ...], int]
"""polygon with its x, y, x, y, ... or ellipse with its box; 1 adds ink, 0 takes it away."""

_OVERSAMPLING = 4


def _star() -> tuple[float, ...]:
    """Five points, the inner corners at 0.42 of the radius."""
    corners = []
    for corner in range(10):
        radius = 52 if corner % 2 == 0 else 22
        angle = math.pi * (corner / 5 - 0.5)
        corners += [50 + radius * math.cos(angle), 53 + radius * math.sin(angle)]
    return tuple(corners)


def _heart() -> tuple[float, ...]:
    """The usual curve (16 sin^3 t, 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t)."""
    corners = []
    for step in range(48):
        t = math.tau * step / 48
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        corners += [50 + 50 / 16 * 16 * math.sin(t) ** 3, 45 - 50 / 15 * y]
    return tuple(corners)


SHAPES: dict[str, tuple[Primitive, ...]] = {
    "circle": (("ellipse", (0, 0, 100, 100), 1),),
    "square": (("polygon", (0, 0, 100, 0, 100, 100, 0, 100), 1),),
    "triangle": (("polygon", (50, 2, 100, 96, 0, 96), 1),),
    "star": (("polygon", _star(), 1),),
    "cross": (
        ("polygon", (34, 0, 66, 0, 66, 100, 34, 100), 1),
        ("polygon", (0, 34, 100, 34, 100, 66, 0, 66), 1),
    ),
    "ring": (("ellipse", (0, 0, 100, 100), 1), ("ellipse", (24, 24, 76, 76), 0)),
    "diamond": (("polygon", (50, 0, 88, 50, 50, 100, 12, 50), 1),),
    "hourglass": (("polygon", (6, 0, 94, 0, 6, 100, 94, 100), 1),),
}

ICONS: dict[str, tuple[Primitive, ...]] = {
    "key": (
        ("ellipse", (0, 24, 48, 72), 1),
        ("ellipse", (14, 38, 34, 58), 0),
        ("polygon", (44, 41, 100, 41, 100, 55, 44, 55), 1),
        ("polygon", (86, 50, 100, 50, 100, 80, 86, 80), 1),
        ("polygon", (66, 50, 78, 50, 78, 72, 66, 72), 1),
    ),
    "heart": (("polygon", _heart(), 1),),
    "arrow": (("polygon", (0, 36, 52, 36, 52, 10, 100, 50, 52, 90, 52, 64, 0, 64), 1),),
    "house": (
        ("polygon", (50, 0, 100, 48, 86, 48, 86, 100, 14, 100, 14, 48, 0, 48), 1),
        ("polygon", (40, 62, 60, 62, 60, 101, 40, 101), 0),
    ),
    "moon": (("ellipse", (0, 0, 100, 100), 1), ("ellipse", (34, -8, 118, 76), 0)),
    "flag": (
        ("polygon", (12, 0, 24, 0, 24, 100, 12, 100), 1),
        ("polygon", (12, 2, 96, 30, 12, 58), 1),
    ),
    "bolt": (("polygon", (64, 0, 14, 58, 46, 58, 34, 100, 88, 38, 54, 38), 1),),
    "tree": (
        ("polygon", (50, 0, 82, 42, 18, 42), 1),
        ("polygon", (50, 24, 98, 80, 2, 80), 1),
        ("polygon", (42, 78, 58, 78, 58, 100, 42, 100), 1),
    ),
    "cup": (
        ("ellipse", (50, 20, 100, 70), 1),
        ("ellipse", (63, 33, 87, 57), 0),
        ("polygon", (0, 8, 74, 8, 66, 92, 8, 92), 1),
    ),
    "fish": (
        ("ellipse", (0, 20, 76, 80), 1),
        ("polygon", (62, 50, 100, 14, 100, 86), 1),
        ("ellipse", (14, 36, 27, 49), 0),
    ),
}

OTHERS: dict[str, tuple[Primitive, ...]] = {
    "dot": (("ellipse", (0, 0, 100, 100), 1),),
    "frame": (
        ("polygon", (0, 0, 100, 0, 100, 100, 0, 100), 1),
        ("polygon", (5, 5, 95, 5, 95, 95, 5, 95), 0),
    ),
}


@lru_cache(maxsize=256)
def mask(form: str, size: int) -> np.ndarray:
    """How much of each pixel the form covers, uint8 [h, w] <= [size, size], cut to its ink."""
    primitives = SHAPES.get(form) or ICONS.get(form) or OTHERS[form]
    side = size * _OVERSAMPLING
    image = Image.new("L", (side, side))
    pencil = ImageDraw.Draw(image)
    for name, numbers, ink in primitives:
        corners = [number * side / 100 - 0.5 for number in numbers]
        getattr(pencil, name)(corners, fill=255 * ink)
    return inked(np.asarray(image.reduce(_OVERSAMPLING)))


def inked(cover: np.ndarray) -> np.ndarray:
    """`cover` [H, W] without the empty rows and columns around its ink; [0, 0] of no ink."""
    box = Image.fromarray(cover).getbbox() or (0, 0, 0, 0)
    return cover[box[1] : box[3], box[0] : box[2]]
