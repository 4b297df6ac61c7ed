"""Runs of tokens against a naive judge that looks at each of them."""

import pytest
import torch
from torch import Tensor

from encoders.runs import AGAIN, HOLDS, ON, UNKNOWN, likeliest_run, run_loss

close = torch.testing.assert_close


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def weight(logits: Tensor, edges: Tensor, first: int, last: int) -> Tensor:
    return logits[first : last + 1].sum() + edges[first, 0] + edges[last, 1]


def naive_run(logits: Tensor, edges: Tensor, mask: Tensor) -> list[bool]:
    """Of all runs of real tokens the one with the greatest weight."""
    count = len(logits)
    best, chosen = -float("inf"), range(0)
    for first in range(count):
        for last in range(first, count):
            total = float(weight(logits, edges, first, last))
            if bool(mask[first : last + 1].all()) and total > best:
                best, chosen = total, range(first, last + 1)
    return [place in chosen for place in range(count)]


@pytest.mark.parametrize("shift", (-3.0, -0.5, 0.0, 0.5, 3.0))
@pytest.mark.parametrize("edge", (0.0, 2.0))
def test_the_likeliest_run_is_the_best_of_all(shift: float, edge: float) -> None:
    logits, edges = normal(6, 20, seed=5) + shift, edge * normal(6, 20, 2, seed=6)
    mask = torch.arange(20) < torch.tensor([20, 20, 13, 7, 1, 0])[:, None]
    found = likeliest_run(logits, edges, mask)
    assert found.tolist() == [naive_run(*row) for row in zip(logits, edges, mask, strict=True)]


def naive_run_loss(
    logits: Tensor, edges: Tensor, true: list[tuple[int, int]], count: int
) -> Tensor:
    """The negative log-share of the true runs among all, by the exponential of their weights."""
    every = [weight(logits, edges, i, j) for i in range(count) for j in range(i, count)]
    told = [weight(logits, edges, *run) for run in true]
    return torch.stack(every).logsumexp(0) - torch.stack(told).logsumexp(0)


@pytest.mark.parametrize("size", (1.0, 30.0))
def test_a_run_is_learned_against_all_others(size: float) -> None:
    logits = (size * normal(6, 12, seed=7)).requires_grad_()
    edges = normal(6, 12, 2, seed=8).requires_grad_()
    mask = torch.arange(12) < torch.tensor([12, 9, 12, 12, 12, 12])[:, None]
    marks = torch.zeros(6, 12, dtype=torch.long)
    marks[0, 3:7] = HOLDS
    marks[1, [2, 3, 5]] = HOLDS + 4  # one between them holds nothing: 2 to 5
    marks[2, 5:8] = HOLDS
    marks[2, [0, 2, 9]], marks[2, [1, 3, 4, 10, 11]] = AGAIN, ON
    marks[3] = UNKNOWN
    marks[4, [0, 11]] = HOLDS  # two places: no run; row 5: nothing
    true = [([(3, 6)], 12), ([(2, 5)], 9), ([(5, 7), (0, 1), (2, 4), (9, 11)], 12)]
    each = [naive_run_loss(logits[row], edges[row], *told) for row, told in enumerate(true)]
    found, expected = run_loss(logits, edges, marks, mask), torch.stack(each).mean()
    slopes = torch.autograd.grad(found, (logits, edges))
    others = torch.autograd.grad(expected, (logits, edges))
    close(found, expected.float(), rtol=1e-4, atol=1e-4)
    for slope, other in zip(slopes, others, strict=True):
        close(slope, other, rtol=1e-4, atol=1e-4)
    none = run_loss(logits[3:], edges[3:], marks[3:], mask[3:])
    assert none.item() == 0, "no run is known"
