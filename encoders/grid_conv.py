"""Local mixing on the patch grid: a residual depth-wise convolution.

Attention over latents cannot tell a patch from its neighbour cheaply; one 3x3 filter per channel
can. The idea is that of conditional positional encodings (Chu et al., arXiv 2102.10882).
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from encoders.tiling import Grid

Grids = Sequence[tuple[Grid, ...]]
"""For each sequence of a batch, the patch grids at its start, one after the other."""


class GridConv(nn.Module):
    """`x + conv(x)` on the patch grids at the start of each sequence; other tokens pass."""

    def __init__(self, dim: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor, grids: Grids) -> Tensor:
        """`x` `[B, T, D]`; `grids[b]` names the patch grids that sequence `b` begins with."""
        if len(grids) != len(x):
            raise ValueError(f"{len(x)} sequences but patch grids for {len(grids)}")
        alike: dict[tuple[Grid, ...], list[int]] = defaultdict(list)
        for index, shapes in enumerate(grids):
            alike[shapes].append(index)
        if len(alike) == 1:
            return self._mix(x, grids[0])
        # Each size on its own: padding to a common grid would cost rows x columns of the largest
        # both ways.
        out = torch.empty_like(x)
        for shapes, members in alike.items():
            index_ = torch.tensor(members, device=x.device)
            out = out.index_copy(0, index_, self._mix(x[index_], shapes).to(out.dtype))
        return out

    def _mix(self, x: Tensor, shapes: tuple[Grid, ...]) -> Tensor:
        parts, start = [], 0
        for grid in shapes:
            part = x[:, start : start + grid.size]
            image = part.unflatten(1, grid).permute(0, 3, 1, 2)  # [B, D, rows, columns]
            parts.append(part + self.conv(image).permute(0, 2, 3, 1).flatten(1, 2))
            start += grid.size
        return torch.cat([*parts, x[:, start:].to(parts[0].dtype)], dim=1) if parts else x
