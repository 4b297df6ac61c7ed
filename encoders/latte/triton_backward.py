"""Triton kernels of causal Latte: the derivatives.

With g the derivative by y and s <= t: dp[t] = u[t] g[t] and
dk[s] = sum_t exp(k[s] - z[t]) p[t] (g[t] . v[s] - dp[t]), where "- dp[t]" is the derivative
through z. So dp is completed before dk is begun. What later tokens ask of earlier ones is summed
from the right as a matrix r = sum exp(. - z[t]) p[t] g[t] and a vector w = sum exp(. - z[t]) p[t]
dp[t] per latent. Chunks, blocks and names are those of the forward kernels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from encoders.latte.triton_forward import (
    BLOCK,
    CHUNK,
    NOTHING,
    dot,
    fall,
    head_of,
    load,
    options,
    state_of,
    store,
)


def backward(
    saved: tuple[Tensor, ...], g: Tensor, du: Tensor, dz: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The derivatives by p, k, v and the initial u and z, from those by y and the end state.

    saved: p, k, v, then the initial u and z, then all that `forward` returned but y.
    """
    p, k, v, u, z, end_u, end_z, every, entering, before = saved
    rows, chunks, latents = *before.shape[:2], p.shape[-1]
    common = options(p, v)
    dp, r, w = torch.empty_like(every), torch.empty_like(entering), torch.empty_like(before)
    reads[rows, chunks](p, k, v, every, g, entering, before, dp, r, w, **common)
    later_r, later_w = torch.empty_like(r), torch.empty_like(w)
    first_u, first_z = torch.empty_like(u), torch.empty_like(z)
    join_from_right[rows, triton.cdiv(latents, BLOCK.value)](
        *(r, w, before, u, end_u, end_z, du, dz),
        *(later_r, later_w, first_u, first_z, chunks),
        **common,
    )
    dk, dv = torch.empty_like(k), torch.empty_like(v)
    writes[rows, chunks](p, k, v, every, g, dp, before, later_r, later_w, dk, dv, **common)
    return dp.to(p.dtype), dk, dv, first_u, first_z


@triton.jit
def reads(
    p: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    z: tl.tensor,
    g: tl.tensor,
    entering: tl.tensor,
    before: tl.tensor,
    dp: tl.tensor,
    r: tl.tensor,
    w: tl.tensor,
    T: tl.tensor,
    H: tl.tensor,
    LH: tl.constexpr,
    DH: tl.constexpr,
    LP: tl.constexpr,
    DP: tl.constexpr,
    DTYPE: tl.constexpr,
) -> None:
    """dp, and what each chunk asks of the tokens before it; a program per head and chunk."""
    chunk, chunks = tl.program_id(1).to(tl.int64), tl.num_programs(1)
    block, latents, channels = tl.arange(0, BLOCK), tl.arange(0, LP), tl.arange(0, DP)
    real = latents < LH
    p, k, z = head_of(p, T, H, LH), head_of(k, T, H, LH), head_of(z, T, H, LH)
    v, g, dp = head_of(v, T, H, DH), head_of(g, T, H, DH), head_of(dp, T, H, LH)
    u = load(state_of(entering, chunk, chunks, LH * DH), latents, LH, DH, channels, DH, 0.0)
    border = tl.load(state_of(before, chunk, chunks, LH) + latents, real, NOTHING)
    start = border
    asked, through = tl.zeros([LP, DP], tl.float32), tl.zeros([LP], tl.float32)
    for first in range(chunk * CHUNK, tl.minimum(chunk * CHUNK + CHUNK, T), BLOCK):
        rows = first + block
        shares = load(p, rows, T, H * LH, latents, LH, 0.0)
        keys = load(k, rows, T, H * LH, latents, LH, NOTHING)
        every = load(z, rows, T, H * LH, latents, LH, 0.0)
        values = load(v, rows, T, H * DH, channels, DH, 0.0)
        wanted = load(g, rows, T, H * DH, channels, DH, 0.0)
        pairs = dot(wanted, tl.trans(values), DTYPE)
        pairs = tl.where(block[:, None] >= block[None, :], pairs, 0.0)
        gradient = fall(start[None, :] - every) * dot(wanted, tl.trans(u), DTYPE)
        for s in range(tl.minimum(BLOCK, T - first)):
            key = tl.load(k + (first + s) * H * LH + latents, real, NOTHING).to(tl.float32)
            column = tl.sum(tl.where((block == s)[None, :], pairs, 0.0), 1)
            gradient += column[:, None] * tl.exp(tl.minimum(key[None, :] - every, 0.0))
        store(dp, gradient, rows, T, H * LH, latents, LH)
        far = shares * fall(border[None, :] - every)
        asked += dot(tl.trans(far), wanted, DTYPE)
        through += tl.sum(far * gradient, 0)
        end = tl.load(z + (tl.minimum(first + BLOCK, T) - 1) * H * LH + latents, real, 0.0)
        taken = dot(tl.trans(fall(keys - end[None, :])), values, DTYPE)
        u = fall(start - end)[:, None] * u + taken
        start = end
    store(state_of(r, chunk, chunks, LH * DH), asked, latents, LH, DH, channels, DH)
    tl.store(state_of(w, chunk, chunks, LH) + latents, through, latents < LH)


