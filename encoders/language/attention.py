"""Latte-Macchiato as the attention of a pretrained language model (arXiv 2402.17512, v4).

    p(s|t) = p(0|t) p_0(s|t) + sum_l p(l|t) p(s|l, t)

p_0 is the model's own softmax attention, with its pretrained projections, rotary positions and
norms, to the last `window` tokens and the first `sinks`. The latents l attend to all tokens so far
through new query and key logits and the pretrained values. One softmax over the gate logit and the
latents' joins both (shared output projection).
"""

from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from encoders import latte
from encoders.language.cache import layer_state, store_state
from encoders.language.softmax import softmax_attention
from encoders.latte import State
from encoders.local_attention.sink_window import SinkWindowState, sink_window
from encoders.packing import Packing, pack

SHUT = 16.0
"""Gate logit above the latents' logsumexp at the start: latents weigh 1e-7, logits stay equal."""


class MacchiatoState(NamedTuple):
    """State of one layer, of bounded size: latents u `[B, H, Lh, Dh]`, z `[B, H, Lh]` in fp32, and
    sinks and window (encoders/local_attention/sink_window.py)."""

    u: Tensor
    z: Tensor
    sink_keys: Tensor
    sink_values: Tensor
    keys: Tensor
    values: Tensor
    filled: Tensor
    length: Tensor


