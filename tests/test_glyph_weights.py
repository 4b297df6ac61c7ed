"""From a recogniser with gates to a trunk without, and what is learned on generated pages."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from encoders.vision.glyph_trunk import Trunk


@pytest.fixture
def weights(script: Callable[[str], Any]) -> Any:
    return script("glyph_weights")


def recogniser(weights: Any) -> Any:
    torch.manual_seed(0)
    return weights.Recogniser().eval()


@torch.no_grad()
def test_gates_that_are_alike_on_every_line_may_be_folded(weights: Any) -> None:
    """Gates that look at nothing (their first weights are zero) are what folding takes them for."""
    model = recogniser(weights)
    for gate in model.gates.values():
        gate.squeeze.weight.zero_()
    line = torch.rand(3, 48, 64) * 255
    gates = model.gates_of(line)
    x = model.trunk._stem(line.flip(0).unsqueeze(0) / 127.5 - 1)
    for at, block in enumerate(model.trunk.blocks):
        x = block.near(x)
        if str(at) in model.gates:
            x = x * model.gates[str(at)](x)
        y = block.back(torch.nn.functional.gelu(block.wide(x)))
        x = x + y if block.residual else y
    folded = model.folded(gates)
    torch.testing.assert_close(folded.convolved(line), x[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_all_convolutions_are_named_once_in_the_order_they_are_applied(weights: Any) -> None:
    model = recogniser(weights)
    named, seen = model.convolutions(), []
    for layer in named:
        layer.register_forward_hook(lambda layer, *_: seen.append(layer))
    model.gates_of(torch.rand(3, 48, 32) * 255)
    assert [id(layer) for layer in seen] == [id(layer) for layer in named]
    assert len({id(layer) for layer in named}) == len(named) == 54


def test_where_letters_are_is_learned_and_they_are_collected(weights: Any) -> None:
    torch.manual_seed(0)
    trunk = Trunk().eval()
    pages = weights.collect(trunk, "train", 1, fonts="builtin")
    weights.standardise(trunk, pages)
    page = pages[0]
    cells = trunk.cells(page.convolved.float())[page.rows, page.columns]
    torch.testing.assert_close(cells.mean(0), torch.zeros(384), rtol=0, atol=1e-2)
    before = weights.letters_of(trunk, pages)[2]
    weights.learn(trunk, pages, 40)
    features, codes, missed, _ = weights.letters_of(trunk, pages)
    assert missed < before and len(features) == len(codes)
    assert set(codes.tolist()) - {weights.GHOST} <= set(page.codes.tolist())
