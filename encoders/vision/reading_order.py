"""The order in which letters are read: line by line, however the lines tilt."""

from collections.abc import Sequence

GAP = 6
"""Cells between the middles of two letters of one line, at most: a letter, a blank, a letter."""


def reading_order(places: Sequence[tuple[int, int]]) -> list[int]:
    """Numbers of the letters at `places` (row, column) in the order of reading.

    A letter goes on the line of the nearest letter to its left that is at most one row higher or
    lower. Lines come from top to bottom by their middle, those beside each other from the left.
    """
    line_of: dict[tuple[int, int], list[int]] = {}
    lines: list[list[int]] = []
    for number in sorted(range(len(places)), key=lambda number: places[number][::-1]):
        row, column = places[number]
        line = _before(line_of, row, column)
        if line is None:
            line = []
            lines.append(line)
        line.append(number)
        line_of[row, column] = line
    middles = {id(line): sum(places[number][0] for number in line) / len(line) for line in lines}
    lines.sort(key=lambda line: (round(middles[id(line)]), places[line[0]][1]))
    return [number for line in lines for number in line]


def _before(line_of: dict[tuple[int, int], list[int]], row: int, column: int) -> list[int] | None:
    for distance in range(1, GAP + 1):
        for near in (row, row - 1, row + 1):
            line = line_of.get((near, column - distance))
            if line is not None:
                return line
    return None
