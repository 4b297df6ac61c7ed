"""Charts of one series: columns, bars, lines and pies."""

from vqa.pages import asking
from vqa.pages.blocks import Block, Gap, Line
from vqa.pages.content import Cell, Content, Fact, Room, Span
from vqa.pages.figure import Chart
from vqa.pages.words import Words

VARIANTS = ("columns", "bars", "line", "pie")
HELD_OUT = VARIANTS
"""All: their words, fonts and numbers are the test split's own."""
KINDS = ("value", "which", "compare", "count", "sum", "title")
SMALLEST = 192

_NOUNS = {"columns": "bar", "bars": "bar", "line": "point", "pie": "slice"}
_GREYS = (235, 40, 150, 90, 200, 15, 120, 175)


def compose(words: Words, room: Room, variant: str) -> Content:
    """Values are printed, or lie on the lines of the axis: they can be read exactly."""
    rng = words.rng
    upright = variant in ("columns", "line")
    most = min(8, (room.columns - 6) // 9 if upright else int(room.rows - 6) // 2)
    count = rng.randint(2, max(2, most))
    kind = rng.choice(("place", "person", "item", "town"))
    capital = rng.choice((str.upper, str.capitalize, str.capitalize))
    pool = [
        word for word in words.sample(kind, 60) if len(word) <= max(6, room.columns // (count + 2))
    ]
    labels = tuple(Cell(capital(word)) for word in pool[:count])
    printed = variant == "pie" or rng.random() < 0.6
    top = rng.choice((5, 10, 20, 25, 50, 100, 200, 500, 1000))
    values = _values(words, variant, len(labels), top, printed)
    prints = tuple(Cell(f"{v}%" if variant == "pie" else str(v)) for v in values) if printed else ()
    axis = variant != "pie" and (not printed or rng.random() < 0.5)
    ticks = tuple(Cell(str(top * n // 5)) for n in range(6)) if axis else ()
    levels = tuple(rng.sample(_GREYS, len(labels)))
    if variant != "pie" and rng.random() < 0.6:
        levels = (rng.choice(_GREYS),) * len(labels)
    height = max(5.0, min(room.rows - 5.0, rng.uniform(8, 18)))
    chart = Chart(variant, labels, values, top, prints, ticks, levels, height)
    noun = _NOUNS[variant]
    facts = _facts(words, chart, noun)
    blocks: list[Block] = [chart]
    if room.rows > 8 and rng.random() < 0.75:
        text = (
            words.pick("topic").capitalize() + rng.choice((" by ", " per ")) + words.pick("thing")
        )
        text = text if len(text) < room.columns else text.split()[0]
        title = Cell(text, bold=True, scale=rng.choice((1.0, 1.25)))
        facts.append(asking.field("title", "chart", [Span(title)]))
        blocks = [Line(middle=title), Gap(0.6), chart]
    return Content("chart", tuple(blocks), tuple(facts), mono=0.1)


def _values(words: Words, variant: str, count: int, top: int, printed: bool) -> tuple[int, ...]:
    """Percents that make 100 of a pie; else up to `top`, on the axis' lines if not printed."""
    rng = words.rng
    if variant == "pie":
        cuts = sorted(rng.sample(range(4, 97, 1), count - 1))
        return tuple(b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True))
    if printed:
        return tuple(rng.randint(max(1, top // 20), top) for _ in range(count))
    return tuple(top * rng.randint(1, 5) // 5 for _ in range(count))


def _facts(words: Words, chart: Chart, noun: str) -> list[Fact]:
    rng = words.rng
    facts = []
    for place in rng.sample(range(len(chart.labels)), min(4, len(chart.labels))):
        label, value = chart.labels[place], chart.values[place]
        question = f'What is the value of "{label.text}"?'
        if chart.prints:
            cell = chart.prints[place]
            facts.append(Fact("value", question, (cell.text,), (Span(cell),), (label.text,)))
        else:
            facts.append(Fact("value", question, (str(value),), (), (label.text,), part=place))
    facts += asking.compare(rng, chart.labels, list(chart.values), noun, "value")
    count = len(chart.labels)
    facts.append(Fact("count", f"How many {noun}s are there in this chart?", (str(count),),
                      tuple(map(Span, chart.labels))))  # fmt: skip
    one, other = rng.sample(range(count), 2)
    total = chart.values[one] + chart.values[other]
    where = chart.prints or chart.labels
    facts.append(
        Fact(
            "sum",
            f'What is the sum of the values of "{chart.labels[one].text}" and '
            f'"{chart.labels[other].text}"?',
            (f"{total}%" if chart.form == "pie" else str(total),),
            (Span(where[one]), Span(where[other])),
            (chart.labels[one].text, chart.labels[other].text),
        )
    )
    return facts
