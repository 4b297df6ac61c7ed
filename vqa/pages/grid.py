"""Rows of cells in columns that share their widths."""

import dataclasses
from collections.abc import Iterator

from vqa.pages.blocks import letters
from vqa.pages.content import Cell
from vqa.pages.sheet import Sheet


@dataclasses.dataclass(frozen=True, slots=True)
class Grid:
    """Cells in rows and columns; an empty place is None."""

    table: tuple[tuple[Cell | None, ...], ...]
    aligns: str
    """l, c or r for each column."""
    at: str = "stretch"
    """Where the grid stands: stretch over the page, left, center or right."""
    gap: float = 1.5
    """Between columns, in letters."""
    rules: str = ""
    """Which lines are drawn: nothing, head (below the first row), rows, box or all."""
    spare: int = 0
    """The column that takes the space left; -1 shares it out."""
    tight: float = 1.0
    """Height of a row against that of text."""

    def cells(self) -> Iterator[Cell]:
        for row in self.table:
            yield from (cell for cell in row if cell)

    def columns(self) -> float:
        widest = [max((letters(c) for c in column if c), default=0) for column in self._columns()]
        return sum(widest) + self.gap * (len(widest) - 1) + 2 * self._boxed()

    def rows(self) -> float:
        return sum(map(self._height, self.table)) + (0.3 if self.rules else 0)

    def width(self, sheet: Sheet) -> int:
        gap = round(self.gap * sheet.letter)
        return sum(self._widths(sheet)) + gap * (len(self.aligns) - 1 + self._boxed())

    def place(self, sheet: Sheet, left: int, top: int, width: int) -> int:
        widths, gap = self._widths(sheet), round(self.gap * sheet.letter)
        left, width = self._stand(sheet, left, width, widths)
        starts = [left + gap // 2 * self._boxed()]
        for each in widths[:-1]:
            starts.append(starts[-1] + each + gap)
        start = top
        edges = [top]
        for row in self.table:
            height = self._height(row)
            base = top + sheet.baseline(height)
            for cell, align, x, own in zip(row, self.aligns, starts, widths, strict=True):
                if cell:
                    free = own - sheet.measure(cell)
                    sheet.put(cell, x + {"l": 0, "c": free // 2, "r": free}[align], base)
            top += sheet.pitch(height)
            edges.append(top)
        self._draw(sheet, left, width, edges, [x - gap // 2 for x in starts[1:]])
        return top - start + (sheet.pitch(0.3) if self.rules else 0)

    def _stand(self, sheet: Sheet, left: int, width: int, widths: list[int]) -> tuple[int, int]:
        """Left edge and width of the grid; spare width goes to the columns where it stretches."""
        own = sum(widths) + round(self.gap * sheet.letter) * (len(widths) - 1 + self._boxed())
        free = max(0, width - own)
        if self.at == "stretch":
            if self.spare >= 0:
                widths[self.spare] += free
            else:
                for column in range(len(widths)):
                    widths[column] += free // len(widths)
            return left, width
        return left + {"left": 0, "center": free // 2, "right": free}[self.at], own

    def _draw(
        self, sheet: Sheet, left: int, width: int, edges: list[int], walls: list[int]
    ) -> None:
        right = left + width
        if self.rules == "head":
            sheet.rule(left, edges[1], right, edges[1])
        if self.rules in ("rows", "all"):
            for y in edges:
                sheet.rule(left, y, right, y)
        if self.rules in ("box", "all"):
            sheet.outline(left, edges[0], right, edges[-1])
        if self.rules == "all":
            for x in walls:
                sheet.rule(x, edges[0], x, edges[-1])

    def _boxed(self) -> bool:
        return self.rules in ("box", "all")

    def _height(self, row: tuple[Cell | None, ...]) -> float:
        return max((cell.scale for cell in row if cell), default=1.0) * self.tight

    def _columns(self) -> Iterator[tuple[Cell | None, ...]]:
        return iter(zip(*self.table, strict=True))

    def _widths(self, sheet: Sheet) -> list[int]:
        return [
            max((sheet.measure(cell) for cell in column if cell), default=0)
            for column in self._columns()
        ]
