"""A page as values: what is printed where on the sheet, and how the sheet lies in the image."""

import dataclasses
import math
from typing import NamedTuple

from vqa.pages.content import Fact
from vqa.pages.fonts import Face

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels; right and bottom are the first pixels outside."""


class Text(NamedTuple):
    """A run of letters from `x` on, standing on the line `y`, in pixels of the sheet."""

    text: str
    face: Face
    x: int
    y: int
    level: int
    tracking: int
    """Pixels added behind each letter."""


class Shape(NamedTuple):
    """A polygon, or with a `line` width an open line through the points."""

    points: tuple[tuple[int, int], ...]
    level: int
    line: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Sheet:
    """Paper with print on it, upright, in pixels of its own."""

    width: int
    height: int
    texts: tuple[Text, ...]
    shapes: tuple[Shape, ...]


class Matrix(NamedTuple):
    """(x, y) of the sheet lies at (a x + b y + c, d x + e y + f) of the image."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    def box(self, box: Box) -> Box:
        """The smallest box of whole pixels around the image of a box."""
        corners = [(x, y) for x in (box[0], box[2]) for y in (box[1], box[3])]
        xs = [self.a * x + self.b * y + self.c for x, y in corners]
        ys = [self.d * x + self.e * y + self.f for x, y in corners]
        # Half a pixel more: scaling spreads ink over its neighbours.
        return (
            math.floor(min(xs) - 0.5),
            math.floor(min(ys) - 0.5),
            math.ceil(max(xs) + 0.5),
            math.ceil(max(ys) + 0.5),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """One image of a page with one of its questions."""

    width: int
    height: int
    layout: str
    fact: Fact
    evidence: tuple[Box, ...]
    """Where the answer is read from, in pixels of the image."""
    sheet: Sheet
    matrix: Matrix
    em: float
    """Pixels an em of the page's text in the image."""
    flat: bool
    wear: int
    """The seed of what the page went through."""

    @property
    def kind(self) -> str:
        """The kind of the question."""
        return self.fact.kind

    @property
    def question(self) -> str:
        """The question."""
        return self.fact.question

    @property
    def choices(self) -> tuple[str, ...]:
        """The answers the question may have, where they are few."""
        return self.fact.choices
