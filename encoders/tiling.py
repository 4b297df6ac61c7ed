"""Pure geometry of tiles: which part of an image each tile shows, and how its patches fit together
again.

An image of `height x width` pixels becomes a grid of patches, `ceil(height / patch) x ceil(width /
patch)`, and the grid is cut into tiles of at most `side` patches each way. Nothing is resized.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from encoders.pixels import Pixels


class Grid(NamedTuple):
    """Size of a patch grid, in patches."""

    rows: int
    columns: int

    @property
    def size(self) -> int:
        return self.rows * self.columns


class Tile(NamedTuple):
    """One tile of a patch grid, in patches: its first row and column, and its extent."""

    row: int
    column: int
    rows: int
    columns: int


def grid_of(height: int, width: int, patch: int) -> Grid:
    """The patch grid that covers an image of `height x width` pixels.

    >>> grid_of(3000, 4000, 16)
    Grid(rows=188, columns=250)
    """
    return Grid(-(-height // patch), -(-width // patch))


def tiles_of(grid: Grid, side: int) -> list[Tile]:
    """Tiles of at most `side x side` patches that cover `grid` once each, row by row.

    >>> [tuple(tile) for tile in tiles_of(Grid(2, 5), 3)]
    [(0, 0, 2, 3), (0, 3, 2, 2)]
    """
    return [
        Tile(row, column, min(side, grid.rows - row), min(side, grid.columns - column))
        for row in range(0, grid.rows, side)
        for column in range(0, grid.columns, side)
    ]


def cut(image: Pixels, tile: Tile, patch: int, rows: int, columns: int, halo: int = 0) -> Tensor:
    """The pixels of `tile` of an image `[C, H, W]`: `[C, rows * patch, columns * patch]`.

    `rows` and `columns` (patches) are the extent to fill up to; what lies outside the tile or the
    image is zero. `halo` patches above and to the left of the tile are added to that.
    """
    top, left = (tile.row - halo) * patch, (tile.column - halo) * patch
    bottom, right = (tile.row + tile.rows) * patch, (tile.column + tile.columns) * patch
    view = image[:, max(0, top) : bottom, max(0, left) : right]
    before = max(0, -top), max(0, -left)
    height, width = (rows + halo) * patch, (columns + halo) * patch
    after = height - before[0] - view.shape[1], width - before[1] - view.shape[2]
    missing = (before[1], after[1], before[0], after[0])
    return pad(view, missing) if any(missing) else view


def numbers(tile: Tile, grid: Grid) -> Tensor:
    """Where the patches of `tile` stand among those of `grid`, row by row: int `[tile.rows,
    tile.columns]`."""
    row = torch.arange(tile.row, tile.row + tile.rows)
    return row[:, None] * grid.columns + torch.arange(tile.column, tile.column + tile.columns)


def positions(grid: Grid, scale: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """(row, column) of each patch of `grid` `[grid.size, 2]`, fp32, in patches of the whole image.

    `scale`: patches of the whole image per patch of this grid; an overview's patch sits in the
    middle of the region that it shows, so its coordinates may be fractions.
    """
    return positions_of(torch.arange(grid.size), grid, scale)


def positions_of(number: Tensor, grid: Grid, scale: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """`positions` of the patches with these numbers, int `[n]`, alone: `[n, 2]`."""
    place = torch.stack([number // grid.columns, number % grid.columns], -1)
    return (place + 0.5) * torch.tensor(scale) - 0.5
