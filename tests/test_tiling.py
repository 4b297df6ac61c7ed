"""Tiles of a patch grid: pure geometry, at sizes that fit nothing."""

import doctest

import pytest
import torch
from torch import Tensor

from encoders import tiling
from encoders.tiling import Grid, Tile, cut, grid_of, numbers, positions, positions_of, tiles_of

PATCH = 8
SIZES = ((1, 1), (1, 5000), (5000, 1), (63, 65), (64, 64), (97, 101), (7, 131), (8, 25))
SIDES = (1, 3, 8)


def as_text(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def patches(pixels: Tensor) -> Tensor:
    """Pixels `[N, C, H, W]` as patch tokens `[N, rows, columns, C * PATCH^2]`."""
    split = pixels.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
    return split.permute(0, 2, 4, 1, 3, 5).flatten(3)


def picture(tokens: Tensor, grid: Grid) -> Tensor:
    """The inverse of `patches` for tokens `[grid.size, C * PATCH^2]` of a whole image."""
    split = tokens.view(*grid, 3, PATCH, PATCH).permute(2, 0, 3, 1, 4)
    return split.reshape(3, grid.rows * PATCH, grid.columns * PATCH)


@pytest.mark.parametrize("extra", (0, 2), ids=("tight", "padded"))
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", SIZES, ids=as_text)
def test_cut_and_put_where_numbered_is_the_image(
    size: tuple[int, int], side: int, extra: int
) -> None:
    image = torch.randint(1, 256, (3, *size), dtype=torch.uint8)
    grid = grid_of(*size, PATCH)
    tiles = tiles_of(grid, side)
    rows = max(tile.rows for tile in tiles) + extra
    columns = max(tile.columns for tile in tiles) + extra
    pixels = torch.stack([cut(image, tile, PATCH, rows, columns) for tile in tiles])
    assert pixels.shape == (len(tiles), 3, rows * PATCH, columns * PATCH)
    tokens = torch.zeros(grid.size, 3 * PATCH**2, dtype=torch.uint8)
    for tile, found in zip(tiles, patches(pixels), strict=True):
        tokens[numbers(tile, grid)] = found[: tile.rows, : tile.columns]
    whole = picture(tokens, grid)
    assert torch.equal(whole[:, : size[0], : size[1]], image)
    assert whole.count_nonzero() == image.numel()  # beside the image there is nothing
    assert pixels.count_nonzero() == image.numel()  # and no pixel is shown twice


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", SIZES, ids=as_text)
def test_tiles_cover_the_grid_once(size: tuple[int, int], side: int) -> None:
    grid = grid_of(*size, PATCH)
    seen = torch.zeros(grid, dtype=torch.int)
    for tile in tiles_of(grid, side):
        assert 1 <= tile.rows <= side and 1 <= tile.columns <= side
        seen[tile.row : tile.row + tile.rows, tile.column : tile.column + tile.columns] += 1
        assert tile.row + tile.rows <= grid.rows and tile.column + tile.columns <= grid.columns
    assert (seen == 1).all()


@pytest.mark.parametrize("size", SIZES, ids=as_text)
def test_the_grid_covers_the_image_and_no_more(size: tuple[int, int]) -> None:
    for patches_, pixels in zip(grid_of(*size, PATCH), size, strict=True):
        assert (patches_ - 1) * PATCH < pixels <= patches_ * PATCH


def test_grid_size_is_its_number_of_patches() -> None:
    assert Grid(3, 5).size == 15


def test_tiles_go_row_by_row() -> None:
    expected = [(0, 0, 2, 2), (0, 2, 2, 1), (2, 0, 1, 2), (2, 2, 1, 1)]
    assert tiles_of(Grid(3, 3), 2) == [Tile(*tile) for tile in expected]


def test_cut_is_zero_beyond_its_tile_and_the_image() -> None:
    image = torch.randint(1, 256, (3, 20, 24), dtype=torch.uint8)
    pixels = cut(image, Tile(1, 2, 2, 1), PATCH, 2, 2)
    assert pixels.shape == (3, 16, 16)
    assert torch.equal(pixels[:, :12, :8], image[:, 8:, 16:])
    assert not pixels[:, 12:].any() and not pixels[:, :, 8:].any()


def test_positions_of_some_are_those_of_all() -> None:
    some = torch.tensor([5, 0, 2])
    scale = (2.0, 1.5)
    assert torch.equal(positions_of(some, Grid(2, 3), scale), positions(Grid(2, 3), scale)[some])


def test_positions_are_row_and_column() -> None:
    expected = [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert positions(Grid(2, 3)).tolist() == expected
    assert positions(Grid(2, 3)).dtype == torch.float32


@pytest.mark.parametrize("scale", ((1, 1), (3, 3), (2, 5), (4, 1)), ids=as_text)
def test_a_patch_of_the_overview_is_amid_the_patches_it_shows(scale: tuple[int, int]) -> None:
    small = Grid(2, 3)
    large = Grid(small.rows * scale[0], small.columns * scale[1])
    blocks = positions(large).view(small.rows, scale[0], small.columns, scale[1], 2)
    middle = blocks.mean(dim=(1, 3)).flatten(0, 1)
    torch.testing.assert_close(positions(small, (float(scale[0]), float(scale[1]))), middle)


def test_the_examples_in_the_docstrings_are_true() -> None:
    result = doctest.testmod(tiling)
    assert result.attempted >= 2 and result.failed == 0
