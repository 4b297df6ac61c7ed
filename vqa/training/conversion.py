"""Training of a converted language model: attention transfer, then next tokens.

Attention transfer fits each layer's output to that of its own softmax attention, no gradient
between layers, only the new parameters (Zhang et al., LoLCATs, arXiv 2410.10254). The second stage
trains latents and LoRA adapters, or all weights, on next tokens.
"""

from typing import Any
from warnings import catch_warnings, filterwarnings

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.functional import cross_entropy

from encoders.language import latte_layers
from encoders.language.attention import MacchiatoAttention
from vqa.training.optimizer import adamw_with_cosine

PEFT_MISSING = (
    "LoRA needs peft: pip install 'latte-vqa[language]', or train all weights: --lora-rank 0"
)
LATENT_NAMES = ("latent_query", "latent_key", "gate")


class ConversionStage(LightningModule):
    """What both stages share: trainable weights alone in checkpoints, AdamW with a cosine.

    `model` is built before training; weights that stay as they are do not enter checkpoints.
    """

    strict_loading = False

    def __init__(self, model: Any, lr: float, latent_lr: float, warmup_steps: int) -> None:
        super().__init__()
        self.model = model
        self.lr, self.latent_lr, self.warmup_steps = lr, latent_lr, warmup_steps

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        latents: list[Tensor] = []
        others: list[Tensor] = []
        for name, weight in self.named_parameters():
            if weight.requires_grad:
                (latents if is_latent(name) else others).append(weight)
        groups: list[dict[str, Any]] = [{"params": latents, "lr": self.latent_lr}]
        if others:
            groups.append({"params": others, "lr": self.lr})
        for group in groups:
            group["weight_decay"] = 0.0
        return adamw_with_cosine(self, groups, self.lr, 0.98, self.warmup_steps, 0.05)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if name in trained}


def is_latent(name: str) -> bool:
    """Whether a parameter is one that `convert` added."""
    return name.rsplit(".", 2)[-2] in LATENT_NAMES


class AttentionTransfer(ConversionStage):
    """First stage: each layer's output, given the original's input, approaches the original's."""

    def __init__(self, model: Any, latent_lr: float = 1e-3, warmup_steps: int = 10) -> None:
        super().__init__(model, latent_lr, latent_lr, warmup_steps)
        for name, weight in model.named_parameters():
            weight.requires_grad_(is_latent(name))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        errors = transfer_errors(self.model, *batch)
        loss = torch.stack(errors).mean()
        self.log("train/transfer", loss, prog_bar=True, batch_size=len(batch[0]))
        return loss


def transfer_errors(model: Any, ids: Tensor, labels: Tensor) -> list[Tensor]:
    """Squared error of each converted layer relative to its softmax output, `ids` int `[B, T]`.

    Where only some tokens have `labels`, the places that predict them count as much as all places
    together: a few answers would be lost among the text around them.
    """
    errors: list[Tensor] = []
    asked = labels[:, 1:] >= 0
    places: list[Any] = [slice(None)] if bool(asked.all()) else [slice(None), asked]

    def compare(layer: Any, _: Any, words: dict[str, Any], output: Any) -> tuple[Tensor, None]:
        with torch.no_grad():
            target = layer.softmax(words["hidden_states"], *words["position_embeddings"])
        wrong, power = (x[:, :-1].square().mean(-1) for x in (output[0] - target, target))
        parts = [wrong[place].mean() / power[place].mean() for place in places]
        errors.append(torch.stack(parts).mean())
        return target, None

    hooks = [
        layer.register_forward_hook(compare, with_kwargs=True) for layer in latte_layers(model)
    ]
    try:
        model.model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return errors


class NextTokenTuning(ConversionStage):
    """Second stage: latents and LoRA adapters of rank `lora_rank`, or with 0 all weights, learn
    next tokens."""

    def __init__(
        self,
        model: Any,
        lora_rank: int = 16,
        lr: float = 3e-4,
        latent_lr: float = 1e-3,
        warmup_steps: int = 10,
    ) -> None:
        if lora_rank:
            model = add_adapters(model, lora_rank)
        else:
            model.requires_grad_(True)
        super().__init__(model, lr, latent_lr, warmup_steps)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss = label_loss(self.model, *batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch[0]))
        return loss

    def merged(self) -> Any:
        """The model without adapters, their product added to its weights."""
        return (
            self.model.merge_and_unload() if hasattr(self.model, "merge_and_unload") else self.model
        )


def label_loss(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled tokens, `ids` and `labels` int `[1, T]`.

    Logits are computed where there are labels alone: the vocabulary is a fifth of the work.
    """
    places = (labels[0, 1:] >= 0).nonzero().squeeze(1)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=places).logits
    return cross_entropy(logits[0].float(), labels[0, places + 1])


def add_adapters(model: Any, rank: int) -> Any:
    """Add LoRA adapters to all linear layers of a converted model; its latents stay trainable."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise ValueError(PEFT_MISSING) from None
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, task_type="CAUSAL_LM")
    with catch_warnings():  # peft 0.21 uses a name that transformers 5.24 has deprecated
        filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        adapted = get_peft_model(model, config)
    for module in adapted.modules():
        if isinstance(module, MacchiatoAttention):
            for name in LATENT_NAMES:
                getattr(module, name).requires_grad_(True)
    return adapted
