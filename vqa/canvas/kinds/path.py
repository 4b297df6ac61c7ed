"""Whether two dots are joined by a dashed curve (Pathfinder, Linsley et al. 2018)."""

import random
from collections.abc import Sequence

from vqa.canvas import colors, curves
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box, Mark
from vqa.canvas.sheet import Sheet

_DOT = 0.45  # units


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """Both answers show two curves with four ends: only which ends they join differs."""
    choices = ("yes", "no")
    answer = rng.choice(choices)

    def place(sheet: Sheet) -> tuple[Box, ...]:
        ends, joined, crossed = curves.pairings(sheet)
        lines = joined if answer == "yes" else crossed
        sheet.dashes = [dash for line in lines for dash in curves.dashes(line, sheet.unit)]
        color = sheet.rng.choice(colors.NAMES)
        sheet.dash_color = sheet.rng.choice(colors.NAMES)
        dots = [_dot(sheet, end, color) for end in ends[:2]]
        clear = sheet.unit // 4
        for x0, y0, x1, y1 in sheet.dashes:
            left, right = sorted((round(x0), round(x1)))
            top, bottom = sorted((round(y0), round(y1)))
            sheet.taken.append((left - clear, top - clear, right + clear, bottom + clear))
        # A circle or a ring might pass for a dot.
        sheet.strew(sheet.clutter // 2, lambda c, f: f not in ("circle", "ring"))
        return tuple(dots)

    return Query("are the two dots joined by a dashed curve?", answer, choices, place)


def _dot(sheet: Sheet, end: tuple[float, float], color: str) -> Box:
    size = max(5, round(_DOT * sheet.unit))
    placed = sheet.add(Mark("dot", color, size), round(end[0] - size / 2), round(end[1] - size / 2))
    sheet.taken.append(placed.box)
    return placed.box
