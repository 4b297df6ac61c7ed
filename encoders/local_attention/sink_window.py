"""Causal softmax attention to the last `window` tokens and the first few (attention sinks).

Xiao et al., "Efficient Streaming Language Models with Attention Sinks" (arXiv 2309.17453): a
language model whose window loses its first tokens falls apart, for it parks unused attention there.
Grouped-query attention throughout: q `[B, T, H, Dh]`, keys and values `[B, T, Hkv, Dh]`. Padding is
on the right; `encoders.packing` brings any batch into that form.
"""

from math import e, log2
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from encoders.packing import rows

BLOCK = 64
"""Queries of a block: each block holds the keys of its window, so smaller blocks waste less."""

SCORES = 1 << 23
"""Attention scores held at a time when no gradient is needed."""


class SinkWindowState(NamedTuple):
    """Keys and values that later tokens can attend to, of bounded size.

    Sinks `[B, S, Hkv, Dh]`, rotated for `q_sink`; the last tokens `[B, W, Hkv, Dh]`, all while
    there are fewer than window - 1 and window - 1 of them from then on, youngest on the right,
    valid where `filled` `[B, W]` (sinks are not); `length` int64 `[B]`, the number of real tokens
    so far.
    """

    sink_keys: Tensor
    sink_values: Tensor
    keys: Tensor
    values: Tensor
    filled: Tensor
    length: Tensor

    @classmethod
    def empty(cls, k: Tensor, sinks: int) -> "SinkWindowState":
        """The state before the first token, for keys like k `[B, T, Hkv, Dh]`."""
        batch, _, heads, width = k.shape
        first = k.new_zeros(batch, sinks, heads, width)
        last = k.new_zeros(batch, 0, heads, width)
        filled = torch.zeros(batch, 0, dtype=torch.bool, device=k.device)
        count = torch.zeros(batch, dtype=torch.long, device=k.device)
        return cls(first, first, last, last, filled, count)


def sink_window(
    q: Tensor,
    q_sink: Tensor,
    k: Tensor,
    k_sink: Tensor,
    v: Tensor,
    state: SinkWindowState,
    window: int,
    real: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, SinkWindowState]:
    """Attend from each token to the last `window` and to the sinks; continue from `state`.

    `q_sink` are the queries for the sinks and `k_sink` the keys of the call's first tokens as
    sinks: rotary positions of their own keep the distance within what the model was trained on.
    `real` bool `[B, T]` marks tokens that are no padding; all real ones come first. Logits are
    scaled by `scale`, default Dh^-0.5. Returns y `[B, T, H, Dh]` (finite but meaningless at
    padding) and the new state.
    Raises ValueError if padding stands before a real token or shapes disagree.
    """
    alike = q.dim() == k.dim() == 4 and q.shape == q_sink.shape and k.shape == v.shape
    alike = alike and q.shape[:2] == k.shape[:2] and q.shape[3] == k.shape[3]
    if not alike or q.shape[2] % k.shape[2]:
        shapes = f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}"
        raise ValueError(f"q must be [B, T, H, Dh] and k, v alike [B, T, Hkv, Dh], got {shapes}")
    if real is not None and bool((real[:, 1:] & ~real[:, :-1]).any()):
        raise ValueError("padding must stand on the right of all real tokens")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    # Far fewer numbers than the scores, which are of base 2: see `_attend`.
    q, q_sink = q * (scale * log2(e)), q_sink * (scale * log2(e))
    index = state.length.unsqueeze(1) + torch.arange(k.shape[1], device=k.device)
    added = torch.full_like(state.length, k.shape[1]) if real is None else real.sum(1)
    sink_keys, sink_values = _update_sinks(state, k_sink, v, added)
    near = index >= sink_keys.shape[1]
    near = near if real is None else near & real
    sink_scores = _group(q_sink, k).transpose(1, 2).flatten(2, 3) @ sink_keys.permute(0, 2, 3, 1)
    after = torch.arange(sink_keys.shape[1], device=k.device) > index.unsqueeze(-1)
    # [B, Hkv, T, G, S]
    sink_scores = sink_scores.unflatten(2, (k.shape[1], -1)).float()
    sink_scores = sink_scores.masked_fill(after[:, None, :, None], _lowest(sink_scores))
    y = _attend(q, k, v, sink_scores, sink_values, state, near, window)
    keys, values, filled = _shift(state, k, v, near, window, None if real is None else added)
    return y, SinkWindowState(sink_keys, sink_values, keys, values, filled, state.length + added)


def _group(q: Tensor, k: Tensor) -> Tensor:
    """Query heads by the key head that they share: `[B, T, Hkv, G, Dh]`."""
    return q.unflatten(2, (k.shape[2], -1))


def _lowest(x: Tensor) -> float:
    # Finite: a row of padding alone gives a mean instead of NaN.
    return torch.finfo(x.dtype).min / 2


