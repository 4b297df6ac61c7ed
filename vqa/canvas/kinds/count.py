"""How many objects of a form, of a colour, or of both: one to six."""

import random
from collections.abc import Sequence

from vqa.canvas import colors, forms
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box
from vqa.canvas.sheet import NAMES, Sheet

NUMBERS = ("1", "2", "3", "4", "5", "6")


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """Nearly right objects stand among them: the form in another colour, the colour elsewhere."""
    answer = rng.choice(NUMBERS)
    color: str | None = rng.choice(colors.NAMES)
    form: str | None = rng.choice((*forms.SHAPES, *forms.ICONS))
    asked = rng.choice(("both", "form", "color"))
    color = None if asked == "form" else color
    form = None if asked == "color" else form

    def wanted(c: str, f: str) -> bool:
        return color in (None, c) and form in (None, f)

    def near(c: str, f: str) -> bool:
        return not wanted(c, f) and (c == color or f == form)

    def place(sheet: Sheet) -> tuple[Box, ...]:
        names = [name for name in NAMES if wanted(*name)]
        found = [sheet.put(sheet.mark(*sheet.rng.choice(names))) for _ in range(int(answer))]
        # Their number is drawn too: the total of all objects must not give the answer away.
        if asked == "both":
            sheet.strew(sheet.rng.randint(0, 4), near)
        sheet.strew(sheet.rng.randint(0, sheet.clutter + 2), lambda c, f: not wanted(c, f))
        return tuple(placed.box for placed in found)

    plural = {None: "objects", "fish": "fish", "cross": "crosses", "hourglass": "hourglasses"}
    noun = plural.get(form, f"{form}s")
    question = f"how many {color} {noun} are there?" if color else f"how many {noun} are there?"
    return Query(question, answer, NUMBERS, place)
