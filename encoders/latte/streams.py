"""The two halves of bidirectional Latte, streamed through the processor's cache.

`summarise` folds keys and values into one weighted mean a latent, `read_out` lets queries read
it. Both go over the tokens in pieces of a few hundred, keep nothing of the size of the weights for
backward (which computes them again), and have their derivatives written by hand.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PIECE = 512
"""Tokens of a piece."""

WHOLE = 2048
"""Tokens of a row up to which the formulas as they stand are as fast or faster."""

MODERATE = 40.0
"""Logits below this need no maximum taken off before exp: e^40 = 2e17, of 3e38."""


def summarise(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """u = softmax_time(k)^T @ v and z = logsumexp_time(k): [B, H, Lh, Dh] and [B, H, Lh].

    k logits [B, T, H, Lh] in the dtype of u and z; the products are taken in v's dtype, which is
    k's or narrower.
    """
    if _is_whole(k):
        return average(k, v), k.logsumexp(1)
    u, z = _Summary.apply(k, v)
    return u, z


def average(k: Tensor, v: Tensor) -> Tensor:
    """The u of `summarise` alone: in a short row z would be a quarter of the time."""
    if _is_whole(k):
        weights = k.softmax(1).to(v.dtype).permute(0, 2, 3, 1)
        return (weights @ v.transpose(1, 2)).to(k.dtype)
    return summarise(k, v)[0]


def read_out(q: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
    """softmax_latents(q) @ u: q [B, T, H, Lh], u [B, H, Lh, Dh] -> [B, T, H, Dh] in `dtype`.

    q and u have the same dtype; the products are taken in `dtype`, which is that or narrower.
    """
    if _is_whole(q):
        return (q.softmax(-1).to(dtype).transpose(1, 2) @ u.to(dtype)).transpose(1, 2)
    y: Tensor = _ReadOut.apply(q, u, dtype)
    return y


def _is_whole(logits: Tensor) -> bool:
    # torch.compile fuses the formulas by itself, and cannot follow a choice by values.
    return torch.compiler.is_compiling() or logits.shape[1] <= WHOLE


class _Summary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        batch, length, heads, latents = k.shape
        u = k.new_zeros(batch, heads, latents, v.shape[-1])
        z = k.new_zeros(batch, heads, latents)
        top = None if _moderate(k) else k.amax(1)
        for row, span in _pieces(batch, length):
            piece = k[row, span]
            weights = piece.exp() if top is None else (piece - top[row, None]).exp_()
            z[row] += weights.sum(1)
            u[row] += _product(weights.permute(0, 2, 3, 1), v[row, span].transpose(1, 2))
        u /= z.unsqueeze(-1)
        z.log_()
        if top is not None:
            z += top
        ctx.save_for_backward(k, v, u, z)
        return u, z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, du: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        k, v, u, z = ctx.saved_tensors
        dk, dv = torch.empty_like(k), torch.empty_like(v)
        through_norm = (du * u).sum(-1).sub_(dz).unsqueeze(1)
        for row, span in _pieces(*k.shape[:2]):
            weights = (k[row, span] - z[row].unsqueeze(1)).exp_()
            pull = _product(v[row, span].transpose(1, 2), du[row].transpose(-1, -2))
            dk[row, span] = pull.transpose(1, 2).sub_(through_norm[row]).mul_(weights)
            dv[row, span] = _product(weights.transpose(1, 2), du[row]).transpose(1, 2)
        return dk, dv


class _ReadOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
        batch, length, heads, _ = q.shape
        # Head by head in memory: products write whole rows, a third faster than between heads.
        y = u.new_empty(batch, heads, length, u.shape[-1], dtype=dtype)
        narrow = u.to(dtype)
        for row, span in _pieces(batch, length):
            p = q[row, span].softmax(-1).to(dtype)
            y[row, :, span] = p.transpose(1, 2) @ narrow[row]
        ctx.save_for_backward(q, u)
        return y.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        q, u = ctx.saved_tensors
        dq, du = torch.empty_like(q), torch.zeros_like(u)
        for row, span in _pieces(*q.shape[:2]):
            p = q[row, span].softmax(-1)
            asks = g[row, span].transpose(1, 2)
            du[row] += _product(p.permute(0, 2, 3, 1), asks)
            dp = _product(asks, u[row].transpose(-1, -2)).transpose(1, 2)
            dq[row, span] = (dp - (p * dp).sum(-1, keepdim=True)).mul_(p)
        return dq, du, None


def _moderate(k: Tensor) -> bool:
    """Whether exp(k), summed over any number of tokens, stays far inside the range of fp32."""
    low, high = torch.aminmax(k)
    return bool((low > -MODERATE) & (high < MODERATE))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b in the narrower of their dtypes, as the wider one."""
    narrow, wide = sorted((a.dtype, b.dtype), key=lambda dtype: dtype.itemsize)
    return (a.to(narrow) @ b.to(narrow)).to(wide)


def _pieces(batch: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Row by row, as a slice, the pieces of its tokens."""
    for row in range(batch):
        for start in range(0, length, PIECE):
            yield slice(row, row + 1), slice(start, start + PIECE)
