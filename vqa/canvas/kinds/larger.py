"""Which of two objects of the same form is larger, by at least one and a half times."""

import random
from collections.abc import Sequence

from vqa.canvas import colors, forms
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box
from vqa.canvas.sheet import Sheet

_LARGE = 1.6


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """The same form, for of two forms a long one may be the one with less ink."""
    form = rng.choice((*forms.SHAPES, *forms.ICONS))
    colored = rng.sample(colors.NAMES, 2)
    choices = (f"{colored[0]} {form}", f"{colored[1]} {form}")
    answer = rng.choice(choices)

    def place(sheet: Sheet) -> tuple[Box, ...]:
        scales = (_LARGE, 1.0) if answer == choices[0] else (1.0, _LARGE)
        pairs = zip(colored, scales, strict=True)
        boxes = [sheet.put(sheet.mark(color, form, scale)).box for color, scale in pairs]
        for _ in range(sheet.clutter):
            scale = sheet.rng.choice((1.0, _LARGE))
            sheet.strew(1, lambda c, f: f != form, scale)
        return tuple(boxes)

    question = f"which is larger, the {choices[0]} or the {choices[1]}?"
    return Query(question, answer, choices, place)
