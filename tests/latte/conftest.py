"""Random inputs and gradients for the tests of the Latte operators."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

Draw = Callable[..., tuple[Tensor, Tensor, Tensor]]


@pytest.fixture
def draw() -> Draw:
    """`draw(tokens, scale=1, batch=2)`: q, k [B, T, 2, 4] and v [B, T, 2, 6] in float64."""
    generator = torch.Generator().manual_seed(0)

    def tensors(tokens: int, scale: float = 1.0, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (
            torch.randn(batch, tokens, 2, width, dtype=torch.float64, generator=generator)
            for width in (4, 4, 6)
        )
        return q, scale * k, v

    return tensors


@pytest.fixture
def gradients() -> Callable[..., tuple[Tensor, ...]]:
    """`gradients(f, inputs)`: output of f and the gradients of a fixed random combination of it."""

    def run(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
        y = function(*leaves)
        generator = torch.Generator().manual_seed(1)
        cotangent = torch.randn(y.shape, dtype=torch.float64, generator=generator).to(y.dtype)
        return y.detach(), *torch.autograd.grad(y, leaves, cotangent)

    return run
