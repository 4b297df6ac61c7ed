"""The end of a bill: subtotal, discount, tax, rounding, total, payment and change."""

import dataclasses

from vqa.pages import asking
from vqa.pages.blocks import Block, Frame, Line
from vqa.pages.content import Cell, Fact
from vqa.pages.grid import Grid
from vqa.pages.till import Part, Till

_KEYS = {
    "quantity": (
        "TOTAL QTY", "TOTAL QTY", "ITEM COUNT", "TOTAL ITEM(S)", "QTY COUNT", "NO OF ITEMS",
    ),
    "subtotal": (
        "SUB TOTAL", "SUBTOTAL", "SUB-TOTAL", "SUB TOTAL (RM)", "AMOUNT", "GROSS TOTAL",
        "TOTAL SALES (EXCLUDING GST)", "TOTAL EXCL. GST", "TOTAL SALES",
    ),
    "discount": (
        "DISCOUNT", "DISCOUNT", "DISC", "LESS DISCOUNT", "VOUCHER", "MEMBER DISCOUNT",
    ),
    "service": (
        "SERVICE CHARGE", "SERVICE CHARGE", "SVC CHG", "SERV. CHARGE 10%",
    ),
    "tax": (
        "GST 6%", "GST @ 6%", "TOTAL GST", "GST PAYABLE", "TAX 6%", "SST 6%", "GST AMOUNT", "GST",
    ),
    "inclusive": (
        "TOTAL INCL. GST", "TOTAL INCLUSIVE OF GST", "TOTAL AMT INCL. GST @ 6%",
        "TOTAL SALES INCL. GST", "NET AMOUNT", "TOTAL BEFORE ROUNDING", "GROSS AMOUNT",
    ),
    "rounding": (
        "ROUNDING", "ROUNDING", "ROUNDING ADJ", "ROUNDING ADJUSTMENT", "ROUND ADJ", "ROUND",
    ),
    "total": (
        "TOTAL", "TOTAL", "TOTAL", "GRAND TOTAL", "TOTAL AMOUNT", "NETT TOTAL", "NET TOTAL",
        "TOTAL DUE", "AMOUNT DUE", "TOTAL (RM)", "TOTAL RM", "ROUNDED TOTAL (RM)",
        "TOTAL PAYABLE", "TOTAL SALES (INCLUSIVE OF GST)", "BILL TOTAL", "TOTAL AMT PAYABLE",
    ),
    "cash": (
        "CASH", "CASH", "CASH", "CASH TENDERED", "PAID AMOUNT", "PAYMENT", "TENDERED",
        "AMOUNT PAID",
    ),
    "card": (
        "VISA", "MASTER", "CREDIT CARD", "DEBIT CARD", "VISA CARD", "E-WALLET",
    ),
    "change": (
        "CHANGE", "CHANGE", "CHANGE", "CHANGE DUE", "BALANCE", "CHANGE (RM)",
    ),
}  # fmt: skip
_ASKED = ("total", "subtotal", "tax", "rounding", "cash", "change")
"""Rows that are asked for by what they are; where they say 0.00, the total alone."""


def totals(till: Till, amounts: list[int], quantity: int, limit: float) -> Part:
    """Rows of keys and amounts; `limit` rows at most, the total always among them."""
    rng = till.rng
    rows = _sums(till, sum(amounts))
    if rng.random() < 0.35:
        rows.insert(rng.choice((0, len(rows))), ("quantity", quantity))
    while len(rows) > max(1, limit):
        rows.pop(rng.choice([n for n, (name, _) in enumerate(rows) if name != "total"]))
    part = Part([], [])
    loud = rng.choice(
        ({}, {"bold": True}, {"bold": True, "scale": 1.25}, {"wide": True}, {"scale": 1.5})
    )
    if till.columns < 30 and loud.get("wide"):
        loud = {}
    pairs: list[tuple[Cell, list[Cell]]] = []
    for name, value in rows:
        style = loud if name == "total" else {}
        pairs.append(
            (Cell(till.say(rng.choice(_KEYS[name])), **style), _value(till, name, value, style))
        )
    part.blocks += _arranged(till, [name for name, _ in rows], pairs)
    for (name, value), (key, cells) in zip(rows, pairs, strict=True):
        if name in _ASKED and (value or name == "total"):
            spans = [asking.within(cells[-1], cells[-1].text)]
            bare = till.amount(value)
            part.facts.append(asking.field(name, till.noun, spans, bare))
        # Half the rows of bills say 0.00: asked about them all, one would answer it unread.
        if value or rng.random() < 0.1:
            part.facts.append(asking.right_of(key, cells, till.answers_upper))
    return part


