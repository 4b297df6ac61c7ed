"""Long sequences read in place, chunk by chunk: the same as all at once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import grid_conv, mixers, stack
from encoders.grid_conv import GridConv
from encoders.stack import Stack
from encoders.tiling import Grid

DIM = 8
IMAGE, WIDE, OVERVIEW = Grid(9, 7), Grid(3, 11), Grid(2, 2)
WORDS = [
    *((name, {}) for name in mixers.available()),
    ("latte", {"vapor": True}),
    ("latte", {"recurrence": "conv"}),
    ("macchiato", {"recurrence": "rglru", "window": 5}),
    ("attention", {"rotary": True}),
]
close = torch.testing.assert_close


@pytest.fixture(autouse=True, params=(1, 3, 20, 64))
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(stack, "CHUNK", 2 * request.param)  # two rows
    monkeypatch.setattr(grid_conv, "BAND", request.param)


def batch(grid: Grid) -> tuple[Tensor, Tensor, list[tuple[Grid, ...]]]:
    """Two rows: image and overview and words; a smaller picture and words, padded in between."""
    length = grid.size + OVERVIEW.size + 6
    x = torch.randn(2, length, DIM, dtype=torch.float64)
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, WIDE.size : -6] = False
    mask[0, -2:] = False
    return x, mask, [(grid, OVERVIEW), (WIDE,)]


def make(name: str, words: dict[str, Any], **more: Any) -> Stack:
    return Stack(DIM, depth=2, heads=2, mixer=name, **words, **more).double().eval()


@pytest.mark.parametrize(("name", "words"), WORDS)
def test_streamed_is_whole(name: str, words: dict[str, Any]) -> None:
    reader = make(name, words, grid_conv=True)
    x, mask, grids = batch(IMAGE)
    whole = reader(x, mask, grids)
    with torch.no_grad():
        held = x.clone()
        got = reader.stream_(held, mask, grids)
    assert got is held
    close(got[mask], whole[mask].detach(), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "words"), WORDS)
def test_prefix_in_chunks_is_whole(name: str, words: dict[str, Any]) -> None:
    writer = make(name, words, causal=True)
    x, mask, _ = batch(IMAGE)
    answer = torch.randn(2, 3, DIM, dtype=torch.float64)
    whole, _ = writer.scan(answer, None, writer.prefix(x, mask))
    with torch.no_grad():
        got, _ = writer.scan(answer, None, writer.prefix(x, mask))
    close(got, whole.detach(), rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("kernel", (1, 3, 5))
@pytest.mark.parametrize("grid", (Grid(1, 1), Grid(1, 9), Grid(9, 1), IMAGE))
def test_bands_of_a_grid_fit_together(kernel: int, grid: Grid) -> None:
    conv = GridConv(DIM, kernel).double()
    x = torch.randn(2, grid.size + OVERVIEW.size + 3, DIM, dtype=torch.float64)
    grids = [(grid, OVERVIEW), (grid,)]
    whole = conv(x, grids)
    conv.stream_(x, grids)
    close(x, whole, rtol=0, atol=1e-12)
