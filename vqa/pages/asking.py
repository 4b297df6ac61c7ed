"""The wording of questions, one function a kind. Those of sroie_vqa are asked in its words."""

import random
from collections.abc import Sequence

from vqa.pages.content import Cell, Fact, Span, plain

KINDS = {
    "text": "what a word or a line says, or a part of it",
    "row": "what stands right of a key",
    "below": "what stands below a key",
    "total": "the total amount",
    "date": "the date",
    "time": "the time",
    "company": "who issued the page",
    "address": "its address, all lines",
    "customer": "who it is for",
    "title": "the heading of the page",
    "cashier": "who served",
    "document_number": "the number of the bill",
    "phone": "the telephone number",
    "gst": "the tax registration number",
    "subtotal": "the amount before tax and rounding",
    "tax": "the amount of tax",
    "rounding": "the rounding adjustment",
    "cash": "the cash that was handed over",
    "change": "the change that was given back",
    "first_item": "the first item of a list",
    "last_item": "the last one",
    "price": "the amount of an item",
    "cell": "a cell of a table by its row and column",
    "value": "the value of a bar, a point or a slice",
    "which": "which row, bar, point or slice is the largest or smallest",
    "largest": "the largest amount",
    "count": "how many items, rows or bars",
    "sum": "the sum of two amounts",
    "above": "whether one text stands above another",
    "compare": "which of two values is larger",
    "ticked": "whether a box is ticked",
}
YES_NO = ("yes", "no")

_FIELDS = {
    "total": "What is the total amount on this {}?",
    "date": "What is the date on this {}?",
    "time": "What time is printed on this {}?",
    "company": "Which company issued this {}?",
    "address": "What is the address on this {}?",
    "customer": "Who is this {} for?",
    "title": "What is the title of this {}?",
    "cashier": "What is the name of the cashier?",
    "document_number": "What is the document number on this {}?",
    "phone": "What is the phone number on this {}?",
    "gst": "What is the GST number?",
    "subtotal": "What is the subtotal?",
    "tax": "How much tax is on this {}?",
    "rounding": "What is the rounding adjustment?",
    "cash": "How much cash was paid?",
    "change": "How much change was given?",
    "first_item": "What is the first item on this {}?",
    "last_item": "What is the last item on this {}?",
}


def field(kind: str, noun: str, spans: Sequence[Span], bare: str | None = None) -> Fact:
    """A text that the page has one of; of several lines, joined by spaces.

    `bare`: the amount without its currency, accepted too.
    """
    text = " ".join(span.cell.text[span.start : span.stop].strip() for span in spans)
    answers = (text,) if bare in (None, text) else (text, str(bare))
    return Fact(kind, _FIELDS[kind].format(noun), answers, tuple(spans))


def within(cell: Cell, text: str) -> Span:
    """Where `text` stands in a cell."""
    start = cell.text.index(text)
    return Span(cell, start, start + len(text))


def printed(cell: Cell) -> list[Fact]:
    """What a line says; of one with several words also its first and its last."""
    facts = [Fact("text", "What is printed here?", (cell.text,), (Span(cell),))]
    words = cell.text.split()
    if len(words) > 1:
        last = len(cell.text) - len(words[-1])
        ends = {"first": Span(cell, 0, len(words[0])), "last": Span(cell, last)}
        for name, span in ends.items():
            answer = cell.text[span.start : span.stop]
            facts.append(Fact("text", f"What is the {name} word printed here?", (answer,), (span,)))
    return facts


def right_of(key: Cell, values: Sequence[Cell], upper: bool = False) -> Fact:
    """What stands right of a key; with `upper` in capitals, as sroie_vqa writes it."""
    name, text = key.text.strip(" :."), " ".join(cell.text for cell in values)
    if upper:
        name, text = plain(name), text.upper()
    spans = tuple(map(Span, values))
    return Fact("row", f'What is printed to the right of "{name}"?', (text,), spans, (name,))


def below(key: Cell, value: Cell) -> Fact:
    """What stands below a key."""
    name = key.text.strip(" :.")
    return Fact("below", f'What is printed below "{name}"?', (value.text,), (Span(value),), (name,))


def count(things: str, noun: str, cells: Sequence[Cell]) -> Fact:
    """How many there are."""
    question = f"How many {things} are listed on this {noun}?"
    return Fact("count", question, (str(len(cells)),), tuple(map(Span, cells)))


def above(rng: random.Random, cells: Sequence[Cell]) -> Fact:
    """Whether one of two different rows stands above the other."""
    upper, lower = sorted(rng.sample(range(len(cells)), 2))
    order = (upper, lower) if rng.random() < 0.5 else (lower, upper)
    one, other = (cells[place] for place in order)
    return Fact(
        "above",
        f'Is "{one.text}" printed above "{other.text}"?',
        (YES_NO[order[0] > order[1]],),
        (Span(one), Span(other)),
        (one.text, other.text),
        YES_NO,
    )


def amounts(
    rng: random.Random, noun: str, names: Sequence[Cell], prints: Sequence[Cell], cents: list[int]
) -> list[Fact]:
    """Questions about a list of things with amounts, as bills have it."""
    facts = []
    for place in rng.sample(range(len(names)), min(3, len(names))):
        name, amount = names[place], prints[place]
        question = f'What is the amount of "{name.text}"?'
        facts.append(Fact("price", question, (amount.text,), (Span(amount),), (name.text,)))
    if len(names) < 2:
        return facts
    most = max(cents)
    if cents.count(most) == 1:
        place = cents.index(most)
        question = f"What is the largest item amount on this {noun}?"
        facts.append(Fact("largest", question, (prints[place].text,), (Span(prints[place]),)))
        question = f"Which item has the largest amount on this {noun}?"
        facts.append(
            Fact(
                "which", question, (names[place].text,), (Span(names[place]),), (names[place].text,)
            )
        )
    one, other = rng.sample(range(len(names)), 2)
    facts.append(
        Fact(
            "sum",
            f'What is the sum of the amounts of "{names[one].text}" and "{names[other].text}"?',
            (f"{(cents[one] + cents[other]) / 100:.2f}",),
            (Span(prints[one]), Span(prints[other])),
            (names[one].text, names[other].text),
        )
    )
    facts.append(above(rng, names))
    return facts


def compare(
    rng: random.Random, names: Sequence[Cell], values: list[int], noun: str, what: str
) -> list[Fact]:
    """Largest and smallest, and which of two is larger; only where no two are the same."""
    facts = []
    for word, extreme in (("highest", max(values)), ("lowest", min(values))):
        if values.count(extreme) == 1:
            cell = names[values.index(extreme)]
            facts.append(
                Fact("which", f"Which {noun} has the {word} {what}?", (cell.text,), (Span(cell),),
                     (cell.text,))
            )  # fmt: skip
    one, other = rng.sample(range(len(names)), 2)
    if values[one] != values[other]:
        larger = names[one if values[one] > values[other] else other]
        facts.append(
            Fact(
                "compare",
                f'Which has the higher {what}, "{names[one].text}" or "{names[other].text}"?',
                (larger.text,),
                (Span(names[one]), Span(names[other])),
                (names[one].text, names[other].text),
                (names[one].text, names[other].text),
            )
        )
    return facts
