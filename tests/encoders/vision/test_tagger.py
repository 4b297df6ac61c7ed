"""A tagger learns what and where, whatever stands in the batch besides."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from encoders.vision.tagger import Tagger

GROUPS = {"side": ["left", "right"], "sees": ["a", "b", "c"]}


def grid(rows: int, columns: int, features: Tensor) -> ImageTokens:
    """A photo of one grid, with `features` `[rows * columns, D]`."""
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    pitch = torch.tensor([[1 / rows, 1 / columns]])
    mask = torch.ones(1, rows * columns, dtype=torch.bool)
    return ImageTokens(features[None], mask, [(Grid(rows, columns),)], places[None], pitch)


def tagger(**words: Any) -> Tagger:
    torch.manual_seed(0)
    made = Tagger(16, GROUPS, ("sees",), **words)
    for head in made.heads:
        torch.nn.init.normal_(head.weight)
    torch.nn.init.normal_(made.place_query)
    return made.eval()


def test_padding_changes_nothing() -> None:
    made, one = tagger(), grid(3, 4, torch.randn(12, 16))
    wide = one.with_room(5)
    wide.tokens[:, 12:] = 1e4
    for alone, padded in zip(made(one).values(), made(wide).values(), strict=True):
        torch.testing.assert_close(alone, padded, atol=1e-5, rtol=1e-5)


def test_probabilities_of_exclusive_groups_sum_to_one() -> None:
    found = tagger().probabilities(grid(2, 2, torch.randn(4, 16)))
    assert float(found["side"].detach().sum()) == pytest.approx(1)
    assert ((found["sees"] > 0) & (found["sees"] < 1)).all()


def test_learns_on_which_side_a_thing_stands() -> None:
    torch.manual_seed(0)
    made, noise = Tagger(64, GROUPS, ("sees",), dropout=0.0), torch.randn(64)
    optimizer = torch.optim.AdamW(made.parameters(), 1e-2)

    def photo(right: bool) -> ImageTokens:
        features = torch.randn(5 * 6, 64) * 0.3
        row, column = int(torch.randint(5, ())), int(torch.randint(2, ())) + (4 if right else 0)
        features[row * 6 + column] += 4 * noise
        return grid(5, 6, features)

    for _ in range(100):
        photos = [photo(bool(n % 2)) for n in range(16)]
        logits = torch.cat([made(each)["side"] for each in photos])
        loss = cross_entropy(logits, torch.arange(16) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made.eval()
    right = [int(made(photo(bool(n % 2)))["side"].argmax()) == n % 2 for n in range(40)]
    assert sum(right) >= 36


def test_overview_is_the_small_picture_or_the_whole() -> None:
    small = torch.randn(6, 16)
    places = torch.cat(
        [
            torch.cartesian_prod(torch.arange(4), torch.arange(6)).float(),
            torch.cartesian_prod(torch.arange(2), torch.arange(3)).float() * 2 + 0.5,
        ]
    )
    tokens = torch.cat([torch.randn(24, 16), small])
    image = ImageTokens(
        tokens[None],
        torch.ones(1, 30, dtype=torch.bool),
        [(Grid(4, 6), Grid(2, 3))],
        places[None],
        torch.tensor([[0.25, 1 / 6]]),
    )
    shown = image.overview()
    assert torch.equal(shown.tokens[0], small) and shown.grids == [(Grid(2, 3),)]
    torch.testing.assert_close(shown.pitch, torch.tensor([[0.5, 1 / 3]]))
    middle = (shown.places[0] + 0.5) * shown.pitch[0]  # shares of the image, as before
    torch.testing.assert_close(
        middle, (places[24:] + 0.5) / torch.tensor([4.0, 6.0]), atol=0.05, rtol=0
    )
    alone = grid(2, 3, small)
    assert torch.equal(alone.overview().tokens, alone.tokens)
    assert torch.equal(alone.overview().places, alone.places)
