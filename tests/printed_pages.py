"""Pages whose print is coloured bars, and an encoder that reads them without trained weights."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from encoders.pixels import Pixels
from encoders.vision.glyphs import WIDTH, Encoder
from encoders.vision.line_reader import BLANK, HEIGHT, LETTERS, STEP
from encoders.vision.page_view import View

DIM = 16
A, B = 1 + LETTERS.index("A"), 1 + LETTERS.index("B")


class Print(NamedTuple):
    """Letters A, B and blanks in a line that begins at x, y, `size` pixels high."""

    x: float
    y: float
    text: str
    size: int = 20
    angle: float = 0.0

    @property
    def advance(self) -> float:
        return 1.5 * self.size

    def middles(self) -> list[tuple[float, float]]:
        """Row and column of each letter that is no blank."""
        along = [(n + 0.5) * self.advance for n, c in enumerate(self.text) if c != " "]
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return [(self.y + at * sin, self.x + at * cos) for at in along]


def printed(height: int, width: int, *lines: Print) -> Tensor:
    """White paper; lines are dark in red, letters A in green, B in blue, and blanks in both."""
    down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.full((3, height, width), 255, dtype=torch.uint8)
    for line in lines:
        cos, sin = math.cos(line.angle), math.sin(line.angle)
        x, y = across + 0.5 - line.x, down + 0.5 - line.y
        along, beside = x * cos + y * sin, y * cos - x * sin
        inside = (along >= 0) & (along < len(line.text) * line.advance)
        inside &= beside.abs() < line.size / 2
        image[0][inside] = 0
        for number, letter in enumerate(line.text):
            middle = (number + 0.5) * line.advance
            held = inside & ((along - middle).abs() < 0.27 * line.advance)
            for channel in {"A": (1,), "B": (2,), " ": (1, 2)}[letter]:
                image[channel][held] = 0
    return image


class RedFinder(nn.Module):
    """In place of a detector: what is dark in red is the core of a line."""

    def forward(self, page: Tensor) -> Tensor:
        return 1 - page[0] / 255


class ColourReader(nn.Module):
    """In place of a recogniser: reads colours in the middle of each column, as `sure` as told.

    A column's features are its shares of the letters, then noughts.
    """

    def __init__(self, sure: float = 20.0) -> None:
        super().__init__()
        self.sure = sure

    def forward(self, strips: Tensor) -> tuple[Tensor, Tensor]:
        seen = strips[:, 1:, HEIGHT // 2 - 4 : HEIGHT // 2 + 4, STEP // 2 :: STEP].mean(2)
        green, blue = ((127.5 - seen) / 127.5).clamp(0, 1).unbind(1)  # a middle grey is nothing
        shares = [(1 - green) * (1 - blue), green * (1 - blue), blue * (1 - green), green * blue]
        logits = strips.new_full((*green.shape, len(LETTERS) + 1), -self.sure)
        logits[..., [0, A, B, BLANK]] = self.sure * torch.stack(shares, -1)
        features = strips.new_zeros(*green.shape, WIDTH - 2)
        features[..., :4] = torch.stack(shares, -1)
        return features, logits


def whole(image: Pixels) -> View:
    _, tall, wide = image.shape
    return View(1.0, 0, 0, tall + -tall % 64, wide + -wide % 64)


def make(dtype: torch.dtype = torch.float32, lively: bool = False, **words: object) -> Encoder:
    """Images are read whole and as they are, unless a `line` is given.

    `lively`: the recogniser is the real one, with weights so large that it reads letters.
    """
    torch.manual_seed(0)
    settings = {"most": 10**6, "local": 1, "keep": 0.0, **words}
    encoder = Encoder(DIM, **settings)  # type: ignore[arg-type]
    encoder.trunk.finder = RedFinder()  # type: ignore[assignment]
    if lively:
        for part in encoder.trunk.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight)
        nn.init.normal_(encoder.trunk.reader.letter.weight, std=0.3)
    else:
        encoder.trunk.reader = ColourReader()  # type: ignore[assignment]
    if "line" not in words:
        encoder.view = whole  # type: ignore[method-assign]
    return encoder.to(dtype).eval()


PAGE = (
    Print(30, 40, "ABBA AB"),
    Print(310, 40, "BAB B"),
    Print(30, 120, "BB AAA", 30),
    Print(40, 220, "A", 40),
)
