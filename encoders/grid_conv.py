"""Local mixing on the patch grid: a residual depth-wise convolution.

Attention over latents cannot tell a patch from its neighbour cheaply; one 3x3 filter per channel
can. The idea is that of conditional positional encodings (Chu et al., arXiv 2102.10882).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from encoders.patch_grids import Grids, Tensors, map_grids
from encoders.tiling import Grid

BAND = 8192
"""Patches that `stream_` mixes at a time, in whole rows."""


class GridConv(nn.Module):
    """`x + conv(x)` on the patch grids at the start of each sequence; other tokens pass."""

    def __init__(self, dim: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor, grids: Grids) -> Tensor:
        """`x` `[B, T, D]`; `grids[b]` names the patch grids that sequence `b` begins with."""
        strips = all(len(shapes) == 1 and shapes[0].rows == 1 for shapes in grids)
        if strips and len(grids) == len(x):
            return self._mix_strips(x, [shapes[0].columns for shapes in grids])
        return map_grids((x,), grids, self._mix, lambda tensors: tensors[0])

    def stream_(self, x: Tensor, grids: Grids) -> None:
        """`forward` in place, a band of rows at a time; not differentiable."""
        for row, shapes in zip(x, grids, strict=True):
            start = 0
            for grid in shapes:
                self._mix_(row[start : start + grid.size].unflatten(0, grid), grid)
                start += grid.size

    def _mix_strips(self, x: Tensor, lengths: list[int]) -> Tensor:
        """Grids of one row: padding to the longest costs little, where one by one would."""
        longest = max(1, *lengths)
        real = (
            torch.arange(longest, device=x.device) < torch.tensor(lengths, device=x.device)[:, None]
        )
        strip = x[:, :longest].masked_fill(~real.unsqueeze(-1), 0).transpose(1, 2).unsqueeze(2)
        row = self.conv.weight[:, :, self.conv.kernel_size[0] // 2].unsqueeze(2)
        padding = (0, self.conv.kernel_size[1] // 2)
        mixed = conv2d(strip, row, self.conv.bias, padding=padding, groups=self.conv.groups)
        mixed = mixed.squeeze(2).transpose(1, 2) * real.unsqueeze(-1)
        return x + pad(mixed, (0, 0, 0, x.shape[1] - longest)).to(x.dtype)

    def _mix(self, tensors: Tensors, grid: Grid) -> Tensor:
        (part,) = tensors
        image = part.unflatten(1, grid).permute(0, 3, 1, 2)  # [B, D, rows, columns]
        mixed: Tensor = part + self.conv(image).permute(0, 2, 3, 1).flatten(1, 2)
        return mixed

    def _mix_(self, image: Tensor, grid: Grid) -> None:
        """`image` `[rows, columns, D]`, mixed in place."""
        reach = self.conv.kernel_size[0] // 2
        size = max(1, reach, BAND // grid.columns)
        above = image.new_zeros(reach, *image.shape[1:])  # as those rows were before
        for top in range(0, grid.rows, size):
            band = image[top : top + size]
            below = image[top + size : top + size + reach]
            parts = pad(torch.cat([above, band, below]), (0, 0, 0, 0, 0, reach - len(below)))
            above = parts[len(band) : len(band) + reach]
            channels_first = parts.permute(2, 0, 1).unsqueeze(0)
            mixed = conv2d(
                channels_first,
                self.conv.weight,
                self.conv.bias,
                padding=(0, reach),
                groups=self.conv.groups,
            )
            band += mixed[0].permute(1, 2, 0)
