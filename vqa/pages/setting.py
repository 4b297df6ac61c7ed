"""A page's content set in type on a sheet, and how the sheet lies in an image of a size."""

import math
import random
from typing import NamedTuple

from vqa.pages.blocks import place_all
from vqa.pages.content import Content, Fact, Room
from vqa.pages.fonts import Family
from vqa.pages.scene import Box, Matrix
from vqa.pages.scene import Sheet as Values
from vqa.pages.sheet import Sheet, Style, union

EMS = (16, 20, 24, 28, 32, 40)
"""Pixels an em on a sheet: few, so that letters drawn once serve many pages."""
LEAST_EM = 10
"""Pixels an em in the image: below, letters run together."""


class Print(NamedTuple):
    """A page as it lies in its image."""

    sheet: Sheet
    values: Values
    matrix: Matrix
    width: int
    height: int
    """Of the image in pixels."""
    em: float

    def boxes(self, fact: Fact) -> tuple[Box, ...]:
        """Where the answer is read from, in pixels of the image: a box for each row of text."""
        boxes = [self.sheet.box(span) for span in fact.evidence]
        if fact.kind in ("address", "company", "customer"):
            boxes = [union(boxes)]
        if fact.part is not None:
            boxes.append(self.sheet.parts[fact.part])
        found = [self.matrix.box(box) for box in boxes]
        limits = (self.width, self.height)
        return tuple(
            (max(0, x0), max(0, y0), min(limits[0], x1), min(limits[1], y1))
            for x0, y0, x1, y1 in found
        )


def em_range(size: int) -> tuple[float, float]:
    """Pixels an em of pages of `size`: as of scans shrunk to it, larger letters on larger pages."""
    return max(LEAST_EM + 0.5, min(18.0, size / 85)), max(16.0, min(44.0, size / 24))


def room(rng: random.Random, size: int) -> tuple[float, Room]:
    """Pixels an em, and the rows and letters a row that this leaves."""
    low, high = em_range(size)
    em = low * (high / low) ** rng.random()
    rows = int(size * 0.92 / (1.3 * em))
    columns = int(size * 0.92 / ((0.6 if size > 128 else 0.68) * em))
    return em, Room(min(rows, 64), columns)


def fits(content: Content, em: float, size: int) -> bool:
    """Whether the page can be set without its letters becoming too small, by estimate."""
    columns = max(block.columns() for block in content.blocks)
    rows = sum(block.rows() for block in content.blocks)
    return max((columns + 2) * 0.62, (rows + 1) * 1.3) * LEAST_EM <= size


def style(rng: random.Random, content: Content, families: tuple[Family, ...], em: float) -> Style:
    """Fonts, spacing and print, drawn for one page; `em` is that of the image."""
    mono = rng.random() < content.mono
    chosen = [family for family in families if family.mono == mono] or list(families)
    family = rng.choice(chosen)
    finer = em * rng.choice((1.0, 1.3, 1.6, 2.0) if em < 24 else (1.0, 1.0, 1.3))
    size = min(EMS, key=lambda each: abs(each - finer))
    grains = ("smooth", "hard", "dots")
    weights = (10, 0, 0) if content.flat or size < 20 else (10, 4, 2 if mono else 0)
    grain = rng.choices(grains, weights)[0]
    bold = family.regular if rng.random() < 0.25 else family.bold
    regular = family.bold if rng.random() < 0.12 else family.regular
    leading = (
        rng.choice((1.1, 1.15, 1.2, 1.2, 1.3, 1.4, 1.6)) if family.mono else rng.uniform(1.15, 1.6)
    )
    return Style(
        regular,
        bold,
        size,
        leading,
        grain,
        rng.choice((0, 0, 0, 1)) * size // 20,
        max(1, round(size / 18)),
    )


def set_page(
    rng: random.Random, content: Content, families: tuple[Family, ...], em: float, size: int
) -> Print:
    """Sets the blocks, and lays the sheet into an image whose longer side is `size`."""
    look = style(rng, content, families, em)
    sheet = Sheet(look)
    margin = round(rng.choice((0.4, 0.7, 1.0, 1.5, 2.5)) * sheet.letter)
    inner = max(block.width(sheet) for block in content.blocks)
    inner = round(inner * rng.choice((1.0, 1.0, 1.05, 1.15)))
    height = place_all(content.blocks, sheet, margin, margin, inner) + 2 * margin
    values = sheet.done(inner + 2 * margin, height)
    return _lay(rng, sheet, values, content.flat, em, size)


def _lay(
    rng: random.Random, sheet: Sheet, values: Values, flat: bool, em: float, size: int
) -> Print:
    """Scales, turns and shears the sheet, and puts it anywhere on the image that holds it all."""
    wide = 1.0 if flat else rng.choice((1.0, rng.uniform(0.75, 1.1)))
    turn = 0.0 if flat or rng.random() < 0.4 else math.radians(rng.gauss(0, 1.2))
    turn = max(-0.06, min(0.06, turn))
    shear = 0.0 if flat or rng.random() < 0.7 else rng.gauss(0, 0.02)
    while True:
        a, b, d, e = _turned(wide, turn, shear)
        corners = [(x, y) for x in (0, values.width) for y in (0, values.height)]
        xs = [a * x + b * y for x, y in corners]
        ys = [d * x + e * y for x, y in corners]
        extent = (max(xs) - min(xs), max(ys) - min(ys))
        # Rather narrow letters than small ones.
        if wide < 0.75 or flat or size / extent[0] * sheet.em >= LEAST_EM:
            break
        wide *= 0.93
    scale = em / sheet.em
    fill = rng.uniform(0.93, 1.0) if rng.random() < 0.75 else rng.uniform(0.6, 0.93)
    whole = fill * size / max(extent)
    # Never larger than the page; where little is printed, letters grow before the margin does.
    scale = min(size / max(extent), max(scale, min(whole, 2.5 * scale)))
    spread = [scale * length for length in extent]
    long, short = (0, 1) if spread[0] >= spread[1] else (1, 0)
    sides = [0, 0]
    sides[long] = size
    least = max(16, spread[short], size / 8)
    blank = rng.uniform(1.0, 1.12) if rng.random() < 0.75 else rng.uniform(1.1, 1.8)
    sides[short] = min(size, math.ceil(least * blank))
    left, top = (
        rng.uniform(0, max(0, side - length)) for side, length in zip(sides, spread, strict=True)
    )
    if not turn and not shear:
        left, top = int(left), int(top)  # letters keep their edges
    matrix = Matrix(
        scale * a, scale * b, left - scale * min(xs), scale * d, scale * e, top - scale * min(ys)
    )
    return Print(sheet, values, matrix, sides[0], sides[1], scale * sheet.em)


def _turned(wide: float, turn: float, shear: float) -> tuple[float, float, float, float]:
    """a, b, d, e of a matrix: stretched across, sheared, then turned."""
    cosine, sine = math.cos(turn), math.sin(turn)
    return cosine * wide, shear * cosine - sine, sine * wide, shear * sine + cosine
