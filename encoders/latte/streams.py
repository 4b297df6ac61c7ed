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
"""Tokens of a piece; rows of a batch shorter than half of it go together."""

MODERATE = 40.0
"""Logits below this need no maximum taken off before exp: e^40 = 2e17, of 3e38."""


def summarise(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """u = softmax_time(k)^T @ v and z = logsumexp_time(k): [B, H, Lh, Dh] and [B, H, Lh].

    k logits [B, T, H, Lh] in the dtype of u and z; the products are taken in v's dtype, which is
    k's or narrower.
    """
    u, z = _Summary.apply(k, v)
    return u, z


def read_out(q: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
    """softmax_latents(q) @ u: q [B, T, H, Lh], u [B, H, Lh, Dh] -> [B, T, H, Dh] in `dtype`.

    q and u have the same dtype; the products are taken in `dtype`, which is that or narrower.
    """
    y: Tensor = _ReadOut.apply(q, u, dtype)
    return y


class _Summary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        batch, length, heads, latents = k.shape
        u = k.new_empty(batch, heads, latents, v.shape[-1])
        z = k.new_empty(batch, heads, latents)
        top = None if _moderate(k) else k.amax(1)
        for rows, spans in _pieces(batch, length):
            total, mean = z[rows].zero_(), u[rows].zero_()
            for span in spans:
                piece = k[rows, span]
                weights = piece.exp() if top is None else (piece - top[rows, None]).exp_()
                total += weights.sum(1)
                mean += _product(weights.permute(0, 2, 3, 1), v[rows, span].transpose(1, 2))
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
        for rows, spans in _pieces(*k.shape[:2]):
            for span in spans:
                weights = (k[rows, span] - z[rows].unsqueeze(1)).exp_()
                pull = _product(v[rows, span].transpose(1, 2), du[rows].transpose(-1, -2))
                pull = pull.transpose(1, 2).sub_(through_norm[rows])
                torch.mul(weights, pull, out=dk[rows, span])
                dv[rows, span] = _product(weights.transpose(1, 2), du[rows]).transpose(1, 2)
        return dk, dv


class _ReadOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
        batch, length, heads, _ = q.shape
        # Head by head in memory: products write whole rows, a third faster than between heads.
        y = u.new_empty(batch, heads, length, u.shape[-1], dtype=dtype)
        narrow = u.to(dtype)
        for rows, spans in _pieces(batch, length):
            for span in spans:
                p = q[rows, span].softmax(-1).to(dtype)
                y[rows, :, span] = p.transpose(1, 2) @ narrow[rows]
        ctx.save_for_backward(q, u)
        return y.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        q, u = ctx.saved_tensors
        dq, du = torch.empty_like(q), torch.zeros_like(u)
        for rows, spans in _pieces(*q.shape[:2]):
            for span in spans:
                p = q[rows, span].softmax(-1)
                asks = g[rows, span].transpose(1, 2)
                du[rows] += _product(p.permute(0, 2, 3, 1), asks)
                dp = _product(asks, u[rows].transpose(-1, -2)).transpose(1, 2)
                torch.mul(p, dp - (p * dp).sum(-1, keepdim=True), out=dq[rows, span])
        return dq, du, None


def _moderate(k: Tensor) -> bool:
    """Whether exp(k), summed over any number of tokens, stays far inside the range of fp32."""
    low, high = torch.aminmax(k)
    return bool((low > -MODERATE) & (high < MODERATE))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b in the narrower of their dtypes, as the wider one."""
    narrow, wide = sorted((a.dtype, b.dtype), key=lambda dtype: dtype.itemsize)
    return (a.to(narrow) @ b.to(narrow)).to(wide)


def _pieces(batch: int, length: int) -> Iterator[tuple[slice, list[slice]]]:
    """Rows that go together, and the pieces of their tokens in order."""
    together = max(1, PIECE // length)
    spans = [slice(start, min(start + PIECE, length)) for start in range(0, length, PIECE)]
    return ((slice(row, row + together), spans) for row in range(0, batch, together))
