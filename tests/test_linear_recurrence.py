"""The blocked scan against the recurrence as it is written, token by token."""

import pytest
import torch
from torch import Tensor

from encoders.linear_recurrence import linear_recurrence

LENGTHS = (1, 2, 3, 5, 63, 64, 65, 257)
close = torch.testing.assert_close


def naive(decay: Tensor, drive: Tensor, start: Tensor) -> Tensor:
    h, every = start, []
    for a, b in zip(decay.unbind(1), drive.unbind(1), strict=True):
        h = a * h + b
        every.append(h)
    return torch.stack(every, 1)


def draw(length: int, batch: int = 2, dim: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Decays of all sizes, a fifth of them exactly 0 and a fifth exactly 1; float64."""
    generator = torch.Generator().manual_seed(length)
    shape = (batch, length, dim)
    decay = torch.rand(shape, dtype=torch.float64, generator=generator) * 1.4 - 0.2
    drive = torch.randn(shape, dtype=torch.float64, generator=generator)
    start = torch.randn(batch, dim, dtype=torch.float64, generator=generator)
    return decay.clamp(0, 1), drive, start


def gradients(function, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The output of `function` and the gradients of a fixed random combination of it."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    h = function(*leaves)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(h.shape, dtype=torch.float64, generator=generator)
    return h.detach(), *torch.autograd.grad((h * weights).sum(), leaves)


@pytest.mark.parametrize("length", LENGTHS)
def test_fast_is_naive(length: int) -> None:
    inputs = draw(length)
    got, expected = gradients(linear_recurrence, inputs), gradients(naive, inputs)
    for fast, slow in zip(got, expected, strict=True):
        close(fast, slow, rtol=0, atol=1e-13)


@pytest.mark.parametrize("length", (1, 2, 7))
def test_derivatives_are_those_of_finite_differences(length: int) -> None:
    inputs = [tensor.requires_grad_() for tensor in draw(length)]
    assert torch.autograd.gradcheck(linear_recurrence, inputs)


def test_decays_of_zero_and_one_are_exact() -> None:
    _, drive, start = draw(257)
    drive, start = drive.mul(100).round(), start.round()  # sums of integers do not round
    close(linear_recurrence(torch.zeros_like(drive), drive, start), drive, rtol=0, atol=0)
    total = drive.cumsum(1) + start[:, None]
    close(linear_recurrence(torch.ones_like(drive), drive, start), total, rtol=0, atol=0)


@pytest.mark.parametrize("size", (1e-30, 1e-3, 0.5, 1 - 2**-20))
def test_products_of_decays_may_underflow(size: float) -> None:
    _, drive, start = draw(1000)
    inputs = (torch.full_like(drive, size), drive, start)
    rough = gradients(linear_recurrence, tuple(tensor.float() for tensor in inputs))
    for got, expected in zip(rough, gradients(naive, inputs), strict=True):
        scale = expected.abs().max().item()
        close(got.double(), expected, rtol=0, atol=2e-6 * scale)


def test_bfloat16_is_computed_in_float32() -> None:
    low = tuple(tensor.bfloat16() for tensor in draw(65))
    h = linear_recurrence(*low)
    assert h.dtype == torch.float32
    close(h, linear_recurrence(*(tensor.float() for tensor in low)), rtol=0, atol=0)
    assert [grad.dtype for grad in gradients(linear_recurrence, low)[1:]] == [torch.bfloat16] * 3


def test_layout_does_not_matter() -> None:
    decay, drive, start = draw(65)
    turned = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (decay, drive)]
    expected = linear_recurrence(decay, drive, start)
    close(linear_recurrence(*turned, start), expected, rtol=0, atol=0)


@pytest.mark.parametrize("split", (1, 64, 256))
def test_two_parts_are_the_whole(split: int) -> None:
    def parts(decay: Tensor, drive: Tensor, start: Tensor) -> Tensor:
        first = linear_recurrence(decay[:, :split], drive[:, :split], start)
        second = linear_recurrence(decay[:, split:], drive[:, split:], first[:, -1])
        return torch.cat([first, second], 1)

    inputs = draw(257)
    got, expected = gradients(parts, inputs), gradients(linear_recurrence, inputs)
    for apart, whole in zip(got, expected, strict=True):
        close(apart, whole, rtol=0, atol=1e-13)


def test_what_is_kept_for_the_gradients_is_linear_in_length() -> None:
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    inputs = [tensor.requires_grad_() for tensor in draw(257)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        linear_recurrence(*inputs)
    assert 0 < kept <= 2 * inputs[0].numel() + inputs[2].numel()


def test_second_derivatives_are_refused_not_wrong() -> None:
    decay, drive, start = (tensor.requires_grad_() for tensor in draw(5))
    h = linear_recurrence(decay, drive, start)
    (first,) = torch.autograd.grad(h.square().sum(), decay, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize(
    ("decay", "drive", "start"),
    (
        ((2, 5, 3), (2, 4, 3), (2, 3)),
        ((2, 5, 3), (2, 5, 3), (2, 5)),
        ((2, 5, 3), (2, 5, 3), (3,)),
        ((2, 0, 3), (2, 0, 3), (2, 3)),
        ((5, 3), (5, 3), (3,)),
    ),
)
def test_shapes_that_disagree_are_refused(decay, drive, start) -> None:
    with pytest.raises(ValueError, match=r"decay \[.*drive \[.*start \["):
        linear_recurrence(torch.zeros(decay), torch.zeros(drive), torch.zeros(start))
