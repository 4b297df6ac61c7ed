"""The operators against outputs and gradients of the authors' own code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders.latte import bidirectional, causal, naive

DATA = Path(__file__).parents[1] / "data" / "latte"
FILES = sorted((*DATA.glob("bidirectional_*.npz"), *DATA.glob("causal_*.npz")))
LEAVES = ("X", "Wq", "Wk", "Wv", "o_proj")


def layer(path: Path, arrays: dict[str, Tensor], judge: bool = False) -> Tensor:
    """The whole attention layer of one golden file: [B, T, D]."""
    heads = int(path.stem.split("_H")[1].split("_")[0])
    x, wq, wk, wv, wo = (arrays[name] for name in LEAVES)
    q, k, v = ((x @ w).unflatten(-1, (heads, -1)) for w in (wq, wk, wv))
    mask = arrays["attention_mask"].bool() if "attention_mask" in arrays else None
    if path.stem.startswith("bidirectional"):
        y = (naive.bidirectional if judge else bidirectional)(q, k, v, mask)
    else:
        y = naive.causal(q, k, v, mask) if judge else causal(q, k, v, mask)[0]
    return y.flatten(2) @ wo


def errors(path: Path, dtype: torch.dtype, judge: bool = False) -> dict[str, float]:
    """Largest error of the output and of each gradient, relative to the largest entry."""
    with np.load(path) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    expected = {name: arrays[name] for name in ("y", *(f"grad_{leaf}" for leaf in LEAVES))}
    arrays = {n: a.to(dtype) if a.is_floating_point() else a for n, a in arrays.items()}
    leaves = [arrays[name].requires_grad_() for name in LEAVES]
    y = layer(path, arrays, judge)
    got = [y.detach(), *torch.autograd.grad(y, leaves, arrays["cotangent"])]
    assert all(tensor.isfinite().all() for tensor in got)
    return {
        name: float((tensor.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1))
        for tensor, (name, wanted) in zip(got, expected.items(), strict=True)
    }


def test_every_kind_of_golden_is_here() -> None:
    kinds = {path.stem.split("_H")[0] for path in FILES}
    assert kinds == {
        *("bidirectional", "bidirectional_masked", "bidirectional_extreme"),
        *("causal", "causal_extreme"),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_float64_is_the_authors_result(path: Path) -> None:
    assert max(errors(path, torch.float64).values()) < 1e-10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_judge_is_the_authors_result(path: Path) -> None:
    assert max(errors(path, torch.float64, judge=True).values()) < 1e-10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_float32_is_close(path: Path) -> None:
    # Logits of +-1000 are themselves only good to about 1e-4 in float32.
    bound = 2e-3 if "extreme" in path.stem else 1e-4
    assert max(errors(path, torch.float32).values()) < bound
