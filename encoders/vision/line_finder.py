"""Where lines of print are on a page: PP-OCRv6's small detector (PaddleOCR, Apache-2.0).

A map of how likely each pixel lies in the core of a line, by differentiable binarization (Liao et
al., arXiv 1911.08947). Of its heads the one that tells probabilities is all that is needed.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from encoders.vision.repvit import Block, Gate, Stem

UNIT = 32
"""Sides of a page are multiples of it, in pixels."""
_WIDTHS = (48, 96, 192, 384)
_NECK = 96
_SLOPE = 0.2


class _Weighed(nn.Module):
    """A map, and its gated self added to it."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(dim, out, 1, bias=False)
        self.gate = Gate(out, _SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        x = self.map(x)
        return x + self.gate(x)


class LineFinder(nn.Module):
    """Backbone with four strides, a pyramid over them, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem(24, 48)
        four, eight, sixteen, thirty_two = _WIDTHS
        self.stages = nn.ModuleList(
            [
                nn.Sequential(Block(four, four, gated=True), Block(four, four)),
                nn.Sequential(
                    Block(four, eight, (2, 2)), Block(eight, eight, gated=True), Block(eight, eight)
                ),
                nn.Sequential(
                    Block(eight, sixteen, (2, 2)),
                    Block(sixteen, sixteen, gated=True),
                    Block(sixteen, sixteen),
                    Block(sixteen, sixteen, gated=True),
                    Block(sixteen, sixteen),
                ),
                nn.Sequential(
                    Block(sixteen, thirty_two, (2, 2)),
                    Block(thirty_two, thirty_two, gated=True),
                    Block(thirty_two, thirty_two),
                ),
            ]
        )
        # Both from the coarsest map to the finest, as the detector's file has them.
        self.inward = nn.ModuleList(_Weighed(width, _NECK) for width in reversed(_WIDTHS))
        self.outward = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(_NECK, _NECK, 7, padding=3, groups=_NECK), _Weighed(_NECK, _NECK // 4)
            )
            for _ in _WIDTHS
        )
        self.head = nn.Conv2d(_NECK, _NECK // 4, 3, padding=1)
        self.twice = nn.ConvTranspose2d(_NECK // 4, _NECK // 4, 2, 2)
        self.likely = nn.ConvTranspose2d(_NECK // 4, 1, 2, 2)
        self.to(memory_format=torch.channels_last)

    def forward(self, page: Tensor) -> Tensor:
        """RGB `[3, H, W]` in [0, 255], sides multiples of 32 -> probabilities `[H, W]`.

        Print is best 10 to 40 pixels high.
        """
        x = self.stem(page.unsqueeze(0))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        above: Tensor | None = None
        found: list[Tensor] = []
        for inward, outward, x in zip(self.inward, self.outward, reversed(maps), strict=True):
            x = inward(x)
            above = x if above is None else x + interpolate(above, scale_factor=2.0)
            found.append(outward(above))
        size = found[-1].shape[2:]
        joined = torch.cat([interpolate(x, size) for x in found], 1)
        x = relu(self.twice(relu(self.head(joined))))
        likely: Tensor = self.likely(x).sigmoid()[0, 0]
        return likely
