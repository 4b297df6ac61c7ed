"""The colour of a shape or icon, or the shape or icon of a colour."""

import random
from collections.abc import Sequence

from vqa.canvas import colors, forms
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box
from vqa.canvas.sheet import Sheet


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """Only one object has the form, or the colour, that is asked about."""
    color = rng.choice(colors.NAMES)
    group = rng.choice((forms.SHAPES, forms.ICONS))
    form = rng.choice(tuple(group))
    by_form = rng.random() < 0.5

    def place(sheet: Sheet) -> tuple[Box, ...]:
        placed = sheet.put(sheet.mark(color, form))
        sheet.strew(sheet.clutter + 2, lambda c, f: f != form if by_form else c != color)
        return (placed.box,)

    if by_form:
        return Query(f"what color is the {form}?", color, colors.NAMES, place)
    noun = "shape" if group is forms.SHAPES else "icon"
    return Query(f"what {noun} is {color}?", form, tuple(group), place)
