"""An image at another size, block by block, each block from the pixels it needs and no others.

The same antialiased bicubic filter as Pillow's `Image.resize`, which does the arithmetic. Blocks
lie on one fixed grid of the output, so a pixel is the same whatever piece it is read in: Pillow
places the filter in single precision, and pieces cut anywhere would differ in the last bit.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

Read = Callable[[int, int, int, int], np.ndarray]  # left, top, right, bottom -> uint8 [h, w, 3]

SIDE = 512  # a block is at most this many pixels each way
STRIP = 2**20  # source pixels in RGB at a time
TALL = 2**15  # source rows of a block, to bound what lies between the two passes: 48 MiB
HELD = 80  # blocks kept, 60 MiB: the next tile of a row shares blocks with the last


def shrunk_size(height: int, width: int, longest: int | None) -> tuple[int, int]:
    """Height and width in pixels once the longer side is `longest` at most, of the same shape.

    >>> shrunk_size(3000, 4000, 1000)
    (750, 1000)
    """
    whole = max(height, width)
    side = whole if longest is None else min(whole, longest)
    return max(1, round(height * side / whole)), max(1, round(width * side / whole))


class Resampled:
    """`read`, an image of `size` = (width, height), at the size `out`; see the module."""

    def __init__(self, read: Read, size: tuple[int, int], out: tuple[int, int]) -> None:
        self.read = read
        self.size = size
        self.out = out
        self.scale = (size[0] / out[0], size[1] / out[1])
        self.rows = max(1, min(SIDE, int(TALL / self.scale[1])))
        self.block = lru_cache(maxsize=HELD)(self._block)

    def region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """uint8 [h, w, 3]."""
        pixels = np.empty((bottom - top, right - left, 3), np.uint8)
        for y in range(top // self.rows * self.rows, bottom, self.rows):
            for x in range(left // SIDE * SIDE, right, SIDE):
                block = self.block(x, y)
                rows = slice(max(top - y, 0), bottom - y)
                columns = slice(max(left - x, 0), right - x)
                part = block[rows, columns]
                above, before = max(y - top, 0), max(x - left, 0)
                pixels[above : above + part.shape[0], before : before + part.shape[1]] = part
        return pixels

    def _block(self, x: int, y: int) -> np.ndarray:
        """The block whose first pixel is (x, y): columns first, strip by strip, then rows."""
        width, height = min(SIDE, self.out[0] - x), min(self.rows, self.out[1] - y)
        left, right, begin, end = self._source(x, x + width, 0)
        top, bottom, first, last = self._source(y, y + height, 1)
        narrow = np.empty((bottom - top, width, 3), np.uint8)
        step = max(1, STRIP // (right - left))
        for row in range(top, bottom, step):
            below = min(row + step, bottom)
            strip = self.read(left, row, right, below)
            narrow[row - top : below - top] = _resize(
                strip, (width, below - row), (begin, 0, end, below - row)
            )
        return _resize(narrow, (width, height), (0, first, width, last))

    def _source(self, start: int, stop: int, axis: int) -> tuple[int, int, float, float]:
        """Source pixels (from, to) under an output span, with the filter's reach; and the span in
        them, a float box."""
        scale, length = self.scale[axis], self.size[axis]
        reach = math.ceil(2 * max(scale, 1)) + 1  # bicubic reaches 2 pixels of the coarser image
        low = max(0, math.floor(start * scale) - reach)
        high = min(length, math.ceil(stop * scale) + reach)
        return low, high, start * scale - low, min(stop * scale - low, high - low)


def _resize(
    pixels: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]
) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box))
