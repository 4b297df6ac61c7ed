"""Pixels of a scene, as NLVR draws its own."""

from functools import cache

import numpy as np

from vqa.boxes.scene import HEIGHT, LEFTS, SIDE, WIDTH, Scene

PAINT = {"black": (0, 0, 0), "blue": (0, 153, 255), "yellow": (255, 255, 0)}
PAPER = 211
BETWEEN = 128

_FINE = 8
"""Samples along a pixel's side, for smooth edges."""


def draw(scene: Scene) -> np.ndarray:
    """uint8 RGB `[3, H, W]`."""
    image = np.full((HEIGHT, WIDTH, 3), BETWEEN, np.float32)
    for left, box in zip(LEFTS, scene.boxes, strict=True):
        image[:, left : left + SIDE] = PAPER
        for thing in box:
            x, y = left + thing.x, thing.y
            part = image[y : y + thing.size, x : x + thing.size]
            part += _cover(thing.shape, thing.size) * (
                np.array(PAINT[thing.color], np.float32) - part
            )
    return np.ascontiguousarray(image.round().astype(np.uint8).transpose(2, 0, 1))


@cache
def _cover(shape: str, size: int) -> np.ndarray:
    """How much of each pixel the shape covers, `[size, size, 1]`."""
    place = (np.arange(size * _FINE) + 0.5) / (size * _FINE) - 0.5
    y, x = np.meshgrid(place, place, indexing="ij")
    if shape == "circle":
        inside = x**2 + y**2 <= 0.25
    elif shape == "triangle":
        inside = 2 * np.abs(x) <= y + 0.5
    else:
        inside = np.ones_like(x, bool)
    fine = inside.reshape(size, _FINE, size, _FINE).mean((1, 3), dtype=np.float32)
    return fine[..., np.newaxis]
