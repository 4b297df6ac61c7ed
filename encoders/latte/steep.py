"""A segment of the causal scan for any key logits: every exponent is taken of a number <= 0.

Everything rests on z, the running logsumexp, never falling and k[s] <= z[s]: for any position r
with s <= r <= t both exp(k[s] - z[r]) and exp(z[r] - z[t]) are <= 1. So nothing overflows, and
what underflows is negligible. Within a chunk the right half of every block of 2, 4, .. C tokens
reads its left half by matrix products whose exponents refer to z in the middle (one reference for
the whole chunk would end in 0/0 where logits rise steeply); only blocks of BLOCK tokens are taken
pair by pair.

Shapes: q, k [n, B, H, C, Lh] and v [n, B, H, C, Dh] for n chunks of C tokens, C a power of two;
u [B, H, Lh, Dh] and z [B, H, Lh] the state before the segment. p = softmax(q).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from encoders.latte.state import EMPTY, State

BLOCK = 4


def forward(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, State]:
    """Outputs [n, B, H, C, Dh] and the state after the segment."""
    p, k, v = q.softmax(-1).contiguous(), k.contiguous(), v.contiguous()
    every, bounds = _running_logsumexp(k, z)
    before, ends = bounds[:-1], bounds[1:]
    entering, last = _entering(k, v, u, bounds)
    y = (p * (before.unsqueeze(-2) - every).exp()) @ entering  # from earlier chunks
    for size in _sizes(k):  # from the chunk itself
        left, right = _factors(k, every, size)
        lower = (_halves(p, size)[1] * right) @ left.transpose(-1, -2)
        _halves(y, size)[1].add_(lower @ _halves(v, size)[0])
    weights = (_shares(k, every) @ _blocks(p).unsqueeze(-1)).squeeze(-1)
    _blocks(y).add_(weights @ _blocks(v))
    return y, State(last, ends[-1])


def backward(
    q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor, g: Tensor, after: State
) -> tuple[Tensor, Tensor, Tensor, State]:
    """Derivatives of q, k, v and of the state before, from g of y and `after` of the end state.

    Autograd through z would subtract large equal numbers where one token outweighs the rest.
    Here dk[s] = sum_t exp(k[s] - z[t]) p[t] (g[t] . v[s] - dp[t]): the derivative through z is
    the "- dp[t]", subtracted before it is weighted.
    """
    p, k, v, g = q.softmax(-1).contiguous(), k.contiguous(), v.contiguous(), g.contiguous()
    every, bounds = _running_logsumexp(k, z)
    before, ends = bounds[:-1], bounds[1:]
    entering, last = _entering(k, v, u, bounds)
    far = (before.unsqueeze(-2) - every).exp()
    dp = far * (g @ entering.transpose(-1, -2))
    dk, dv = torch.zeros_like(k), torch.zeros_like(v)
    _back_within(p, k, v, every, g, dp, dk, dv)
    # What later chunks and the end state ask of a chunk, summed from the right: for values
    # (Dh columns), and the part of z (one column).
    reads = p * far
    asked = torch.cat([reads.transpose(-1, -2) @ g, (reads * dp).sum(-2).unsqueeze(-1)], -1)
    end = torch.cat([after.u, ((after.u * last).sum(-1) - after.z).unsqueeze(-1)], -1)
    asking, first = _carry(asked.flip(0), (before - ends).exp().flip(0), end)
    later, through_z = asking.flip(0).split([v.shape[-1], 1], -1)
    arrive = (k - ends.unsqueeze(-2)).exp()
    dv += arrive @ later
    dk += arrive * (v @ later.transpose(-1, -2) - through_z.transpose(-1, -2))
    du, start = first.split([v.shape[-1], 1], -1)
    dq = p * (dp - (p * dp).sum(-1, keepdim=True))
    return dq, dk, dv, State(du, (du * u).sum(-1) - start.squeeze(-1))


def _entering(k: Tensor, v: Tensor, u: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised state before each chunk [n, B, H, Lh, Dh], and after the last."""
    before, ends = bounds[:-1], bounds[1:]
    summaries = (k - ends.unsqueeze(-2)).exp().transpose(-1, -2) @ v
    return _carry(summaries, (before - ends).exp(), u)


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
    """z after each token [n, B, H, C, Lh], and around each chunk [1 + n, B, H, Lh].

    In two levels, which rounds far less than one scan over all T: within chunks, then over them.
    """
    local = k.logcumsumexp(-2)
    bounds = torch.cat([start.unsqueeze(0), local[..., -1, :]]).logcumsumexp(0)
    return torch.logaddexp(bounds[:-1].unsqueeze(-2), local), bounds


def _carry(summaries: Tensor, decays: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """u = decay u + summary along n: its value before each chunk [n, B, H, ..] and the last."""
    entering = []
    for summary, decay in zip(summaries, decays.unsqueeze(-1), strict=True):
        entering.append(u)
        u = torch.addcmul(summary, decay, u)
    return torch.stack(entering), u


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
    """A view of the blocks taken pair by pair: [n, B, H, C, W] -> [.., BLOCK, W]."""
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
