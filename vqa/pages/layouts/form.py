"""Forms: fields with their values, beside or below each other, and boxes to tick."""

import random

from vqa.pages import asking, names, values
from vqa.pages.blocks import Beside, Block, Frame, Gap, Line, Separator
from vqa.pages.content import Cell, Content, Fact, Room, Span
from vqa.pages.grid import Grid
from vqa.pages.words import Words

VARIANTS = ("colon", "under", "boxes")
HELD_OUT = ("lines", "stacked")
KINDS = ("row", "below", "above", "title", "ticked", "count")
SMALLEST = 96

_FORMS = (
    "application",
    "registration",
    "request",
    "order",
    "claim",
    "consent",
    "entry",
    "transfer",
)


def compose(words: Words, room: Room, variant: str) -> Content:
    """Keys are different; on a small page they are all there is."""
    rng = words.rng
    limit = max(2, int(room.rows * rng.uniform(0.6, 0.95)))
    two = variant in ("under", "boxes") and room.columns > 36
    each = {"colon": 1, "under": 2.2, "boxes": 2.8, "lines": 1.7, "stacked": 2.7}[variant] / (
        1 + two
    )
    facts: list[Fact] = []
    blocks: list[Block] = []
    if limit > 7 and rng.random() < 0.8:
        text = f"{words.pick('thing')} {rng.choice(_FORMS)} form"
        title = Cell(
            rng.choice((text.upper(), names.titled(text))), bold=True, scale=rng.choice((1.0, 1.25))
        )
        facts.append(asking.field("title", "form", [Span(title)]))
        blocks += [Line(**{rng.choice(("left", "middle")): title}), Gap(0.6)]  # type: ignore[arg-type]
        limit -= 3
    ticks = _ticks(words, facts, room.columns) if limit > 9 and rng.random() < 0.5 else []
    free = limit - sum(block.rows() for block in ticks)
    fields = _fields(words, max(2, min(18, int(free / each))), room.columns // (1 + two) - 3)
    blocks += _set(rng, fields, variant, two)
    ask = (
        asking.below
        if variant in ("under", "boxes", "stacked")
        else lambda key, value: asking.right_of(key, [value])
    )
    facts += [ask(key, value) for key, value in fields]
    facts.append(asking.above(rng, [key for key, _ in fields][:: 1 + two]))
    return Content("form", (*blocks, *ticks), tuple(facts), mono=0.25)


def _fields(words: Words, count: int, widest: int) -> list[tuple[Cell, Cell]]:
    """Keys of one or two words, with values that need not suit them."""
    rng = words.rng
    style = rng.choice((str.upper, str.capitalize, str.capitalize, str))
    bold = rng.random() < 0.3
    keys: dict[str, None] = {}
    while len(keys) < count:
        parts = words.sample("thing", rng.choice((1, 1, 2)))
        if len(" ".join(parts)) <= max(9, widest // 2):
            keys[style(" ".join(parts))] = None
    fields = []
    for key in keys:
        text = _value(words)
        while len(text) > max(8, widest - len(key) - 2):
            text = _value(words)
        fields.append((Cell(key, bold=bold), Cell(text)))
    return fields


def _value(words: Words) -> str:
    rng = words.rng
    draw = rng.choice(
        (
            lambda: names.person(words),
            lambda: names.titled(names.person(words)),
            lambda: names.code(rng),
            lambda: names.code(rng),
            lambda: values.date(rng),
            lambda: values.time(rng),
            lambda: names.phone(rng),
            lambda: str(rng.randint(1, 99999)),
            lambda: values.money(values.price(rng)),
            lambda: words.pick("place").capitalize(),
            lambda: words.pick("town").upper(),
            lambda: f"{words.pick('adjective')} {words.pick('item')}",
            lambda: names.company(words),
        )
    )
    return draw()


def _set(
    rng: random.Random, fields: list[tuple[Cell, Cell]], variant: str, two: bool
) -> list[Block]:
    if variant == "colon":
        colon = rng.choice((":", ":", "", "-"))
        rows = tuple(
            (key, Cell(colon), value) if colon else (key, None, value) for key, value in fields
        )
        rules = rng.choice(("", "", "rows", "box"))
        return [
            Grid(rows, "lll", rng.choice(("left", "stretch")), 1.2, rules, 2, rng.choice((1, 1.2)))
        ]
    blocks: list[list[Block]] = []
    for key, value in fields:
        if variant == "lines":
            blocks.append([Line(left=key, right=value), Separator("dotted")])
        elif variant == "stacked":
            blocks.append([Line(left=key), Line(left=value, indent=2), Separator("solid")])
        elif variant == "under":
            blocks.append([Line(left=key), Line(left=value), Gap(0.2)])
        else:
            blocks.append([Frame((Line(left=key), Line(left=value, indent=1)), pad=0.15), Gap(0.3)])
    if not two:
        return [block for group in blocks for block in group]
    pairs = zip(blocks[::2], [*blocks[1::2], *([[]] * (len(blocks) % 2))], strict=True)
    return [Beside((tuple(one), tuple(other) or (Gap(1),)), 3) for one, other in pairs]


def _ticks(words: Words, facts: list[Fact], columns: int) -> list[Block]:
    """Choices with a cross or none; as many of either are asked about."""
    rng = words.rng
    labels = [word.capitalize() for word in words.sample("thing", rng.randint(2, 5))]
    ticked = [rng.random() < 0.5 for _ in labels]
    mark = rng.choice(("[x]", "[X]", "(x)"))
    rows: list[tuple[Cell | None, ...]] = []
    found = []
    for label, crossed in zip(labels, ticked, strict=True):
        box, text = Cell(mark if crossed else f"{mark[0]} {mark[2]}"), Cell(label)
        rows.append((box, text))
        found.append(box)
        facts.append(
            Fact("ticked", f'Is the box of "{label}" ticked?', (asking.YES_NO[not crossed],),
                 (Span(box),), (label,), asking.YES_NO)
        )  # fmt: skip
    crossed_boxes = [box for box, crossed in zip(found, ticked, strict=True) if crossed]
    facts.append(
        Fact("count", "How many boxes are ticked on this form?", (str(len(crossed_boxes)),),
             tuple(map(Span, crossed_boxes or found)))
    )  # fmt: skip
    return [Gap(0.6), Grid(tuple(rows), "ll", "left", 1)]
