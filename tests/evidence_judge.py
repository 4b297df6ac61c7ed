"""Evidence as its definition reads: every layer's attention as a T x T matrix of weights.

Each weight is multiplied by a one that is differentiated: the derivative is weight times the
derivative with respect to the weight.
"""

from typing import Any

import torch
from torch import Tensor

from encoders.latte import naive
from encoders.position import count_places, next_place, rotate
from encoders.stack import Stack
from encoders.vision.sheet import ImageTokens


def weights(mixer: Any, x: Tensor, mask: Tensor, places: Tensor, causal: bool) -> Tensor:
    """A[t, s] of a mixer's last token on its x `[B, T, D]`, `[B, H, T, T]`; bidirectional windows
    are not provided for."""
    if not hasattr(mixer, "recurrence"):
        return _attention(mixer, x, mask, places, causal)
    q, k = mixer._logits(mixer._recur(x, mask)[0])
    far = (naive.causal_weights if causal else naive.bidirectional_weights)(q, k, mask)
    if not hasattr(mixer, "gate"):
        return far
    assert causal
    order = mask.cumsum(1)
    away = order[:, :, None] - order[:, None, :]
    near = (away >= 0) & (away < mixer.window) & mask[:, None, :] & _past(x)
    q_near, k_near = mixer._near(x, places)
    local = _softmax(q_near, k_near, q_near.shape[-1] ** -0.5, near)
    gate = mixer._scaled(mixer.gate, x)  # [B, T, H, 1]
    share = torch.cat([gate, q], -1).softmax(-1)[..., 0].transpose(1, 2).unsqueeze(-1)
    return share * local + (1 - share) * far


def _attention(mixer: Any, x: Tensor, mask: Tensor, places: Tensor, causal: bool) -> Tensor:
    q, k = (mixer._heads(layer(x)) for layer in (mixer.query, mixer.key))
    if mixer.rotary:
        q, k = rotate(q, places), rotate(k, places)
    seen = mask[:, None, :].expand(-1, x.shape[1], -1)
    return _softmax(q, k, mixer.scale, seen & _past(x) if causal else seen)


def _softmax(q: Tensor, k: Tensor, scale: float, seen: Tensor) -> Tensor:
    logits = scale * torch.einsum("bthd,bshd->bhts", q, k)
    return logits.masked_fill(~seen[:, None], -torch.inf).softmax(-1).nan_to_num()


def _past(x: Tensor) -> Tensor:
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()


def mix(mixer: Any, x: Tensor, places: Tensor, read: Tensor) -> Tensor:
    """The mixer's output for these weights, VAPOR's turns included."""
    v = mixer.value(x).unflatten(-1, (mixer.heads, -1))
    turn = getattr(mixer, "vapor", False)
    v = rotate(v, -places) if turn else v
    y = torch.einsum("bhts,bshd->bthd", read, v)
    out: Tensor = mixer.out((rotate(y, places) if turn else y).flatten(-2))
    return out


def decode(
    decoder: Stack, memory: ImageTokens, words: Tensor, mask: Tensor, scanned: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """What the decoder makes of `words` `[B, W, D]` after `memory`, every layer's ones and weights.

    `scanned`: the memory passes through the layers too.
    """
    count = memory.mask.shape[1]
    start = next_place(memory.places, memory.mask)
    text = count_places(words, mask, start)[..., None].expand(-1, -1, 2)
    places = torch.cat([memory.places, text.to(memory.places.dtype)], 1)
    real = torch.cat([memory.mask, mask], 1)
    ones, read, before = [], [], memory.tokens
    for block in decoder.blocks:
        whole = torch.cat([before, words], 1)
        x = block.norm1(whole)  # type: ignore[operator]
        seen = weights(block.mixer, x, real, places, causal=True)
        one = torch.ones_like(seen).requires_grad_()
        whole = block._finish(whole + mix(block.mixer, x, places, seen * one))  # type: ignore[operator]
        before, words = whole[:, :count] if scanned else before, whole[:, count:]
        ones.append(one)
        read.append(seen.detach())
    return decoder.norm(words), ones, read


def shares(ones: list[Tensor], number: Tensor, count: int, born: list[Tensor]) -> Tensor:
    """How much each token made `number` larger, `[B, T]`; the first `count` tokens only are read,
    the others read. `born`: the ones of what the question had read before it was carried."""
    slopes = [slope[:, :, count:].sum(2) for slope in torch.autograd.grad(number, [*ones, *born])]
    for layer, slope in enumerate(slopes[len(ones) :]):
        slopes[layer][..., : slope.shape[-1]] += slope
    found = sum(slope.clamp(min=0).sum(1) for slope in slopes[: len(ones)])
    assert isinstance(found, Tensor)
    return found
