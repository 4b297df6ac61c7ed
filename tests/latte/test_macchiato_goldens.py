"""Latte-Macchiato, put together from window, rotation and Latte, against a naive reference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import latte, window

FILES = sorted((Path(__file__).parents[1] / "data" / "latte").glob("macchiato_*.npz"))
LEAVES = ("X", "Wq", "Wk", "Wq0", "Wk0", "Wv", "o_proj")
BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-4}
files = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def rotate(x: Tensor, theta: Tensor) -> Tensor:
    """Consecutive channel pairs of x [B, T, H, Dh], turned by position x theta (RoPE)."""
    angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None, None] * theta
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = [even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()]
    return torch.stack(turned, -1).flatten(-2)


def load(path: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    with np.load(path) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in arrays.items()}


def projections(arrays: dict[str, Tensor]) -> list[Tensor]:
    """q [B, T, H, 1 + Lh] (the gate first), k, and the local q0, k0 and the v of both."""
    x, *weights = (arrays[name] for name in LEAVES[:-1])
    q, k, q0, k0, v = ((x @ w).unflatten(-1, (int(arrays["H"]), -1)) for w in weights)
    if arrays["theta"].numel():
        q0, k0 = rotate(q0, arrays["theta"]), rotate(k0, arrays["theta"])
    return [q, k, q0, k0, v]


def layer(arrays: dict[str, Tensor]) -> Tensor:
    """The whole layer, from the two fast operators: [B, T, D]."""
    q, k, q0, k0, v = projections(arrays)
    gate, logits = q[..., :1], q[..., 1:]
    near, _ = window.causal(q0, k0, v, int(arrays["window"]))
    far, _ = latte.causal(logits, k, v)
    p0 = (gate - logits.logsumexp(-1, keepdim=True)).sigmoid()
    return (p0 * near + (1 - p0) * far).flatten(2) @ arrays["o_proj"]


def naive_weights(arrays: dict[str, Tensor]) -> Tensor:
    """p(s|t) = p(0|t) p_0(s|t) + sum_l p(l|t) p(s|l, t), as it reads: [B, H, T(t), T(s)]."""
    q, k, q0, k0, _ = projections(arrays)
    p, place = q.softmax(-1), torch.arange(q.shape[1])
    ahead = place > place[:, None]  # [T(t), T(s)]
    outside = ahead | (place <= place[:, None] - arrays["window"])
    local = torch.einsum("bthd,bshd->bhts", q0, k0) / q0.shape[-1] ** 0.5
    local = local.masked_fill(outside, -torch.inf).softmax(-1)
    time = k.transpose(1, 2).unsqueeze(2).masked_fill(ahead[..., None], -torch.inf).softmax(3)
    latent = torch.einsum("bthl,bhtsl->bhts", p[..., 1:], time)
    return p[..., 0].transpose(1, 2).unsqueeze(-1) * local + latent


def naive_layer(arrays: dict[str, Tensor]) -> Tensor:
    """The whole layer, from the written-out weights: [B, T, D]."""
    mixed = torch.einsum("bhts,bshd->bthd", naive_weights(arrays), projections(arrays)[-1])
    return mixed.flatten(2) @ arrays["o_proj"]


def error(got: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest entry."""
    return float((got.double() - expected).abs().max() / expected.abs().max().clamp(min=1))


def gradients(run: Callable[..., Tensor], path: Path, dtype: torch.dtype) -> list[Tensor]:
    """Those of the input and all weights, of one random combination of the outputs."""
    arrays = load(path, dtype)
    y = run(arrays | {name: arrays[name].requires_grad_() for name in LEAVES})
    generator = torch.Generator().manual_seed(1)
    cotangent = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return list(torch.autograd.grad(y, [arrays[name] for name in LEAVES], cotangent.to(dtype)))


def test_goldens_with_and_without_rotation_are_here() -> None:
    assert {path.stem.split("_")[-1] for path in FILES} == {"rope0", "rope1"}
    assert len(FILES) == 8


@files
def test_the_judge_is_the_reference(path: Path) -> None:
    arrays = load(path, torch.float64)
    assert error(naive_weights(arrays), arrays["P"]) < 1e-12
    assert error(naive_layer(arrays), arrays["y"]) < 1e-12


@files
@pytest.mark.parametrize("dtype", BOUNDS)
def test_outputs_are_those_of_the_reference(path: Path, dtype: torch.dtype) -> None:
    got = layer(load(path, dtype))
    assert got.dtype == dtype
    assert error(got, load(path, torch.float64)["y"]) < BOUNDS[dtype]


@files
@pytest.mark.parametrize("dtype", BOUNDS)
def test_gradients_are_those_of_the_judge(path: Path, dtype: torch.dtype) -> None:
    """The files hold none: the judge, whose weights and outputs are theirs, gives them."""
    expected = gradients(naive_layer, path, torch.float64)
    for got, wanted in zip(gradients(layer, path, dtype), expected, strict=True):
        assert error(got, wanted) < BOUNDS[dtype]
