"""Blocks of tokens together with their neighbours: what a window reads, without T x T anything."""

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention


def blocks(x: Tensor, dim: int, size: int) -> Tensor:
    """Axis `dim` as two, blocks and the `size` places of each; zeros fill up the last block."""
    missing = -x.shape[dim] % size
    if missing:
        x = pad(x, (0, 0) * (x.dim() - 1 - dim) + (0, missing))
    return x.unflatten(dim, (-1, size))


def with_halo(
    x: Tensor, block: int, place: int, before: int, after: int, first: Tensor | None = None
) -> Tensor:
    """Every block with the last `before` places of the previous one and `after` of the next.

    `block` < `place` are the two axes; a halo must not exceed a block, unless there is only
    one. Beyond the ends there are zeros, or `first` (without the axis `block`) before the start.
    """
    # Slices and cat rather than a strided view of the neighbours: the derivative of unfold costs
    # more than the attention.
    parts, others, size = [x], x.shape[block] - 1, x.shape[place]
    if before:
        if first is None:
            first = torch.zeros_like(x.select(block, 0).narrow(place - 1, 0, before))
        halo = first.unsqueeze(block)
        if others:
            tails = x.narrow(block, 0, others).narrow(place, size - before, before)
            halo = torch.cat([halo, tails], block)
        parts.insert(0, halo)
    if after:
        heads = x.narrow(place, 0, after)
        end = torch.zeros_like(heads.narrow(block, 0, 1))
        parts.append(torch.cat([heads.narrow(block, 1, others), end], block))
    return torch.cat(parts, place) if len(parts) > 1 else x


def distances(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """How far each place of a block is after each place of block and halo, `[size, keys]`."""
    keys = torch.arange(-before, size + after, device=device)
    return torch.arange(size, device=device).unsqueeze(1) - keys


def attend(q: Tensor, k: Tensor, v: Tensor, near: Tensor, same: Tensor, real: Tensor) -> Tensor:
    """Softmax attention of each block, q `[N, Q, H, Dh]`, over k and v `[N, K, H, Dh]`.

    A query reads the keys that are `near` `[Q, K]` and `real` `[N, K]`, and the `same` `[Q, K]`
    token, itself, in any case: kernels differ in what they make of a softmax over nothing.
    """
    seen = near & real.unsqueeze(1) | same
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    y = scaled_dot_product_attention(q, k, v, attn_mask=seen.unsqueeze(1))
    return y.transpose(1, 2)
