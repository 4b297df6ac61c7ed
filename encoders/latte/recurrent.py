"""Causal Latte one token at a time: constant time and memory, for writing answers."""

import torch
from torch import Tensor

from encoders.latte.state import EMPTY, State, accumulator, check_mask, check_state, exact


def step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    state: State | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Reads one token into the state and answers what that token sees.

    q, k logits [B, H, Lh]; v [B, H, Dh]; mask bool [B]. Returns y [B, H, Dh] in v's dtype and
    the new state; a masked token leaves the state as it was.
    Raises ValueError if the shapes disagree or the mask is not bool.
    """
    if q.dim() != 3 or q.shape != k.shape or v.dim() != 3 or q.shape[:2] != v.shape[:2]:
        shapes = f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}"
        raise ValueError(f"q and k must be [B, H, Lh] and v [B, H, Dh], got {shapes}")
    check_mask(mask, v.shape[:1])
    dtype = accumulator(q, k, v) if state is None else accumulator(q, k, v, state.u)
    if state is None:
        batch, heads, latents = k.shape
        state = State.empty(batch, heads, latents, v.shape[-1], dtype=dtype, device=v.device)
    check_state(state, k, v)
    with exact(v):
        logits, values, z = k.to(dtype), v.to(dtype), state.z.to(dtype)
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None], EMPTY)
            values = values.masked_fill(~mask[:, None, None], 0)
        end = torch.logaddexp(z, logits)
        keep, take = (z - end).exp(), (logits - end).exp()
        u = keep[..., None] * state.u.to(dtype) + take[..., None] * values[..., None, :]
        y = q.to(dtype).softmax(-1)[..., None, :] @ u
        return y.squeeze(-2).to(v.dtype), State(u, end)
