"""Pages that were scanned turned, askew or as a negative: right them, and read them so.

Most lines tell their direction, up to which end is the top; the recogniser tells that: it is sure
of letters that stand upright. Of a dark page its negative is read besides. A light page that is
read surely as it is costs nothing more.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, rotate

from encoders.pixels import Pixels, shrink
from encoders.vision.glyphs import Encoder, Letters
from encoders.vision.page_view import View, look

MIN_SKEW = math.radians(3)
"""Less is left: lines are read along their own direction anyway."""
SURE = 0.9
"""Mean probability of letters from which a page is the right way up (0.97 to 1.00 measured; upside
down 0.57 to 0.81)."""
DARK = 100.0
"""Median shade below which a page may be white on black."""
MIN_LETTERS = 8
"""Of fewer letters the probability tells nothing."""
_SMALL = 256
"""Side in pixels of the picture whose median shade is taken."""
_PAPER = [255.0, 255.0, 255.0]


class Rotation(NamedTuple):
    """A rotation of an image of `height` x `width` pixels about its middle.

    `angle`: radians by which it was turned to the left to be upright; `rotated_height`,
    `rotated_width`: size of the upright picture; `scale`: its pixels per pixel of the image.
    """

    angle: float
    height: int
    width: int
    rotated_height: int
    rotated_width: int
    scale: float

    def box_in_image(
        self, box: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float]:
        """The upright box in the image around a `box` (x0, y0, x1, y1) of the upright picture."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        corners = [(x, y) for x in box[::2] for y in box[1::2]]
        across, down = [], []
        for x, y in corners:
            right, below = x - self.rotated_width / 2, y - self.rotated_height / 2
            across.append((cos * right - sin * below) / self.scale + self.width / 2)
            down.append((sin * right + cos * below) / self.scale + self.height / 2)
        return min(across), min(down), max(across), max(down)


class UprightPage(NamedTuple):
    """The `lines` of a page that is read upright, the `view` of it, and how it was turned."""

    lines: list[Letters]
    view: View
    rotation: Rotation | None


class Negative:
    """The negative of an image, made of the piece that is asked for."""

    def __init__(self, image: Pixels) -> None:
        self.image = image

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    def __getitem__(self, piece: tuple[slice, slice, slice], /) -> Tensor:
        return 255 - self.image[piece]


def read_upright(encoder: Encoder, image: Pixels) -> UprightPage:
    """Read `image`, uint8 RGB `[3, H, W]`, turned so that its lines run to the right.

    A dark one is read as its negative if more print is read so.
    """
    page = _upright(encoder, image)
    if not _is_dark(image):
        return page
    negative = _upright(encoder, Negative(image))
    return negative if _total(negative.lines) > _total(page.lines) else page


def _is_dark(image: Pixels) -> bool:
    _, height, width = image.shape
    small = shrink(image, min(_SMALL, height), min(_SMALL, width))
    return float(small.mean(0).median()) < DARK


def _upright(encoder: Encoder, image: Pixels) -> UprightPage:
    page = _read(encoder, image, None)
    angle = reading_angle(page.lines)
    sure = _confidence(page.lines)
    if abs(angle) < MIN_SKEW and (sure >= SURE or _count(page.lines) < MIN_LETTERS):
        return page
    if abs(angle) >= MIN_SKEW:
        page = _read(encoder, image, angle)
        angle += reading_angle(page.lines)  # what is left of a guess from few lines
        sure = _confidence(page.lines)
    if sure >= SURE or _count(page.lines) < MIN_LETTERS:
        return page
    other = _read(encoder, image, angle + math.pi)
    return other if _total(other.lines) > _total(page.lines) else page


def reading_angle(lines: list[Letters]) -> float:
    """Radians by which lines run downwards to the right: their median by length, from -pi to pi.

    Lines that run up or down count as one direction where they are more than half of all.
    """
    spans = [(letters.line.angle, letters.line.length) for letters in lines]
    upright = sum(length for angle, length in spans if abs(math.sin(angle)) > math.sqrt(0.5))
    quarter = -math.pi / 2 if 2 * upright > sum(length for _, length in spans) else 0.0
    spans = [(_wrapped(angle - quarter), length) for angle, length in spans]
    spans = sorted(span for span in spans if abs(span[0]) < math.pi / 4)
    half = sum(length for _, length in spans) / 2
    for angle, length in spans:
        half -= length
        if half <= 0:
            return quarter + angle
    return 0.0


def _read(encoder: Encoder, image: Pixels, angle: float | None) -> UprightPage:
    rotation = None
    if angle is not None:
        image, rotation = _rotated(image, angle, 2 * encoder.most)
    view = encoder.view(image)
    lines = encoder.lines(look(image, view).to(encoder.project.weight))
    return UprightPage(lines, view, rotation)


def _rotated(image: Pixels, angle: float, max_pixels: int) -> tuple[Tensor, Rotation]:
    """`image`, shrunk to at most `max_pixels`, turned to the left by `angle`, on white paper."""
    _, height, width = image.shape
    scale = min(1.0, math.sqrt(max_pixels / (height * width)))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = shrink(image, *size) if scale < 1 else image[:, :, :].float()
    turns = round(angle / (math.pi / 2))
    rest = math.degrees(angle - turns * math.pi / 2)
    turned = torch.rot90(small, turns, (1, 2))  # to the left, and exact
    if abs(rest) > 0.1:
        turned = rotate(turned, rest, InterpolationMode.BILINEAR, expand=True, fill=_PAPER)
    else:
        angle = turns * math.pi / 2
    turned = turned.round().clamp(0, 255).to(torch.uint8)
    _, tall, wide = turned.shape
    return turned, Rotation(_wrapped(angle), height, width, tall, wide, scale)


def _wrapped(angle: float) -> float:
    """`angle` from -pi to pi."""
    return math.remainder(angle, 2 * math.pi)


def _count(lines: list[Letters]) -> int:
    return sum(len(letters.which) for letters in lines)


def _total(lines: list[Letters]) -> float:
    return sum(sum(letters.confidences) for letters in lines)


def _confidence(lines: list[Letters]) -> float:
    """Mean probability of letters."""
    return _total(lines) / max(1, _count(lines))
