"""Correct the orientation of a page: rotation, skew and white on black.

Text lines give the angle, but not which end is up. The recogniser decides that: its confidence is
high for upright letters only. A dark page is also read as its negative. A light, upright page is
read once.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, rotate

from encoders.pixels import Pixels, shrink
from encoders.vision.glyphs import Encoder, Letters
from encoders.vision.page_view import View, look
from encoders.vision.text_lines import median_angle

MIN_SKEW = math.radians(3)
"""Less is left: lines are read along their own direction anyway."""
MIN_CONFIDENCE = 0.9
"""Mean letter confidence from which a page is the right way up (0.97 to 1.00 measured; upside
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
    more = _confidence_sum(negative.lines) > _confidence_sum(page.lines)
    return negative if more else page


def _is_dark(image: Pixels) -> bool:
    _, height, width = image.shape
    small = shrink(image, min(_SMALL, height), min(_SMALL, width))
    return float(small.mean(0).median()) < DARK


def _upright(encoder: Encoder, image: Pixels) -> UprightPage:
    page = _read(encoder, image, None)
    angle = reading_angle(page.lines)
    if abs(angle) >= MIN_SKEW:
        page = _read(encoder, image, angle)
        angle += reading_angle(page.lines)  # the rest, where few lines gave a rough first guess
    letters = sum(len(line.which) for line in page.lines)
    total = _confidence_sum(page.lines)
    if letters < MIN_LETTERS or total >= MIN_CONFIDENCE * letters:
        return page
    other = _read(encoder, image, angle + math.pi)
    return other if _confidence_sum(other.lines) > total else page


def reading_angle(lines: list[Letters]) -> float:
    """Radians by which lines run downwards to the right: their median by length, from -pi to pi.

    Lines that run up or down count as one direction where they are more than half of all.
    """
    spans = [(letters.line.angle, letters.line.length) for letters in lines]
    upright = sum(length for angle, length in spans if abs(math.sin(angle)) > math.sqrt(0.5))
    quarter = -math.pi / 2 if 2 * upright > sum(length for _, length in spans) else 0.0
    spans = [(_wrapped(angle - quarter), length) for angle, length in spans]
    near = [span for span in spans if abs(span[0]) < math.pi / 4]
    return quarter + median_angle(near) if near else 0.0


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


def _confidence_sum(lines: list[Letters]) -> float:
    """Sum of the probabilities of all letters."""
    return sum(sum(letters.confidences) for letters in lines)
