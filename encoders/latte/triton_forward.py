"""Triton kernels of causal Latte: the outputs and the state after the last token.

Chunks of CHUNK tokens are summed up side by side, their sums joined in order, then read side by
side: a program carries the state of its chunk through blocks of BLOCK tokens, which read the state
by matrix products and each other pair by pair. A state is a normalised mean u with its logsumexp
z, and every exponent is the difference to a later z: <= 0.

Tokens are [B, T, H, W] and contiguous, states [B * H, (chunks,) Lh, (Dh)] in float32. A program
holds all LH latents and DH channels of one head, padded to LP and DP. Exponentials, z and sums
are float32; DTYPE is that of the operands of matrix products.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from encoders.latte.state import EMPTY, product_dtype

CHUNK = tl.constexpr(64)
BLOCK = tl.constexpr(16)  # the least that a matrix product on tensor cores takes
NOTHING = tl.constexpr(EMPTY)


def options(p: Tensor, v: Tensor) -> dict[str, object]:
    """What every kernel over tokens p [B, T, H, Lh] and v [B, T, H, Dh] takes by name."""
    _, tokens, heads, latents = p.shape
    padded = [max(BLOCK.value, triton.next_power_of_2(width)) for width in (latents, v.shape[-1])]
    half = product_dtype(v.dtype, torch.float32) == torch.bfloat16
    return {
        **{"T": tokens, "H": heads, "LH": latents, "DH": v.shape[-1]},
        **{"LP": padded[0], "DP": padded[1]},
        **{"DTYPE": tl.bfloat16 if half else tl.float32},
        "num_warps": 8 if padded[0] * padded[1] >= 4096 else 4,
    }


def forward(p: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, ...]:
    """y [B, T, H, Dh] in v's dtype, the end state (u, z), and what the derivatives need.

    That is z after each token [B, T, H, Lh] and the state before each chunk
    [B * H, chunks, Lh, Dh] and [B * H, chunks, Lh]. All inputs contiguous; u and z float32.
    """
    batch, tokens, heads, latents = p.shape
    rows, chunks, common = batch * heads, triton.cdiv(tokens, CHUNK.value), options(p, v)
    means, tops = u.new_empty(rows, chunks, *u.shape[2:]), z.new_empty(rows, chunks, latents)
    summaries[rows, chunks](k, v, means, tops, **common)
    entering, before = torch.empty_like(means), torch.empty_like(tops)
    end_u, end_z = torch.empty_like(u), torch.empty_like(z)
    join[rows, triton.cdiv(latents, BLOCK.value)](
        means, tops, u, z, entering, before, end_u, end_z, chunks, **common
    )
    y, every = torch.empty_like(v), z.new_empty(p.shape)
    outputs[rows, chunks](p, k, v, entering, before, y, every, **common)
    return y, end_u, end_z, every, entering, before


@triton.jit
def fall(exponent: tl.tensor) -> tl.tensor:
    """exp of a difference <= 0; rounding and padding cannot make it more than one."""
    return tl.exp(tl.minimum(exponent, 0.0))


@triton.jit
def logaddexp(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    top = tl.maximum(a, b)
    return top + tl.log(1.0 + tl.exp(tl.minimum(a, b) - top))


@triton.jit
def dot(a: tl.tensor, b: tl.tensor, DTYPE: tl.constexpr) -> tl.tensor:
    # Who passes float32 expects float32: TF32 would keep 11 of its 24 bits.
    return tl.dot(a.to(DTYPE), b.to(DTYPE), input_precision="ieee")


@triton.jit
def head_of(x: tl.tensor, T: tl.tensor, H: tl.tensor, W: tl.constexpr) -> tl.tensor:
    """Where the tokens of this program's head begin in x [B, T, H, W]."""
    row = tl.program_id(0).to(tl.int64)
    return x + (row // H * T * H + row % H) * W


@triton.jit
def state_of(x: tl.tensor, chunk: tl.tensor, chunks: tl.tensor, W: tl.constexpr) -> tl.tensor:
    """Where the W numbers of a chunk of this program's head begin in x [B * H, chunks, W]."""
    return x + (tl.program_id(0).to(tl.int64) * chunks + chunk) * W


@triton.jit
def load(
    x: tl.tensor,
    rows: tl.tensor,
    count: tl.tensor,
    stride: tl.tensor,
    columns: tl.tensor,
    W: tl.constexpr,
    FILL: tl.constexpr,
) -> tl.tensor:
    """Rows and columns of x in float32, FILL from row `count` and column W on."""
    inside = (rows < count)[:, None] & (columns < W)[None, :]
    return tl.load(x + rows[:, None] * stride + columns[None, :], inside, FILL).to(tl.float32)


@triton.jit
def store(
    x: tl.tensor,
    values: tl.tensor,
    rows: tl.tensor,
    count: tl.tensor,
    stride: tl.tensor,
    columns: tl.tensor,
    W: tl.constexpr,
) -> None:
    inside = (rows < count)[:, None] & (columns < W)[None, :]
    tl.store(x + rows[:, None] * stride + columns[None, :], values, inside)


@triton.jit
def summaries(
    k: tl.tensor,
    v: tl.tensor,
    u: tl.tensor,
    z: tl.tensor,
    T: tl.tensor,
    H: tl.tensor,
    LH: tl.constexpr,
    DH: tl.constexpr,
    LP: tl.constexpr,
    DP: tl.constexpr,
    DTYPE: tl.constexpr,
) -> None:
    """The state after reading each chunk alone; a program per head and chunk."""
    chunk, chunks = tl.program_id(1).to(tl.int64), tl.num_programs(1)
    rows = chunk * CHUNK + tl.arange(0, CHUNK)
    latents, channels = tl.arange(0, LP), tl.arange(0, DP)
    keys = load(head_of(k, T, H, LH), rows, T, H * LH, latents, LH, NOTHING)
    values = load(head_of(v, T, H, DH), rows, T, H * DH, channels, DH, 0.0)
    top = tl.max(keys, 0)
    total = top + tl.log(tl.sum(tl.exp(keys - top[None, :]), 0))
    mean = dot(tl.trans(fall(keys - total[None, :])), values, DTYPE)
    store(state_of(u, chunk, chunks, LH * DH), mean, latents, LH, DH, channels, DH)
    tl.store(state_of(z, chunk, chunks, LH) + latents, total, latents < LH)


@triton.jit
def join(
    means: tl.tensor,
    tops: tl.tensor,
    u: tl.tensor,
    z: tl.tensor,
    entering: tl.tensor,
    before: tl.tensor,
    end_u: tl.tensor,
    end_z: tl.tensor,
    chunks: tl.tensor,
    T: tl.tensor,
    H: tl.tensor,
    LH: tl.constexpr,
    DH: tl.constexpr,
    LP: tl.constexpr,
    DP: tl.constexpr,
    DTYPE: tl.constexpr,
) -> None:
    """The state before each chunk and at the end; a program per head and BLOCK latents."""
    latents, channels = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, DP)
    mean = load(state_of(u, 0, 1, LH * DH), latents, LH, DH, channels, DH, 0.0)
    total = tl.load(state_of(z, 0, 1, LH) + latents, latents < LH, NOTHING)
    for chunk in range(chunks):
        store(state_of(entering, chunk, chunks, LH * DH), mean, latents, LH, DH, channels, DH)
        tl.store(state_of(before, chunk, chunks, LH) + latents, total, latents < LH)
        new = load(state_of(means, chunk, chunks, LH * DH), latents, LH, DH, channels, DH, 0.0)
        top = tl.load(state_of(tops, chunk, chunks, LH) + latents, latents < LH, NOTHING)
        after = logaddexp(total, top)
        mean = fall(total - after)[:, None] * mean + fall(top - after)[:, None] * new
        total = after
    store(state_of(end_u, 0, 1, LH * DH), mean, latents, LH, DH, channels, DH)
    tl.store(state_of(end_z, 0, 1, LH) + latents, total, latents < LH)


