"""A convolutional patch embedding: small strided convolutions in place of one large linear map.

ViTs learn faster and from less data this way ("Early convolutions help transformers see better",
Xiao et al., arXiv 2106.14881): edges and corners inside a patch need not be learned anew for each
pixel place.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class ConvStem(nn.Module):
    """3x3 convolutions of stride 2 down to a vector of width `dim` a patch.

    For patches of 32 px and more the first is 7x7 of stride 4, which halves the time. A tile's
    tokens do not depend on how far it was padded to the right and below: such a convolution over
    a multiple of its stride reads pixels to the left and above, none past the patch it belongs to.
    """

    def __init__(self, patch: int, dim: int, tile: int) -> None:
        super().__init__()
        if patch < 2 or patch.bit_count() != 1:
            raise ValueError(f"a convolutional stem needs a patch of 2, 4, 8, ... px, got {patch}")
        self.patch_size = (patch, patch)
        self.grid_size = (tile // patch, tile // patch)
        strides = [4] * (patch >= 32) + [2] * (patch.bit_length() - (3 if patch >= 32 else 1))
        levels = len(strides)
        widths = [3, *(max(16, dim >> (levels - level - 1)) for level in range(levels))]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 2 * stride - 1, stride, padding=stride - 1)
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths[1:])
        self.project = nn.Linear(widths[-1], dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """`pixels` `[B, 3, H, W]`, H and W multiples of the patch: `[B, rows, columns, dim]`."""
        x = pixels.to(memory_format=torch.channels_last)  # so that the norms need no copies
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = gelu(norm(conv(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        out: Tensor = self.project(x.permute(0, 2, 3, 1))
        return out
