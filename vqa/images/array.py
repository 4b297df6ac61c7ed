"""A NumPy array as an image."""

import numpy as np

from vqa.images import colour
from vqa.images.source import ImageError, refuse_page


class Reader:
    """[H, W] or [H, W, 1 | 3 | 4] of uint8, uint16, bool or float in [0, 1]; nothing is copied."""

    orientation = 1
    pages = 1
    held = 0  # the array is there already
    format = ""

    def __init__(self, array: np.ndarray, name: str, page: int = 1) -> None:
        if page != 1:
            refuse_page(page, 1, name)
        self.array = array
        self.name = name
        self.size = _size(array, name)

    def region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """uint8 [h, w, 3]."""
        return colour.array_to_rgb(self.array[top:bottom, left:right], self.name)

    def close(self) -> None:
        """Nothing to close."""


def _size(array: np.ndarray, name: str) -> tuple[int, int]:
    """(width, height); refuses shapes and dtypes whose meaning would have to be guessed."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"{name} is an array of shape {array.shape}; "
            "pass [H, W] or [H, W, C] with C = 1, 3 or 4 (channels last)"
        )
    if array.dtype.kind not in "bf" and array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise ImageError(
            f"{name} is an array of {array.dtype}; pass uint8, uint16, bool or float in [0, 1]"
        )
    return array.shape[1], array.shape[0]
