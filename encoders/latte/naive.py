"""Latte as its formulas read, in O(T^2): slow, plain, and the judge of every fast path.

W[t, s] = sum_l p(l|t) p(s|l) is written out as a T x T matrix; each row sums to one, because
both factors are probabilities. Layouts and masks as in the package docstring.
"""

import torch
from torch import Tensor


def bidirectional_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """How much token t reads of token s, [B, H, T(t), T(s)], when all tokens are visible."""
    latent = q.softmax(-1)  # p(l|t)
    time = _over_time(k, _real(k, mask)[:, None])[:, 0]  # p(s|l), [B, T(s), H, Lh]
    return torch.einsum("bthl,bshl->bhts", latent, time)


def causal_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """How much token t reads of token s <= t, [B, H, T(t), T(s)].

    Not a triangular mask on the bidirectional weights: p(s|l, t) is normalised anew for each t.
    """
    latent = q.softmax(-1)  # p(l|t)
    past = torch.ones(k.shape[1], k.shape[1], dtype=torch.bool, device=k.device).tril()
    time = _over_time(k, _real(k, mask)[:, None] & past)  # p(s|l, t)
    return torch.einsum("bthl,btshl->bhts", latent, time)


def bidirectional(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """u_t = sum_s W[t, s] v_s over all real s: [B, T, H, Dh]."""
    return torch.einsum("bhts,bshd->bthd", bidirectional_weights(q, k, mask), v)


def causal(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """u_t = sum_{s <= t} W[t, s] v_s over real s: [B, T, H, Dh], from an empty state."""
    return torch.einsum("bhts,bshd->bthd", causal_weights(q, k, mask), v)


def _real(k: Tensor, mask: Tensor | None) -> Tensor:
    """The mask, or all True: bool [B, T]."""
    return torch.ones(k.shape[:2], dtype=torch.bool, device=k.device) if mask is None else mask


def _over_time(k: Tensor, visible: Tensor) -> Tensor:
    """exp(k[s]) / sum over visible s of exp(k[s]): [B, T(t), T(s), H, Lh], 0 where none is.

    visible is bool [B, T(t) or 1, T(s)].
    """
    hidden = ~visible[..., None, None]
    logits = k[:, None].masked_fill(hidden, -torch.inf)
    # The largest visible logit cancels in the fraction; it only keeps exp in range.
    top = logits.amax(2, keepdim=True).clamp(min=torch.finfo(k.dtype).min).detach()
    share = (logits - top).masked_fill(hidden, -torch.inf).exp()
    total = share.sum(2, keepdim=True)
    return share / total.masked_fill(total == 0, 1)
