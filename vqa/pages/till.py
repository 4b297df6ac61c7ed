"""How one shop prints: its capitals, its currency, its colons; shared by the parts of a bill."""

import dataclasses
import random

from vqa.pages import names, values
from vqa.pages.blocks import Block, Line, Separator
from vqa.pages.content import Cell, Fact
from vqa.pages.grid import Grid
from vqa.pages.words import Words

SEPARATORS = ("-",) * 5 + ("=", "=", "*", ".", "solid", "solid", "dotted", "_", "- ", "")


@dataclasses.dataclass(slots=True)
class Part:
    """Blocks of a page, and what can be asked about them."""

    blocks: list[Block]
    facts: list[Fact]

    def rows(self) -> float:
        """Height in rows of text."""
        return sum(block.rows() for block in self.blocks)


class Till:
    """Habits of a shop, drawn once a page."""

    def __init__(self, words: Words, columns: int, noun: str, upper: bool = True) -> None:
        rng = words.rng
        self.words = words
        self.rng: random.Random = rng
        self.columns = columns
        self.noun = noun
        self.answers_upper = upper
        """Questions and answers in capitals, however the page is written: as sroie_vqa has it."""
        self.capitals = rng.random() < 0.55
        self.colon = rng.choice((":", ":", " :", ""))
        self.currency = rng.choices(("", "RM", "RM ", "$", "column"), (62, 10, 12, 8, 8))[0]
        self.comma = rng.random() < 0.8
        self.mark = rng.choice(SEPARATORS)

    def say(self, text: str) -> str:
        """A text in capitals, as this shop writes it."""
        return text if self.capitals else names.titled(text)

    def amount(self, cents: int) -> str:
        """An amount without its currency."""
        return values.money(cents, self.comma)

    def separator(self) -> list[Block]:
        """The shop's rule, or none."""
        return [Separator(self.mark)] if self.mark else []

    def pairs(self, pairs: list[tuple[Cell, list[Cell]]], at: str) -> list[Block]:
        """Keys with values: with colons in a column, right behind the key, or none."""
        style = self.rng.choice(("column", "column", "key", "plain"))
        rows: list[tuple[Cell | None, ...]] = []
        width = max(len(value) for _, value in pairs)
        for key, value in pairs:
            filled: list[Cell | None] = [None] * (width - len(value)) + list(value)
            if style == "column":
                rows.append((key, Cell(":", bold=key.bold), *filled))
            elif style == "key":
                rows.append((dataclasses.replace(key, text=key.text + ":"), *filled))
            else:
                rows.append((key, *filled))
        keys = ("r" if at == "right" and self.rng.random() < 0.7 else "l") + "l" * (
            style == "column"
        )
        side = "l" if at == "left" else "r"
        gap = self.rng.uniform(1, 2.5)
        return [Grid(tuple(rows), keys + "l" * (width - 1) + side, at, gap)]


def spread(text: str, columns: int, **style: object) -> list[Line]:
    """A text in the middle, broken into lines where it is too long."""
    return [Line(middle=cell) for cell in broken(text, columns, **style)]


def broken(text: str, columns: int, **style: object) -> list[Cell]:
    """A text as cells of at most `columns` letters, broken between words."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > columns:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return [Cell(line, **style) for line in lines]  # type: ignore[arg-type]
