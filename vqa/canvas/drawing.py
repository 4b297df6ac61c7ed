"""A scene as pixels: a tiled background, and stamps that touch only where they stand."""

import math

import numpy as np
from PIL import Image, ImageDraw

from vqa.canvas import colors, stamps, textures
from vqa.canvas.scene import Scene

_OVERSAMPLING = 2


def draw(scene: Scene) -> np.ndarray:
    """uint8 [3, H, W]."""
    canvas = textures.paint(scene.width, scene.height, scene.texture, scene.texture_seed)
    if scene.dashes:
        _dashes(canvas, scene)
    for item in scene.objects:
        left, top, right, bottom = item.box
        _blend(canvas[:, top:bottom, left:right], stamps.mask(item.mark), item.mark.color)
    return canvas


def _blend(region: np.ndarray, cover: np.ndarray, color: str) -> None:
    """Lays a colour over `region` [3, h, w] where `cover` [h, w] says so."""
    weight = cover.astype(np.uint16)
    ink = np.array(colors.RGB[color], np.uint16)[:, None, None] * weight
    region[:] = (region * (255 - weight) + ink + 127) // 255  # at most 255 * 255: fits 16 bits


def _dashes(canvas: np.ndarray, scene: Scene) -> None:
    """All dashes in one mask of the rectangle that holds them."""
    width = scene.dash_width
    ends = [end for x0, y0, x1, y1 in scene.dashes for end in ((x0, y0), (x1, y1))]
    left = max(0, math.floor(min(x for x, _ in ends)) - width)
    top = max(0, math.floor(min(y for _, y in ends)) - width)
    right = min(scene.width, math.ceil(max(x for x, _ in ends)) + width)
    bottom = min(scene.height, math.ceil(max(y for _, y in ends)) + width)
    image = Image.new("L", ((right - left) * _OVERSAMPLING, (bottom - top) * _OVERSAMPLING))
    pencil = ImageDraw.Draw(image)
    for x0, y0, x1, y1 in scene.dashes:
        line = [(x0 - left), (y0 - top), (x1 - left), (y1 - top)]
        pencil.line([value * _OVERSAMPLING for value in line], 255, width * _OVERSAMPLING)
    cover = np.asarray(image.reduce(_OVERSAMPLING))
    _blend(canvas[:, top:bottom, left:right], cover, scene.dash_color)