def _update_sinks(
    state: SinkWindowState, k: Tensor, v: Tensor, added: Tensor
) -> tuple[Tensor, Tensor]:
    """Sinks after `added` `[B]` more tokens: the first real tokens of each row."""
    slot = torch.arange(state.sink_keys.shape[1], device=k.device)
    source = slot - state.length.unsqueeze(1)  # where in this call sink number `slot` stands
    new = (source >= 0) & (source < added.unsqueeze(1))
    source = source.clamp(0, k.shape[1] - 1)
    new = new[..., None, None]
    keys = torch.where(new, rows(k, source), state.sink_keys)
    return keys, torch.where(new, rows(v, source), state.sink_values)


def _shift(
    state: SinkWindowState, k: Tensor, v: Tensor, near: Tensor, window: int, added: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The last window - 1 of the old tokens and these, of which `added` `[B]` are real."""
    keys, values, filled = (
        torch.cat([old, new], 1) for old, new in zip(state[2:5], (k, v, near), strict=True)
    )
    before, width = state.keys.shape[1], min(window - 1, keys.shape[1])
    if added is None:
        start = keys.shape[1] - width
        return keys[:, start:], values[:, start:], filled[:, start:]
    place = torch.arange(before - width, before, device=k.device) + added.unsqueeze(1)
    exists, place = place >= 0, place.clamp(min=0)
    return rows(keys, place), rows(values, place), filled.gather(1, place) & exists


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sink_scores: Tensor,
    sink_values: Tensor,
    state: SinkWindowState,
    near: Tensor,
    window: int,
) -> Tensor:
    """Blocks of queries over the keys of their windows and the sinks."""
    length, size = q.shape[1], min(BLOCK, q.shape[1])
    before = state.keys.shape[1]
    blocks = -(-length // size)
    halo = before  # of one block; of several whole ones, but no more than stand before the last
    if blocks > 1:
        halo = min(-(-(window - 1) // size), -(-before // size) + blocks - 1) * size
    fill = blocks * size - length
    keys, values = (
        _windows(state.keys, k, halo, size, fill),
        _windows(state.values, v, halo, size, fill),
    )
    valid = _windows(state.filled, near, halo, size, fill)
    queries = _pad(_group(q, k), fill).unflatten(1, (blocks, size))
    sink_scores = _pad(sink_scores.transpose(1, 2), fill).unflatten(1, (blocks, size))
    distance = torch.arange(size, device=k.device).unsqueeze(1) + halo
    distance = distance - torch.arange(halo + size, device=k.device)
    inside = (distance >= 0) & (distance < window)

    def attend(part: slice) -> Tensor:
        # [B, n, Hkv, C * G, Dh] @ [B, n, Hkv, Dh, K]
        own = queries[:, part].permute(0, 1, 3, 2, 4, 5)
        scores = own.flatten(3, 4) @ keys[:, part].permute(0, 1, 3, 4, 2)
        scores = scores.float().unflatten(3, (size, -1))
        masked = ~(inside & valid[:, part].unsqueeze(2))  # [B, n, C, K]
        # In place: scores are by far the largest tensor, and softmax would hold them twice.
        scores.masked_fill_(masked[:, :, None, :, None], _lowest(scores))
        sink = sink_scores[:, part].transpose(2, 3)  # [B, n, Hkv, C, G, S]
        highest = scores.detach().amax(-1, keepdim=True)
        if sink.shape[-1]:
            highest = torch.maximum(highest, sink.detach().amax(-1, keepdim=True))
        # Not exp: on a CPU it takes ten times as long where it gives 0.
        scores.sub_(highest).exp2_()
        sink = (sink - highest).exp2()
        total = scores.sum(-1, keepdim=True) + sink.sum(-1, keepdim=True)
        y = scores.to(v.dtype).flatten(3, 4) @ values[:, part].transpose(2, 3)
        y = y + sink.to(v.dtype).flatten(3, 4) @ sink_values.transpose(1, 2).unsqueeze(1)
        y = (y / total.flatten(3, 4)).to(v.dtype)
        return y.unflatten(3, (size, -1)).transpose(2, 3)  # [B, n, C, Hkv, G, Dh]

    step = blocks
    if not torch.is_grad_enabled():
        step = max(1, SCORES // (q.shape[0] * q.shape[2] * size * (halo + size)))
    if step >= blocks:
        y = attend(slice(0, blocks))
    else:  # made beforehand: parts that stay between scores that go would split the heap
        y = v.new_empty(queries.shape)
        for start in range(0, blocks, step):
            y[:, start : start + step] = attend(slice(start, start + step))
    return y.flatten(1, 2).flatten(2, 3)[:, :length]


def _pad(x: Tensor, fill: int) -> Tensor:
    """`fill` more places on the right of axis 1."""
    return pad(x, (0, 0) * (x.dim() - 2) + (0, fill)) if fill else x


def _windows(past: Tensor, x: Tensor, halo: int, size: int, fill: int) -> Tensor:
    """Keys of each block with the `halo` before it: `[B, n, halo + size, ...]`.

    Slices and cat rather than a strided view, whose derivative costs more than the attention.
    """
    x = torch.cat([past, x], 1)
    x = pad(x, (0, 0) * (x.dim() - 2) + (halo - past.shape[1], fill))
    length = x.shape[1] - halo
    if length == size:
        return x.unsqueeze(1)
    shifts = range(0, halo + 1, size)
    return torch.cat([x[:, s : s + length].unflatten(1, (-1, size)) for s in shifts], 2)
