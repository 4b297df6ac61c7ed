"""Latte as a layer: learned queries and keys over latents (arXiv 2402.17512)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from encoders import latte, recurrences
from encoders.latte import State
from encoders.patch_grids import Grids
from encoders.position import count_places, next_place, rotate

PIECE = 1024
"""Tokens whose weights `relevance` holds at a time."""


class Memory(NamedTuple):
    """What the layer keeps of the tokens it has read, in a size that does not depend on them.

    u `[B, H, Lh, Dh]` and z `[B, H, Lh]` of `latte.State`; the `next` token's place `[B]`, fp32;
    `recent`, the state of the recurrence, `[B, 0]` without one.
    """

    u: Tensor
    z: Tensor
    next: Tensor
    recent: Tensor


class Mixer(nn.Module):
    """Latent attention over `heads` heads and `latents` latents in all, 64 a head as a rule.

    The "latents" are the columns of `query` and `key`: there is no separate array of them.
    Projections have no biases, as in the authors' code.

    Logits are `gain` times the projections, which start `gain` times smaller: the same function,
    but steps of a size that does not depend on the weights, as Adam's, move logits `gain` times
    as far. Without it (1, as in the authors' code) latents take longer to part from each other
    than the keys of softmax attention (docs/log.md).

    `vapor` turns values by their place and outputs back by theirs, so that a token sees how far
    away it reads from, while the weights stay as they are (docs/latte.md).
    `recurrence`, a file of encoders/recurrences, stands between the tokens and their queries and
    keys. Both are options of the paper without public code.
    """

    state = Memory

    def __init__(
        self,
        dim: int,
        heads: int,
        latents: int = 256,
        vapor: bool = False,
        recurrence: str | None = None,
        gain: float = 8.0,
    ) -> None:
        super().__init__()
        if dim % heads or latents % heads:
            raise ValueError(f"dim {dim} and latents {latents} must divide by heads {heads}")
        self.heads = heads
        self.vapor = vapor
        self.gain = gain
        self.query = nn.Linear(dim, latents, bias=False)
        self.key = nn.Linear(dim, latents, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        for layer in (self.value, self.out):
            nn.init.normal_(layer.weight, std=dim**-0.5)  # LeCun normal
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=dim**-0.5 / gain)
        self.recurrence: Any = recurrences.create(recurrence, dim) if recurrence else None

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        grids: Grids | None = None,
    ) -> Tensor:
        places = count_places(x, mask) if places is None else places
        h, _ = self._recur(x, mask)
        y = latte.bidirectional(*self._logits(h), self._values(x, places), mask)
        return self._join(y, places)

    def causal(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        state: Memory | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Memory]:
        start, recent = (None, None) if state is None else (state.next, state.recent)
        places = count_places(x, mask, start) if places is None else places
        h, recent = self._recur(x, mask, recent)
        before = None if state is None else State(state.u, state.z)
        y, end = latte.causal(*self._logits(h), self._values(x, places), mask, before)
        return self._join(y, places), Memory(*end, next_place(places, mask, start), recent)

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        h, recent = self._recur(x.unsqueeze(1), None, state.recent)
        places = state.next.unsqueeze(1)
        q, k = (logits.squeeze(1) for logits in self._logits(h))
        v = self._values(x.unsqueeze(1), places).squeeze(1)
        y, end = latte.step(q, k, v, State(state.u, state.z))
        y = self._join(y.unsqueeze(1), places).squeeze(1)
        return y, Memory(*end, state.next + 1, recent)

    def prefix(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        places: Tensor | None = None,
        state: Memory | None = None,
    ) -> Memory:
        start, recent = (None, None) if state is None else (state.next, state.recent)
        places = count_places(x, mask, start) if places is None else places
        h, recent = self._recur(x, mask, recent)
        end = State.of(self._scaled(self.key, h), self._values(x, places), mask)
        end = end if state is None else State(state.u, state.z).merge(end)
        return Memory(*end, next_place(places, mask, start), recent)

    @property
    def reads(self) -> bool:
        return self.recurrence is None  # which would need the tokens before those that read

    def read(self, x: Tensor, state: Memory, places: Tensor) -> Tensor:
        q = self._scaled(self.query, x)
        return self._join(State(state.u, state.z).read(q), places)

    def relevance(
        self, x: Tensor, mask: Tensor | None, places: Tensor, state: Memory, gradient: Memory
    ) -> Tensor:
        h, _ = self._recur(x, mask)
        total, parts = State(state.u, state.z), []
        for start in range(0, x.shape[1], PIECE):
            span = slice(start, start + PIECE)
            k, v = self._scaled(self.key, h[:, span]), self._values(x[:, span], places[:, span])
            real = None if mask is None else mask[:, span]
            parts.append(latte.relevance(k, v, total, gradient.u, real))
        return torch.cat(parts, 1)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))  # head-major columns: [..., H, D / H]

    def _recur(
        self, x: Tensor, mask: Tensor | None, recent: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What queries and keys are read from, and the state of the recurrence."""
        if self.recurrence is None:
            return x, x.new_empty(x.shape[0], 0)
        h, recent = self.recurrence(x, mask, recent)
        return h, recent

    def _logits(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self._scaled(self.query, h), self._scaled(self.key, h)

    def _scaled(self, layer: nn.Linear, h: Tensor) -> Tensor:
        """`gain` times a projection by head; the weights are far fewer than the tokens."""
        return self._heads(linear(h, self.gain * layer.weight))

    def _values(self, x: Tensor, places: Tensor) -> Tensor:
        v = self._heads(self.value(x))
        return rotate(v, -places) if self.vapor else v

    def _join(self, y: Tensor, places: Tensor) -> Tensor:
        out: Tensor = self.out((rotate(y, places) if self.vapor else y).flatten(-2))
        return out
