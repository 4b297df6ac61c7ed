"""The sum of two printed numbers of the same colour, among numbers of other colours."""

import random
from collections.abc import Sequence

from vqa.canvas import colors
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box
from vqa.canvas.sheet import Sheet

_LEAST, _MOST = 10, 99
SUMS = tuple(str(total) for total in range(2 * _LEAST, 2 * _MOST + 1))


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """The sum is drawn first, then one of the pairs of two-digit numbers that make it."""
    answer = rng.choice(SUMS)
    total = int(answer)
    first = rng.randint(max(_LEAST, total - _MOST), min(_MOST, total - _LEAST))
    color = rng.choice(colors.NAMES)

    def place(sheet: Sheet) -> tuple[Box, ...]:
        pair = (first, total - first)
        boxes = [sheet.put(sheet.text(str(number), color)).box for number in pair]
        others = [name for name in colors.NAMES if name != color]
        for _ in range(1 + sheet.clutter // 2):
            number = sheet.rng.randint(_LEAST, _MOST)
            sheet.put(sheet.text(str(number), sheet.rng.choice(others)))
        sheet.strew(sheet.clutter // 2, lambda c, f: True)
        return tuple(boxes)

    return Query(f"what is the sum of the two {color} numbers?", answer, SUMS, place)
