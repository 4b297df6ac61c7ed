"""Print alone: the cells of a page in which a letter stands, as a text recogniser sees them.

Empty paper becomes no tokens, so a page has about as many as it has letters. They come line by
line, as one strip: a convolution over their `grids` mixes each with those before and after it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from encoders.patch_grids import strips
from encoders.pixels import Pixels
from encoders.position import sine_grid
from encoders.stack import Stack
from encoders.vision.glyph_trunk import CELL, REACH, WIDTH, Trunk
from encoders.vision.page_view import View, look, view_of
from encoders.vision.reading_order import reading_order
from encoders.vision.sheet import ImageTokens

_UNIT = 16
"""Sides of what the trunk reads are multiples of it, in pixels."""
_FAR = 64
"""Cells from one letter to the next, beyond which it does not matter how many more."""


class Encoder(nn.Module):
    """Pages looked at so that their lines are `line` pixels high (encoders/vision/page_view.py).

    `local` blocks see `kernel` letters across. `most`: pixels of the page at that scale; `keep`:
    how probable a letter must be; `tokens`: how many an image has at most, the most probable;
    `band`: pixels that are read together, to bound the memory.
    """

    def __init__(
        self,
        dim: int,
        line: int = 31,
        most: int = 6_000_000,
        local: int = 2,
        kernel: int = 7,
        mlp_ratio: float = 3.0,
        keep: float = 0.5,
        tokens: int = 4096,
        band: int = 2**22,
    ) -> None:
        super().__init__()
        self.line, self.most = line, most
        self.keep, self.tokens, self.band = keep, tokens, band
        self.patch, self.dim, self.width = CELL, dim, WIDTH
        self.trunk = Trunk()
        self.project = nn.Linear(WIDTH, dim)
        self.step = nn.Linear(dim, dim)
        words: dict[str, Any] = {"mlp_ratio": mlp_ratio, "grid_conv": True, "kernel": kernel}
        self.local = Stack(dim, local, 1, mixer=None, **words) if local else None

    def load_vit(self, weights: str) -> None:
        """The trunk's weights, as benchmarks/glyph_weights.py writes them. Raises ValueError."""
        try:
            self.trunk.load_state_dict(load_file(weights))
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{weights} has no weights of a glyph trunk ({reason}); "
                "benchmarks/glyph_weights.py makes them"
            ) from None

    def count(self, height: int, width: int) -> int:
        """How many tokens an image of `height x width` pixels becomes at most."""
        return self.tokens

    def view(self, image: Pixels) -> View:
        """The part of `image` that is read, and how large."""
        return view_of(image, self.line, self.most, _UNIT)

    def forward(self, images: Sequence[Pixels], room: int = 0) -> ImageTokens:
        """`images`: uint8 RGB `[3, H, W]` in [0, 255], each of its own size.

        `room` tokens stay free after those of the longest image, for words to be put in.
        """
        return self.map(self.features(images, room))

    def features(self, images: Sequence[Pixels], room: int = 0) -> ImageTokens:
        """What the trunk makes of the cells with letters; places are those in the whole page."""
        found = [self._read(image) for image in images]
        width = max(len(at) for _, at, _ in found) + room
        tokens = found[0][0].new_zeros(len(found), width, WIDTH)
        # A bf16 place could not tell 1,000 from 1,001.
        places = torch.zeros(len(found), width, 2, device=tokens.device)
        mask = torch.zeros(len(found), width, dtype=torch.bool, device=tokens.device)
        for row, (cells, at, _) in enumerate(found):
            tokens[row, : len(at)], places[row, : len(at)], mask[row, : len(at)] = cells, at, True
        pitch = torch.tensor([pitch for _, _, pitch in found], device=tokens.device)
        return ImageTokens(tokens, mask, strips(mask), places, pitch)

    def map(self, image: ImageTokens) -> ImageTokens:
        """`features` as `forward` gives them, with their positions, counted from the first."""
        beyond = image.places.masked_fill(~image.mask.unsqueeze(-1), torch.inf)
        places = image.places - beyond.amin(1, keepdim=True)
        tokens = self.project(image.tokens)
        tokens = tokens + sine_grid(places, self.dim).to(tokens.dtype)
        # How far from the letter before: a blank is wider, and a new line goes back.
        steps = places.diff(dim=1, prepend=places[:, :1]).clamp(-_FAR, _FAR)
        tokens = tokens + self.step(sine_grid(steps, self.dim).to(tokens.dtype))
        if self.local is not None:
            tokens = self.local(tokens, image.mask, image.grids, image.places)
        return image._replace(tokens=tokens.masked_fill(~image.mask.unsqueeze(-1), 0))

    def _read(self, image: Pixels) -> tuple[Tensor, Tensor, tuple[float, float]]:
        """Features `[n, 384]`, places `[n, 2]` and pitch of an image's letters, at least one."""
        view = self.view(image)
        page = look(image, view).to(self.project.weight)  # its device and dtype
        cells, odds = self._cells(page)
        at = self.kept(odds.float().sigmoid()) or [divmod(int(odds.argmax()), odds.shape[1])]
        places = torch.tensor([at[number] for number in reading_order(at)], device=cells.device)
        rows, columns = places.unbind(1)
        corner = torch.tensor([view.top // CELL, view.left // CELL], device=cells.device)
        side = CELL / view.scale
        pitch = side / image.shape[1], side / image.shape[2]
        return cells[rows, columns], (places + corner).float(), pitch

    def kept(self, chance: Tensor) -> list[tuple[int, int]]:
        """Rows and columns of the cells that hold a letter's middle, `chance` `[rows, columns]`."""
        # Of neighbours only one does: of those alike the uppermost, of these the leftmost.
        down, across = (torch.arange(side, device=chance.device) for side in chance.shape)
        chance = chance - 1e-7 * (3 * down.unsqueeze(1) + across)  # each neighbour's is another
        best = max_pool2d(chance[None], (5, 3), 1, (2, 1))[0]
        chosen = torch.where((chance > self.keep) & (chance == best), chance, -1.0).flatten()
        likely = chosen.topk(min(self.tokens, len(chosen)))
        numbers = likely.indices[likely.values > 0].sort().values.tolist()
        return [divmod(number, chance.shape[1]) for number in numbers]

    def _cells(self, page: Tensor) -> tuple[Tensor, Tensor]:
        """What the trunk finds on the page, band by band."""
        _, height, width = page.shape
        rows = max(_UNIT, self.band // width // _UNIT * _UNIT)
        if height <= rows or torch.is_grad_enabled():
            whole: tuple[Tensor, Tensor] = self.trunk(page)
            return whole
        bands = []
        for top in range(0, height, rows):
            first, last = max(0, top - REACH), min(height, top + rows + REACH)
            start = (top - first) // CELL
            end = start + (min(height, top + rows) - top) // CELL
            bands.append([part[start:end] for part in self.trunk(page[:, first:last])])
        features, odds = (torch.cat(parts) for parts in zip(*bands, strict=True))
        return features, odds
