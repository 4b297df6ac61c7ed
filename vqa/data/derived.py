"""Questions whose answers follow from others about the same image, or from what is not on it.

A page of known total is asked whether that is above an amount. What a page does not tell, and what
only a photo shows, is asked of it too, and the other way round: the right answer is NOT_THERE.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from vqa.data.wordings import SLOT, wordings_by_kind

NOT_THERE = "not on the image"
"""What a model is taught to answer where the image does not tell."""

TELLTALES = {
    "phone": r"tel|phone|fax|h/?p\b|mobile|contact|\d{2,3}-\d{6,8}",
    "gst": r"gst|tax|sst",
    "cashier": r"cashier|served|staff|user|operator|sales|clerk|salesp",
    "change": r"change|balance|tukar",
    "rounding": r"round|adj",
    "time": r"\d{1,2}[:.]\d{2}",
    "date": r"\d{1,4}[-/. ]\w{1,9}[-/. ]\d{2,4}",
    "total": r"total|amount|amt|sum|nett|due",
}
"""Of kinds of questions about pages: what the page must not say for the answer not to be there."""

OF_PHOTOS = ("animal", "sport", "face", "feet", "flavour")
"""Kinds that only a photo answers, whose templates have no slot."""
OF_PAGES = (
    "total",
    "date",
    "time",
    "phone",
    "cashier",
    "gst",
    "address",
    "company",
    "document_number",
)
"""Kinds that only a page of print answers."""


class Derived(NamedTuple):
    """A question, its kind and the accepted answers."""

    kind: str
    question: str
    answers: tuple[str, ...]


def of_page(
    facts: Mapping[str, Sequence[str]], text: str, draw: random.Random
) -> Iterator[Derived]:
    """Questions about a page that says `text`, with some known `facts`: answers by kind."""
    amount = next((value for each in facts.get("total", ()) if (value := _number(each))), None)
    if amount is not None:
        yield _above(amount, draw)
    absent = [
        kind
        for kind, telltale in TELLTALES.items()
        if kind not in facts and not re.search(telltale, text, re.IGNORECASE)
    ]
    for kind in draw.sample(absent, min(2, len(absent))):
        yield _not_there(kind, draw)
    yield _not_there(draw.choice(OF_PHOTOS), draw)


def of_photo(draw: random.Random) -> Derived:
    """A question that only a page of print could answer, asked of a photo without any."""
    return _not_there(draw.choice(OF_PAGES), draw)


def _above(amount: float, draw: random.Random) -> Derived:
    """Whether the total is above an amount of a few digits, as often as not."""
    step = 10 ** max(0, len(str(int(amount))) - 1)
    yes = draw.random() < 0.5
    if yes:
        limit = draw.choice([amount * draw.uniform(0.2, 0.95), step * int(amount / step)])
    else:
        limit = draw.choice([amount * draw.uniform(1.05, 3), step * (int(amount / step) + 1)])
    shown = f"{limit:.2f}" if draw.random() < 0.3 else str(int(limit) + (0 if yes else 1))
    question = _asked("more_than", draw, amount=shown)
    return Derived("more_than", question, ("yes" if amount > float(shown) else "no",))


def _not_there(kind: str, draw: random.Random) -> Derived:
    return Derived("not_there", _asked(kind, draw, page="receipt"), (NOT_THERE,))


def _asked(kind: str, draw: random.Random, **slots: str) -> str:
    templates = [
        one for one in wordings_by_kind()[kind].original if set(SLOT.findall(one)) <= set(slots)
    ]
    return SLOT.sub(lambda slot: slots[slot[1]], draw.choice(templates))


def _number(text: str) -> float | None:
    found = re.fullmatch(r"\D*?(\d[\d,]*\.\d\d)", text.strip())
    return float(found[1].replace(",", "")) if found else None
