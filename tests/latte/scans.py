"""What judges the GPU scans: the formulas from any initial state, and a bound on errors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from encoders.latte import State, naive
from encoders.latte.state import EMPTY

Run = Callable[..., tuple[Tensor, ...]]


def judge(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The formulas, with a token before the others for what each latent remembers."""
    apart = ~torch.eye(k.shape[-1], dtype=torch.bool)
    memory = z.unsqueeze(1).expand(-1, k.shape[-1], -1, -1)
    k = torch.cat([memory.masked_fill(apart[:, None], EMPTY), k], 1)
    v = torch.cat([u.transpose(1, 2), v], 1)
    y = naive.causal(torch.cat([torch.zeros_like(memory), q], 1), k, v)
    return y[:, u.shape[2] :], *State.of(k, v)


def flat(function: Run, inputs: Sequence[Tensor]) -> list[Tensor]:
    """All outputs of a scan and the gradients of a fixed random combination of them."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    outputs = function(*leaves)
    generator = torch.Generator().manual_seed(1)
    asked = [torch.randn(y.shape, generator=generator).to(y.dtype) for y in outputs]
    return [*(y.detach() for y in outputs), *torch.autograd.grad(outputs, leaves, asked)]


def agree(got: Sequence[Tensor], expected: Sequence[Tensor], bound: float) -> None:
    """Errors are within the bound, relative to the largest entry."""
    for one, other in zip(got, expected, strict=True):
        scale = float(other.abs().max().clamp(min=1))
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=bound * scale)