def _sums(till: Till, goods: int) -> list[tuple[str, int]]:
    """Names of rows and cents, in the order of bills."""
    rng = till.rng
    rows: list[tuple[str, int]] = [("subtotal", goods)] if rng.random() < 0.7 else []
    total = goods
    if rng.random() < 0.3:
        discount = rng.choice(
            (0, 0, goods // 20 * 1, goods // 10, rng.randint(1, max(2, goods // 4)))
        )
        rows.append(("discount", -discount if rng.random() < 0.5 else discount))
        total -= discount
    if rng.random() < 0.15:
        service = round(total / 10)
        rows.append(("service", service))
        total += service
    if rng.random() < 0.55:
        if rng.random() < 0.6:
            tax = round(total * 0.06)
            total += tax
        else:
            tax = round(total * 6 / 106)
        rows.append(("tax", tax))
    if rng.random() < 0.35:
        rows.append(("inclusive", total))
    rounded = round(total / 5) * 5
    if rng.random() < 0.55:
        rows.append(("rounding", rounded - total))
        total = rounded
    rows.append(("total", total))
    roll = rng.random()
    if roll < 0.65:
        note = rng.choice((100, 500, 1000, 5000, 10000))
        paid = -(-total // note) * note
        rows += [("cash", paid), ("change", paid - total)]
    elif roll < 0.8:
        rows.append(("card", total))
    return rows


def _value(till: Till, name: str, value: int, style: dict) -> list[Cell]:
    if name == "quantity":
        return [Cell(str(value), **style)]
    amount = till.amount(value)
    if till.currency == "column":
        return [Cell("RM", **style), Cell(amount, **style)]
    return [Cell(till.currency + amount, **style)]


def _arranged(till: Till, names: list[str], pairs: list[tuple[Cell, list[Cell]]]) -> list[Block]:
    """Over the whole width or at the right; ruled off before or after the total now and then."""
    rng = till.rng
    at = rng.choice(("stretch", "stretch", "right"))
    if rng.random() < 0.6 or len(pairs) < 3:
        return till.pairs(pairs, at)
    cut = names.index("total") + rng.choice((0, 1))
    if not 0 < cut < len(pairs):
        return till.pairs(pairs, at)
    return [*till.pairs(pairs[:cut], at), *till.separator(), *till.pairs(pairs[cut:], at)]


def summary(till: Till, total: int) -> Part:
    """The tax summary that bills of those years have, with figures much like the total."""
    rng = till.rng
    tax = round(total * 6 / 106)
    head = [Cell(till.say(text)) for text in ("GST SUMMARY", "AMOUNT(RM)", "TAX(RM)")]
    if rng.random() < 0.4:
        head[0] = Cell(till.say("TAX CODE"))
    code = rng.choice(("SR @ 6%", "SR = 6%", "S = 6%", "SR", "T1 6%", "GST 6% "))
    rows = [tuple(head), (Cell(code), Cell(till.amount(total - tax)), Cell(till.amount(tax)))]
    if rng.random() < 0.5:
        zero = rng.choice(("ZRL @ 0%", "Z = 0%", "ZR", "ZRE 0%"))
        rows.append((Cell(zero), Cell("0.00"), Cell("0.00")))
    grid = Grid(tuple(rows), "lrr", "stretch", 2, rng.choice(("", "", "head")), -1)
    blocks: list[Block] = [grid]
    if rng.random() < 0.3:
        blocks = [Frame((grid,))]
    elif rng.random() < 0.5:
        blocks = [*till.separator(), grid]
    return Part(blocks, [])


_THANKS = (
    "THANK YOU", "THANK YOU, PLEASE COME AGAIN", "THANK YOU. PLEASE COME AGAIN.",
    "*** THANK YOU ***", "GOODS SOLD ARE NOT RETURNABLE", "GOODS SOLD ARE NOT REFUNDABLE",
    "PLEASE COME AGAIN", "PRICE IS GST INCLUSIVE", "EXCHANGE WITHIN 7 DAYS WITH RECEIPT",
    "~~~ THANK YOU ~~~", "E. & O.E.", "THANK YOU FOR SHOPPING WITH US",
    "ITEMS SOLD ARE NOT REFUNDABLE", "HAVE A NICE DAY", "SEE YOU AGAIN SOON", "NO REFUND",
    "CUSTOMER'S COPY", "PLEASE KEEP THIS RECEIPT",
)  # fmt: skip


def foot(till: Till, limit: float) -> Part:
    """Thanks and terms."""
    rng = till.rng
    lines = rng.sample(_THANKS, rng.randint(1, 4))
    if rng.random() < 0.25:
        lines.append(f"WWW.{till.words.invented(3).upper()}.COM.MY")
    fitting = [line for line in lines if len(line) <= till.columns][: max(0, int(limit))]
    return Part([Line(middle=Cell(till.say(line))) for line in fitting], [])


def capitals(fact: Fact) -> Fact:
    """The fact as sroie_vqa writes it: what is quoted and what is answered in capitals."""
    answers = fact.answers if fact.choices else tuple(each.upper() for each in fact.answers)
    pieces = fact.question.split('"')
    quoted = [piece.upper() if place % 2 else piece for place, piece in enumerate(pieces)]
    return dataclasses.replace(fact, question='"'.join(quoted), answers=answers)
