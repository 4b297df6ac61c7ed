"""Local softmax attention on a patch grid: every patch reads the square of patches around it.

The idea is that of neighbourhood attention (Hassani et al., arXiv 2204.07143), but windows shrink
at the borders, where theirs shift.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from encoders.halo import attend, blocks, distances, with_halo
from encoders.tiling import Grid

SIDE = 8
"""Patches a side of a block, at least, and SIDE^2 queries where the grid is narrower."""

QUERIES = 2048
"""Queries, of all grids of a batch together, whose windows are held at once without gradients."""


def grid_window(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: Grid,
    radius: int,
    sinks: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Patch (r, c) reads the patches at most `radius` rows and columns away; [B, R * C, H, Dh].

    q, k, v [B, R * C, H, Dh], row by row on `grid` of R rows and C columns; logits are
    q . k / sqrt(Dh). `sinks` are keys and values [B, S, H, Dh] that every patch attends to as well,
    such as class and register tokens. Time and memory are linear in the number of patches.
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
    q, k, v = (x.to(v.dtype).unflatten(1, grid) for x in (q, k, v))
    sinks = sinks or (k[:, :0, 0], v[:, :0, 0])
    _check_sinks(sinks, v)
    rows, halo = _span(grid.rows, SIDE**2 // min(SIDE, grid.columns), radius)
    step = grid.rows
    if not torch.is_grad_enabled():
        step = rows * max(1, QUERIES // (len(v) * rows * grid.columns))
    parts = []
    for first in range(0, grid.rows, step):
        # Whole blocks, so that the halo of the first and the last one is at hand.
        margin = rows if halo else 0
        near = slice(max(0, first - margin), first + step + margin)
        before = (first - near.start) // rows
        own = q[:, first : first + step]
        parts.append(_attend(own, k[:, near], v[:, near], sinks, radius, (rows, halo), before))
    return (torch.cat(parts, 1) if len(parts) > 1 else parts[0]).flatten(1, 2)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sinks: tuple[Tensor, Tensor],
    radius: int,
    span: tuple[int, int],
    before: int,
) -> Tensor:
    """Attention of some rows of patches, q [B, r, C, H, Dh], to rows of k and v around them.

    `span`: rows of a block and of its halo; `before`: block rows of k that precede those of q.
    """
    (rows, row_halo), width = span, q.shape[2]
    columns, column_halo = _span(width, SIDE**2 // min(SIDE, k.shape[1]), radius)

    def cut(x: Tensor) -> Tensor:
        """[B, r, C, ...] -> blocks [B, n, m, rows, columns, ...]."""
        return blocks(blocks(x, 2, columns), 1, rows).transpose(2, 3)

    queries = cut(q)
    chosen = slice(before, before + queries.shape[1])

    def surround(x: Tensor, sink: Tensor) -> Tensor:
        """Sinks, blocks and halo [B * n * m, keys, ...]."""
        x = with_halo(cut(x), 1, 3, row_halo, row_halo)[:, chosen]
        x = with_halo(x, 2, 4, column_halo, column_halo).flatten(3, 4)
        sink = sink[:, None, None].expand(*x.shape[:3], *sink.shape[1:])
        return torch.cat([sink.to(x.dtype), x], 3).flatten(0, 2)

    down = distances(rows, row_halo, row_halo, v.device).abs()
    across = distances(columns, column_halo, column_halo, v.device).abs()
    distance = torch.maximum(down[:, None, :, None], across[None, :, None, :])
    distance = distance.flatten(2, 3).flatten(0, 1)  # [queries, keys] of a block
    count = sinks[0].shape[1]
    near = pad(distance <= radius, (count, 0), value=True)
    same = pad(distance == 0, (count, 0), value=False)
    real = v.new_ones(v.shape[:3], dtype=torch.bool)
    y = attend(
        queries.flatten(3, 4).flatten(0, 2),
        surround(k, sinks[0]),
        surround(v, sinks[1]),
        near,
        same,
        surround(real, real.new_ones(len(v), count)),
    )
    y = y.unflatten(0, queries.shape[:3]).unflatten(3, (rows, columns)).transpose(2, 3)
    return y.flatten(3, 4).flatten(1, 2)[:, : q.shape[1], :width].to(v.dtype)


def _check_sinks(sinks: tuple[Tensor, Tensor], v: Tensor) -> None:
    """Sinks must be keys and values [B, S, H, Dh] for patches like v [B, R, C, H, Dh]."""
    key, value = (list(x.shape) for x in sinks)
    if key != value or len(key) != 4 or [key[0], *key[2:]] != [v.shape[0], *v.shape[3:]]:
        raise ValueError(f"sinks must be alike, [B, S, H, Dh], got keys {key}, values {value}")


def _span(length: int, least: int, radius: int) -> tuple[int, int]:
    """Patches of a block along one side of the grid, and of the halo at either end of it."""
    size = max(least, radius)
    if length <= size + 2 * radius:  # no more keys than one block reads anyway
        return length, 0
    even = -(-length // -(-length // size))
    return max(even, radius), radius
