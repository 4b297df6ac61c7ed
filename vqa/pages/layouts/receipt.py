"""Receipts of shops and restaurants as sroie_vqa has them, or what of one fits a small page."""

from vqa.pages import goods, letterhead, totals
from vqa.pages.blocks import Block, Gap
from vqa.pages.content import Content, Fact, Room
from vqa.pages.till import Part, Till
from vqa.pages.words import Words

VARIANTS = ("single", "columns", "under", "code")
HELD_OUT = ("numbered", "tagged")
KINDS = (
    "row", "total", "date", "time", "company", "address", "price", "which", "largest", "count",
    "sum", "above",
    "cashier", "document_number", "phone", "gst", "subtotal", "tax", "rounding", "cash", "change",
    "first_item", "last_item",
)  # fmt: skip
SMALLEST = 112

_WHOLE = 20
"""Rows from which a page shows a whole receipt."""


def compose(words: Words, room: Room, variant: str) -> Content:
    """A whole receipt where there is room, else some of its parts that follow each other."""
    rng = words.rng
    columns = max(14, min(room.columns, rng.randint(26, 46)))
    till = Till(words, columns, "receipt")
    bill = _Bill(till, variant, room.rows)
    names = ["head", "meta", "items", "totals"]
    if room.rows >= _WHOLE:
        parts = [bill.part(name, room.rows) for name in names]
        left = room.rows - sum(part.rows() + 1 for part in parts)
        if left > 4 and rng.random() < 0.55:
            parts.append(totals.summary(till, sum(bill.goods.amounts)))
        if left > 2 and rng.random() < 0.8:
            parts.append(totals.foot(till, min(left - 1, 5)))
    else:
        parts = _excerpt(bill, names, room.rows)
    blocks: list[Block] = []
    facts: list[Fact] = []
    for place, part in enumerate(parts):
        if place:
            blocks += till.separator() if rng.random() < 0.7 else [Gap(rng.choice((0.3, 0.6, 1)))]
        blocks += part.blocks
        facts += part.facts
    return Content("receipt", tuple(blocks), tuple(map(totals.capitals, facts)), mono=0.6)


class _Bill:
    """The parts of one receipt, made when asked for."""

    def __init__(self, till: Till, variant: str, rows: int) -> None:
        rng = till.rng
        self.till = till
        self.variant = variant
        each = goods.ROWS[variant]
        free = rows - 16 if rows >= _WHOLE else rows - 4
        count = rng.randint(1, max(1, min(12, free // each)))
        widest = till.columns - (22 if variant == "columns" else 14)
        self.goods = goods.Goods(till, count, max(8, widest if each == 1 else till.columns - 4))

    def part(self, name: str, limit: float) -> Part:
        """One part, of at most `limit` rows where it can be shortened."""
        till, rng = self.till, self.till.rng
        if name == "head":
            return letterhead.head(till, limit, rng.choice(("middle",) * 5 + ("left",)))
        if name == "meta":
            return letterhead.meta(till, limit)
        if name == "items":
            return goods.listed(till, self.goods, self.variant, rng.random() < 0.6 and limit > 4)
        return totals.totals(till, self.goods.amounts, sum(self.goods.quantities), limit)


def _excerpt(bill: _Bill, names: list[str], rows: int) -> list[Part]:
    """A part, and those before and after it while they fit."""
    rng = bill.till.rng
    first = rng.choices(range(len(names)), (3, 3, 2, 5))[0]
    places, parts = [first], {first: bill.part(names[first], rows)}
    for _ in range(2):
        for place in (places[0] - 1, places[-1] + 1):
            left = rows - sum(part.rows() + 1 for part in parts.values())
            if 0 <= place < len(names) and left >= 2:
                part = bill.part(names[place], left)
                if part.rows() <= left:
                    parts[place] = part
                    places = sorted(parts)
    return [parts[place] for place in places]
