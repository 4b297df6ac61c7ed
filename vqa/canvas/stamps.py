"""Any mark as the part of each pixel that it covers."""

from functools import lru_cache

import numpy as np

from vqa.canvas import fonts, forms
from vqa.canvas.scene import Mark


def mask(mark: Mark) -> np.ndarray:
    """uint8 [h, w], cut to the ink."""
    if mark.form == "text":
        return fonts.mask(mark.text, mark.font, mark.size)
    if mark.form == "pattern":
        return _pattern(mark.text, mark.size)
    return forms.mask(mark.form, mark.size)


@lru_cache(maxsize=64)
def _pattern(cells: str, size: int) -> np.ndarray:
    """Three rows of three cells, [size // 3 * 3] pixels a side, edges and all: never cut."""
    grid = np.array([255 * int(cell) for cell in cells], np.uint8).reshape(3, 3)
    return np.kron(grid, np.ones((size // 3, size // 3), np.uint8))
