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


def rotate(x: Tensor, place: Tensor, base: float = 10_000.0) -> Tensor:
    """Turns the channel pairs of `x` `[B, T, H, Dh]` by the tokens' `place`, pair i at the pace
    theta_i = base^(-2 i / Dh): rotary embedding (Su et al., arXiv 2104.09864).

    `place` `[B, T]`, or `[B, T, 2]` = (row, column): even pairs turn by the row, odd ones by the
    column, so that a token at (p, p) is turned as one at p. Pairs are consecutive channels.
    Computed in fp32 or wider; returned in the dtype of `x`.
    Raises ValueError for an odd width, or one not divisible by 4 for two coordinates.
    """
    width = x.shape[-1]
    if width % (2 if place.dim() == 2 else 4):
        raise ValueError(
            f"rotary positions need heads of an even width (two coordinates: "
            f"divisible by 4), got {width}"
        )
    wide = torch.promote_types(x.dtype, torch.float32)
    pace = base ** (-torch.arange(0, width, 2, device=x.device, dtype=wide) / width)
    along = (
        place.to(wide).unsqueeze(-1)
        if place.dim() == 2
        else place.to(wide).repeat(1, 1, width // 4)
    )
    angle = (along * pace).unsqueeze(2)  # [B, T, 1, Dh / 2]
    first, second = x.to(wide).unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    turned = torch.stack([first * cos - second * sin, first * sin + second * cos], -1)
    return turned.flatten(-2).to(x.dtype)


def count_places(x: Tensor, mask: Tensor | None, start: Tensor | None = None) -> Tensor:
    """Places of the real tokens of `x` `[B, T, D]`, from `start` `[B]` or 0 on: fp32 `[B, T]`."""
    if mask is None:
        count = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        count = count.expand(x.shape[0], -1)
    else:
        count = mask.cumsum(1, dtype=torch.float32) - 1
    return count if start is None else count + start.unsqueeze(1)


def next_place(places: Tensor, mask: Tensor | None, start: Tensor | None = None) -> Tensor:
    """The first place after all of `places` `[B, T]` or `[B, T, 2]` and after `start`: `[B]`."""
    after = places.flatten(2).amax(2) + 1 if places.dim() == 3 else places + 1
    if mask is not None:
        after = after.masked_fill(~mask, 0)
    after = after.amax(1).floor().float()
    return after if start is None else torch.maximum(after, start)
