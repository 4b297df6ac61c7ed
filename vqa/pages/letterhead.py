"""The head of a bill: who issued it, where, and its numbers."""

from vqa.pages import asking, names, values
from vqa.pages.blocks import Beside, Block, Gap, Line
from vqa.pages.content import Cell, Fact, Span
from vqa.pages.till import Part, Till, broken

_TITLES = (
    "TAX INVOICE", "TAX INVOICE", "TAX INVOICE", "RECEIPT", "OFFICIAL RECEIPT", "CASH SALES",
    "CASH BILL", "SIMPLIFIED TAX INVOICE", "INVOICE", "CASH RECEIPT", "GUEST CHECK",
    "SALES RECEIPT",
)  # fmt: skip
_NUMBERS = (
    "INVOICE NO", "INVOICE NO", "INV NO", "BILL NO", "BILL NO", "RECEIPT NO", "RECEIPT #", "DOC NO",
    "SLIP NO", "INV. NO", "CHECK NO", "ORDER NO", "TAX INVOICE NO", "DOCUMENT NO", "TRANS NO",
)  # fmt: skip
_PEOPLE = (
    "CASHIER",
    "CASHIER",
    "CASHIER",
    "STAFF",
    "SERVED BY",
    "SALESPERSON",
    "OPERATOR",
    "SERVER",
)
_ASKED = dict.fromkeys(_PEOPLE, "cashier") | dict.fromkeys(_NUMBERS, "document_number")
"""Kind of question about the value of a key."""
_PLACES = ("TABLE", "TABLE", "COUNTER", "TERMINAL", "STATION", "POS NO", "SHIFT", "PAX", "MEMBER")
_DATES = ("DATE", "DATE", "DATE", "BILL DATE", "INVOICE DATE", "DATE / TIME", "TRANS DATE", "DATED")


def head(till: Till, limit: float, align: str = "middle") -> Part:
    """Company, registration, address, telephone, title; fewer of these if room is short."""
    rng, words = till.rng, till.words
    part = Part([], [])

    def put(cell: Cell, shift: str = align) -> None:
        part.blocks.append(Line(**{shift: cell}))  # type: ignore[arg-type]

    scale = rng.choice((1.0, 1.0, 1.0, 1.25, 1.5))
    bold = rng.random() < 0.4
    name = till.say(names.company(words))
    cells = broken(name, int(till.columns / scale), bold=bold, scale=scale)
    for cell in cells:
        put(cell)
    part.facts.append(asking.field("company", till.noun, list(map(Span, cells))))
    if part.rows() + 2 <= limit and rng.random() < 0.6:
        form = rng.choice(("(999999-A)", "(999999-A)", "CO. REG NO: 999999-A", "CO NO : 9999999-A",
                           "(A99999999)", "ROC NO.: 999999-A", "(9999999-A)"))  # fmt: skip
        put(Cell(names.filled(rng, form.replace("CO", "\0")).replace("\0", "CO")))
    lines = [Cell(till.say(line)) for line in names.address(words, till.columns - 2)]
    if part.rows() + len(lines) <= limit:
        for cell in lines:
            put(cell)
        part.facts.append(asking.field("address", till.noun, list(map(Span, lines))))
        _contacts(till, part, limit, align)
    if part.rows() + 1.5 <= limit and rng.random() < 0.7:
        part.blocks.append(Gap(rng.choice((0.3, 0.6, 1.0))))
        title = Cell(till.say(rng.choice(_TITLES)), bold=rng.random() < 0.5)
        part.blocks.append(Line(middle=title))
    return part


def _contacts(till: Till, part: Part, limit: float, align: str) -> None:
    """Telephone, fax and tax number, each in a line of its own or together."""
    rng = till.rng
    sep = rng.choice((" : ", ": ", ":", " "))
    key = till.say(rng.choice(("TEL", "TEL", "TEL NO", "PHONE")))
    number = {"phone": names.phone(rng)}
    tel = key + sep + number["phone"]
    if rng.random() < 0.3 and len(tel) * 2 < till.columns:
        tel += "  " + till.say("FAX") + sep + names.phone(rng)
    gst = rng.choice(("GST ID", "GST REG NO", "GST NO", "GST REG.", "SST NO"))
    number["gst"] = names.filled(rng, "009999999999")
    tax = till.say(gst) + sep + number["gst"]
    for kind, text, chance in (("phone", tel, 0.85), ("gst", tax, 0.75)):
        if rng.random() < chance and part.rows() + 1 <= limit:
            cell = Cell(text)
            part.blocks.append(Line(**{align: cell}))  # type: ignore[arg-type]
            part.facts.append(asking.field(kind, till.noun, [asking.within(cell, number[kind])]))


def meta(till: Till, limit: float) -> Part:
    """Number, date, time, cashier and the like, as a list, in pairs, or the date in a line."""
    rng = till.rng
    day, hour = values.date(rng), values.time(rng)
    shown = till.say(day) if day.isupper() or day.islower() else day
    style = rng.choices(("list", "pairs", "line"), (6, 3 if till.columns >= 34 else 0, 2))[0]
    part = Part([], [])
    entries: list[tuple[str, list[str]]] = [(rng.choice(_NUMBERS), [names.code(rng)])]
    together = rng.random() < 0.6
    if style != "line":
        key = rng.choice(_DATES)
        entries.append((key, [f"{shown} {hour}" if together else shown]))
        if not together and rng.random() < 0.8:
            entries.append(("TIME", [hour]))
    others = [
        (rng.choice(_PEOPLE), [till.say(names.person(till.words))]),
        (rng.choice(_PLACES), [rng.choice((str(rng.randint(1, 60)), names.filled(rng, "A99")))]),
    ]
    entries += [other for other in others if rng.random() < 0.55]
    rng.shuffle(entries)
    while len(entries) > max(1, limit - (style == "line")):
        entries.pop()
    cells = [(Cell(till.say(key)), [Cell(text) for text in texts]) for key, texts in entries]
    if style == "pairs" and len(cells) > 1:
        part.blocks += _side_by_side(till, cells)
    else:
        part.blocks += till.pairs(cells, "left")
    part.facts += [asking.right_of(key, value, till.answers_upper) for key, value in cells]
    for name, value in cells:
        kind = _ASKED.get(name.text.upper())
        if kind is not None:
            part.facts.append(asking.field(kind, till.noun, list(map(Span, value))))
    if style == "line":
        line = Cell(f"{shown} {hour}" if together else shown)
        other = None if together or rng.random() < 0.3 else Cell(hour)
        part.blocks.append(Line(left=line, right=other) if other else Line(middle=line))
        cells.append((line, [line] + ([other] if other else [])))
    _when(till, part, [cell for _, value in cells for cell in value], shown, hour)
    return part


def _side_by_side(till: Till, cells: list[tuple[Cell, list[Cell]]]) -> list[Block]:
    """Two keys a row."""
    half = (len(cells) + 1) // 2
    left, right = cells[:half], cells[half:]
    gap = till.rng.uniform(2, 4)
    return [Beside((tuple(till.pairs(left, "left")), tuple(till.pairs(right, "left"))), gap)]


def _when(till: Till, part: Part, cells: list[Cell], day: str, hour: str) -> None:
    """Date and time, where they are printed."""
    for kind, text in (("date", day), ("time", hour)):
        for cell in cells:
            if text in cell.text:
                fact: Fact = asking.field(kind, till.noun, [asking.within(cell, text)])
                part.facts.append(fact)
                break
