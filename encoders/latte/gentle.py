"""A segment of the causal scan whose key logits rise gently: one reference serves all of it.

With r >= z at the end of the segment, e = exp(k - r) <= 1 and Z = exp(z - r) are plain numbers in
range as long as z rises by less than RISE, and the scan becomes linear attention with a normaliser
for every latent: y[t] = (p[t] / Z[t]) . (N + sum_s<=t e[s] v[s]), all of it matrix products.

Shapes: q, k [n, B, H, C, Lh] and v [n, B, H, C, Dh] for n chunks of C tokens, in any strides;
u [B, H, Lh, Dh] and z, r [B, H, Lh], the state before the segment. p = softmax(q).
Inside, N = n B H products go together: [N, C, Lh] and so on, chunk by chunk.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from encoders.latte.state import State

RISE = 60.0
"""exp(-60) = 9e-27 leaves 1e11 to the smallest normal fp32: sums in it keep their digits."""


def reference(k: Tensor, z: Tensor) -> Tensor | None:
    """A bound r of all logits up to the end, or None if z rises by RISE after the first token."""
    bound = torch.maximum(z, k.amax((0, 3)))
    first = torch.logaddexp(z, k[0, :, :, 0])
    return bound if bool((bound - first < RISE).all()) else None


def forward(
    q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor, r: Tensor
) -> tuple[Tensor, State]:
    """Outputs [n, B, H, C, Dh] and the state after the segment, given r = `reference(k, z)`."""
    parts = _parts(q, k, v, u, z, r)
    y = (parts.weights @ parts.v).baddbmm_(parts.f, parts.sums[:-1].flatten(0, 2))
    return y.unflatten(0, v.shape[:3]), parts.end


def backward(
    q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor, r: Tensor, g: Tensor, after: State
) -> tuple[Tensor, Tensor, Tensor, State]:
    """Derivatives of q, k, v and of the state before, from g of y and `after` of the end state."""
    parts = _parts(q, k, v, u, z, r)
    e, f, values, g = parts.e, parts.f, parts.v, g.contiguous().flatten(0, 2)
    inside = (g @ values.transpose(1, 2)).tril_()  # d weights
    dp = (inside @ e).baddbmm_(g, parts.sums[:-1].flatten(0, 2).transpose(1, 2)).div_(parts.norm)
    through_norm = f * dp
    # What later chunks and the end state ask of a chunk: of its sums, and of its normaliser.
    end_norm = parts.totals[-1]
    asked = _suffix(f.transpose(1, 2) @ g, after.u / end_norm.unsqueeze(-1))
    end_pull = ((after.u * parts.end.u).sum(-1) - after.z) / end_norm
    pulled = _suffix(through_norm.sum(1), end_pull)
    later = asked[1:].flatten(0, 2)
    dv = (parts.weights.transpose(1, 2) @ g).baddbmm_(e, later)
    dk = (inside.transpose(1, 2) @ f).baddbmm_(values, later.transpose(1, 2))
    dk.baddbmm_(_ones(e).transpose(1, 2), through_norm, alpha=-1)
    dk.sub_(pulled[1:].flatten(0, 2).unsqueeze(1)).mul_(e)
    p = f * parts.norm
    dq = dp.sub_((p * dp).sum(-1, keepdim=True)).mul_(p)
    scale = (z - r).exp()
    du = asked[0] * scale.unsqueeze(-1)
    dz = (du * u).sum(-1) - pulled[0] * scale
    dq, dk, dv = (x.unflatten(0, v.shape[:3]) for x in (dq, dk, dv))
    return dq, dk, dv, State(du, dz)


class _Parts(NamedTuple):
    """What both directions need: see the head of the file; f = p / Z, weights = tril(f e^T)."""

    v: Tensor  # [N, C, Dh]
    e: Tensor  # [N, C, Lh], as f and norm
    f: Tensor
    norm: Tensor  # Z
    totals: Tensor  # Z before each chunk and after the last, [n + 1, B, H, Lh]
    sums: Tensor  # the sums of e v likewise, [n + 1, B, H, Lh, Dh]
    weights: Tensor  # [N, C, C]
    end: State


def _parts(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor, r: Tensor) -> _Parts:
    shape = k.shape[:3]
    values = v.contiguous().flatten(0, 2)
    e = torch.sub(k, r.unsqueeze(-2), out=k.new_empty(k.shape)).exp_().flatten(0, 2)
    scale = (z - r).exp()
    totals = torch.cat([scale.unsqueeze(0), e.sum(1).unflatten(0, shape)]).cumsum(0)
    norm = torch.baddbmm(totals[:-1].flatten(0, 2).unsqueeze(1), _ones(e), e)
    f = q.softmax(-1).contiguous().flatten(0, 2).div_(norm)
    sums = v.new_empty(len(k) + 1, *u.shape)
    torch.mul(u, scale.unsqueeze(-1), out=sums[0])
    torch.bmm(e.transpose(1, 2), values, out=sums[1:].flatten(0, 2))
    for chunk in range(len(k)):
        sums[chunk + 1] += sums[chunk]
    weights = (f @ e.transpose(1, 2)).tril_()
    end = State(sums[-1] / totals[-1].unsqueeze(-1), r + totals[-1].log())
    return _Parts(values, e, f, norm, totals, sums, weights, end)


def _ones(e: Tensor) -> Tensor:
    """Ones on and below the diagonal [N, C, C]: a running sum over a chunk as a product."""
    size = e.shape[1]
    return e.new_ones(size, size).tril_().expand(len(e), -1, -1)


def _suffix(parts: Tensor, end: Tensor) -> Tensor:
    """Sums of parts [N, ..] from the last chunk on, with `end` [B, H, ..]: [n + 1, B, H, ..]."""
    chunks = parts.unflatten(0, (-1, *end.shape[:2]))
    sums = torch.cat([chunks, end.unsqueeze(0)])
    for chunk in reversed(range(len(chunks))):
        sums[chunk] += sums[chunk + 1]
    return sums
