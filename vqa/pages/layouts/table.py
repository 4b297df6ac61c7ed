"""Tables of words and numbers, with or without lines."""

from vqa.pages import asking, values
from vqa.pages.blocks import Block, Gap, Line
from vqa.pages.content import Cell, Content, Fact, Room, Span
from vqa.pages.grid import Grid
from vqa.pages.words import Words

VARIANTS = ("plain", "head", "rows", "all")
HELD_OUT = ("box",)
KINDS = ("cell", "which", "compare", "count", "sum", "above", "title", "row")
SMALLEST = 160


def compose(words: Words, room: Room, variant: str) -> Content:
    """Rows have different names, columns different headings, and numbers of a column one form."""
    rng = words.rng
    most = max(2, min(5, (room.columns - 10) // 9))
    columns, rows = (
        rng.randint(1, most - 1) if most > 1 else 1,
        rng.randint(2, max(2, min(16, room.rows - 3))),
    )
    capital = rng.choice((str.upper, str.capitalize, str.capitalize))
    kind = rng.choice(("place", "person", "item", "thing"))
    heads = [
        Cell(capital(word), bold=rng.random() < 0.7) for word in words.sample("topic", columns)
    ]
    labels = [Cell(capital(word)) for word in words.sample(kind, rows)]
    numbers = [_column(words, rows) for _ in heads]
    body = [[Cell(text) for text, _ in column] for column in numbers]
    corner = Cell(capital(kind), bold=heads[0].bold)
    table: list[tuple[Cell | None, ...]] = [(corner, *heads)]
    table += [(label, *row) for label, row in zip(labels, zip(*body, strict=True), strict=True)]
    rules = "" if variant == "plain" else variant
    spare = rng.choice((0, -1))
    grid = Grid(tuple(table), "l" + rng.choice("rrc") * columns, "stretch", 2, rules, spare,
                rng.choice((1.0, 1.0, 1.2, 1.4)))  # fmt: skip
    facts = _facts(words, labels, heads, body, [[n for _, n in column] for column in numbers])
    blocks: list[Block] = [grid]
    if room.rows > 5 and rng.random() < 0.7:
        title = Cell(_title(words, room.columns), bold=True, scale=rng.choice((1.0, 1.25, 1.5)))
        blocks = [Line(**{rng.choice(("left", "middle")): title}), Gap(0.5), grid]  # type: ignore[arg-type]
        facts.append(asking.field("title", "table", [Span(title)]))
    return Content("table", tuple(blocks), tuple(facts), mono=0.2)


def _title(words: Words, widest: int) -> str:
    text = f"{words.pick('topic').capitalize()} {words.rng.choice(('by', 'of', 'and', 'per'))} "
    text += words.pick("thing")
    if words.rng.random() < 0.5:
        text += f" {words.rng.randint(1998, 2029)}"
    return text if len(text) <= widest / 1.5 else text.split()[0]


def _column(words: Words, rows: int) -> list[tuple[str, int]]:
    """Texts with their values, in the smallest unit."""
    rng = words.rng
    form = rng.choice(("count", "count", "money", "percent", "thousand"))
    if form == "money":
        cents = [values.price(rng) for _ in range(rows)]
        return [(values.money(cent), cent) for cent in cents]
    most = {"count": rng.choice((20, 100, 1000)), "percent": 100, "thousand": 99999}[form]
    numbers = [rng.randint(0, most) for _ in range(rows)]
    return [(f"{n:,}" if form == "thousand" else f"{n}%" if form == "percent" else str(n), n)
            for n in numbers]  # fmt: skip


def _facts(
    words: Words,
    labels: list[Cell],
    heads: list[Cell],
    body: list[list[Cell]],
    numbers: list[list[int]],
) -> list[Fact]:
    rng = words.rng
    facts = [asking.count("rows", "table", labels), asking.above(rng, labels)]
    for _ in range(6):
        column, row = rng.randrange(len(heads)), rng.randrange(len(labels))
        head, label, cell = heads[column], labels[row], body[column][row]
        question = f'What is the "{head.text}" of "{label.text}"?'
        facts.append(Fact("cell", question, (cell.text,), (Span(cell),), (head.text, label.text)))
    for head, column_cells, column_numbers in zip(heads, body, numbers, strict=True):
        what = f'"{head.text}"'
        facts += asking.compare(rng, labels, column_numbers, "row", what)
        if all(cell.text.isdigit() for cell in column_cells):
            one, other = rng.sample(range(len(labels)), 2)
            facts.append(
                Fact(
                    "sum",
                    f'What is the sum of the {what} of "{labels[one].text}" and '
                    f'"{labels[other].text}"?',
                    (str(column_numbers[one] + column_numbers[other]),),
                    (Span(column_cells[one]), Span(column_cells[other])),
                    (head.text, labels[one].text, labels[other].text),
                )
            )
    if len(heads) == 1:
        place = rng.randrange(len(labels))
        facts.append(asking.right_of(labels[place], [body[0][place]]))
    return facts
