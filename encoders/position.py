"""Positions that exist for every grid size: sine waves of a place (Vaswani et al., 2017)."""

import torch
from torch import Tensor


def sine(position: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """Sine and cosine of `position` `[...]` (any real numbers) at `dim / 2` frequencies: `[...,
    dim]`.

    Computed in fp32 or wider: a bf16 position could not tell 1,000 from 1,001.
    """
    if dim % 2:
        raise ValueError(f"a sine position needs an even width, got {dim}")
    place = position.to(torch.promote_types(position.dtype, torch.float32))
    steps = torch.arange(dim // 2, device=place.device, dtype=place.dtype)
    angle = place.unsqueeze(-1) * base ** (-steps / (dim // 2))
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def sine_grid(position: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """`position` `[..., 2]` = (row, column) as `[..., dim]`: `sine` of each, half the width."""
    if dim % 4:
        raise ValueError(f"a two-dimensional sine position needs a width divisible by 4, got {dim}")
    row, column = position.unbind(-1)
    return torch.cat([sine(row, dim // 2, base), sine(column, dim // 2, base)], dim=-1)
