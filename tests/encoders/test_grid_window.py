"""Windows on patch grids: sinks, and strips of rows where no gradient is needed."""

import pytest
import torch
from torch import Tensor

from encoders import grid_window as module
from encoders.grid_window import grid_window
from encoders.tiling import Grid

GRIDS = (
    Grid(1, 1),
    Grid(1, 150),
    Grid(150, 1),
    Grid(3, 90),
    Grid(17, 23),
    Grid(40, 5),
    Grid(33, 9),
)
close = torch.testing.assert_close


def draw(grid: Grid, sinks: int, batch: int = 2) -> list[Tensor]:
    """q, k, v [B, R * C, 2, 4] and keys and values of sinks [B, S, 2, 4], in float64."""
    generator = torch.Generator().manual_seed(grid.size + sinks)
    sizes = (grid.size, grid.size, grid.size, sinks, sinks)
    shapes = [(batch, size, 2, 4) for size in sizes]
    return [2 * torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


def naive(grid: Grid, radius: int, *inputs: Tensor) -> Tensor:
    """Softmax over a written-out [R * C, S + R * C] matrix."""
    q, k, v, sink_keys, sink_values = inputs
    row, column = torch.arange(grid.size) // grid.columns, torch.arange(grid.size) % grid.columns
    apart = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    seen = torch.cat([torch.ones(grid.size, sink_keys.shape[1]) > 0, apart <= radius], 1)
    keys, values = torch.cat([sink_keys, k], 1), torch.cat([sink_values, v], 1)
    logits = torch.einsum("bthd,bshd->bhts", q, keys) / q.shape[-1] ** 0.5
    weights = logits.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("bhts,bshd->bthd", weights, values)


@pytest.mark.parametrize("sinks", (0, 1, 5))
@pytest.mark.parametrize("radius", (0, 2, 9))
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_grid_window_with_sinks_equals_naive(grid: Grid, radius: int, sinks: int) -> None:
    leaves = [x.requires_grad_() for x in draw(grid, sinks)]
    q, k, v, *extra = leaves
    got = grid_window(q, k, v, grid, radius, (extra[0], extra[1]))
    expected = naive(grid, radius, *leaves)
    close(got, expected, rtol=0, atol=1e-11)
    cotangent = torch.randn_like(got)
    gradients = [torch.autograd.grad(y, leaves, cotangent) for y in (got, expected)]
    for one, other in zip(*gradients, strict=True):
        close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("queries", (1, 100, 500))
@pytest.mark.parametrize("radius", (0, 3, 12))
@pytest.mark.parametrize("grid", (Grid(17, 23), Grid(70, 9), Grid(9, 70), Grid(61, 1)), ids=str)
def test_grid_window_in_strips_equals_all_at_once(
    grid: Grid, radius: int, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, k, v, *sinks = draw(grid, 3)
    expected = grid_window(q, k, v, grid, radius, (sinks[0], sinks[1]))
    monkeypatch.setattr(module, "QUERIES", queries)
    with torch.no_grad():
        got = grid_window(q, k, v, grid, radius, (sinks[0], sinks[1]))
    close(got, expected, rtol=0, atol=1e-12)


def test_grid_window_refuses_sinks_of_another_shape() -> None:
    q, k, v, keys, values = draw(Grid(3, 4), 2)
    for sinks in ((keys, values[:, :1]), (keys[:1], values[:1]), (keys[..., :3], values[..., :3])):
        with pytest.raises(ValueError, match=r"sinks must be alike, \[B, S, H, Dh\]"):
            grid_window(q, k, v, Grid(3, 4), 1, sinks)
