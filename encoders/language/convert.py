"""Turn the attention of a pretrained Hugging Face causal language model into Latte-Macchiato.

    model = convert(AutoModelForCausalLM.from_pretrained("HuggingFaceTB/SmolLM2-135M"), window=256)

The converted model is a transformers model of its own type (`latte_llama`, ...): `generate`,
`save_pretrained`, `AutoModelForCausalLM.from_pretrained` (after `import encoders.language`), peft
and `Trainer` work on it as on any other. Dolga et al., arXiv 2402.17512, section on extending
pretrained models; attention sinks as in Xiao et al., arXiv 2309.17453.
"""

from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from encoders.language.attention import MacchiatoAttention
from encoders.language.softmax import softmax_attention

MAX_LATENTS = 4096
IMPLEMENTATION = "latte"
"""Name of the mask and attention functions registered with transformers."""


@dataclass(frozen=True)
class LatteOptions:
    """Options of `convert`, kept in the model's config.json under `latte`."""

    window: int = 256
    latents: int = 16
    sinks: int = 4
    gain: float = 8.0
    softmax_layers: tuple[int, ...] = ()

    def check(self, config: Any) -> None:
        """Raise ValueError for options that no model, or not this one, can have."""
        counts = (self.window, self.latents, self.sinks, *self.softmax_layers)
        if not all(isinstance(count, int) for count in counts):
            raise ValueError("window, latents, sinks and the softmax_layers must be whole numbers")
        if self.window < 1 or self.sinks < 0 or not 1 <= self.latents <= MAX_LATENTS:
            raise ValueError(
                f"window must be at least 1, sinks at least 0 and latents 1 to {MAX_LATENTS} a "
                f"head, got window {self.window}, sinks {self.sinks}, latents {self.latents}"
            )
        if not 0 < self.gain < inf:
            raise ValueError(f"gain must be a finite number above 0, got {self.gain}")
        layers = config.num_hidden_layers
        wrong = [index for index in self.softmax_layers if not 0 <= index < layers]
        if wrong:
            raise ValueError(f"softmax_layers {wrong} do not exist: the model has {layers} layers")
        sliding = getattr(config, "sliding_window", None)
        if sliding is not None and self.window > sliding:
            raise ValueError(
                f"window {self.window} is larger than the model's own sliding window, {sliding}"
            )


class LatteConverted:
    """Mixin of converted models: attention replaced as `config.latte` says."""

    _is_stateful = True  # no return to an earlier state: transformers refuses assisted generation
    config: Any

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        config._attn_implementation = IMPLEMENTATION
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        _replace_attention(self)

    def set_attn_implementation(self, attn_implementation: Any, **kwargs: Any) -> None:
        """Raise ValueError for any attention but a converted model's own."""
        if attn_implementation != IMPLEMENTATION:
            raise ValueError(
                f"a converted model has its own attention, {IMPLEMENTATION!r}, and cannot be set "
                f"to {attn_implementation!r}"
            )
        super().set_attn_implementation(attn_implementation, **kwargs)  # type: ignore[misc]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MacchiatoAttention):
            module.reset_latents()
        else:
            super()._init_weights(module)  # type: ignore[misc]


class LatteLlamaConfig(LlamaConfig):
    model_type = "latte_llama"


class LatteMistralConfig(MistralConfig):
    model_type = "latte_mistral"


class LatteQwen2Config(Qwen2Config):
    model_type = "latte_qwen2"


class LatteQwen3Config(Qwen3Config):
    model_type = "latte_qwen3"


class LatteLlamaForCausalLM(LatteConverted, LlamaForCausalLM):
    config_class = LatteLlamaConfig


class LatteMistralForCausalLM(LatteConverted, MistralForCausalLM):
    config_class = LatteMistralConfig


class LatteQwen2ForCausalLM(LatteConverted, Qwen2ForCausalLM):
    config_class = LatteQwen2Config


class LatteQwen3ForCausalLM(LatteConverted, Qwen3ForCausalLM):
    config_class = LatteQwen3Config