@triton.jit
def join_from_right(
    r: tl.tensor,
    w: tl.tensor,
    before: tl.tensor,
    u: tl.tensor,
    end_u: tl.tensor,
    end_z: tl.tensor,
    du: tl.tensor,
    dz: tl.tensor,
    later_r: tl.tensor,
    later_w: tl.tensor,
    first_u: tl.tensor,
    first_z: tl.tensor,
    chunks: tl.tensor,
    T: tl.tensor,
    H: tl.tensor,
    LH: tl.constexpr,
    DH: tl.constexpr,
    LP: tl.constexpr,
    DP: tl.constexpr,
    DTYPE: tl.constexpr,
) -> None:
    """What all after a chunk ask of it, and the derivatives by the initial state.

    A program per head and BLOCK latents.
    """
    latents, channels = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, DP)
    real = latents < LH
    asked = load(state_of(du, 0, 1, LH * DH), latents, LH, DH, channels, DH, 0.0)
    last = load(state_of(end_u, 0, 1, LH * DH), latents, LH, DH, channels, DH, 0.0)
    through = tl.sum(asked * last, 1) - tl.load(state_of(dz, 0, 1, LH) + latents, real, 0.0)
    end = tl.load(state_of(end_z, 0, 1, LH) + latents, real, 0.0)
    for passed in range(chunks):
        chunk = chunks - 1 - passed
        store(state_of(later_r, chunk, chunks, LH * DH), asked, latents, LH, DH, channels, DH)
        tl.store(state_of(later_w, chunk, chunks, LH) + latents, through, real)
        start = tl.load(state_of(before, chunk, chunks, LH) + latents, real, 0.0)
        own = load(state_of(r, chunk, chunks, LH * DH), latents, LH, DH, channels, DH, 0.0)
        keep = fall(start - end)
        asked = keep[:, None] * asked + own
        through = keep * through + tl.load(state_of(w, chunk, chunks, LH) + latents, real, 0.0)
        end = start
    initial = load(state_of(u, 0, 1, LH * DH), latents, LH, DH, channels, DH, 0.0)
    store(state_of(first_u, 0, 1, LH * DH), asked, latents, LH, DH, channels, DH)
    by_z = tl.sum(asked * initial, 1) - through
    tl.store(state_of(first_z, 0, 1, LH) + latents, by_z, real)


@triton.jit
def writes(
    p: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    z: tl.tensor,
    g: tl.tensor,
    dp: tl.tensor,
    before: tl.tensor,
    later_r: tl.tensor,
    later_w: tl.tensor,
    dk: tl.tensor,
    dv: tl.tensor,
    T: tl.tensor,
    H: tl.tensor,
    LH: tl.constexpr,
    DH: tl.constexpr,
    LP: tl.constexpr,
    DP: tl.constexpr,
    DTYPE: tl.constexpr,
) -> None:
    """dk and dv of a chunk, its blocks from the right; a program per head and chunk."""
    chunk, chunks = tl.program_id(1).to(tl.int64), tl.num_programs(1)
    block, latents, channels = tl.arange(0, BLOCK), tl.arange(0, LP), tl.arange(0, DP)
    real = latents < LH
    p, k, z = head_of(p, T, H, LH), head_of(k, T, H, LH), head_of(z, T, H, LH)
    v, g, dp = head_of(v, T, H, DH), head_of(g, T, H, DH), head_of(dp, T, H, LH)
    dk, dv = head_of(dk, T, H, LH), head_of(dv, T, H, DH)
    r = load(state_of(later_r, chunk, chunks, LH * DH), latents, LH, DH, channels, DH, 0.0)
    w = tl.load(state_of(later_w, chunk, chunks, LH) + latents, real, 0.0)
    border = tl.load(state_of(before, chunk, chunks, LH) + latents, real, 0.0)
    blocks = tl.cdiv(tl.minimum(CHUNK, T - chunk * CHUNK), BLOCK)
    for passed in range(blocks):
        first = chunk * CHUNK + (blocks - 1 - passed) * BLOCK
        rows = first + block
        shares = load(p, rows, T, H * LH, latents, LH, 0.0)
        keys = load(k, rows, T, H * LH, latents, LH, NOTHING)
        every = load(z, rows, T, H * LH, latents, LH, 0.0)
        gradient = load(dp, rows, T, H * LH, latents, LH, 0.0)
        values = load(v, rows, T, H * DH, channels, DH, 0.0)
        wanted = load(g, rows, T, H * DH, channels, DH, 0.0)
        end = tl.load(z + (tl.minimum(first + BLOCK, T) - 1) * H * LH + latents, real, 0.0)
        arrive = fall(keys - end[None, :])
        by_k = arrive * (dot(values, tl.trans(r), DTYPE) - w[None, :])
        pairs = dot(wanted, tl.trans(values), DTYPE)
        weights = tl.zeros([BLOCK, BLOCK], tl.float32)
        for s in range(tl.minimum(BLOCK, T - first)):
            key = tl.load(k + (first + s) * H * LH + latents, real, NOTHING).to(tl.float32)
            column = tl.sum(tl.where((block == s)[None, :], pairs, 0.0), 1)
            seen = tl.where(
                (block >= s)[:, None], shares * tl.exp(tl.minimum(key[None, :] - every, 0.0)), 0.0
            )
            weights = tl.where((block == s)[None, :], tl.sum(seen, 1)[:, None], weights)
            pull = tl.sum(seen * (column[:, None] - gradient), 0)
            by_k += tl.where((block == s)[:, None], pull[None, :], 0.0)
        by_v = dot(arrive, r, DTYPE) + dot(tl.trans(weights), wanted, DTYPE)
        store(dk, by_k, rows, T, H * LH, latents, LH)
        store(dv, by_v, rows, T, H * DH, channels, DH)
        if passed + 1 < blocks:
            start = tl.load(z + (first - 1) * H * LH + latents, real, 0.0)
        else:
            start = border
        far = shares * fall(start[None, :] - every)
        keep = fall(start - end)
        r = keep[:, None] * r + dot(tl.trans(far), wanted, DTYPE)
        w = keep * w + tl.sum(far * gradient, 0)
