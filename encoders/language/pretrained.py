"""A converted language model as the decoder of another network: image memory in, answers out.

The memory's tokens do not pass through the language model's blocks. Each layer reads them as
latent keys and pretrained values of its own, through one linear connector, into the initial state
of its latents (docs/latte.md): a constant size, and about 3 % of the work of a token of text.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from encoders import latte
from encoders.language.attention import MacchiatoAttention, MacchiatoState
from encoders.language.cache import layer_state, store_state
from encoders.language.convert import FAMILIES
from encoders.latte import State
from encoders.local_attention.sink_window import SinkWindowState
from encoders.stack import States, ValueLayer, spans

QUIET = -8.0
"""Logit of the memory's tokens at the start: 1,000 of them weigh a third of a word."""


class PretrainedDecoder(nn.Module):
    """The converted language model of `config` (its config.json as a dict), for memory of width
    `dim`.

    The contract is that of a causal `encoders.stack.Stack`, but tokens have the language model's
    width: `embed` makes them, `logits` reads them. Weights are random until `load`.
    Raises ValueError if `config` is not that of a converted model.
    """

    def __init__(self, config: dict[str, Any], dim: int) -> None:
        super().__init__()
        model = AutoModelForCausalLM.from_config(_config(config))
        self.model: Any = model.model
        self.width: int = model.config.hidden_size
        self.head = None if model.config.tie_word_embeddings else model.lm_head
        self.connector = nn.Linear(dim, self.width)
        # The embedded words' size: a memory of another would be unlike anything the layers know.
        nn.init.normal_(self.connector.weight, std=model.config.initializer_range * dim**-0.5)
        nn.init.zeros_(self.connector.bias)
        # Added to the memory's latent keys: at the start words count, and the memory hardly.
        self.memory_logit = nn.Parameter(torch.full((len(self.model.layers),), QUIET))

    def load(self, folder: str) -> None:
        """Load the weights that `vqa convert` or `save_pretrained` wrote to `folder`.

        Raises ValueError if they are of another shape.
        """
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        try:
            self.model.load_state_dict(model.model.state_dict())
            if self.head is not None:
                self.head.load_state_dict(model.lm_head.state_dict())
        except (RuntimeError, AttributeError) as error:
            reason = str(error).split("\n")[0]
            raise ValueError(f"{folder} does not fit this decoder: {reason}") from None

    def freeze(self, layers: int) -> None:
        """Freeze the embedding of words and the first `layers` layers."""
        self.model.embed_tokens.requires_grad_(False)
        self.model.layers[:layers].requires_grad_(False)

    @property
    def attentions(self) -> list[MacchiatoAttention]:
        """The attention layers, first to last."""
        return [layer.self_attn for layer in self.model.layers]

    @property
    def state_types(self) -> list[type[MacchiatoState]]:
        """The class of each layer's state."""
        return [MacchiatoState] * len(self.model.layers)

    @property
    def value_layers(self) -> list[ValueLayer]:
        """What makes the values of each layer."""
        return [
            ValueLayer(layer.v_proj, layer.v_proj.out_features // layer.head_dim)
            for layer in self.attentions
        ]

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids int `[B, T]` as vectors `[B, T, width]`."""
        out: Tensor = self.model.embed_tokens(tokens)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits `[B, T, vocabulary]` of what `scan` or `step` returns."""
        if self.head is None:
            return linear(hidden, self.model.embed_tokens.weight)
        out: Tensor = self.head(hidden)
        return out

    def prefix(
        self, memory: Tensor, mask: Tensor | None = None, places: Tensor | None = None
    ) -> States:
        """Each layer's state after `memory` `[B, S, dim]`, `mask` bool `[B, S]`.

        Positions are not needed: latents have none, and the memory's tokens carry their own. The
        connector does not learn through layers that are frozen: these then cost no backward pass.
        """
        return [
            self._prefix(layer, attention, memory, mask)
            for layer, attention in zip(self.model.layers, self.attentions, strict=True)
        ]

    def _prefix(
        self, layer: Any, attention: MacchiatoAttention, memory: Tensor, mask: Tensor | None
    ) -> MacchiatoState:
        learns = attention.v_proj.weight.requires_grad
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            sizes = (len(memory), attention.heads, attention.latents, attention.head_dim)
            total = State.empty(*sizes, device=memory.device)
            for span in spans(memory):
                key, value = self._latent(layer, attention, memory[:, span])
                part = State.of(key, value, None if mask is None else mask[:, span])
                total = total.merge(part)
            heads = attention.k_proj.out_features // attention.head_dim
            like = memory.new_empty(len(memory), 0, heads, attention.head_dim)
            empty = SinkWindowState.empty(like, attention.sinks)
            return MacchiatoState(*total, *empty)

    def scan(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        states: States | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, States]:
        """Causal, many tokens `[B, T, width]`: continue from `states`, return those after."""
        cache = DynamicCache()
        count = torch.zeros(len(x), dtype=torch.long, device=x.device)
        if states is not None:
            count = states[0].length
            for index, state in enumerate(states):
                store_state(cache, index, state, 0)
        real = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        # Real tokens are counted: a padded row has the positions that it has alone.
        position = count.unsqueeze(1) + (real.cumsum(1) - 1).clamp(min=0)
        out = self.model(
            inputs_embeds=x,
            attention_mask=mask,
            position_ids=position,
            cache=cache,
            use_cache=True,
        )
        after = [layer_state(cache, index) for index in range(len(self.model.layers))]
        return out.last_hidden_state, after

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """Causal, one token `[B, width]`: constant time, however much `states` have read."""
        y, states = self.scan(x.unsqueeze(1), None, states)
        return y.squeeze(1), states

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
        """Attention weight times its derivative of each token of `memory` `[B, S, dim]`, `[B, S]`.

        As `Stack.relevance`; `gradients` are those with respect to `states`, made by `prefix`.
        """
        found = memory.new_zeros(mask.shape, dtype=torch.float32)
        layers = zip(self.model.layers, self.attentions, states, gradients, strict=True)
        for layer, attention, state, gradient in layers:
            for span in spans(memory):
                key, value = self._latent(layer, attention, memory[:, span])
                total = State(state.u, state.z)
                heads = latte.relevance(key, value, total, gradient.u, mask[:, span])
                found[:, span] += heads.float().clamp(min=0).sum(-1)
        return found

    def _latent(
        self, layer: Any, attention: MacchiatoAttention, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Latent key logits `[B, S, H, Lh]` and values `[B, S, H, Dh]` of one layer."""
        x = layer.input_layernorm(self.connector(memory))
        value = attention.v_proj(x).unflatten(-1, (-1, attention.head_dim))
        value = value.repeat_interleave(attention.heads // value.shape[2], 2)
        key = attention.latent_logits(x)[1]
        return key + self.memory_logit[attention.layer_idx].to(key.dtype), value


class PretrainedEmbedding(nn.Module):
    """Words of a `PretrainedDecoder`: its own embedding and head, under no name of their own."""

    positions = False

    def __init__(self, decoder: PretrainedDecoder) -> None:
        super().__init__()
        self.decoder = [decoder]  # in a list: the weights are the decoder's

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder[0].embed(tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.decoder[0].logits(hidden)


def _config(words: dict[str, Any]) -> Any:
    kind = words.get("model_type", "")
    known = sorted(family.config_class.model_type for family in FAMILIES.values())
    if kind not in known:
        raise ValueError(
            f"a model of type {kind!r} is no converted language model; known types are "
            f"{', '.join(known)}: convert it with `vqa convert`"
        )
    config = AutoConfig.for_model(kind, **{k: v for k, v in words.items() if k != "model_type"})
    if config.latte.get("softmax_layers"):
        raise ValueError("a decoder has no layers of full softmax attention: softmax_layers is set")
    return config
