"""Print alone: a token for each letter of a page, as a text recogniser sees it in its line.

Lines are found on the whole page (line_finder.py), each is read as a strip of it (line_reader.py),
and where the recogniser sees a letter its features there become a token. Empty paper becomes no
tokens, so a page has about as many as it has letters. They come line by line, as one strip: a
convolution over their `grids` mixes each with those before and after it.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from encoders.patch_grids import strips
from encoders.pixels import Pixels
from encoders.position import sine_grid
from encoders.stack import Stack
from encoders.vision import line_finder, line_reader, text_lines
from encoders.vision.line_finder import LineFinder
from encoders.vision.line_reader import BLANK, HEIGHT, STEP, LineReader
from encoders.vision.page_view import View, look, view_of
from encoders.vision.sheet import ImageTokens
from encoders.vision.text_lines import Line

CELL = 8
"""Pixels of the page, as it is looked at, from one place to the next, both ways."""
WIDTH = line_reader.WIDTH + 2
"""What is told of a letter: features, whether its word begins with it, and the logarithm of its
line's height over the page's median."""
_FAR = 64
"""Cells from one letter to the next, beyond which it does not matter how many more."""
_UNIT = 2 * line_finder.UNIT
"""Sides of what is read are multiples of it, in pixels: lines are looked for at half its size."""
_AT_ONCE = 2**14
"""Pixels of the strips, in their length, that are read together, to bound the memory."""
_ROOM = 64
"""Columns are added to a strip up to a multiple of so many pixels: alike ones are read together."""


class Letters(NamedTuple):
    """Letters of a `line`: features `[n, WIDTH]`, places `[n, 2]` (row, column) in pixels of the
    page, which they are, by their classes in line_reader.LETTERS, how likely each is, and which of
    them start a word."""

    line: Line
    features: Tensor
    places: Tensor
    which: list[int]
    confidences: list[float]
    starts: list[bool]


class Trunk(nn.Module):
    """What finds lines and reads them; it stays as it was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.finder = LineFinder()
        self.reader = LineReader()


class Encoder(nn.Module):
    """Pages looked at so that their lines are `line` pixels high (encoders/vision/page_view.py).

    `most`: pixels of the page at that scale; `keep`: mean probability of a line's letters, below
    which it is left out; `tokens`: how many an image has at most, the first ones; `local` blocks
    see `kernel` letters across.
    """

    def __init__(
        self,
        dim: int,
        line: int = 31,
        most: int = 6_000_000,
        keep: float = 0.5,
        local: int = 2,
        kernel: int = 7,
        mlp_ratio: float = 3.0,
        tokens: int = 4096,
    ) -> None:
        super().__init__()
        self.line, self.most = line, most
        self.keep, self.tokens = keep, tokens
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
                f"{weights} has no weights that find and read lines ({reason}); "
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
        """What the trunk makes of letters; places are those in the whole page, in cells.

        An image without print has one token, of zeros, in its middle.
        """
        found = [self._read(image) for image in images]
        width = max(len(at) for _, at, _ in found) + room
        tokens = found[0][0].new_zeros(len(found), width, WIDTH)
        # A bf16 place could not tell 1,000 from 1,001.
        places = torch.zeros(len(found), width, 2, device=tokens.device)
        mask = torch.zeros(len(found), width, dtype=torch.bool, device=tokens.device)
        for row, (letters, at, _) in enumerate(found):
            tokens[row, : len(at)], places[row, : len(at)], mask[row, : len(at)] = letters, at, True
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
        """Features `[n, WIDTH]`, places `[n, 2]` and pitch of an image's letters, at least one."""
        view = self.view(image)
        page = look(image, view).to(self.project.weight)  # its device and dtype
        lines = self.lines(page)
        side = CELL / view.scale
        pitch = side / image.shape[1], side / image.shape[2]
        if not lines:
            middle = torch.tensor([[0.5 / pitch[0] - 0.5, 0.5 / pitch[1] - 0.5]])
            return page.new_zeros(1, WIDTH), middle.to(page.device), pitch
        features = torch.cat([letters.features for letters in lines])[: self.tokens]
        places = torch.cat([letters.places for letters in lines])[: self.tokens]
        corner = torch.tensor([view.top, view.left], device=page.device)
        return features.to(page.dtype), (places + corner) / CELL - 0.5, pitch

    def lines(self, page: Tensor) -> list[Letters]:
        """The letters of a page `[3, H, W]` in [0, 255], sides multiples of 64, line by line in the
        order of reading."""
        pages = text_lines.pyramid(page)
        lines = text_lines.in_rows(text_lines.lines_of(self.trunk.finder(pages[1]), 0.5))
        usual = sorted(line.height for line in lines)[len(lines) // 2] if lines else 1.0
        alike: defaultdict[int, list[int]] = defaultdict(list)
        for number, line in enumerate(lines):
            alike[_width(line)].append(number)
        found: dict[int, Letters] = {}
        for width, numbers in alike.items():
            for first in range(0, len(numbers), max(1, _AT_ONCE // width)):
                part = numbers[first : first + max(1, _AT_ONCE // width)]
                shown = [text_lines.strip(pages, lines[number], HEIGHT, width) for number in part]
                features, logits = self.trunk.reader(torch.stack(shown).to(page.dtype))
                for number, *read in zip(part, features, logits, strict=True):
                    found[number] = self._letters(lines[number], usual, *read)
        return [found[number] for number in range(len(lines)) if found[number].which]

    def _letters(self, line: Line, usual: float, features: Tensor, logits: Tensor) -> Letters:
        """The letters of one line: of each run of columns that show the same, the surest."""
        used = math.ceil(line.length * HEIGHT / line.height / STEP)
        chance, which = (part.tolist() for part in logits[:used].float().softmax(-1).max(-1))
        runs = [list(run) for _, run in groupby(range(len(which)), which.__getitem__)]
        peaks = [max(run, key=chance.__getitem__) for run in runs if which[run[0]]]
        letters = [peak for peak in peaks if which[peak] != BLANK]
        if not letters or sum(chance[peak] for peak in letters) < self.keep * len(letters):
            return Letters(line, features[:0], features.new_zeros(0, 2), [], [], [])
        spaced = [True, *(which[peak] == BLANK for peak in peaks[:-1])]
        at = torch.tensor(letters, device=features.device)
        along = (at + 0.5) * STEP * line.height / HEIGHT - line.length / 2
        places = torch.stack(
            [line.y + along * math.sin(line.angle), line.x + along * math.cos(line.angle)], 1
        )
        starts = [gap for peak, gap in zip(peaks, spaced, strict=True) if which[peak] != BLANK]
        height = math.log(line.height / usual)
        more = features.new_tensor([[float(start), height] for start in starts])
        classes, confidences = ([part[peak] for peak in letters] for part in (which, chance))
        seen = torch.cat([features[at], more], 1)
        return Letters(line, seen, places, classes, confidences, starts)


def _width(line: Line) -> int:
    """Pixels of the strip that `line` is read as, whatever is read beside it."""
    return math.ceil(line.length * HEIGHT / line.height / _ROOM) * _ROOM
