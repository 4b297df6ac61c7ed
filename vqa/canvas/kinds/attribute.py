"""The colour of a shape or icon, or the shape or icon of a colour."""

import math
import random
from collections.abc import Callable, Sequence

from vqa.canvas import colors, forms
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box
from vqa.canvas.sheet import Sheet

Fill = Callable[[Sheet], list[Box]]

MOST = len(forms.SHAPES)
"""Questions that one canvas has objects for."""


def units(questions: int) -> int:
    """One object fits on two by two: the small end of a curriculum."""
    return 2 * math.ceil(math.sqrt(questions))


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """Only one object has the form, or the colour, that is asked about."""
    return poses(rng, words, 1)[0]


def poses(rng: random.Random, words: Sequence[str], count: int) -> list[Query]:
    """`count` questions about one canvas, whose objects differ in form and in colour."""
    asked: list[tuple[str, str, bool]] = []
    for _ in range(count):
        color = rng.choice([name for name in colors.NAMES if name not in _column(asked, 0)])
        group = rng.choice((forms.SHAPES, forms.ICONS))
        form = rng.choice([name for name in group if name not in _column(asked, 1)])
        asked.append((color, form, rng.random() < 0.5))
    by_form = {form for _, form, named in asked if named}
    by_color = {color for color, _, named in asked if not named}

    def fill(sheet: Sheet) -> list[Box]:
        boxes = [sheet.put(sheet.mark(color, form)).box for color, form, _ in asked]
        others = max(0, sheet.clutter + 3 - count)
        sheet.strew(others, lambda c, f: f not in by_form and c not in by_color)
        return boxes

    return [_query(*asked[number], number, fill) for number in range(count)]


def _query(color: str, form: str, by_form: bool, number: int, fill: Fill) -> Query:
    def place(sheet: Sheet) -> tuple[Box, ...]:
        return (fill(sheet)[number],)

    if by_form:
        return Query(f"what color is the {form}?", color, colors.NAMES, place)
    noun, group = ("shape", forms.SHAPES) if form in forms.SHAPES else ("icon", forms.ICONS)
    return Query(f"what {noun} is {color}?", form, tuple(group), place)


def _column(asked: Sequence[tuple[str, str, bool]], number: int) -> list[object]:
    return [row[number] for row in asked]
