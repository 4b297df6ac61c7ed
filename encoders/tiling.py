"""Pure geometry of tiles: which part of an image each tile shows, and how its patches fit together
again.

An image of `height x width` pixels becomes a grid of patches, `ceil(height / patch) x ceil(width /
patch)`, and the grid is cut into tiles of at most `side` patches each way. Nothing is resized.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


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


def cut(image: Tensor, tiles: Sequence[Tile], patch: int, rows: int, columns: int) -> Tensor:
    """The pixels of `tiles`: `[C, H, W]` to `[len(tiles), C, rows * patch, columns * patch]`.

    `rows` and `columns` (patches) are the common extent; what lies outside a tile or the image is
    zero.
    """
    height, width = rows * patch, columns * patch
    if len(tiles) == 1 and tiles[0][:2] == (0, 0) and image.shape[1:] == (height, width):
        return image.unsqueeze(0)
    out = image.new_zeros(len(tiles), image.shape[0], height, width)
    for index, tile in enumerate(tiles):
        top, left = tile.row * patch, tile.column * patch
        view = image[:, top : top + tile.rows * patch, left : left + tile.columns * patch]
        out[index, :, : view.shape[1], : view.shape[2]] = view
    return out


def stitch(tokens: Tensor, tiles: Sequence[Tile], grid: Grid) -> Tensor:
    """Patch tokens of tiles back in the order of the whole image, row by row.

    `tokens` `[len(tiles), rows, columns, D]` (padding to the common extent is dropped) gives
    `[grid.size, D]`.
    """
    if len(tiles) == 1:
        return tokens[0, : grid.rows, : grid.columns].reshape(grid.size, -1)
    bands = []
    for row in sorted({tile.row for tile in tiles}):
        band = [
            tokens[index, : tile.rows, : tile.columns]
            for index, tile in enumerate(tiles)
            if tile.row == row
        ]
        bands.append(torch.cat(band, dim=1))
    return torch.cat(bands).reshape(grid.size, -1)


def positions(grid: Grid, scale: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """(row, column) of each patch of `grid` `[grid.size, 2]`, fp32, in patches of the whole image.

    `scale`: patches of the whole image per patch of this grid; an overview's patch sits in the
    middle of the region that it shows, so its coordinates may be fractions.
    """
    row = (torch.arange(grid.rows) + 0.5) * scale[0] - 0.5
    column = (torch.arange(grid.columns) + 0.5) * scale[1] - 0.5
    return torch.stack(torch.meshgrid(row, column, indexing="ij"), dim=-1).reshape(-1, 2)


def pad_tokens(tokens: Sequence[Tensor]) -> Tensor:
    """Sequences `[N_i, ...]` as one batch `[B, max N_i, ...]`, zeros after the end of each."""
    longest = max(len(item) for item in tokens)
    if all(len(item) == longest for item in tokens):
        return torch.stack(list(tokens))
    return torch.stack(
        [pad(item, (0, 0) * (item.dim() - 1) + (0, longest - len(item))) for item in tokens]
    )
