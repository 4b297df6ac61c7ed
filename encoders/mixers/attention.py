"""Softmax attention as a layer: the quadratic peer that Latte is measured against."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from encoders.patch_grids import Grids
from encoders.position import count_places, next_place, rotate


class KeyValues(NamedTuple):
    """Keys and values `[B, H, S, D / H]` of all tokens read so far, which of them are real, and
    the `next` token's place `[B]`."""

    keys: Tensor
    values: Tensor
    mask: Tensor
    next: Tensor


class Mixer(nn.Module):
    """Multi-head softmax attention without biases, through torch's fused kernels.

    `rotary` turns queries and keys by their places. Logits are `gain` times as large as usual and
    the weights of queries and keys start smaller for it, as in the mixer `latte`.
    """

    state = KeyValues

    def __init__(self, dim: int, heads: int, rotary: bool = False, gain: float = 4.0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} must divide by heads {heads}")
        self.heads = heads
        self.rotary = rotary
        self.scale = gain * (dim // heads) ** -0.5
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        for layer in (self.value, self.out):
            nn.init.normal_(layer.weight, std=dim**-0.5)  # LeCun normal
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=(dim * gain) ** -0.5)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))  # [B, T, H, D / H]

    def _turned(self, x: Tensor, places: Tensor) -> Tensor:
        return (rotate(x, places) if self.rotary else x).transpose(1, 2)  # [B, H, T, D / H]

    def _join(self, y: Tensor) -> Tensor:
        joined: Tensor = self.out(y.transpose(1, 2).flatten(-2))
        return joined

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        grids: Grids | None = None,
    ) -> Tensor:
        places = count_places(x, mask) if places is None else places
        state = self.prefix(x, mask, places)
        return self._join(self._over(state, self._queries(x, places), mask is None))

    reads = True

    def read(self, x: Tensor, state: KeyValues, places: Tensor) -> Tensor:
        return self._join(self._over(state, self._queries(x, places), bool(state.mask.all())))

    def _over(self, state: KeyValues, query: Tensor, all_real: bool) -> Tensor:
        if not all_real:
            return self._attend(query, *state[:2], state.mask[:, None, None, :])
        return scaled_dot_product_attention(query, *state[:2], scale=self.scale)

    def causal(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        state: KeyValues | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, KeyValues]:
        if places is None:
            places = count_places(x, mask, None if state is None else state.next)
        total = self.prefix(x, mask, places, state)
        if mask is None and state is None:  # the fused kernel need not read a mask
            query, (keys, values, *_) = self._queries(x, places), total
            y = scaled_dot_product_attention(query, keys, values, is_causal=True, scale=self.scale)
            return self._join(y), total
        length, past = x.shape[1], total.mask.shape[1] - x.shape[1]
        order = torch.ones(length, past + length, dtype=torch.bool, device=x.device).tril(past)
        seen = total.mask[:, None, None, :] & order
        return self._join(self._attend(self._queries(x, places), *total[:2], seen)), total

    def step(self, x: Tensor, state: KeyValues) -> tuple[Tensor, KeyValues]:
        y, state = self.causal(x.unsqueeze(1), None, state)
        return y.squeeze(1), state

    def prefix(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        state: KeyValues | None = None,
    ) -> KeyValues:
        if places is None:
            places = count_places(x, mask, None if state is None else state.next)
        keys = self._turned(self._heads(self.key(x)), places)
        values = self._heads(self.value(x)).transpose(1, 2)
        after = next_place(places, mask)
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        new = KeyValues(keys, values, mask, after)
        return new if state is None else _append(state, new)

    def relevance(
        self,
        x: Tensor,
        mask: Tensor | None,
        places: Tensor,
        state: KeyValues,
        gradient: KeyValues,
    ) -> Tensor:
        found = (state.values * gradient.values).sum(3).transpose(1, 2)
        return found.masked_fill(~state.mask[..., None], 0)

    def _queries(self, x: Tensor, places: Tensor) -> Tensor:
        return self._turned(self._heads(self.query(x)), places)

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        """Attention where `seen`, zeros (not NaN) for a query that may see nothing."""
        blind = ~seen.any(-1, keepdim=True)
        # A softmax over nothing is NaN, also backwards: open, then blank.
        mask = seen | blind
        y = scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=self.scale)
        return y.masked_fill(blind, 0.0)


def _append(old: KeyValues, new: KeyValues) -> KeyValues:
    return KeyValues(
        torch.cat([old.keys, new.keys], dim=2),
        torch.cat([old.values, new.values], dim=2),
        torch.cat([old.mask, new.mask], dim=1),
        torch.maximum(old.next, new.next),
    )
