"""What a page is built of: lines, grids, separators, frames. Each knows its size and sets itself.

`columns` and `rows` are estimates in letters and rows of text, made without a font; `width` is
measured in pixels of the sheet; `place` sets the block and returns its height.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

from vqa.pages.content import Cell
from vqa.pages.sheet import Sheet


class Block(Protocol):
    """A part of a page."""

    def cells(self) -> Iterator[Cell]: ...

    def columns(self) -> float: ...

    def rows(self) -> float: ...

    def width(self, sheet: Sheet) -> int: ...

    def place(self, sheet: Sheet, left: int, top: int, width: int) -> int: ...


def letters(cell: Cell) -> float:
    """Width of a cell in letters of the page's text."""
    return len(cell.text) * cell.scale * (2 if cell.wide else 1)


def place_all(blocks: Sequence[Block], sheet: Sheet, left: int, top: int, width: int) -> int:
    """Sets blocks below each other; the height of all."""
    start = top
    for block in blocks:
        top += block.place(sheet, left, top, width)
    return top - start


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One row: a cell at the left, in the middle, at the right, or several of these."""

    left: Cell | None = None
    middle: Cell | None = None
    right: Cell | None = None
    indent: int = 0
    """Letters left free before the left cell."""

    def cells(self) -> Iterator[Cell]:
        yield from (cell for cell in (self.left, self.middle, self.right) if cell)

    def columns(self) -> float:
        return self.indent - 2 + sum(letters(cell) + 2 for cell in self.cells())

    def rows(self) -> float:
        return max((cell.scale for cell in self.cells()), default=1)

    def width(self, sheet: Sheet) -> int:
        gap = 2 * sheet.letter
        extra = gap + 2 * gap * (self.middle is not None and (self.left or self.right) is not None)
        sides = [sheet.measure(cell) for cell in (self.left, self.right) if cell]
        if self.middle and sides:  # the middle one stays in the middle
            return 2 * (max(sides) + gap) + sheet.measure(self.middle)
        return sum(map(sheet.measure, self.cells())) + extra + self.indent * sheet.letter

    def place(self, sheet: Sheet, left: int, top: int, width: int) -> int:
        height = sheet.pitch(self.rows())
        base = top + sheet.baseline(self.rows())
        if self.left:
            sheet.put(self.left, left + self.indent * sheet.letter, base)
        if self.middle:
            sheet.put(self.middle, left + (width - sheet.measure(self.middle)) // 2, base)
        if self.right:
            sheet.put(self.right, left + width - sheet.measure(self.right), base)
        return height


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """Empty space."""

    height: float = 0.5
    """In rows of text."""

    def cells(self) -> Iterator[Cell]:
        return iter(())

    def columns(self) -> float:
        return 0

    def rows(self) -> float:
        return self.height

    def width(self, sheet: Sheet) -> int:
        return 0

    def place(self, sheet: Sheet, left: int, top: int, width: int) -> int:
        return sheet.pitch(self.height)


@dataclasses.dataclass(frozen=True, slots=True)
class Separator:
    """A rule across the page, drawn (solid, dotted) or typed with a letter of its own."""

    mark: str = "-"

    def cells(self) -> Iterator[Cell]:
        return iter(())

    def columns(self) -> float:
        return 0

    def rows(self) -> float:
        return 0.6 if self.mark in ("solid", "dotted") else 0.9

    def width(self, sheet: Sheet) -> int:
        return 0

    def place(self, sheet: Sheet, left: int, top: int, width: int) -> int:
        height = sheet.pitch(self.rows())
        if self.mark == "solid":
            sheet.rule(left, top + height // 2, left + width, top + height // 2)
        elif self.mark == "dotted":
            step = max(4, sheet.em // 4)
            for start in range(left, left + width - step, 2 * step):
                sheet.rule(start, top + height // 2, start + step, top + height // 2)
        else:
            unit = sheet.measure(Cell(self.mark))
            run = Cell(self.mark * max(1, width // max(1, unit)))
            sheet.type(run, left, top + sheet.baseline(self.rows()))
        return height


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """Blocks on a ground of their own, with or without a border."""

    blocks: tuple[Block, ...]
    border: bool = True
    ground: int = 0
    """Darkness of the ground, 0 to 255."""
    pad: float = 0.4
    """Space around the blocks, in rows of text."""

    def cells(self) -> Iterator[Cell]:
        for block in self.blocks:
            yield from block.cells()

    def columns(self) -> float:
        return max((block.columns() for block in self.blocks), default=0) + 4 * self.pad

    def rows(self) -> float:
        return sum(block.rows() for block in self.blocks) + 2 * self.pad

    def width(self, sheet: Sheet) -> int:
        return max(block.width(sheet) for block in self.blocks) + 2 * self._pad(sheet)

    def place(self, sheet: Sheet, left: int, top: int, width: int) -> int:
        pad = self._pad(sheet)
        mark = sheet.mark()
        inside = place_all(self.blocks, sheet, left + pad, top + pad, width - 2 * pad)
        height = inside + 2 * pad
        if self.ground:
            sheet.fill(left, top, left + width, top + height, self.ground, mark)
        if self.border:
            sheet.outline(left, top, left + width, top + height)
        return height

    def _pad(self, sheet: Sheet) -> int:
        return round(self.pad * sheet.pitch(1))


@dataclasses.dataclass(frozen=True, slots=True)
class Beside:
    """Columns of blocks next to each other."""

    parts: tuple[tuple[Block, ...], ...]
    gap: float = 3
    """In letters."""

    def cells(self) -> Iterator[Cell]:
        for part in self.parts:
            for block in part:
                yield from block.cells()

    def columns(self) -> float:
        widest = [max((block.columns() for block in part), default=0) for part in self.parts]
        return sum(widest) + self.gap * (len(self.parts) - 1)

    def rows(self) -> float:
        return max(sum(block.rows() for block in part) for part in self.parts)

    def width(self, sheet: Sheet) -> int:
        return sum(self._widths(sheet)) + self._gap(sheet) * (len(self.parts) - 1)

    def place(self, sheet: Sheet, left: int, top: int, width: int) -> int:
        widths, gap = self._widths(sheet), self._gap(sheet)
        spare = (width - sum(widths) - gap * (len(widths) - 1)) // len(widths)
        height = 0
        for part, own in zip(self.parts, widths, strict=True):
            height = max(height, place_all(part, sheet, left, top, own + spare))
            left += own + spare + gap
        return height

    def _gap(self, sheet: Sheet) -> int:
        return round(self.gap * sheet.letter)

    def _widths(self, sheet: Sheet) -> list[int]:
        return [max((block.width(sheet) for block in part), default=0) for part in self.parts]
