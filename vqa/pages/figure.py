"""Charts that the project draws itself: bars, lines, slices, with their axes."""

import dataclasses
import math
from collections.abc import Iterator

from vqa.pages.content import Cell
from vqa.pages.scene import Shape
from vqa.pages.sheet import Sheet

_TICKS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Chart:
    """One series of whole numbers with a label each."""

    form: str
    """columns, bars, line or pie."""
    labels: tuple[Cell, ...]
    values: tuple[int, ...]
    top: int
    """The end of the axis, a multiple of five."""
    prints: tuple[Cell, ...] = ()
    """The values where they are printed at the bars, points or slices."""
    ticks: tuple[Cell, ...] = ()
    """The numbers of the axis, from 0 to `top`."""
    levels: tuple[int, ...] = ()
    """Darkness of each bar or slice."""
    height: float = 12
    """In rows of text."""

    def cells(self) -> Iterator[Cell]:
        yield from (*self.ticks, *self.labels, *self.prints)

    def columns(self) -> float:
        widest = max(len(cell.text) for cell in self.labels)
        if self.form in ("columns", "line"):
            each = max(widest, *(len(cell.text) for cell in self.prints), 2) + 2
            return each * len(self.labels) + self._tick_letters()
        return 2.2 * self.height + widest + 6

    def rows(self) -> float:
        return max(self.height, 1.6 * len(self.labels)) + 2

    def width(self, sheet: Sheet) -> int:
        named = max(sheet.measure(cell) for cell in self.labels)
        if self.form in ("columns", "line"):
            printed = max((sheet.measure(cell) for cell in self.prints), default=0)
            return (max(named, printed) + 2 * sheet.letter) * len(self.labels) + self._axis(sheet)
        return named + round(sheet.pitch(self.height) * 1.2) + 8 * sheet.letter

    def place(self, sheet: Sheet, left: int, top: int, width: int) -> int:
        height = sheet.pitch(self.rows())
        draw = {"columns": _columns, "line": _columns, "bars": _bars, "pie": _pie}[self.form]
        draw(self, sheet, left, top, width, height)
        return height

    def _tick_letters(self) -> int:
        return max((len(cell.text) for cell in self.ticks), default=0) + 1

    def _axis(self, sheet: Sheet) -> int:
        """Room for the numbers of an upright axis."""
        return max((sheet.measure(cell) for cell in self.ticks), default=0) + sheet.letter


def _columns(chart: Chart, sheet: Sheet, left: int, top: int, width: int, height: int) -> None:
    """Upright bars, or points joined by a line; labels below."""
    x0, x1 = left + chart._axis(sheet), left + width
    y0, y1 = top + height - sheet.pitch(1.3), top + sheet.pitch(1)
    for number, tick in enumerate(chart.ticks):
        y = y0 + (y1 - y0) * number // _TICKS
        sheet.put(tick, x0 - sheet.letter // 2 - sheet.measure(tick), y + round(0.35 * sheet.em))
        sheet.rule(x0, y, x1, y, 60)
    sheet.rule(x0, y0, x1, y0)
    sheet.rule(x0, y0, x0, y1)
    step = (x1 - x0) / len(chart.labels)
    points = []
    for number, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        middle = round(x0 + (number + 0.5) * step)
        y = y0 - round((y0 - y1) * value / chart.top)
        sheet.put(label, middle - sheet.measure(label) // 2, y0 + sheet.pitch(1))
        points.append((middle, y))
        if chart.form == "columns":
            half = round(step * 0.32)
            _bar(sheet, number, middle - half, y, middle + half, y0, chart.levels[number])
        if chart.prints:
            text = chart.prints[number]
            sheet.put(text, middle - sheet.measure(text) // 2, y - round(0.35 * sheet.em))
    if chart.form == "line":
        sheet.shapes.append(Shape(tuple(points), 200, 2 * sheet.style.rule))
        reach = max(3, sheet.em // 6)
        for number, (x, y) in enumerate(points):
            _bar(sheet, number, x - reach, y - reach, x + reach, y + reach, 255)


def _bars(chart: Chart, sheet: Sheet, left: int, top: int, width: int, height: int) -> None:
    """Bars to the right; labels left of them."""
    named = max(sheet.measure(cell) for cell in chart.labels)
    x0, x1 = left + named + sheet.letter, left + width - 5 * sheet.letter
    y0, y1 = top + height - sheet.pitch(1.3 if chart.ticks else 0.2), top
    for number, tick in enumerate(chart.ticks):
        x = x0 + (x1 - x0) * number // _TICKS
        sheet.put(tick, x - sheet.measure(tick) // 2, y0 + sheet.pitch(1))
        sheet.rule(x, y0, x, y1, 60)
    sheet.rule(x0, y0, x0, y1)
    step = (y0 - y1) / len(chart.labels)
    for number, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        middle = round(y1 + (number + 0.5) * step)
        base = middle + round(0.35 * sheet.em)
        end = x0 + round((x1 - x0) * value / chart.top)
        half = round(step * 0.32)
        sheet.put(label, x0 - sheet.letter // 2 - sheet.measure(label), base)
        _bar(
            sheet, number, x0, middle - half, max(end, x0 + 1), middle + half, chart.levels[number]
        )
        if chart.prints:
            sheet.put(chart.prints[number], end + sheet.letter // 2, base)


def _pie(chart: Chart, sheet: Sheet, left: int, top: int, width: int, height: int) -> None:
    """Slices from the top, clockwise; a list beside it says which grey is which."""
    radius = sheet.pitch(chart.height) // 2
    x, y = left + radius, top + height // 2
    whole, start = sum(chart.values), 0
    row = top + (height - sheet.pitch(1.6 * len(chart.labels))) // 2
    side = round(0.7 * sheet.em)
    for number, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        angles = [2 * math.pi * (start + value * part / 24) / whole for part in range(25)]
        arc = [(x + round(radius * math.sin(a)), y - round(radius * math.cos(a))) for a in angles]
        points = ((x, y), *arc)
        sheet.shapes.append(Shape(points, chart.levels[number]))
        sheet.shapes.append(Shape((*points, (x, y)), 255, sheet.style.rule))
        xs, ys = zip(*points, strict=True)
        sheet.parts[number] = (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
        start += value
        base = row + sheet.baseline(1.6)
        key = x + radius + sheet.letter
        sheet.fill(key, base - side, key + side, base, chart.levels[number])
        sheet.outline(key, base - side, key + side, base)
        sheet.put(label, key + side + sheet.letter, base)
        if chart.prints:
            after = key + side + 2 * sheet.letter + sheet.measure(label)
            sheet.put(chart.prints[number], after, base)
        row += sheet.pitch(1.6)


def _bar(sheet: Sheet, number: int, x0: int, y0: int, x1: int, y1: int, level: int) -> None:
    sheet.fill(x0, y0, x1, y1, level)
    sheet.outline(x0, y0, x1, y1)
    sheet.parts[number] = (x0, y0, x1 + 1, y1 + 1)
