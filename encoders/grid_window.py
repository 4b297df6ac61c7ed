"""Local softmax attention on a patch grid: every patch reads the square of patches around it.

The idea is that of neighbourhood attention (Hassani et al., arXiv 2204.07143), but windows shrink
at the borders, where theirs shift.
"""

import torch
from torch import Tensor

from encoders.halo import attend, blocks, distances, with_halo
from encoders.tiling import Grid

SIDE = 8
"""Patches a side of a block, at least, and SIDE^2 queries where the grid is narrower."""


def grid_window(q: Tensor, k: Tensor, v: Tensor, grid: Grid, radius: int) -> Tensor:
    """Patch (r, c) reads the patches at most `radius` rows and columns away; [B, R * C, H, Dh].

    q, k, v [B, R * C, H, Dh], row by row on `grid` of R rows and C columns; logits are
    q . k / sqrt(Dh). Time and memory are linear in the number of patches.
    Raises ValueError if shapes disagree or the radius is negative.
    """
    if q.dim() != 4 or q.shape != k.shape or q.shape != v.shape:
        shapes = f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}"
        raise ValueError(f"q, k and v must be alike, [B, R * C, H, Dh], got {shapes}")
    if v.shape[1] != grid.size or not grid.size:
        size = f"{grid.rows} x {grid.columns} patches"
        raise ValueError(f"a grid of {size} does not fit tokens {list(v.shape)}")
    if radius < 0:
        raise ValueError(f"a radius is at least 0, got {radius}")
    rows, row_halo = _span(grid.rows, SIDE**2 // min(SIDE, grid.columns), radius)
    columns, column_halo = _span(grid.columns, SIDE**2 // min(SIDE, grid.rows), radius)

    def cut(x: Tensor) -> Tensor:
        """[B, R * C, ...] -> blocks [B, n, m, rows, columns, ...]."""
        x = x.unflatten(1, grid)
        return blocks(blocks(x, 2, columns), 1, rows).transpose(2, 3)

    def surround(x: Tensor) -> Tensor:
        """Blocks -> blocks and halo [B * n * m, keys, ...]."""
        x = with_halo(x, 1, 3, row_halo, row_halo)
        return with_halo(x, 2, 4, column_halo, column_halo).flatten(3, 4).flatten(0, 2)

    down = distances(rows, row_halo, row_halo, v.device).abs()
    across = distances(columns, column_halo, column_halo, v.device).abs()
    distance = torch.maximum(down[:, None, :, None], across[None, :, None, :])
    distance = distance.flatten(2, 3).flatten(0, 1)  # [queries, keys] of a block
    real = surround(cut(v.new_ones(v.shape[:2], dtype=torch.bool)))
    queries = cut(q.to(v.dtype))
    y = attend(
        queries.flatten(3, 4).flatten(0, 2),
        surround(cut(k.to(v.dtype))),
        surround(cut(v)),
        distance <= radius,
        distance == 0,
        real,
    )
    y = y.unflatten(0, queries.shape[:3]).unflatten(3, (rows, columns)).transpose(2, 3)
    y = y.flatten(3, 4).flatten(1, 2)[:, : grid.rows, : grid.columns]
    return y.flatten(1, 2).to(v.dtype)


def _span(length: int, least: int, radius: int) -> tuple[int, int]:
    """Patches of a block along one side of the grid, and of the halo at either end of it."""
    size = max(least, radius)
    if length <= size + 2 * radius:  # no more keys than one block reads anyway
        return length, 0
    even = -(-length // -(-length // size))
    return max(even, radius), radius
