"""What a page says, before anything is set in type: cells, and questions with answers in them."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vqa.pages.blocks import Block


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Cell:
    """A run of text that stands by itself; two cells with the same text are two cells."""

    text: str
    bold: bool = False
    scale: float = 1.0
    """Height against that of the page's text."""
    wide: bool = False
    """Letters of double width, as tills print totals."""
    level: int = 255
    """Strength of the ink, at most 255; negative: the paper's white on a dark ground."""


class Span(NamedTuple):
    """A part of a cell's text."""

    cell: Cell
    start: int = 0
    stop: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """A question that the page answers."""

    kind: str
    question: str
    answers: tuple[str, ...]
    evidence: tuple[Span, ...] = ()
    names: tuple[str, ...] = ()
    """Texts that the question quotes: a fact is asked only where each stands on the page once."""
    choices: tuple[str, ...] = ()
    """The answers it may have where they are few."""
    part: int | None = None
    """Evidence that is drawn and not printed: the number of the bar, point or slice."""


class Room(NamedTuple):
    """What a page has place for at its size."""

    rows: int
    columns: int
    """Letters in a row."""


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """A page before it is set."""

    noun: str
    """What the page is: receipt, invoice, ..."""
    blocks: "tuple[Block, ...]"
    facts: tuple[Fact, ...]
    mono: float = 0.3
    """How likely it is set in a fixed-width font."""
    flat: bool = False
    """A picture of a screen: no paper, no print, no turning."""

    def cells(self) -> Iterator[Cell]:
        """All cells, from top to bottom."""
        for block in self.blocks:
            yield from block.cells()

    def asked(self, kinds: Sequence[str]) -> list[Fact]:
        """The facts of these kinds whose names stand on the page exactly once."""
        seen = Counter(plain(cell.text) for cell in self.cells())
        return [
            fact
            for fact in self.facts
            if fact.kind in kinds and all(seen[plain(name)] == 1 for name in fact.names)
        ]


def plain(text: str) -> str:
    """What two spellings of a key share: case, and the colon or dots behind it, are no matter."""
    return " ".join(text.upper().split()).strip(" :.")
