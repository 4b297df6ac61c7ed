"""Causal Latte over a whole sequence, chunk by chunk: linear in T, parallel within a chunk.

Causal Latte is a gated linear recurrence, U_t = e^(z[t-1] - z[t]) U_{t-1} + e^(k_t - z_t) v_t
with z the running logsumexp of k, so chunked scans apply (Dao and Gu, Mamba-2, arXiv 2405.21060;
Yang et al., gated linear attention, arXiv 2312.06635). Everything rests on z never falling and
k[s] <= z[s]: for any position r with s <= r <= t both exp(k[s] - z[r]) and exp(z[r] - z[t]) are
<= 1. So nothing overflows, and what underflows is negligible.

Shapes here: n chunks of C tokens; p = softmax(q), k and z [B, H, n, C, Lh], v [B, H, n, C, Dh].
Within a chunk, the right half of every block of 2, 4, .. C tokens reads its left half by matrix
products whose exponents refer to z in the middle (one reference for the whole chunk would end in
0/0 where logits rise steeply); only blocks of BLOCK tokens are taken pair by pair.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from encoders.latte.state import EMPTY, State, accumulator, check, check_state, exact, key_logits

CHUNK = 64
BLOCK = 4


def causal(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    state: State | None = None,
) -> tuple[Tensor, State]:
    """Every token reads the tokens up to itself, and whatever `state` has read before.

    q, k logits [B, T, H, Lh]; v [B, T, H, Dh]; mask bool [B, T], pads anywhere. Returns
    y [B, T, H, Dh] in v's dtype and the state after the last token. A token that has nothing
    real to read gives zeros.
    Paper: section 4, p(s|t) = sum_l p(l|t) p(s|l, t).
    Raises ValueError if the shapes disagree or the mask is not bool.
    """
    check(q, k, v, mask)
    dtype = accumulator(q, k, v) if state is None else accumulator(q, k, v, state.u)
    if state is None:
        batch, _, heads, latents = k.shape
        state = State.empty(batch, heads, latents, v.shape[-1], dtype=dtype, device=v.device)
    check_state(state, k, v)
    start = State(state.u.to(dtype), state.z.to(dtype))
    logits, values = key_logits(k, dtype, mask), v.to(dtype)
    if mask is not None:  # before the first real token even EMPTY logits have weight
        values = values.masked_fill(~mask[..., None, None], 0)
    with exact(v):
        p = _chunks(q.to(dtype).softmax(-1), 0)
        y, u, z = _Scan.apply(p, _chunks(logits, EMPTY), _chunks(values, 0), *start)
    y = y.flatten(2, 3)[:, :, : q.shape[1]].transpose(1, 2)
    return y.to(v.dtype), State(u, z)


def _chunks(x: Tensor, fill: float) -> Tensor:
    """[B, T, H, W] -> [B, H, n, C, W], filled up on the right to whole chunks."""
    length = x.shape[1]
    size = min(CHUNK, 1 << (length - 1).bit_length())  # a power of two, also for short T
    x = F.pad(x.transpose(1, 2), (0, 0, 0, -length % size), value=fill)
    return x.unflatten(2, (-1, size))


class _Scan(torch.autograd.Function):
    """Outputs of all chunks and the state after the last, with their derivatives by hand.

    Autograd through z would subtract large equal numbers where one token outweighs the rest.
    Here dk[s] = sum_t exp(k[s] - z[t]) p[t] (g[t] . v[s] - dp[t]): the derivative through z is
    the "- dp[t]", subtracted before it is weighted.
    """

    @staticmethod
    def forward(
        ctx: Any, p: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        every, bounds = _running_logsumexp(k, z)
        before, ends = bounds[:, :, :-1], bounds[:, :, 1:]
        summaries = (k - ends.unsqueeze(-2)).exp().transpose(-1, -2) @ v
        entering, last = _carry(summaries, (before - ends).exp(), u)
        y = (p * (before.unsqueeze(-2) - every).exp()) @ entering  # from earlier chunks
        for size in _sizes(k):  # from the chunk itself
            left, right = _factors(k, every, size)
            lower = (_halves(p, size)[1] * right) @ left.transpose(-1, -2)
            _halves(y, size)[1].add_(lower @ _halves(v, size)[0])
        weights = (_shares(k, every) @ _blocks(p).unsqueeze(-1)).squeeze(-1)
        _blocks(y).add_(weights @ _blocks(v))
        ctx.save_for_backward(p, k, v, every, bounds, entering, last)
        return y, last, ends[:, :, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, du: Tensor, dz: Tensor) -> tuple[Tensor, ...]:
        with exact(g):
            return _back(ctx.saved_tensors, g, du, dz)


def _back(saved: tuple[Tensor, ...], g: Tensor, du: Tensor, dz: Tensor) -> tuple[Tensor, ...]:
    """The derivatives of p, k, v and of the initial u and z."""
    p, k, v, z, bounds, entering, last = saved
    before, ends = bounds[:, :, :-1], bounds[:, :, 1:]
    far = (before.unsqueeze(-2) - z).exp()
    dp = far * (g @ entering.transpose(-1, -2))
    dk, dv = torch.zeros_like(k), torch.zeros_like(v)
    _back_within(p, k, v, z, g, dp, dk, dv)
    # What later chunks and the end state ask of a chunk, summed from the right: for values
    # (Dh columns), and the part of z (one column).
    reads = p * far
    asked = torch.cat([reads.transpose(-1, -2) @ g, (reads * dp).sum(-2).unsqueeze(-1)], -1)
    end = torch.cat([du, ((du * last).sum(-1) - dz).unsqueeze(-1)], -1)
    asking, first = _carry(asked.flip(2), (before - ends).exp().flip(2), end)
    later, through_z = asking.flip(2).split([v.shape[-1], 1], -1)
    arrive = (k - ends.unsqueeze(-2)).exp()
    dv += arrive @ later
    dk += arrive * (v @ later.transpose(-1, -2) - through_z.transpose(-1, -2))
    du, start = first.split([v.shape[-1], 1], -1)
    return dp, dk, dv, du, (du * entering[:, :, 0]).sum(-1) - start.squeeze(-1)


def _back_within(
    p: Tensor, k: Tensor, v: Tensor, z: Tensor, g: Tensor, dp: Tensor, dk: Tensor, dv: Tensor
) -> None:
    """Adds to dp, dk and dv what tokens ask of tokens of their own chunk; completes dp."""
    levels = []
    for size in _sizes(k):
        left, right = _factors(k, z, size)
        reads, (_, asks) = _halves(p, size)[1] * right, _halves(g, size)
        da = asks @ _halves(v, size)[0].transpose(-1, -2)
        _halves(dp, size)[1].add_(right * (da @ left))
        _halves(dv, size)[0].add_(left @ (reads.transpose(-1, -2) @ asks))
        levels.append((size, left, reads, da))
    shares, reads, asks = _shares(k, z), _blocks(p), _blocks(g)
    da = asks @ _blocks(v).transpose(-1, -2)
    _blocks(dp).add_((da.unsqueeze(-2) @ shares).squeeze(-2))
    _blocks(dv).add_((shares @ reads.unsqueeze(-1)).squeeze(-1).transpose(-1, -2) @ asks)
    # From here on dp is complete.
    for size, left, reads_right, da_lower in levels:
        through_z = (reads_right * _halves(dp, size)[1]).sum(-2, keepdim=True)
        _halves(dk, size)[0].add_(left * (da_lower.transpose(-1, -2) @ reads_right - through_z))
    pull = (da.unsqueeze(-1) - _blocks(dp).unsqueeze(-2)) * reads.unsqueeze(-2)
    _blocks(dk).add_((shares * pull).sum(-3))


def _running_logsumexp(k: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """z after each token [B, H, n, C, Lh], and around each chunk [B, H, 1 + n, Lh].

    In two levels, which rounds far less than one scan over all T: within chunks, then over them.
    """
    local = k.logcumsumexp(-2)
    bounds = torch.cat([start.unsqueeze(2), local[..., -1, :]], 2).logcumsumexp(2)
    return torch.logaddexp(bounds[:, :, :-1].unsqueeze(-2), local), bounds


def _carry(summaries: Tensor, decays: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """u = decay u + summary along n: its value before each chunk [B, H, n, ..] and the last."""
    entering = []
    for summary, decay in zip(summaries.unbind(2), decays.unsqueeze(-1).unbind(2), strict=True):
        entering.append(u)
        u = torch.addcmul(summary, decay, u)
    return torch.stack(entering, 2), u


def _sizes(k: Tensor) -> Iterator[int]:
    """The sizes of the halves read by matrix products: BLOCK, 2 BLOCK, .. C / 2."""
    size = BLOCK
    while size < k.shape[-2]:
        yield size
        size *= 2


def _halves(x: Tensor, size: int) -> tuple[Tensor, ...]:
    """Views of the left and right halves of all blocks of 2 size tokens: [.., size, W] each."""
    return x.unflatten(-2, (-1, 2, size)).unbind(-3)


def _blocks(x: Tensor) -> Tensor:
    """A view of the blocks taken pair by pair: [B, H, n, C, W] -> [.., BLOCK, W]."""
    return x.unflatten(-2, (-1, min(BLOCK, x.shape[-2])))


def _factors(k: Tensor, z: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """exp(k[s] - z[t]) as a product: from left tokens s to the middle, from there to right t."""
    z_left, z_right = _halves(z, size)
    middle = z_left[..., -1:, :]
    return (_halves(k, size)[0] - middle).exp(), (middle - z_right).exp()


def _shares(k: Tensor, z: Tensor) -> Tensor:
    """exp(k[s] - z[t]) for s <= t in a block, else 0: [.., t, s, Lh]."""
    k, z = _blocks(k), _blocks(z)
    future = torch.ones(k.shape[-2], k.shape[-2], dtype=torch.bool, device=k.device).triu(1)
    exponents = k.unsqueeze(-3) - z.unsqueeze(-2)
    return exponents.masked_fill_(future.unsqueeze(-1), EMPTY).exp_()
