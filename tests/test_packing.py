"""Packing: real tokens to the left, in order, and back."""

import pytest
import torch
from torch import Tensor

from encoders.packing import pack, rows

MASKS = {
    "left": "0001111",
    "right": "1111000",
    "middle": "1100011",
    "scattered": "0101101",
    "full": "1111111",
    "none": "0000000",
}


def masks(*names: str) -> Tensor:
    return torch.tensor([[place == "1" for place in MASKS[name]] for name in names])


def tokens(mask: Tensor) -> Tensor:
    """Tokens `[B, T, 2]` that carry their row and place."""
    row, place = (torch.arange(size) for size in mask.shape)
    return torch.stack(torch.broadcast_tensors(row[:, None], place), -1)


@pytest.mark.parametrize("name", MASKS)
def test_real_tokens_come_first_in_order(name: str) -> None:
    mask = masks(name, "middle")
    packing, x = pack(mask), tokens(mask)
    packed = packing.take(x)
    for row in range(2):
        expected = torch.cat([x[row][mask[row]], x[row][~mask[row]]])
        assert packed[row].equal(expected)
    assert packing.mask.equal(packing.take(mask))
    assert packing.counts.tolist() == mask.sum(1).tolist()


@pytest.mark.parametrize("name", MASKS)
def test_restoring_undoes_taking(name: str) -> None:
    mask = masks(name, "scattered")
    packing, x = pack(mask), tokens(mask)
    assert packing.restore(packing.take(x)).equal(x)
    assert packing.take(packing.restore(x)).equal(x)


def test_what_is_packed_already_is_not_copied() -> None:
    mask = masks("right", "full", "none")
    packing, x = pack(mask), tokens(mask)
    assert packing.order is None
    assert packing.take(x) is x and packing.restore(x) is x
    one = torch.tensor([[True], [False]])
    assert pack(one).order is None


def test_gradients_go_where_the_tokens_came_from() -> None:
    mask = masks("left", "scattered")
    packing = pack(mask)
    x = tokens(mask).double().requires_grad_()
    weight = torch.arange(7.0, dtype=torch.float64)[:, None]
    (packing.take(x) * weight).sum().backward()
    assert x.grad is not None
    expected = packing.restore(weight.expand(2, 7, 2))
    assert x.grad.equal(expected)


def test_rows_are_those_of_each_sequence() -> None:
    x = torch.arange(12).reshape(2, 6)
    assert rows(x, torch.tensor([[5, 0], [1, 1]])).tolist() == [[5, 0], [7, 7]]
    assert rows(x, torch.empty(2, 0, dtype=torch.int64)).shape == (2, 0)


@pytest.mark.parametrize(
    "mask", (torch.ones(2, 3), torch.ones(3, dtype=torch.bool)), ids=("float", "1-D")
)
def test_other_masks_are_refused(mask: Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be torch.bool \[B, T\].*\[.*3\]"):
        pack(mask)


def test_tokens_of_another_length_are_refused() -> None:
    packing = pack(masks("left"))
    for move in (packing.take, packing.restore):
        with pytest.raises(ValueError, match=r"\[1, 6\].*mask \[1, 7\]"):
            move(torch.zeros(1, 6))
