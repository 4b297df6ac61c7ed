"""Local mixing on the patch grid: a residual depth-wise convolution.

Attention over latents cannot tell a patch from its neighbour cheaply; one 3x3 filter per channel
can. The idea is that of conditional positional encodings (Chu et al., arXiv 2102.10882).
"""

from torch import Tensor, nn

from encoders.patch_grids import Grids, Tensors, map_grids
from encoders.tiling import Grid


class GridConv(nn.Module):
    """`x + conv(x)` on the patch grids at the start of each sequence; other tokens pass."""

    def __init__(self, dim: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor, grids: Grids) -> Tensor:
        """`x` `[B, T, D]`; `grids[b]` names the patch grids that sequence `b` begins with."""
        return map_grids((x,), grids, self._mix, lambda tensors: tensors[0])

    def _mix(self, tensors: Tensors, grid: Grid) -> Tensor:
        (part,) = tensors
        image = part.unflatten(1, grid).permute(0, 3, 1, 2)  # [B, D, rows, columns]
        mixed: Tensor = part + self.conv(image).permute(0, 2, 3, 1).flatten(1, 2)
        return mixed
