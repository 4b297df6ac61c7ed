"""What a bill lists: goods with quantities, prices and amounts, in several arrangements."""

from vqa.pages import asking, names, values
from vqa.pages.blocks import Block, Line
from vqa.pages.content import Cell, Span
from vqa.pages.grid import Grid
from vqa.pages.till import Part, Till

ROWS = {"single": 1, "columns": 1, "under": 2, "code": 2, "numbered": 2, "tagged": 2}
"""Rows an item takes in each arrangement."""
_HEADS = {
    "name": ("ITEM", "DESCRIPTION", "DESC", "ITEM NAME", "ITEM(S)", "PARTICULARS", "PRODUCT"),
    "qty": ("QTY", "QTY", "QTY.", "NO", "UNIT"),
    "price": ("PRICE", "U.PRICE", "UNIT PRICE", "S/PRICE", "RATE", "U/P"),
    "amount": ("AMOUNT", "AMOUNT", "TOTAL", "AMT", "AMOUNT (RM)", "AMT(RM)", "RM", "NET"),
}
_TAX = ("SR", "ZRL", "S", "T", "Z", "*", "SR ")


class Goods:
    """Goods drawn for one bill; amounts in cents."""

    def __init__(self, till: Till, count: int, widest: int) -> None:
        rng = till.rng
        self.count = count
        self.names = names.items(till.words, count, widest)
        self.prices = [values.price(rng) for _ in range(count)]
        self.quantities = [1 if rng.random() < 0.55 else rng.randint(2, 12) for _ in range(count)]
        self.amounts = [p * q for p, q in zip(self.prices, self.quantities, strict=True)]
        self.codes = [names.code(rng) for _ in range(count)]


def listed(till: Till, goods: Goods, form: str, heading: bool, rules: str = "") -> Part:
    """The goods in one of the arrangements of ROWS."""
    rng = till.rng
    tax = rng.choice(_TAX) if rng.random() < 0.35 else None
    titles = [Cell(till.say(name)) for name in goods.names]
    prefix = till.currency if till.currency in ("RM", "$") and rng.random() < 0.5 else ""
    prints = [Cell(prefix + till.amount(cents)) for cents in goods.amounts]
    part = Part([], [])
    if form in ("single", "columns"):
        part.blocks.append(_grid(till, goods, form, titles, prints, tax, heading, rules))
    else:
        if heading:
            part.blocks += _heading(till)
        for place in range(goods.count):
            part.blocks += _item(till, goods, form, place, titles[place], prints[place], tax)
    part.facts += asking.amounts(rng, till.noun, titles, prints, goods.amounts)
    part.facts.append(asking.count("items", till.noun, titles))
    if goods.count > 1:
        ends = {"first_item": titles[0], "last_item": titles[-1]}
        part.facts += [asking.field(k, till.noun, [Span(cell)]) for k, cell in ends.items()]
    return part


def _grid(
    till: Till,
    goods: Goods,
    form: str,
    titles: list[Cell],
    prints: list[Cell],
    tax: str | None,
    heading: bool,
    rules: str,
) -> Grid:
    """One row an item."""
    rng = till.rng
    quantities = [Cell(str(q)) for q in goods.quantities]
    prices = [Cell(till.amount(p)) for p in goods.prices]
    columns: list[tuple[str, str, list[Cell]]]
    if form == "columns":
        columns = [("name", "l", titles), ("qty", "r", quantities), ("price", "r", prices)]
    else:
        columns = [("qty", "l", quantities), ("name", "l", titles)]
    columns.append(("amount", "r", prints))
    rows: list[tuple[Cell | None, ...]] = list(
        zip(*(cells for _, _, cells in columns), strict=True)
    )
    if heading:
        bold = rng.random() < 0.4
        words = [Cell(till.say(rng.choice(_HEADS[name])), bold=bold) for name, _, _ in columns]
        rows.insert(0, tuple(words))
    aligns = "".join(align for _, align, _ in columns)
    if tax:
        rows = [
            (*row, Cell(tax) if place or not heading else None) for place, row in enumerate(rows)
        ]
        aligns += "l"
    spare = next(place for place, column in enumerate(columns) if column[0] == "name")
    return Grid(tuple(rows), aligns, "stretch", rng.uniform(1, 2), rules, spare)


def _heading(till: Till) -> list[Block]:
    name, price = (Cell(till.say(till.rng.choice(_HEADS[key]))) for key in ("name", "amount"))
    return [Line(left=name, right=price), *till.separator()]


def _item(
    till: Till, goods: Goods, form: str, place: int, title: Cell, amount: Cell, tax: str | None
) -> list[Block]:
    """Two rows an item."""
    quantity, price = goods.quantities[place], till.amount(goods.prices[place])
    by = {"under": " x ", "code": "   ", "numbered": " @ ", "tagged": " UNIT * "}[form]
    count = Cell(f"{quantity}{by}{price}")
    right = Line(left=count, right=amount, indent=3)
    if tax:
        aligns, row = "llr", ((Cell("  "), count, amount, Cell(tax)),)
        grid = Grid(row, aligns + "l", "stretch", 1, "", 1)
        return [Line(left=title), grid]
    if form == "code":
        return [
            Line(left=Cell(f"{goods.codes[place]}  {count.text}"), right=amount),
            Line(left=title),
        ]
    if form == "numbered":
        return [Line(left=Cell(f"{place + 1}."), right=None), *_numbered(title, right)][1:]
    return [Line(left=title), right]


def _numbered(title: Cell, right: Line) -> list[Block]:
    return [Line(left=title, right=right.right), Line(left=right.left, indent=5)]
