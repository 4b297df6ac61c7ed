"""Local softmax attention: every token reads the nearest `window` tokens, in time linear in T.

Sliding windows as in Beltagy, Peters and Cohan, "Longformer" (arXiv 2004.05150): the local latent
of Latte-Macchiato (arXiv 2402.17512, v4). Windows count real tokens only, wherever pads stand.
q, k, v are [B, T, H, Dh], a mask is bool [B, T], True = real; logits are q . k / sqrt(Dh).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from encoders.halo import attend, blocks, distances, with_halo
from encoders.latte.state import check_mask
from encoders.packing import Packing, pack, rows

BLOCK = 64
"""Queries of a block, at least: fewer waste fewer products, but copy more of the neighbours."""


class Past(NamedTuple):
    """The last window - 1 real tokens of each row, as many as there have been, on the right.

    Keys and values [B, window - 1, H, Dh], mask [B, window - 1]: where there is a token.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor


def causal(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    window: int,
    mask: Tensor | None = None,
    past: Past | None = None,
) -> tuple[Tensor, Past]:
    """Every token reads itself and the window - 1 real tokens before it, those of `past` too.

    Returns y [B, T, H, Dh], zeros at pads, and the past after the last token.
    Raises ValueError if shapes disagree, the mask is not bool or the window is below 1.
    """
    _check(q, k, v, mask, window)
    packing = None if mask is None else pack(mask)
    new = _last(k, v, window - 1, packing)
    new = new if past is None else _after(past, new, v)
    return _read(q, k, v, packing, window - 1, 0, past), new


def bidirectional(
    q: Tensor, k: Tensor, v: Tensor, window: int, mask: Tensor | None = None
) -> Tensor:
    """Every token reads the real tokens less than `window` tokens away, before and after it.

    Returns y [B, T, H, Dh], zeros at pads. Raises ValueError as `causal` does.
    """
    _check(q, k, v, mask, window)
    return _read(q, k, v, None if mask is None else pack(mask), window - 1, window - 1)


def step(q: Tensor, k: Tensor, v: Tensor, past: Past) -> tuple[Tensor, Past]:
    """`causal` for one token, q, k, v [B, H, Dh]; the window is that of the past.

    Raises ValueError if the shapes disagree.
    """
    if q.dim() != 3 or q.shape != k.shape or q.shape != v.shape:
        raise ValueError(f"q, k and v must be alike, [B, H, Dh], got {_shapes(q, k, v)}")
    _check_past(past, v)
    mask = torch.cat([past.mask, past.mask.new_ones(len(v), 1)], 1)
    keys = torch.cat([past.keys, k.unsqueeze(1)], 1)
    values = torch.cat([past.values, v.unsqueeze(1)], 1)
    y = scaled_dot_product_attention(
        q.to(v.dtype).unsqueeze(2),
        keys.to(v.dtype).transpose(1, 2),
        values.to(v.dtype).transpose(1, 2),
        attn_mask=mask[:, None, None],
    )
    return y.squeeze(2).to(v.dtype), Past(keys[:, 1:], values[:, 1:], mask[:, 1:])


def past_of(
    k: Tensor, v: Tensor, window: int, mask: Tensor | None = None, past: Past | None = None
) -> Past:
    """The past after k, v [B, T, H, Dh], without outputs. Raises ValueError as `causal` does."""
    _check(k, k, v, mask, window)
    new = _last(k, v, window - 1, None if mask is None else pack(mask))
    return new if past is None else _after(past, new, v)


def _last(k: Tensor, v: Tensor, count: int, packing: Packing | None) -> Past:
    """The last `count` real tokens of each row."""
    places = torch.arange(-count, 0, device=v.device).expand(len(v), -1)
    places = places + (v.shape[1] if packing is None else packing.counts.unsqueeze(1))
    real, places = places >= 0, places.clamp(min=0)
    if packing is not None and packing.order is not None:
        places = packing.order.gather(1, places)
    return Past(rows(k, places), rows(v, places), real)


def _after(past: Past, new: Past, v: Tensor) -> Past:
    """The past of both: on the right the new tokens, left of them the youngest old ones."""
    _check_past(past, v)
    held, width = past.mask.shape[1], new.mask.shape[1]
    if held != width:
        raise ValueError(f"a window of {width + 1} does not fit a past of {held} tokens")
    places = torch.arange(width, device=past.mask.device) + new.mask.sum(1, keepdim=True)
    places = places.clamp(max=width - 1)
    fresh = new.mask[..., None, None]
    return Past(
        torch.where(fresh, new.keys, rows(past.keys, places)),
        torch.where(fresh, new.values, rows(past.values, places)),
        new.mask | past.mask.gather(1, places),
    )


def _read(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packing: Packing | None,
    before: int,
    after: int,
    past: Past | None = None,
) -> Tensor:
    """Attention to `before` real tokens before and `after` real tokens after each token."""
    if packing is None:
        return _local(q, k, v, v.new_ones(v.shape[:2], dtype=torch.bool), before, after, past)
    q, k, v = (packing.take(x) for x in (q, k, v))
    y = _local(q, k, v, packing.mask, before, after, past)
    return packing.restore(y.masked_fill(~packing.mask[..., None, None], 0))


def _local(
    q: Tensor, k: Tensor, v: Tensor, real: Tensor, before: int, after: int, past: Past | None
) -> Tensor:
    """Blocks of queries over their own and the neighbouring keys of a packed batch."""
    length, kind = v.shape[1], v.dtype
    size = max(BLOCK, before + 1)
    if length <= size + before + after:  # no more keys than one block reads anyway
        size = length
    left = before if size < length or past is not None else 0
    right = after if size < length else 0
    q, k, v, real = (blocks(x, 1, size) for x in (q.to(kind), k.to(kind), v, real))
    old = (None, None, None) if past is None else past
    k, v, real = (
        with_halo(x, 1, 2, left, right, None if first is None else first.to(x.dtype)).flatten(0, 1)
        for x, first in zip((k, v, real), old, strict=True)
    )
    distance = distances(size, left, right, v.device)
    near = (distance <= before) & (distance >= -after)
    y = attend(q.flatten(0, 1), k, v, near, distance == 0, real)
    return y.unflatten(0, q.shape[:2]).flatten(1, 2)[:, :length].to(kind)


def _shapes(q: Tensor, k: Tensor, v: Tensor) -> str:
    return f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}"


def _check(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, window: int) -> None:
    if q.dim() != 4 or q.shape != k.shape or q.shape != v.shape or not q.shape[1]:
        shapes = _shapes(q, k, v)
        raise ValueError(f"q, k and v must be alike, [B, T >= 1, H, Dh], got {shapes}")
    if window < 1:
        raise ValueError(f"a window has at least the token itself, got {window}")
    check_mask(mask, v.shape[:2])


def _check_past(past: Past, v: Tensor) -> None:
    """The past must hold tokens like v [B, .., H, Dh]."""
    old = past.values.shape
    if (old[0], *old[2:]) != (v.shape[0], *v.shape[-2:]):
        raise ValueError(f"the past is {list(old)}, but the tokens are {list(v.shape)}")