class MacchiatoAttention(nn.Module):
    """Replace `attention`, a Hugging Face attention layer of the Llama family, in place.

    It takes over the projections (`q_proj`, `k_proj`, `v_proj`, `o_proj`) and, where the model has
    them, the norms of queries and keys (`q_norm`, `k_norm`), under their names. `rotary` makes
    cosines and sines of positions. `latents` are those of one head; their logits are `gain` times
    the projections (see encoders/mixers/latte.py). Distances to the sinks count up to where these
    leave the window, and no further: beyond, positions would be larger than any in training.
    """

    q_proj: Any
    k_proj: Any
    v_proj: Any
    o_proj: Any

    def __init__(
        self,
        attention: Any,
        rotary: nn.Module,
        window: int,
        latents: int,
        sinks: int,
        gain: float = 8.0,
    ) -> None:
        super().__init__()
        self.layer_idx: int = attention.layer_idx
        self.head_dim: int = attention.head_dim
        self.scaling: float = attention.scaling
        self.sliding_window: int | None = _sliding_window(attention)
        self.window, self.sinks, self.latents, self.gain = window, sinks, latents, gain
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, getattr(attention, name))
        self.q_norm = getattr(attention, "q_norm", nn.Identity())
        self.k_norm = getattr(attention, "k_norm", nn.Identity())
        self.rotary = [rotary]  # in a list: it belongs to the model, not to each layer
        dim, heads = attention.q_proj.in_features, attention.q_proj.out_features // self.head_dim
        self.heads = heads
        like = {"device": attention.q_proj.weight.device, "dtype": attention.q_proj.weight.dtype}
        self.latent_query = nn.Linear(dim, heads * latents, **like)
        self.latent_key = nn.Linear(dim, heads * latents, bias=False, **like)
        self.gate = nn.Linear(dim, heads, **like)
        self.reset_latents()

    @torch.no_grad()
    def reset_latents(self) -> None:
        """Initialise the new parameters: random latents, the gate open to the window alone."""
        dim = self.gate.in_features
        for layer in (self.latent_query, self.latent_key):
            nn.init.normal_(layer.weight, std=dim**-0.5 / self.gain)
        nn.init.zeros_(self.latent_query.bias)
        nn.init.zeros_(self.gate.weight)
        start = SHUT + log(self.latents)
        nn.init.constant_(self.gate.bias, start / self.gain)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        cache: Any = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """Attend causally, `hidden_states` `[B, T, D]`; continue and update `cache` if given.

        `attention_mask` bool `[B, past + T]` or `[B, T]`, True = real token, padding anywhere.
        Raises ValueError for a mask of pairs of tokens.
        """
        if attention_mask is not None and attention_mask.dim() != 2:
            raise ValueError(
                "a converted layer reads all earlier tokens: attention_mask marks padding, "
                f"[B, T], got {list(attention_mask.shape)}"
            )
        x, (cos, sin) = hidden_states, position_embeddings
        packing = None
        if attention_mask is not None:
            packing = pack(attention_mask[:, -x.shape[1] :].bool())
            x = packing.take(x)
            if packing.order is not None:
                cos, sin = (packing.take(t.expand(len(x), -1, -1)) for t in (cos, sin))
        state = layer_state(cache, self.layer_idx)
        y, state = self.attend(x, cos, sin, state, packing)
        store_state(cache, self.layer_idx, state, hidden_states.shape[1])
        y = self.o_proj(y.flatten(2))
        return (y if packing is None else packing.restore(y)), None

    def softmax(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The original layer: outputs `[B, T, D]` of its own causal softmax attention."""
        q, k, v = self.project(x)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        sliding = self.sliding_window
        y, _ = softmax_attention(self, q, k, v, None, self.scaling, sliding_window=sliding)
        out: Tensor = self.o_proj(y.flatten(2))
        return out

    def attend(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        state: MacchiatoState | None,
        packing: Packing | None = None,
    ) -> tuple[Tensor, MacchiatoState]:
        """Outputs `[B, T, H, Dh]` of packed tokens `x` `[B, T, D]` and the state after them."""
        q, k, v = self.project(x)
        if state is None:
            start = State.empty(len(x), self.heads, self.latents, self.head_dim, device=x.device)
            state = MacchiatoState(*start, *SinkWindowState.empty(k, self.sinks))
        real = None if packing is None else packing.mask
        near, local = self.attend_window(q, k, v, cos, sin, SinkWindowState(*state[2:]), real)
        query, key = self.latent_logits(x)
        far, latent = self._attend_latents(query, key, v, State(*state[:2]), real)
        return self.join(x, query, near, far), MacchiatoState(*latent, *local)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries `[B, T, H, Dh]`, keys and values `[B, T, Hkv, Dh]`, not rotated."""
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.head_dim))
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.q_norm(q), self.k_norm(k), v

    def latent_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Query and key logits of the latents, `[B, T, H, Lh]` each."""
        query, key = self._logits(self.latent_query, x), self._logits(self.latent_key, x)
        return query.unflatten(-1, (self.heads, -1)), key.unflatten(-1, (self.heads, -1))

    def attend_window(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cos: Tensor,
        sin: Tensor,
        state: SinkWindowState,
        real: Tensor | None = None,
    ) -> tuple[Tensor, SinkWindowState]:
        """Pretrained softmax attention to window and sinks, queries and keys as projected."""
        count = state.length.unsqueeze(1) + torch.arange(q.shape[1], device=q.device)
        # From this count on the sinks stay as far away as where they left the window.
        far = count.clamp(max=self.window + self.sinks - 1)
        q_sink = rotate(q, *self.rotary[0](q, far))
        k_sink = rotate(k[:, : self.sinks], *self.rotary[0](k, count[:, : self.sinks]))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        return sink_window(q, q_sink, k, k_sink, v, state, self.window, real, self.scaling)

    def join(self, x: Tensor, query: Tensor, near: Tensor, far: Tensor) -> Tensor:
        """One softmax over gate and latents, of which the latents' part is Latte's own."""
        gate = self._logits(self.gate, x).float()
        share = (gate - query.float().logsumexp(-1)).sigmoid().unsqueeze(-1).to(near.dtype)
        return torch.lerp(far.to(near.dtype), near, share)

    def _attend_latents(
        self, query: Tensor, key: Tensor, v: Tensor, state: State, real: Tensor | None
    ) -> tuple[Tensor, State]:
        v = v.repeat_interleave(self.heads // v.shape[2], 2)
        if v.shape[1] > 1:
            return latte.causal(query, key, v, real, state)
        mask = None if real is None else real[:, 0]
        y, state = latte.step(query[:, 0], key[:, 0], v[:, 0], state, mask)
        return y.unsqueeze(1), state

    def _logits(self, layer: nn.Linear, x: Tensor) -> Tensor:
        # The layer is called, not its weights used: it may be quantised or have adapters.
        out: Tensor = self.gain * layer(x)
        return out


def _sliding_window(attention: Any) -> int | None:
    """The layer's own window: an attribute where layers differ (Qwen), else the model's."""
    own = getattr(attention, "config", None)
    window: int | None = getattr(attention, "sliding_window", getattr(own, "sliding_window", None))
    return window


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions, cosines and sines `[B, T, Dh]`, to heads `[B, T, H, Dh]`."""
    first, second = x.chunk(2, -1)  # the halves are the pairs, as in Llama
    turned = torch.cat([-second, first], -1)
    return x * cos.unsqueeze(2) + turned * sin.unsqueeze(2)
