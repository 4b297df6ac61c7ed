"""The ink of a sheet as it lies in the image: scaled with care, then turned and sheared."""

import math

import numpy as np
from PIL import Image

from vqa.pages.drawing import ink
from vqa.pages.scene import Scene

_FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


def seen(scene: Scene) -> Image.Image:
    """How much of each pixel of the image is inked, mode L."""
    sheet, matrix = scene.sheet, scene.matrix
    across, down = math.hypot(matrix.a, matrix.d), math.hypot(matrix.b, matrix.e)
    width = max(1, round(sheet.width * across))
    height = max(1, round(sheet.height * down))
    image = Image.fromarray(ink(sheet))
    # Turning alone would step over pixels where the image is smaller than the sheet.
    scaled = image.resize((width, height), _FILTERS[scene.wear % len(_FILTERS)])
    fx, fy = width / sheet.width, height / sheet.height
    a, b, c, d, e, f = (
        matrix.a / fx,
        matrix.b / fy,
        matrix.c,
        matrix.d / fx,
        matrix.e / fy,
        matrix.f,
    )
    if b == 0 and d == 0:
        whole = Image.new("L", (scene.width, scene.height))
        whole.paste(scaled, (round(c), round(f)))
        return whole
    # Pillow maps centres of pixels itself; the inverse leads from the image to the sheet.
    area = a * e - b * d
    inverse = (
        *(e / area, -b / area, (b * f - c * e) / area),
        *(-d / area, a / area, (c * d - a * f) / area),
    )
    size = (scene.width, scene.height)
    # Small letters need the better one; it takes twice the time.
    finest = Image.Resampling.BICUBIC if scene.em < 20 else Image.Resampling.BILINEAR
    return scaled.transform(size, Image.Transform.AFFINE, inverse, finest)


def clean(scene: Scene) -> np.ndarray:
    """The page without wear, black on white, uint8 [3, H, W]."""
    return np.repeat(255 - np.asarray(seen(scene))[None], 3, axis=0)