@triton.jit
def outputs(
    p: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    entering: tl.tensor,
    before: tl.tensor,
    y: tl.tensor,
    z: tl.tensor,
    T: tl.tensor,
    H: tl.tensor,
    LH: tl.constexpr,
    DH: tl.constexpr,
    LP: tl.constexpr,
    DP: tl.constexpr,
    DTYPE: tl.constexpr,
) -> None:
    """y and z of the tokens of a chunk; a program per head and chunk."""
    chunk, chunks = tl.program_id(1).to(tl.int64), tl.num_programs(1)
    block, latents, channels = tl.arange(0, BLOCK), tl.arange(0, LP), tl.arange(0, DP)
    real = latents < LH
    p, k, v = head_of(p, T, H, LH), head_of(k, T, H, LH), head_of(v, T, H, DH)
    y, z = head_of(y, T, H, DH), head_of(z, T, H, LH)
    u = load(state_of(entering, chunk, chunks, LH * DH), latents, LH, DH, channels, DH, 0.0)
    start = tl.load(state_of(before, chunk, chunks, LH) + latents, real, NOTHING)
    for first in range(chunk * CHUNK, tl.minimum(chunk * CHUNK + CHUNK, T), BLOCK):
        rows = first + block
        reads = load(p, rows, T, H * LH, latents, LH, 0.0)
        keys = load(k, rows, T, H * LH, latents, LH, NOTHING)
        values = load(v, rows, T, H * DH, channels, DH, 0.0)
        # The block's own running sum first, which rounds less than one over all tokens.
        every, own = keys, tl.full([LP], NOTHING, tl.float32)
        for t in range(tl.minimum(BLOCK, T - first)):
            key = tl.load(k + (first + t) * H * LH + latents, real, NOTHING).to(tl.float32)
            own = logaddexp(own, key)
            every = tl.where((block == t)[:, None], own[None, :], every)
        every, end = logaddexp(start[None, :], every), logaddexp(start, own)
        weights = tl.zeros([BLOCK, BLOCK], tl.float32)
        for s in range(tl.minimum(BLOCK, T - first)):
            key = tl.load(k + (first + s) * H * LH + latents, real, NOTHING).to(tl.float32)
            seen = reads * tl.exp(tl.minimum(key[None, :] - every, 0.0))
            here = (block == s)[None, :] & (block >= s)[:, None]
            weights = tl.where(here, tl.sum(seen, 1)[:, None], weights)
        y_far = dot(reads * fall(start[None, :] - every), u, DTYPE)
        store(y, y_far + dot(weights, values, DTYPE), rows, T, H * DH, channels, DH)
        store(z, every, rows, T, H * LH, latents, LH)
        taken = dot(tl.trans(fall(keys - end[None, :])), values, DTYPE)
        u = fall(start - end)[:, None] * u + taken
        start = end
