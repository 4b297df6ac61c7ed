"""Images of any size as one padded batch of patch tokens, encoded some tiles at a time.

What is common to the image encoders: each image and, where it has more than one tile, a small
overview of it, are cut into tiles; patches keep their place in the WHOLE image; tokens go straight
to where they stand in the sequence.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from encoders import tiling
from encoders.pixels import Pixels, shrink
from encoders.tiling import Grid, Tile

PIXELS_AT_ONCE = 2**20
"""Pixels of the tiles that are encoded together without gradients, to bound the memory."""


class ImageTokens(NamedTuple):
    """Patch tokens of a batch of images.

    `tokens` `[B, N, D]`; `mask` bool `[B, N]`, True = real; `grids[b]`: the patch grids that the
    tokens of image b are made of, in order: the image itself, then its overview where it has one;
    `places` `[B, N, 2]`: row and column of each patch in the image, in patches; `pitch` `[B, 2]`:
    height and width of a patch as shares of the image's.
    """

    tokens: Tensor
    mask: Tensor
    grids: list[tuple[Grid, ...]]
    places: Tensor
    pitch: Tensor

    def with_room(self, room: int) -> "ImageTokens":
        """A copy with `room` free tokens after the longest image."""
        tokens, places = (pad(part, (0, 0, 0, room)) for part in (self.tokens, self.places))
        mask = pad(self.mask, (0, room))
        return self._replace(tokens=tokens, mask=mask, places=places)

    def cut(self) -> "ImageTokens":
        """Without what is free after the longest image."""
        tokens, mask, grids, places, pitch = self
        width = int(mask.sum(1).max())
        return ImageTokens(tokens[:, :width], mask[:, :width], grids, places[:, :width], pitch)

    def overview(self) -> "ImageTokens":
        """What each image is in small: its overview, or all of it where it has none.

        Places are those in the small picture, in its own patches.
        """
        tokens, mask, grids, places, pitch = self
        rows = []
        for row, (whole, *small) in enumerate(grids):
            shown = small[0] if small else whole
            start = whole.size if small else 0
            span = slice(start, start + shown.size)
            scale = places.new_tensor([shown.rows / whole.rows, shown.columns / whole.columns])
            size = pitch.new_tensor([1 / shown.rows, 1 / shown.columns]) if small else pitch[row]
            at = (places[row, span] + 0.5) * scale - 0.5
            rows.append((shown, tokens[row, span], at, size))
        width = max(shown.size for shown, *_ in rows)
        out = ImageTokens(
            tokens.new_zeros(len(rows), width, tokens.shape[-1]),
            mask.new_zeros(len(rows), width),
            [(shown,) for shown, *_ in rows],
            places.new_zeros(len(rows), width, 2),
            torch.stack([size for *_, size in rows]),
        )
        for row, (shown, seen, at, _) in enumerate(rows):
            out.tokens[row, : shown.size], out.places[row, : shown.size] = seen, at
            out.mask[row, : shown.size] = True
        return out

    def rows(self, numbers: Sequence[int]) -> "ImageTokens":
        """The images of these numbers, in this order, each as often as it is named.

        All in their own order are the batch itself: no copy of what may be most of the memory.
        """
        if list(numbers) == list(range(len(self.grids))):
            return self
        index = torch.tensor(list(numbers), device=self.tokens.device)
        grids = [self.grids[number] for number in numbers]
        tokens, mask, _, places, pitch = self
        return ImageTokens(tokens[index], mask[index], grids, places[index], pitch[index])


class Tiles(NamedTuple):
    """Tiles to be encoded together.

    `pixels` `[n, 3, rows * patch, columns * patch]` in [0, 255], with a halo; `real` bool
    `[n, rows, columns]`: which patches exist; of these, in order, `token` `[m]`: where it stands
    in the flattened batch, `places` `[m, 2]`, and `kind` `[m]`: 0 of the image, 1 of its overview.
    """

    pixels: Tensor
    real: Tensor
    token: Tensor
    places: Tensor
    kind: Tensor


class _Part(NamedTuple):
    """One picture to read, an image or its overview; its first token in the flattened batch."""

    pixels: Pixels
    grid: Grid
    scale: tuple[float, float]
    kind: int
    start: int


def parts_of(height: int, width: int, patch: int, side: int, overview: bool) -> tuple[Grid, ...]:
    """The patch grids that an image of `height x width` pixels is read as.

    Its own, and that of an overview of at most `side x side` patches where it has more.
    """
    grid = tiling.grid_of(height, width, patch)
    if not overview or max(grid) <= side:  # one tile shows it all already
        return (grid,)
    shrunk = max(grid) / side
    small = Grid(max(1, round(grid.rows / shrunk)), max(1, round(grid.columns / shrunk)))
    return (grid, small)


class Sheet:
    """Where the patches of `images` (uint8 RGB `[3, H, W]`, of any sizes) stand in a batch.

    Tiles have at most `side x side` patches of `patch` pixels, and `halo` patches more above and to
    the left, for an encoder that looks there. `room` tokens stay free after those of the longest
    image.
    """

    def __init__(
        self,
        images: Sequence[Pixels],
        patch: int,
        side: int,
        overview: bool,
        room: int = 0,
        halo: int = 0,
    ) -> None:
        self.patch, self.side, self.halo = patch, side, halo
        self.grids = [
            parts_of(image.shape[1], image.shape[2], patch, side, overview) for image in images
        ]
        self.pitch = [(patch / image.shape[1], patch / image.shape[2]) for image in images]
        self.lengths = [sum(grid.size for grid in shapes) for shapes in self.grids]
        self.width = max(self.lengths) + room
        self.parts = [
            part
            for row, (image, shapes) in enumerate(zip(images, self.grids, strict=True))
            for part in _parts(image, shapes, patch, row * self.width)
        ]

    def encode(
        self,
        encoder: Callable[[Tiles], Tensor],
        at_once: int,
        dtype: torch.dtype,
        device: torch.device,
        full: bool = False,
        same_size: bool = False,
    ) -> ImageTokens:
        """All tokens; `encoder` makes those of some tiles, `[m, D]`, of at most `at_once` pixels.

        One tile goes at least, and with gradients all go at once. `full` pads border tiles to the
        whole side; `same_size` encodes only tiles of one size together, without padding.
        """
        tokens: Tensor | None = None
        places = torch.zeros(len(self.grids) * self.width, 2, device=device)
        for tiles in self._batches(at_once, dtype, device, full, same_size):
            found = encoder(tiles)
            if tokens is None:
                tokens = found.new_zeros(len(places), found.shape[-1])
            tokens.index_copy_(0, tiles.token, found)
            places.index_copy_(0, tiles.token, tiles.places)
        assert tokens is not None
        lengths = torch.tensor(self.lengths, device=device)
        mask = torch.arange(self.width, device=device) < lengths[:, None]
        shape = (len(self.grids), self.width, -1)
        pitch = torch.tensor(self.pitch, device=device)
        return ImageTokens(tokens.view(shape), mask, self.grids, places.view(shape), pitch)

    def _batches(
        self, at_once: int, dtype: torch.dtype, device: torch.device, full: bool, same_size: bool
    ) -> Iterator[Tiles]:
        jobs = [
            (part, tile) for part in self.parts for tile in tiling.tiles_of(part.grid, self.side)
        ]
        groups: dict[tuple[int, ...], list[tuple[_Part, Tile]]] = {(): jobs}
        if same_size:
            groups = defaultdict(list)
            for part, tile in jobs:
                groups[tile.rows, tile.columns].append((part, tile))
        for group in groups.values():
            extent = (self.side, self.side)
            if not full:
                extent = max(tile.rows for _, tile in group), max(tile.columns for _, tile in group)
            queue = iter(group)
            pixels = extent[0] * extent[1] * self.patch**2  # of a tile
            size = len(group) if torch.is_grad_enabled() else max(1, at_once // pixels)
            while batch := list(islice(queue, size)):
                yield self._together(batch, extent, dtype, device)

    def _together(
        self,
        batch: list[tuple[_Part, Tile]],
        extent: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Tiles:
        rows, columns = extent
        pixels = torch.stack(
            [
                tiling.cut(part.pixels, tile, self.patch, rows, columns, self.halo).to(
                    device, dtype
                )
                for part, tile in batch
            ]
        )
        sizes = torch.tensor([(tile.rows, tile.columns) for _, tile in batch])
        real = (torch.arange(rows)[:, None] < sizes[:, :1, None]) & (
            torch.arange(columns) < sizes[:, 1:, None]
        )
        of_tile = [tiling.numbers(tile, part.grid).flatten() for part, tile in batch]
        token = torch.cat(
            [part.start + number for (part, _), number in zip(batch, of_tile, strict=True)]
        )
        places = torch.cat(
            [
                tiling.positions_of(number, part.grid, part.scale)
                for (part, _), number in zip(batch, of_tile, strict=True)
            ]
        )
        kind = torch.tensor([part.kind for part, _ in batch])
        kind = kind.repeat_interleave(sizes.prod(1))
        return Tiles(pixels, *(x.to(device) for x in (real, token, places, kind)))


def _parts(image: Pixels, shapes: tuple[Grid, ...], patch: int, start: int) -> Iterator[_Part]:
    yield _Part(image, shapes[0], (1.0, 1.0), 0, start)
    for small in shapes[1:]:
        view = shrink(image, small.rows * patch, small.columns * patch)
        scale = (shapes[0].rows / small.rows, shapes[0].columns / small.columns)
        yield _Part(view, small, scale, 1, start + shapes[0].size)