FAMILIES: dict[type[PreTrainedModel], type[PreTrainedModel]] = {
    LlamaForCausalLM: LatteLlamaForCausalLM,
    MistralForCausalLM: LatteMistralForCausalLM,
    Qwen2ForCausalLM: LatteQwen2ForCausalLM,
    Qwen3ForCausalLM: LatteQwen3ForCausalLM,
}
"""Model classes that can be converted, and what they become. SmolLM2 is a Llama."""


def convert(
    model: Any,
    window: int = 256,
    latents: int = 16,
    sinks: int = 4,
    gain: float = 8.0,
    softmax_layers: tuple[int, ...] = (),
) -> Any:
    """Convert a causal language model's attention to Latte-Macchiato, in place; return the model.

    Each token attends with the pretrained softmax attention to the last `window` tokens and the
    first `sinks`, and through `latents` per head to all tokens. The gate starts open to the window:
    for inputs of up to window + sinks tokens logits equal the original's. `gain` multiplies the
    logits of the latents, whose weights start that much smaller: larger steps for the same learning
    rate. `softmax_layers` keep full softmax attention (and a cache that grows).
    Raises ValueError for an unknown model family, one already converted, quantised weights, or
    impossible options.
    """
    if isinstance(model, LatteConverted):
        raise ValueError(f"{type(model).__name__} is converted already")
    if type(model) not in FAMILIES:
        known = ", ".join(sorted(family.__name__ for family in FAMILIES))
        raise ValueError(f"cannot convert {type(model).__name__}; known models are: {known}")
    layers = (softmax_layers,) if isinstance(softmax_layers, int) else tuple(softmax_layers)
    options = LatteOptions(window, latents, sinks, gain, layers)
    options.check(model.config)
    if not model.model.layers[0].self_attn.q_proj.weight.dtype.is_floating_point:
        raise ValueError(
            "the model is quantised: convert it without quantisation, save it, and load the "
            "converted folder with a quantization_config"
        )
    converted = FAMILIES[type(model)]
    # Adapters trained on it would name the unconverted model as theirs.
    model.name_or_path = model.config.name_or_path = ""
    model.config.__class__ = converted.config_class
    model.config.latte = {**asdict(options), "softmax_layers": list(options.softmax_layers)}
    model.config.architectures = [converted.__name__]
    model.set_attn_implementation(IMPLEMENTATION)
    model.__class__ = converted
    _replace_attention(model)
    return model


def latte_layers(model: Any) -> list[MacchiatoAttention]:
    """The converted attention layers of `model`, first to last, also behind a peft wrapper."""
    return [module for module in model.modules() if isinstance(module, MacchiatoAttention)]


def _replace_attention(model: Any) -> None:
    options = dict(model.config.latte)
    softmax = options.pop("softmax_layers", ())
    decoder = model.model
    for index, layer in enumerate(decoder.layers):
        if index not in softmax:
            layer.self_attn = MacchiatoAttention(layer.self_attn, decoder.rotary_emb, **options)


def padding_mask(
    *_: Any,
    q_length: int,
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    **__: Any,
) -> Tensor | None:
    """Mask function for transformers: the padding mask `[B, past + T]`, not T x T numbers.

    Raises ValueError for what such a mask cannot say: packed sequences and masks of one's own.
    """
    # When a graph is captured, transformers cannot tell whether rows are packed, and says so.
    captured = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if q_length > 1 and not allow_is_causal_skip and not captured:
        raise ValueError(
            "a converted model reads one sequence a row, each token all before it: several "
            "sequences packed into a row (position_ids that start again) and custom masks "
            "are not supported"
        )
    if attention_mask is None or bool(attention_mask.all()):
        return None
    return attention_mask


AttentionInterface.register(IMPLEMENTATION, softmax_attention)
AttentionMaskInterface.register(IMPLEMENTATION, padding_mask)
for _family in FAMILIES.values():
    AutoConfig.register(_family.config_class.model_type, _family.config_class, exist_ok=True)
    AutoModelForCausalLM.register(_family.config_class, _family, exist_ok=True)
