"""Causal Latte over a whole sequence, segment by segment and chunk by chunk: linear in T.

Causal Latte is a gated linear recurrence, U_t = e^(z[t-1] - z[t]) U_{t-1} + e^(k_t - z_t) v_t
with z the running logsumexp of k, so chunked scans apply (Dao and Gu, Mamba-2, arXiv 2405.21060;
Yang et al., gated linear attention, arXiv 2312.06635). A segment, some chunks small enough for
the processor's cache, takes the fast form where its logits allow (`gentle`), else the form that
bears any logits (`steep`). Backward recomputes a segment from the state before it: what is kept
is q, k, v and those states, O(T (Lh + Dh)) and nothing of size T Lh Dh. On a GPU values in half
precision go through flash-linear-attention where that is installed (`fla`).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.latte import fla, gentle, steep
from encoders.latte.state import EMPTY, State, accumulator, check, check_state, exact, key_logits

CHUNK = 64
SEGMENT = 1024
"""Tokens of a segment, all rows of the batch together."""


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
    real to read gives zeros. Differentiable once, not twice.
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
    logits, values = key_logits(k, dtype, mask), v
    if mask is not None:  # before the first real token even EMPTY logits have weight
        values = v.masked_fill(~mask[..., None, None], 0)
    with exact(v):
        if fla.available(values) and dtype == torch.float32:
            return fla.scan(q.to(dtype).softmax(-1), logits, values, start)
        y, u, z, *_ = _scan(q.to(dtype), logits, values.to(dtype), *start)
    return y.to(v.dtype), State(u, z)


@torch.library.custom_op("latte::scan", mutates_args=())
def _scan(
    q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Outputs of all tokens, the state after the last, and u and z around each segment.

    One operator to torch.compile, which need not follow the loop nor the choice of a form.
    """
    spans = list(_segments(k))
    y = torch.empty_like(v)
    # Made beforehand: small tensors that stay between large ones that go would split the heap.
    us, zs = u.new_empty(len(spans) + 1, *u.shape), z.new_empty(len(spans) + 1, *z.shape)
    us[0], zs[0] = u, z
    for index, span in enumerate(spans):
        state = State(us[index], zs[index])
        parts = _chunks(q, span, 0), _chunks(k, span, EMPTY), _chunks(v, span, 0)
        r = gentle.reference(parts[1], state.z)
        if r is None:
            out, end = steep.forward(*parts, *state)
        else:
            out, end = gentle.forward(*parts, *state, r)
        us[index + 1], zs[index + 1] = end
        _put(y, span, out)
    return y, us[-1].clone(), zs[-1].clone(), us, zs


@torch.library.custom_op("latte::scan_backward", mutates_args=())
def _scan_backward(
    q: Tensor, k: Tensor, v: Tensor, us: Tensor, zs: Tensor, g: Tensor, du: Tensor, dz: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    after = State(du, dz)
    for span, u, z in reversed(list(zip(_segments(k), us[:-1], zs[:-1], strict=True))):
        parts = _chunks(q, span, 0), _chunks(k, span, EMPTY), _chunks(v, span, 0)
        asks, r = _chunks(g, span, 0), gentle.reference(parts[1], z)
        if r is None:
            *grads, after = steep.backward(*parts, u, z, asks, after)
        else:
            *grads, after = gentle.backward(*parts, u, z, r, asks, after)
        for whole, grad in zip((dq, dk, dv), grads, strict=True):
            _put(whole, span, grad)
    return dq, dk, dv, after.u.clone(), after.z.clone()


@_scan.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, ...]:
    count = len(list(_segments(k))) + 1
    states = u.new_empty(count, *u.shape), z.new_empty(count, *z.shape)
    return torch.empty_like(v), u.new_empty(u.shape), z.new_empty(z.shape), *states


@_scan_backward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, us: Tensor, zs: Tensor, g: Tensor, du: Tensor, dz: Tensor
) -> tuple[Tensor, ...]:
    return *(torch.empty_like(x) for x in (q, k, v)), du.new_empty(du.shape), dz.new_empty(dz.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:3], *output[3:])


def _differentiate(ctx: Any, g: Tensor, du: Tensor, dz: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
    with exact(g):
        grads: tuple[Tensor, ...] = _scan_backward(*ctx.saved_tensors, g, du, dz)
    return grads


_scan.register_autograd(_differentiate, setup_context=_keep)


def _segments(k: Tensor) -> Iterator[slice]:
    """Stretches of whole chunks, about SEGMENT tokens over all rows; the last may end anywhere."""
    batch, length = k.shape[:2]
    size = max(CHUNK, SEGMENT // batch // CHUNK * CHUNK)
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _chunks(x: Tensor, span: slice, fill: float) -> Tensor:
    """Of [B, T, H, W] the tokens of `span` as a view [n, B, H, C, W], filled up to whole chunks."""
    x = x[:, span]
    length = x.shape[1]
    size = min(CHUNK, 1 << (length - 1).bit_length())  # a power of two, also for short T
    if length % size:
        x = F.pad(x, (0, 0, 0, 0, 0, -length % size), value=fill)
    return x.unflatten(1, (-1, size)).permute(1, 0, 3, 2, 4)


def _put(whole: Tensor, span: slice, chunks: Tensor) -> None:
    """Writes [n, B, H, C, W] to the tokens of `span` of [B, T, H, W]."""
    tokens = chunks.permute(1, 0, 3, 2, 4)
    if (span.stop - span.start) % chunks.shape[-2]:
        tokens = tokens.flatten(1, 2)[:, : span.stop - span.start]
        whole[:, span] = tokens
    else:
        whole[:, span].unflatten(1, tokens.shape[1:3]).copy_(tokens)
