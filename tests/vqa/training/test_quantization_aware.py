"""Quantization-aware training: rounded weights give the loss, whole ones take the step."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from vqa.quantization import dequantize, quantize, weight_bits
from vqa.training.quantization_aware import QuantizationAwareTraining


class Module(nn.Module):
    """A decoder that learns, one that is frozen, and a bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.ModuleDict({"decoder": nn.Linear(64, 96), "encoder": nn.Linear(64, 96)})
        self.model["encoder"].requires_grad_(False)


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    return dequantize(*quantize(weight, bits))


def run(callback: QuantizationAwareTraining, module: Any, step: int, learn: float) -> torch.Tensor:
    """One training step; returns the decoder's weight that the loss saw."""
    trainer: Any = SimpleNamespace(global_step=step)
    callback.on_train_batch_start(trainer, module, None, step)
    used = module.model["decoder"].weight.detach().clone()
    callback.on_train_batch_start(trainer, module, None, step)  # a second micro-batch
    assert torch.equal(used, module.model["decoder"].weight)
    callback.on_before_optimizer_step(trainer, module, None)
    with torch.no_grad():
        module.model["decoder"].weight += learn
    return used


def test_quantization_aware_training_sees_rounded_weights_and_steps_whole_ones() -> None:
    module, callback = Module(), QuantizationAwareTraining(bits=4, scale_steps=2)
    start = {name: weight.detach().clone() for name, weight in module.model.named_parameters()}
    used = run(callback, module, 0, learn=1e-4)
    assert torch.equal(used, rounded(start["decoder.weight"], 4))
    assert torch.equal(module.model["decoder"].weight, start["decoder.weight"] + 1e-4)
    assert torch.equal(module.model["decoder"].bias, start["decoder.bias"])
    frozen = rounded(start["encoder.weight"], weight_bits(4)[""])
    assert torch.equal(module.model["encoder"].weight, frozen)
    run(callback, module, 1, learn=0.3)
    whole = module.model["decoder"].weight.detach().clone()
    assert torch.equal(run(callback, module, 2, learn=0.0), rounded(whole, 4))
    assert torch.equal(module.model["encoder"].weight, frozen)
