"""Latte-Macchiato as a layer: near tokens exactly, all through latents (arXiv 2402.17512, v4).

    p(s|t) = p(0|t) p_0(s|t) + sum_l p(l|t) p(s|l)

with ONE softmax over the gate logit of latent 0 and those of the others. p_0 is softmax attention
in a window. No code of the authors' is public: the equation is the one normalised reading of it.
"""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from encoders import latte, window
from encoders.grid_window import grid_window
from encoders.latte import State
from encoders.mixers import latte as latte_mixer
from encoders.patch_grids import Grids, Tensors, map_grids
from encoders.position import count_places, next_place, rotate
from encoders.tiling import Grid
from encoders.window import Past

OPEN = 4.0
"""Gate logit above the latents' logsumexp where the gate begins open: a share of 98 %."""


class Memory(NamedTuple):
    """Latte's memory and the keys and values `[B, window - 1, H, Dh]` of the last tokens."""

    u: Tensor
    z: Tensor
    next: Tensor
    recent: Tensor
    keys: Tensor
    values: Tensor
    filled: Tensor


class Mixer(latte_mixer.Mixer):
    """Latte whose first latent is softmax attention to near tokens.

    Near are the last `window` tokens in causal use, the tokens less than `window` away in
    bidirectional use, and, of a patch, those at most `radius` rows and columns away. `rotary`
    turns the local queries and keys by their places. `vapor`, `recurrence` and `gain`
    as in `latte`. With `open_gate` training begins with softmax attention in the window and adds
    latents to it; without it, as in the paper's equation, the window begins with the share of one
    latent of many.
    """

    state = Memory  # type: ignore[assignment]

    def __init__(
        self,
        dim: int,
        heads: int,
        latents: int = 256,
        window: int = 64,
        radius: int = 3,
        rotary: bool = True,
        vapor: bool = False,
        recurrence: str | None = None,
        gain: float = 8.0,
        open_gate: bool = False,
    ) -> None:
        super().__init__(dim, heads, latents, vapor, recurrence, gain)
        if window < 1 or radius < 0:
            raise ValueError(f"window {window} must be at least 1 and radius {radius} at least 0")
        self.window, self.radius, self.rotary = window, radius, rotary
        self.gate = nn.Linear(dim, heads, bias=False)
        self.gate_offset = OPEN + log(latents // heads) if open_gate else 0.0
        self.near_query = nn.Linear(dim, dim, bias=False)
        self.near_key = nn.Linear(dim, dim, bias=False)
        nn.init.normal_(self.gate.weight, std=dim**-0.5 / gain)
        for layer in (self.near_query, self.near_key):
            nn.init.normal_(layer.weight, std=dim**-0.5)  # LeCun normal

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        grids: Grids | None = None,
    ) -> Tensor:
        places = count_places(x, mask) if places is None else places
        h, _ = self._recur(x, mask)
        q, k = self._logits(h)
        v = self._values(x, places)
        near = self._around(*self._near(x, places), v, mask, grids)
        return self._join(self._mix(x, q, near, latte.bidirectional(q, k, v, mask)), places)

    def causal(  # type: ignore[override]
        self,
        x: Tensor,
        mask: Tensor | None = None,
        state: Memory | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Memory]:
        start, recent = (None, None) if state is None else (state.next, state.recent)
        places = count_places(x, mask, start) if places is None else places
        h, recent = self._recur(x, mask, recent)
        q, k = self._logits(h)
        v = self._values(x, places)
        before = None if state is None else State(state.u, state.z)
        past = None if state is None else Past(*state[4:])
        far, end = latte.causal(q, k, v, mask, before)
        near, past = window.causal(*self._near(x, places), v, self.window, mask, past)
        y = self._join(self._mix(x, q, near, far), places)
        return y, Memory(*end, next_place(places, mask, start), recent, *past)

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:  # type: ignore[override]
        y, state = self.causal(x.unsqueeze(1), None, state)
        return y.squeeze(1), state

    def prefix(  # type: ignore[override]
        self,
        x: Tensor,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        state: Memory | None = None,
    ) -> Memory:
        start = None if state is None else state.next
        places = count_places(x, mask, start) if places is None else places
        latents = super().prefix(x, mask, places, state)  # type: ignore[arg-type]
        past = None if state is None else Past(*state[4:])
        _, k = self._near(x, places)
        v = self._values(x, places)
        return Memory(*latents, *window.past_of(k, v, self.window, mask, past))

    reads = False  # a token's neighbours are not in the state

    def relevance(  # type: ignore[override]
        self, x: Tensor, mask: Tensor | None, places: Tensor, state: Memory, gradient: Memory
    ) -> Tensor:
        latent = super().relevance(x, mask, places, state, gradient)  # type: ignore[arg-type]
        number = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])[..., None, None]
        token = (
            window.past_of(number, number, self.window, mask)
            .keys.flatten(2)
            .expand(-1, -1, self.heads)
        )
        near = (state.values * gradient.values).sum(3).masked_fill(~state.filled[..., None], 0)
        return latent.scatter_add(1, token, near.to(latent.dtype))

    def _near(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys of the local attention, [B, T, H, Dh]."""
        q, k = self._heads(self.near_query(x)), self._heads(self.near_key(x))
        return (rotate(q, places), rotate(k, places)) if self.rotary else (q, k)

    def _around(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, grids: Grids | None
    ) -> Tensor:
        """Local attention both ways: on patch grids in two dimensions, else along the sequence."""
        if grids is None:
            return window.bidirectional(q, k, v, self.window, mask)

        def patches(parts: Tensors, grid: Grid) -> Tensor:
            q, k, v, _ = parts
            return grid_window(q, k, v, grid, self.radius)

        def others(parts: Tensors) -> Tensor:
            q, k, v, real = parts
            return window.bidirectional(q, k, v, self.window, real)

        real = v.new_ones(v.shape[:2], dtype=torch.bool) if mask is None else mask
        return map_grids((q, k, v, real), grids, patches, others)

    def _mix(self, x: Tensor, q: Tensor, near: Tensor, far: Tensor) -> Tensor:
        """One softmax over gate and latents, of which the latents' part is Latte's own."""
        logits = q.to(torch.promote_types(q.dtype, torch.float32))
        gate = self._scaled(self.gate, x).squeeze(-1).to(logits.dtype)
        share = (gate + self.gate_offset - logits.logsumexp(-1)).sigmoid()
        return torch.lerp(far, near.to(far.dtype), share.unsqueeze(-1).to(far.dtype))
