"""A segment of the causal scan whose key logits rise gently: one reference serves all of it.

With r >= z at the end of the segment, e = exp(k - r) <= 1 and Z = exp(z - r) are plain numbers in
range as long as z rises by less than RISE, and the scan becomes linear attention with a normaliser
for every latent: y[t] = (p[t] / Z[t]) . (N + sum_s<=t e[s] v[s]), all of it matrix products.

Shapes: q, k [B, H, n, C, Lh] and v [B, H, n, C, Dh] for n chunks of C tokens, in any strides;
u [B, H, Lh, Dh] and z [B, H, Lh] the state before the segment. p = softmax(q).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from encoders.latte.state import State

RISE = 60.0
"""exp(-60) = 9e-27 leaves 1e11 to the smallest normal fp32: sums in it keep their digits."""


def is_gentle(k: Tensor, z: Tensor) -> bool:
    """Whether the running logsumexp rises by less than RISE after the segment's first token."""
    first = torch.logaddexp(z, k[:, :, 0, 0])
    return bool(((_reference(k, z) - first) < RISE).all())


def forward(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, State]:
    """Outputs [B, H, n, C, Dh] and the state after the segment."""
    parts = _parts(q, k, v, u, z)
    y = parts.weights @ parts.v
    y += parts.f @ parts.sums[:, :, :-1]
    return y, parts.end


def backward(
    q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor, g: Tensor, after: State
) -> tuple[Tensor, Tensor, Tensor, State]:
    """Derivatives of q, k, v and of the state before, from g of y and `after` of the end state."""
    parts = _parts(q, k, v, u, z)
    g, e, f, v = g.contiguous(), parts.e, parts.f, parts.v
    inside = (g @ v.transpose(-1, -2)).tril_()  # d weights
    dp = (inside @ e).add_(g @ parts.sums[:, :, :-1].transpose(-1, -2)).div_(parts.norm)
    through_norm = f * dp
    # What later chunks and the end state ask of a chunk: of its sums, and of its normaliser.
    end_norm = parts.totals[:, :, -1]
    asked = _suffix(f.transpose(-1, -2) @ g, after.u / end_norm.unsqueeze(-1))
    end_pull = ((after.u * parts.end.u).sum(-1) - after.z) / end_norm
    pulled = _suffix(through_norm.sum(-2), end_pull)
    dv = (parts.weights.transpose(-1, -2) @ g).add_(e @ asked[:, :, 1:])
    dk = (inside.transpose(-1, -2) @ f).sub_(_ones(k).T @ through_norm)
    dk += v @ asked[:, :, 1:].transpose(-1, -2)
    dk = dk.sub_(pulled[:, :, 1:].unsqueeze(-2)).mul_(e)
    p = f * parts.norm
    dq = p * (dp - (p * dp).sum(-1, keepdim=True))
    scale = (z - parts.reference).exp()
    du = asked[:, :, 0] * scale.unsqueeze(-1)
    dz = (du * u).sum(-1) - pulled[:, :, 0] * scale
    return dq, dk, dv, State(du, dz)


class _Parts(NamedTuple):
    """What both directions need: see the head of the file; f = p / Z, weights = tril(f e^T)."""

    v: Tensor
    e: Tensor
    f: Tensor
    norm: Tensor  # Z, [B, H, n, C, Lh]
    totals: Tensor  # Z before each chunk and after the last, [B, H, n + 1, Lh]
    sums: Tensor  # N likewise, [B, H, n + 1, Lh, Dh]
    weights: Tensor
    reference: Tensor
    end: State


def _parts(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> _Parts:
    reference = _reference(k, z)
    v = v.contiguous()
    e = torch.sub(k, reference[:, :, None, None], out=k.new_empty(k.shape)).exp_()
    scale = (z - reference).exp()
    totals = torch.cat([scale.unsqueeze(2), e.sum(-2)], 2).cumsum(2)
    norm = (_ones(k) @ e).add_(totals[:, :, :-1].unsqueeze(-2))
    f = torch.div(q.softmax(-1), norm, out=torch.empty_like(e))
    sums = v.new_empty(*e.shape[:2], e.shape[2] + 1, e.shape[-1], v.shape[-1])
    torch.mul(u, scale.unsqueeze(-1), out=sums[:, :, 0])
    sums[:, :, 1:] = e.transpose(-1, -2) @ v
    for chunk in range(e.shape[2]):
        sums[:, :, chunk + 1] += sums[:, :, chunk]
    weights = (f @ e.transpose(-1, -2)).tril_()
    total = totals[:, :, -1]
    end = State(sums[:, :, -1] / total.unsqueeze(-1), reference + total.log())
    return _Parts(v, e, f, norm, totals, sums, weights, reference, end)


def _reference(k: Tensor, z: Tensor) -> Tensor:
    """A bound of every logit up to the end of the segment: [B, H, Lh]."""
    return torch.maximum(z, k.amax((2, 3)))


def _ones(k: Tensor) -> Tensor:
    """ones(C, C) on and below the diagonal: a running sum over a chunk as a matrix product."""
    return k.new_ones(k.shape[-2], k.shape[-2]).tril_()


def _suffix(parts: Tensor, end: Tensor) -> Tensor:
    """Sums from the right along n, `end` included: before each chunk and after the last."""
    sums = parts.new_empty(*parts.shape[:2], parts.shape[2] + 1, *parts.shape[3:])
    sums[:, :, -1] = end
    for chunk in reversed(range(parts.shape[2])):
        torch.add(sums[:, :, chunk + 1], parts[:, :, chunk], out=sums[:, :, chunk])
    return sums
