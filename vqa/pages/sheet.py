"""A sheet in the making: blocks measure their cells on it and put them down."""

from typing import NamedTuple

from vqa.pages import fonts, scene
from vqa.pages.content import Cell, Span
from vqa.pages.fonts import Face, Letters
from vqa.pages.scene import Box, Shape, Text


class Style(NamedTuple):
    """How a page is set."""

    regular: str
    bold: str
    """Font files."""
    em: int
    """Pixels of the sheet an em of the page's text."""
    leading: float
    """From line to line, in ems."""
    grain: str
    tracking: int
    """Pixels between letters beside their own."""
    rule: int
    """Thickness of drawn lines in pixels."""


class Sheet:
    """Collects texts and shapes; remembers where each cell and each drawn part stands."""

    def __init__(self, style: Style) -> None:
        self.em = style.em
        self.style = style
        self.texts: list[Text] = []
        self.shapes: list[Shape] = []
        self.printed: dict[Cell, Text] = {}
        self.parts: dict[int, Box] = {}
        """Drawn evidence: bars, points and slices by their number."""
        self.letter = self.measure(Cell("0"))

    def pitch(self, rows: float) -> int:
        """Pixels of so many rows."""
        return round(rows * self.style.leading * self.em)

    def baseline(self, rows: float) -> int:
        """From the top of a row of this height to the line that letters stand on."""
        return round(self.pitch(rows) / 2 + 0.36 * self.em * rows)

    def measure(self, cell: Cell) -> int:
        """Pixels from a cell's first letter to behind its last one."""
        advance = self._letters(cell).advance
        return sum(map(advance, cell.text)) + self.style.tracking * len(cell.text)

    def put(self, cell: Cell, x: int, y: int) -> None:
        """Prints a cell from `x` on, standing on the line `y`."""
        self.printed[cell] = self.type(cell, x, y)

    def type(self, cell: Cell, x: int, y: int) -> Text:
        """Prints what no question asks about."""
        text = Text(cell.text, self._face(cell), x, y, cell.level, self.style.tracking)
        self.texts.append(text)
        return text

    def rule(self, x0: int, y0: int, x1: int, y1: int, level: int = 255) -> None:
        """A straight line."""
        self.shapes.append(Shape(((x0, y0), (x1, y1)), level, self.style.rule))

    def outline(self, left: int, top: int, right: int, bottom: int, level: int = 255) -> None:
        """The four sides of a rectangle."""
        corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
        self.shapes.append(Shape(corners, level, self.style.rule))

    def fill(
        self, left: int, top: int, right: int, bottom: int, level: int, below: int | None = None
    ) -> None:
        """A filled rectangle, below all shapes since `mark` gave the number `below`."""
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        self.shapes.insert(len(self.shapes) if below is None else below, Shape(corners, level))

    def mark(self) -> int:
        """The place of the next shape."""
        return len(self.shapes)

    def box(self, span: Span) -> Box:
        """The box of the ink of a part of a printed cell."""
        text = self.printed[span.cell]
        return ink_box(text, span.start, span.stop)

    def done(self, width: int, height: int) -> scene.Sheet:
        """The sheet as values."""
        return scene.Sheet(width, height, tuple(self.texts), tuple(self.shapes))

    def _letters(self, cell: Cell) -> Letters:
        return fonts.letters(self._face(cell))

    def _face(self, cell: Cell) -> Face:
        style = self.style
        file = style.bold if cell.bold else style.regular
        size = style.em if cell.scale == 1 else round(style.em * cell.scale)
        return Face(file, size, style.grain, cell.wide)


def ink_box(text: Text, start: int = 0, stop: int | None = None) -> Box:
    """The box of the ink of the letters from `start` to before `stop`."""
    alphabet = fonts.letters(text.face)
    x = text.x + sum(alphabet.advance(c) + text.tracking for c in text.text[:start])
    boxes = []
    for letter in text.text[start:stop]:
        if (glyph := alphabet.glyph(letter)) is not None:
            height, width = glyph.ink.shape
            left, top = x + glyph.left, text.y + glyph.top
            boxes.append((left, top, left + width, top + height))
        x += alphabet.advance(letter) + text.tracking
    return union(boxes)


def union(boxes: list[Box]) -> Box:
    """The smallest box around all."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
