"""How much there is to do to read an image of some size: tokens, tiles, pixels of a batch."""

from dataclasses import dataclass

from encoders.tiling import Grid, grid_of
from encoders.vision import glyphs
from encoders.vision.sheet import parts_of
from vqa.model import LatteVQA


@dataclass(frozen=True)
class Work:
    """What a model makes of an image of `height` x `width` pixels, as it is read.

    `tokens` of image and question; `tiles`, the overview's too; `slots`: patches of all tiles with
    the padding of border tiles; `batch_pixels`: pixels of the tiles that are encoded together.
    """

    height: int
    width: int
    tokens: int
    tiles: int
    slots: int
    batch_pixels: int
    overview: bool


def work_of(
    model: LatteVQA, height: int, width: int, question_tokens: int, overview: bool = True
) -> Work:
    """The work of one question about an image; without its `overview`, less than that."""
    vision = model.vision
    if isinstance(vision, glyphs.Encoder):
        return _of_print(vision, height, width, question_tokens)
    if hasattr(vision, "read_size"):
        height, width = vision.read_size(height, width)
    patch, side, whole = vision.patch, vision.side, grid_of(height, width, vision.patch)
    grids: tuple[Grid, ...] = (whole,)
    if overview:
        grids = parts_of(height, width, patch, side, getattr(vision, "overview", False))
    rows, columns = min(side, whole.rows), min(side, whole.columns)
    if getattr(vision, "absolute", False):  # its table of positions belongs to full tiles
        rows = columns = side
    tiles = sum(-(-grid.rows // side) * -(-grid.columns // side) for grid in grids)
    tile_pixels = rows * columns * patch**2
    return Work(
        height=height,
        width=width,
        tokens=sum(grid.size for grid in grids) + question_tokens,
        tiles=tiles,
        slots=tiles * rows * columns,
        batch_pixels=min(tiles * tile_pixels, max(tile_pixels, vision.pixels_at_once)),
        overview=len(grids) > 1,
    )


def _of_print(vision: glyphs.Encoder, height: int, width: int, question_tokens: int) -> Work:
    """At most: how much print there is, and so how large it is read, only the image tells."""
    return Work(
        height=height,
        width=width,
        tokens=vision.count(height, width) + question_tokens,
        tiles=1,
        slots=vision.most // vision.patch**2,
        batch_pixels=vision.most,
        overview=True,
    )
