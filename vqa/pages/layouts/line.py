"""A single word, code, amount or line of text: the first stage of a curriculum."""

from vqa.pages import asking, names, values
from vqa.pages.blocks import Line
from vqa.pages.content import Cell, Content, Room
from vqa.pages.words import KINDS as LISTS
from vqa.pages.words import Words

VARIANTS = ("word", "word", "line", "line")
HELD_OUT = VARIANTS
KINDS = ("text",)
SMALLEST = 0

_KEYS = ("TOTAL", "CASH", "CHANGE", "SUB TOTAL", "ROUNDING", "DATE", "TIME", "TEL", "GST 6%", "NO")


def compose(words: Words, room: Room, variant: str) -> Content:
    """One line of one word (variant word) or of several."""
    widest = max(4, room.columns)
    text = _word(words) if variant == "word" else _text(words)
    while len(text) > widest:
        text = text[: text.rfind(" ")] if " " in text else _word(words)[:widest]
    cell = Cell(text.rstrip(" :&,@-"), bold=words.rng.random() < 0.25)
    return Content("line", (Line(middle=cell),), tuple(asking.printed(cell)), mono=0.4)


def _word(words: Words) -> str:
    """A word, an amount, a date, a time or a code."""
    rng = words.rng
    roll = rng.random()
    if roll < 0.25:
        text = words.pick(rng.choice(LISTS))
    elif roll < 0.45:
        text = words.invented(rng.randint(1, 3))
    elif roll < 0.65:
        return rng.choice(("", "", "", "RM", "$", "RM ")) + values.money(values.price(rng))
    elif roll < 0.73:
        return values.date(rng)
    elif roll < 0.8:
        return values.time(rng)
    elif roll < 0.88:
        return names.code(rng)
    elif roll < 0.93:
        return names.filled(rng, "9" * rng.randint(1, 7))
    else:
        return (
            "".join(
                rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/.", k=rng.randint(2, 8))
            ).strip("-/.")
            or "A"
        )
    return rng.choice((text.upper(), text.upper(), text.capitalize(), text))


def _text(words: Words) -> str:
    rng = words.rng
    roll = rng.random()
    if roll < 0.2:
        text = names.company(words)
    elif roll < 0.35:
        text = rng.choice(names.address(words, 30))
    elif roll < 0.55:
        text = names.item(words, 40)
    elif roll < 0.75:
        key = rng.choice(_KEYS)
        amount = values.money(values.price(rng))
        text = f"{key}{rng.choice((' ', ': ', ' : '))}{rng.choice(('', 'RM', 'RM '))}{amount}"
    elif roll < 0.85:
        text = f"{values.date(rng)} {values.time(rng)}"
    else:
        text = " ".join(_word(words) for _ in range(rng.randint(2, 4)))
    return text if rng.random() < 0.6 else names.titled(text)
