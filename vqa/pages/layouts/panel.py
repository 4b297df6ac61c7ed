"""Panels like those of a screen: a title bar, tiles with figures, settings, buttons."""

from vqa.pages import asking, names, values
from vqa.pages.blocks import Beside, Block, Frame, Gap, Line
from vqa.pages.content import Cell, Content, Fact, Room, Span
from vqa.pages.grid import Grid
from vqa.pages.words import Words

VARIANTS = ("tiles", "settings", "sidebar")
HELD_OUT = ("list", "cards")
KINDS = ("row", "below", "title", "above", "count", "which")
SMALLEST = 224


def compose(words: Words, room: Room, variant: str) -> Content:
    """All labels of a panel are different."""
    rng = words.rng
    facts: list[Fact] = []
    things = [word.capitalize() for word in words.sample("thing", 40)]
    title = Cell(f"{things.pop()} {words.pick('topic')}", bold=True, level=-1)
    facts.append(Fact("title", "What is the title of this window?", (title.text,), (Span(title),)))
    close = Cell(rng.choice(("x", "X", "- x")), level=-1)
    bar: Block = Frame(
        (Line(left=title, right=close),), border=False, ground=rng.choice((255, 215, 180))
    )
    left = max(3, room.rows - 4)
    body: list[Block] = []
    if variant in ("tiles", "sidebar") and left > 6:
        body += _tiles(words, facts, things, max(2, min(4, room.columns // 16)))
        left -= 5
    if variant != "tiles" or left > 6:
        body += _settings(
            words, facts, things, max(2, min(10, int(left) - (8 if variant == "cards" else 2)))
        )
    if variant == "cards" and room.rows > 12:
        body += [Gap(0.5), *_tiles(words, facts, things, 2)]
    if rng.random() < 0.6:
        body += [Gap(0.5), _buttons(words, things)]
    blocks: list[Block] = [bar, Gap(0.4), *body]
    if variant == "sidebar" and room.columns > 44:
        menu = [Cell(things.pop()) for _ in range(rng.randint(3, 6))]
        facts.append(Fact("count", "How many entries has the menu at the left?", (str(len(menu)),),
                          tuple(map(Span, menu))))  # fmt: skip
        facts.append(asking.above(rng, menu))
        side = Frame(tuple(Line(left=cell) for cell in menu), ground=rng.choice((0, 25, 40)))
        blocks = [bar, Gap(0.3), Beside(((side,), tuple(body)), 2)]
    frame = Frame(tuple(blocks), border=rng.random() < 0.7, pad=0.2)
    return Content("window", (frame,), tuple(facts), mono=0.1, flat=rng.random() < 0.6)


def _tiles(words: Words, facts: list[Fact], things: list[str], count: int) -> list[Block]:
    """Figures in large print below or above what they count."""
    rng = words.rng
    scale, over = rng.choice((1.25, 1.5, 2.0)), rng.random() < 0.6
    parts: list[tuple[Block, ...]] = []
    ground = rng.choice((0, 15, 30))
    for _ in range(count):
        label = Cell(things.pop())
        text = rng.choice(
            (
                f"{rng.randint(1, 99999):,}",
                f"{rng.randint(1, 99)}%",
                values.money(values.price(rng)),
            )
        )
        figure = Cell(text, bold=True, scale=scale)
        lines = (
            [Line(left=label), Line(left=figure)] if over else [Line(left=figure), Line(left=label)]
        )
        parts.append((Frame(tuple(lines), ground=ground),))
        if over:
            facts.append(asking.below(label, figure))
        else:
            facts.append(asking.below(figure, label))
    return [Beside(tuple(parts), 1.5), Gap(0.5)]


def _settings(words: Words, facts: list[Fact], things: list[str], count: int) -> list[Block]:
    """Rows of a label and what it is set to."""
    rng = words.rng
    rows: list[tuple[Cell | None, ...]] = []
    labels = []
    for _ in range(min(count, len(things) - 12)):
        label, value = Cell(things.pop()), Cell(_value(words))
        rows.append((label, value))
        labels.append(label)
        facts.append(asking.right_of(label, [value]))
    facts.append(asking.above(rng, labels))
    rules = rng.choice(("", "rows", "all"))
    return [
        Grid(tuple(rows), "l" + rng.choice("lr"), "stretch", 3, rules, 0, rng.choice((1.0, 1.3)))
    ]


def _value(words: Words) -> str:
    rng = words.rng
    return rng.choice(
        (
            "On" if rng.random() < 0.5 else "Off",
            str(rng.randint(0, 9999)),
            f"{rng.randint(0, 100)}%",
            words.pick("place").capitalize(),
            names.titled(names.person(words)),
            values.date(rng),
            values.time(rng),
            names.code(rng),
            f"{words.pick('adjective')} {words.pick('item')}",
        )
    )


def _buttons(words: Words, things: list[str]) -> Block:
    """Some dark, some with a border only."""
    rng = words.rng
    parts: list[tuple[Block, ...]] = []
    for _ in range(rng.randint(1, 3)):
        dark = rng.random() < 0.5
        cell = Cell(things.pop(), level=-1 if dark else 255)
        parts.append((Frame((Line(middle=cell),), ground=200 if dark else 0, pad=0.25),))
    return Beside(tuple(parts), 2)
