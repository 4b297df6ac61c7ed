"""Blocks and stacks of token mixers: the same class reads (bidirectional) and writes (causal)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from encoders import mixers
from encoders.grid_conv import GridConv
from encoders.patch_grids import Grids
from encoders.position import count_places

States = list[Any]
"""One mixer state a layer; each is a NamedTuple of tensors with the batch first."""

CHUNK = 8192
"""Tokens, of all rows together, that a block holds the inner activations of without gradients."""


class ValueLayer(NamedTuple):
    """A layer that makes values, `heads` of them side by side."""

    layer: nn.Module
    heads: int


class Block(nn.Module):
    """Pre-norm block: local mixing on patch grids (optional), a token mixer, an MLP; all residual.

    The block knows *a* mixer, not which (`encoders.mixers` states the contract). Without one a
    patch sees its neighbours alone.
    """

    def __init__(
        self,
        dim: int,
        mixer: nn.Module | None,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        grid_conv: bool = False,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        hidden = round(dim * mlp_ratio)
        self.local = GridConv(dim, kernel) if grid_conv else None
        self.norm1: Any = nn.LayerNorm(dim, eps=1e-6) if mixer is not None else None
        self.mixer: Any = mixer
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        grids: Grids | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Bidirectional: `x` `[B, T, D]`, `mask` `[B, T]`; rows start with patch `grids`."""
        if self.local is not None and grids is not None:
            x = self.local(x, grids)
        if self.mixer is not None:
            x = x + self.dropout(self.mixer(self.norm1(x), mask, places, grids))
        return self._finish(x)

    def causal(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        state: Any = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        y, state = self.mixer.causal(self.norm1(x), mask, state, places)
        return self._finish(x + self.dropout(y)), state

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, state = self.mixer.step(self.norm1(x), state)
        return self._finish(x + self.dropout(y)), state

    def prefix(
        self, memory: Tensor, mask: Tensor | None = None, places: Tensor | None = None
    ) -> Any:
        """The state of a reader of `memory` `[B, S, D]`, which itself passes through no block."""
        state = None
        for span in spans(memory):
            part = self.norm1(memory[:, span])
            state = self.mixer.prefix(part, _cut(mask, span), _cut(places, span), state)
        return state

    def relevance(
        self, memory: Tensor, mask: Tensor | None, places: Tensor, state: Any, gradient: Any
    ) -> Tensor:
        out: Tensor = self.mixer.relevance(self.norm1(memory), mask, places, state, gradient)
        return out

    def stream_(self, x: Tensor, mask: Tensor | None, grids: Grids | None, places: Tensor) -> None:
        """`forward` in place and chunk by chunk: first what all tokens tell, then who reads it."""
        if self.local is not None and grids is not None:
            self.local.stream_(x, grids)
        state = None
        if self.mixer is not None and self.mixer.reads:
            state = self.prefix(x, mask, places)
        elif self.mixer is not None:
            x += self.mixer(self.norm1(x), mask, places, grids)
        for span in spans(x):
            part = x[:, span]
            if state is not None:
                part += self.mixer.read(self.norm1(part), state, places[:, span])
            part += self.mlp(self.norm2(part))

    def _finish(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return out


class Stack(nn.Module):
    """`depth` blocks of one mixer, or none, and a final norm, bidirectional or `causal`.

    `latents` (Latte only) counts all heads together; `grid_conv` adds local mixing, `kernel`
    patches wide, on the patch grids that `forward` is told of. `places` `[B, T]` or `[B, T, 2]`
    (row, column) are the tokens' positions, for mixers that turn by them; not given, real tokens
    are counted, onwards from the states.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        causal: bool = False,
        mixer: str | None = "latte",
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        grid_conv: bool = False,
        kernel: int = 3,
        **mixer_words: Any,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.blocks = nn.ModuleList(
            Block(
                dim,
                mixers.create(mixer, dim, heads, **mixer_words) if mixer else None,
                mlp_ratio,
                dropout,
                grid_conv,
                kernel,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    @property
    def state_types(self) -> list[type[Any]]:
        """The class of each layer's state."""
        blocks: Any = self.blocks
        return [block.mixer.state for block in blocks]

    @property
    def value_layers(self) -> list[ValueLayer]:
        """What makes the values of each layer."""
        blocks: Any = self.blocks
        return [ValueLayer(block.mixer.value, block.mixer.heads) for block in blocks]

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        grids: Grids | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """All tokens at once, `x` `[B, T, D]`, causal or not as the stack was made."""
        if self.causal:
            return self.scan(x, mask, None, places)[0]
        for block in self.blocks:
            x = block(x, mask, grids, places)
        out: Tensor = self.norm(x)
        return out

    def stream_(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        grids: Grids | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """`forward` of a bidirectional stack in place, without gradients: returns `x`, overwritten.

        Needs little memory beside `x`, whatever its length, with mixers whose `reads` is true.
        """
        places = count_places(x, mask) if places is None else places
        for block in self.blocks:
            block.stream_(x, mask, grids, places)  # type: ignore[operator]
        for span in spans(x):
            x[:, span] = self.norm(x[:, span])
        return x

    def scan(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        states: States | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, States]:
        """Causal, many tokens: continues from `states` and returns those after the last token."""
        after: States = []
        for block, state in zip(self.blocks, states or [None] * len(self.blocks), strict=True):
            x, state = block.causal(x, mask, state, places)  # type: ignore[operator]
            after.append(state)
        return self.norm(x), after

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """Causal, one token `[B, D]`: constant time with Latte, however much `states` have read."""
        after: States = []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block.step(x, state)  # type: ignore[operator]
            after.append(state)
        return self.norm(x), after

    def prefix(
        self, memory: Tensor, mask: Tensor | None = None, places: Tensor | None = None
    ) -> States:
        """Every layer's state after reading `memory` `[B, S, D]`, which passes through no block."""
        return [block.prefix(memory, mask, places) for block in self.blocks]  # type: ignore[operator]

    @torch.no_grad()
    def relevance(
        self,
        memory: Tensor,
        mask: Tensor,
        places: Tensor,
        states: States,
        gradients: States,
        scanned: bool = False,
    ) -> Tensor:
        """How much each token of `memory` `[B, S, D]` made a number larger: fp32 `[B, S]`, >= 0.

        `states` are those of `prefix`, or where it was `scanned` of `scan`; `gradients` are the
        number's with respect to them. Attention weight times the number's derivative with respect
        to it, summed over all readers, and of that what is positive, over layers and heads.
        """
        found = memory.new_zeros(mask.shape, dtype=torch.float32)
        for block, state, gradient in zip(self.blocks, states, gradients, strict=True):
            of_heads = block.relevance(memory, mask, places, state, gradient)  # type: ignore[operator]
            found += of_heads.float().clamp(min=0).sum(-1)
            if scanned:
                memory = _passed(block, memory, mask, places)
        return found


def spans(x: Tensor) -> Iterator[slice]:
    """Chunks of the tokens of `x` `[B, T, D]`; one, of all, where gradients keep them anyway."""
    length = x.shape[1]
    size = length if torch.is_grad_enabled() else max(1, CHUNK // x.shape[0])
    return (slice(start, start + size) for start in range(0, length, size))


def _passed(block: Any, x: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """The causal outputs of one block, chunk by chunk."""
    parts, state = [], None
    for span in spans(x):
        part, state = block.causal(x[:, span], mask[:, span], state, places[:, span])
        parts.append(part)
    return torch.cat(parts, 1)


def _cut(x: Tensor | None, span: slice) -> Tensor | None:
    return None if x is None else x[:, span]
