"""Which of two objects is further left, or higher up."""

import random
from collections.abc import Sequence

from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box
from vqa.canvas.sheet import NAMES, Sheet

_MARGIN = 1.5  # units between the two centres along the axis that is asked about


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """Both objects are named, in either order, and there is one of each."""
    first, second = rng.sample(NAMES, 2)
    choices = (" ".join(first), " ".join(second))
    answer = rng.choice(choices)
    axis = rng.randrange(2)
    relation = ("further left", "higher up")[axis]

    def place(sheet: Sheet) -> tuple[Box, ...]:
        winner, loser = (first, second) if answer == choices[0] else (second, first)
        one = sheet.put(sheet.mark(*winner))
        least = one.center[axis] + _MARGIN * sheet.unit
        two = sheet.put(sheet.mark(*loser), lambda x, y: (x, y)[axis] >= least)
        sheet.strew(sheet.clutter, lambda c, f: (c, f) not in (first, second))
        return (one.box, two.box)

    question = f"which is {relation}, the {choices[0]} or the {choices[1]}?"
    return Query(question, answer, choices, place)
