"""Invoices and quotations: a letterhead, who it is for, a ruled list, totals at the right."""

from vqa.pages import asking, goods, names, totals, values
from vqa.pages.blocks import Beside, Block, Gap, Line, Separator
from vqa.pages.content import Cell, Content, Fact, Room, Span
from vqa.pages.till import Till, broken
from vqa.pages.words import Words

VARIANTS = ("classic", "beside", "centred")
HELD_OUT = ("banner",)
KINDS = (
    "row", "total", "date", "company", "address", "customer", "price", "which", "largest", "count",
    "sum", "above", "title",
    "phone", "gst", "subtotal", "tax", "rounding", "cash", "change", "first_item", "last_item",
)  # fmt: skip
SMALLEST = 320

_NOUNS = {"invoice": ("INVOICE", "TAX INVOICE", "COMMERCIAL INVOICE"), "quotation": ("QUOTATION",),
          "delivery order": ("DELIVERY ORDER",), "statement": ("STATEMENT",)}  # fmt: skip
_NUMBERS = ("NO", "NUMBER", "INVOICE NO", "REF NO", "DOCUMENT NO", "OUR REF", "ACCOUNT NO")


def compose(words: Words, room: Room, variant: str) -> Content:
    """Everything on the page; the list takes what room is left."""
    rng = words.rng
    noun = rng.choices([*_NOUNS], (7, 1, 1, 1))[0]
    columns = max(40, min(room.columns, rng.randint(48, 80)))
    till = Till(words, columns, noun, upper=False)
    till.capitals = rng.random() < 0.2
    facts: list[Fact] = []
    title = Cell(till.say(rng.choice(_NOUNS[noun])), bold=True, scale=rng.choice((1.5, 2.0)))
    facts.append(asking.field("title", "page", [Span(title)]))
    issuer = _party(till, facts, "company", rng.choice((1.0, 1.25, 1.5)))
    details = _details(till, facts)
    customer = _customer(till, facts)
    blocks = _top(variant, title, issuer, details, customer)
    count = rng.randint(1, max(1, min(14, int(room.rows - 22))))
    stock = goods.Goods(till, count, columns - 34)
    rules = rng.choice(("head", "rows", "all", "box", ""))
    part = goods.listed(till, stock, "columns", True, rules)
    end = totals.totals(till, stock.amounts, sum(stock.quantities), 5)
    blocks += [Gap(0.8), *part.blocks, Gap(0.4), *end.blocks]
    if rng.random() < 0.5:
        blocks += [Gap(0.8), *totals.foot(till, 2).blocks]
    return Content(noun, tuple(blocks), (*facts, *part.facts, *end.facts), mono=0.15)


def _top(
    variant: str, title: Cell, issuer: list[Block], details: list[Block], customer: list[Block]
) -> list[Block]:
    if variant == "classic":
        return [*issuer, Separator("solid"), Line(middle=title), Gap(0.5),
                Beside((tuple(customer), tuple(details)))]  # fmt: skip
    if variant == "beside":
        return [
            Beside((tuple(issuer), (Line(right=title), Gap(0.3), *details))),
            Gap(0.6),
            *customer,
        ]
    if variant == "centred":
        return [
            Line(middle=title),
            Gap(0.5),
            Beside((tuple(issuer), tuple(customer))),
            Gap(0.5),
            *details,
        ]
    return [Line(left=title), Separator("solid"), *details, Gap(0.5),
            Beside((tuple(customer), tuple(issuer)))]  # fmt: skip


def _party(till: Till, facts: list[Fact], kind: str, scale: float) -> list[Block]:
    """The issuer with its address."""
    cells = broken(till.say(names.company(till.words)), 30, bold=True, scale=scale)
    facts.append(asking.field(kind, till.noun, list(map(Span, cells))))
    lines = [Cell(till.say(line)) for line in names.address(till.words, 30)]
    facts.append(asking.field("address", f"{till.noun}'s issuer", list(map(Span, lines))))
    blocks: list[Block] = [Line(left=cell) for cell in (*cells, *lines)]
    if till.rng.random() < 0.7:
        blocks.append(Line(left=Cell(f"{till.say('TEL')}: {names.phone(till.rng)}")))
    return blocks


def _customer(till: Till, facts: list[Fact]) -> list[Block]:
    """Who the bill is for, below a heading."""
    rng = till.rng
    heading = Cell(
        till.say(rng.choice(("BILL TO", "SOLD TO", "CUSTOMER", "TO", "SHIP TO"))), bold=True
    )
    name = names.company(till.words) if rng.random() < 0.6 else names.person(till.words)
    cells = broken(till.say(name), 30)
    facts.append(asking.field("customer", till.noun, list(map(Span, cells))))
    lines = [Cell(till.say(line)) for line in names.address(till.words, 30)]
    return [Line(left=cell) for cell in (heading, *cells, *lines)]


def _details(till: Till, facts: list[Fact]) -> list[Block]:
    """Number and dates; the day it is due is not the day it was written."""
    rng = till.rng
    day = values.date(rng)
    dated = Cell(till.say(rng.choice(("DATE", "INVOICE DATE", "DATE ISSUED"))))
    pairs = [(Cell(till.say(rng.choice(_NUMBERS))), [Cell(names.code(rng))]), (dated, [Cell(day)])]
    facts.append(asking.field("date", till.noun, [Span(pairs[1][1][0])]))
    if rng.random() < 0.5:
        pairs.append((Cell(till.say("DUE DATE")), [Cell(values.date(rng))]))
    if rng.random() < 0.4:
        pairs.append((Cell(till.say("TERMS")), [Cell(f"{rng.choice((7, 14, 30, 60))} days")]))
    if rng.random() < 0.4:
        pairs.append((Cell(till.say("CONTACT")), [Cell(till.say(names.person(till.words)))]))
    facts += [asking.right_of(key, value) for key, value in pairs]
    return till.pairs(pairs, rng.choice(("left", "left", "stretch")))
