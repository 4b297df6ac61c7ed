"""Quantization-aware training: the loss is that of the weights as they will be stored."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import Parameter

from vqa.quantization import best_scales, bits_of, round_to_scales, weight_bits


class QuantizationAwareTraining(Callback):
    """Round the weights for forward and backward pass, and step those that are not rounded.

    That is the straight-through estimator (Bengio et al., arXiv 1308.3432) for weights alone.
    Checkpoints hold weights that are not rounded. Frozen weights are rounded once.

    Args:
        bits: bits of the decoder's weights, as `vqa export --bits`.
        scale_steps: steps after which scales are searched anew.
    """

    def __init__(self, bits: int = 4, scale_steps: int = 50) -> None:
        if scale_steps < 1:
            raise ValueError(f"scale_steps must be 1 or more, not {scale_steps}")
        self.bits = weight_bits(bits)
        self.scale_steps = scale_steps
        self.scales: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.weights:  # of a batch before, whose gradients wait for this one's
            return
        if trainer.global_step % self.scale_steps == 0:
            self.scales = {}
        for name, weight, bits in self._matrices(pl_module):
            if weight.requires_grad:
                self.weights[name] = weight.detach().clone()
            elif name in self.scales:
                continue
            self._round(name, weight, bits)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        for name, weight, _ in self._matrices(pl_module):
            if name in self.weights:
                weight.data.copy_(self.weights.pop(name))

    @torch.no_grad()
    def _round(self, name: str, weight: Parameter, bits: int) -> None:
        if name not in self.scales:
            self.scales[name] = best_scales(weight, bits)
        weight.data.copy_(round_to_scales(weight, self.scales[name], bits))

    def _matrices(self, module: LightningModule) -> list[tuple[str, Parameter, int]]:
        """The weights of the module's model that are stored in few bits."""
        found = []
        network: Any = module.model
        for name, weight in network.named_parameters():
            bits = bits_of(name, weight, self.bits)
            if bits is not None:
                found.append((name, weight, bits))
        return found
