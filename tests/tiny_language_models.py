"""Tiny random Hugging Face language models of every family that can be converted, and a judge."""

from copy import deepcopy
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from encoders.language import convert, latte_layers
from encoders.language.attention import MacchiatoAttention
from encoders.latte import naive
from vqa import tokenizer as tokenizers

VOCAB = 67
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "llama-tied": (
        LlamaForCausalLM,
        LlamaConfig,
        {"tie_word_embeddings": True, "attention_bias": True, "rope_parameters": LLAMA3_ROPE},
    ),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": None}),
    "mistral-sliding": (MistralForCausalLM, MistralConfig, {"sliding_window": 12}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 16}),
}


def original(family: str = "llama", **sizes: Any) -> Any:
    """An unconverted model whose weights are large enough that attention is far from uniform."""
    model_class, config_class, own = FAMILIES[family]
    config = config_class(**(SIZES | own | sizes))
    model = model_class(config).eval()
    generator = torch.Generator().manual_seed(len(family))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.1 * drawn if "norm" in name else 0.3 * drawn)
    return model


def converted(family: str = "llama", window: int = 7, **options: Any) -> Any:
    """The same model, converted: gates shut."""
    options = {"latents": 5, "sinks": 2} | options
    sizes = {name: options.pop(name) for name in list(options) if name in SIZES}
    return convert(original(family, **sizes), window, **options)


@torch.no_grad()
def open_gates(model: Any, seed: int = 3) -> Any:
    """`model` with random latents and gates that give them about half of the weight."""
    generator = torch.Generator().manual_seed(seed)
    for layer in latte_layers(model):
        for part in (layer.latent_query, layer.latent_key, layer.gate):
            drawn = torch.randn(part.weight.shape, generator=generator)
            part.weight.copy_(drawn / part.in_features**0.5 / layer.gain)
        layer.latent_query.bias.copy_(torch.randn(layer.latent_query.bias.shape) / layer.gain)
        layer.gate.bias.fill_((log(layer.latents) + 0.5) / layer.gain)
    return model


def ids_of(length: int, batch: int = 2, seed: int = 1) -> Tensor:
    """Random token ids without special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (batch, length), generator=generator)


def naive_copy(model: Any) -> Any:
    """A copy of a converted model whose layers write out their T x T weights."""
    copied = deepcopy(model)
    for layer in latte_layers(copied):
        layer.forward = partial(naive_attention, layer, copied.model.rotary_emb)  # type: ignore[method-assign]
    return copied


def naive_attention(
    layer: MacchiatoAttention,
    rotary: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    **_: Any,
) -> tuple[Tensor, None]:
    """One softmax over gate and latents, of unpadded tokens from the first on."""
    x = hidden_states

    def heads(part: Any, norm: Any = None) -> Tensor:
        y = part(x).unflatten(-1, (-1, layer.head_dim))
        y = y if norm is None else norm(y)
        return y.repeat_interleave(layer.heads // y.shape[2], 2)

    def logits(part: Any) -> Tensor:
        return (layer.gain * part(x)).unflatten(-1, (layer.heads, -1))

    q, k, v = heads(layer.q_proj, layer.q_norm), heads(layer.k_proj, layer.k_norm), None
    v = heads(layer.v_proj)
    near = naive_window(layer, rotary, q, k, v, position_embeddings)
    query, key = logits(layer.latent_query), logits(layer.latent_key)
    gate = torch.cat([logits(layer.gate), query], -1).softmax(-1)[..., :1]
    y = gate * near + (1 - gate) * naive.causal(query, key, v)
    return layer.o_proj(y.flatten(2)), None


def naive_window(
    layer: MacchiatoAttention,
    rotary: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
) -> Tensor:
    """Softmax attention to window and sinks with written-out masks, sinks at a clipped distance."""
    length = q.shape[1]
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    turned_q, turned_k = apply_rotary_pos_emb(q, k, *position_embeddings)
    scores = turned_q @ turned_k.transpose(2, 3)
    place = torch.arange(length)
    clipped = place.clamp(max=layer.window + layer.sinks - 1)
    sink_q, _ = apply_rotary_pos_emb(q, k, *rotary(q, clipped[None]))
    _, sink_k = apply_rotary_pos_emb(q, k, *rotary(k, place[None]))
    distance = place[:, None] - place
    is_sink = (place < layer.sinks).expand(length, length)
    scores = torch.where(is_sink, sink_q @ sink_k.transpose(2, 3), scores) * layer.scaling
    allowed = (distance >= 0) & (is_sink | (distance < layer.window))
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
    return (weights @ v).transpose(1, 2)


def assert_same_gradients(model: Any, expected: Any, tolerance: float = 2e-4) -> None:
    """Gradients of two models are equal up to `tolerance` of the largest of each weight."""
    others = dict(expected.named_parameters())
    for name, weight in model.named_parameters():
        wanted = others[name].grad
        assert (weight.grad is None) == (wanted is None), name
        if wanted is not None:
            error = (weight.grad - wanted).abs().max()
            assert error <= tolerance * wanted.abs().max().clamp(min=1e-2), (name, error)


def save_byte_model(folder: Path) -> Path:
    """Save a tiny converted language model over bytes, gates half open, and its tokenizer."""
    tokenizer = tokenizers.train(iter([]), tokenizers.BYTES)
    sizes = SIZES | {"hidden_size": 24, "head_dim": 6, "vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    model = convert(
        LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=True)), window=16, latents=4
    )
    for layer in latte_layers(model):
        torch.nn.init.zeros_(layer.gate.bias)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
