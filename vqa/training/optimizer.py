"""AdamW whose learning rate warms up and then follows a cosine, as every training here uses it."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_with_min_lr_schedule_with_warmup


def decay_groups(
    parameters: Iterable[tuple[str, Tensor]], weight_decay: float, plain: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Parameter groups of trainable `parameters`: weight decay for matrices alone.

    Norms, biases and those whose names end in one of `plain`, such as embeddings, have none.
    """
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, weight in parameters:
        if weight.requires_grad:
            (others if weight.dim() < 2 or name.endswith(plain) else matrices).append(weight)
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def adamw_with_cosine(
    module: LightningModule,
    groups: list[dict[str, Any]],
    lr: float,
    beta2: float,
    warmup_steps: int,
    min_lr_rate: float,
) -> OptimizerLRSchedulerConfig:
    """AdamW of `groups`, to `lr` in `warmup_steps` and down to `min_lr_rate` of it at the end."""
    # Lightning refuses to clip gradients of a fused optimizer in mixed precision.
    fused = "mixed" not in str(module.trainer.precision)
    optimizer = AdamW(groups, lr=lr, betas=(0.9, beta2), fused=fused)
    steps = int(module.trainer.estimated_stepping_batches)
    schedule: LRScheduler = get_cosine_with_min_lr_schedule_with_warmup(
        optimizer, warmup_steps, steps, min_lr_rate=min_lr_rate
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
