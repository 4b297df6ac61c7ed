"""Which icon is nearest to a shape, by their centres."""

import math
import random
from collections.abc import Sequence

from vqa.canvas import colors, forms
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box
from vqa.canvas.sheet import Sheet

_FARTHER = 1.4  # any other icon is at least this many times as far away


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """There is one such shape; shapes may stand nearer, they are no icons."""
    color = rng.choice(colors.NAMES)
    shape = rng.choice(tuple(forms.SHAPES))
    icons = tuple(forms.ICONS)
    answer = rng.choice(icons)

    def place(sheet: Sheet) -> tuple[Box, ...]:
        anchor = sheet.put(sheet.mark(color, shape))
        unit = sheet.unit
        reach = max(2.4 * unit, min(sheet.width, sheet.height) / 6)

        def distance(x: float, y: float) -> float:
            return math.dist(anchor.center, (x, y))

        near = sheet.put(
            sheet.mark(sheet.rng.choice(colors.NAMES), answer),
            lambda x, y: distance(x, y) <= reach,
        )
        least = _FARTHER * distance(*near.center)
        others = [icon for icon in icons if icon != answer]
        for _ in range(2 + sheet.clutter // 2):
            mark = sheet.mark(sheet.rng.choice(colors.NAMES), sheet.rng.choice(others))
            sheet.put(mark, lambda x, y: distance(x, y) >= least)
        sheet.strew(sheet.clutter // 2, lambda c, f: f in forms.SHAPES and (c, f) != (color, shape))
        return (anchor.box, near.box)

    question = f"which icon is nearest to the {color} {shape}?"
    return Query(question, answer, icons, place)
