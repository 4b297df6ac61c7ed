"""Pixels that are read where they are asked for, and the whole of them in small."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

BAND = 2**22
"""Pixels that `shrink` holds at a time."""


class Pixels(Protocol):
    """An image, RGB `[3, H, W]` in [0, 255]: a uint8 tensor, or what makes one of the piece asked
    for, so that a huge image is never held as a tensor."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, piece: tuple[slice, slice, slice], /) -> Tensor: ...


def shrink(image: Pixels, height: int, width: int) -> Tensor:
    """The whole image in `height x width` pixels, fp32 `[3, height, width]` in [0, 255].

    Antialiased; read band by band, averaged to no less than twice the size on the way.
    """
    _, tall, wide = image.shape
    factors = max(1, tall // (2 * height)), max(1, wide // (2 * width))
    rows = factors[0] * max(1, BAND // (wide * factors[0]))
    bands = []
    for top in range(0, tall, rows):
        band = image[:, top : top + rows, :].float()
        bands.append(band if factors == (1, 1) else avg_pool2d(band, factors, ceil_mode=True))
    small = torch.cat(bands, 1).unsqueeze(0)
    size = (height, width)
    return interpolate(small, size, mode="bilinear", antialias=True).squeeze(0)
