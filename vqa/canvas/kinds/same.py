"""Whether two framed details, far apart, are the same."""

import math
import random
from collections.abc import Callable, Sequence

from vqa.canvas import colors, forms, stamps
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box, Mark
from vqa.canvas.sheet import Sheet

_APART = 0.5  # of the longer side of the canvas, between the two centres


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """Icons that differ in form, patterns in one cell of nine, numbers in one digit."""
    noun, form, one, two = rng.choice((_icons, _patterns, _numbers))(rng)
    choices = ("yes", "no")
    answer = rng.choice(choices)
    color = rng.choice(colors.NAMES)
    if answer == "yes":
        two = one

    def place(sheet: Sheet) -> tuple[Box, ...]:
        font = sheet.rng.choice(sheet.fonts)

        def detail(value: str) -> Mark:
            if form == "icon":
                return sheet.mark(color, value)
            return Mark(form, color, sheet.unit, value, font if form == "text" else "")

        first = _framed(sheet, detail(one), lambda x, y: True)
        center = (first[0] + first[2]) / 2, (first[1] + first[3]) / 2
        least = _APART * max(sheet.width, sheet.height)
        second = _framed(sheet, detail(two), lambda x, y: math.dist(center, (x, y)) >= least)
        sheet.strew(sheet.clutter, lambda c, f: True)
        return (first, second)

    return Query(f"are the two framed {noun} the same?", answer, choices, place)


def _framed(sheet: Sheet, mark: Mark, accept: Callable[[float, float], bool]) -> Box:
    """A mark in the middle of a black frame; the box of the frame."""
    height, width = stamps.mask(mark).shape
    frame = Mark("frame", "black", max(height, width) + sheet.unit)
    side = frame.size
    left, top = sheet.room(side, side, accept)
    sheet.add(mark, left + (side - width) // 2, top + (side - height) // 2)
    return sheet.add(frame, left, top).box


Details = tuple[str, str, str, str]
"""What the question calls them, the form of their marks, one, and a different one."""


def _icons(rng: random.Random) -> Details:
    one, two = rng.sample(tuple(forms.ICONS), 2)
    return "icons", "icon", one, two


def _patterns(rng: random.Random) -> Details:
    # The corners are always there: a pattern cannot be another one, moved.
    cells = [1 if place in (0, 2, 6, 8) else rng.randrange(2) for place in range(9)]
    other = list(cells)
    place = rng.choice((1, 3, 4, 5, 7))
    other[place] = 1 - other[place]
    one, two = ("".join(map(str, each)) for each in (cells, other))
    return "patterns", "pattern", one, two


def _numbers(rng: random.Random) -> Details:
    digits = [rng.randint(1, 9) for _ in range(3)]
    other = list(digits)
    place = rng.randrange(3)
    other[place] = rng.choice([digit for digit in range(1, 10) if digit != digits[place]])
    one, two = ("".join(map(str, each)) for each in (digits, other))
    return "numbers", "text", one, two
