"""Answers of generated pages, found again by a naive reader of what is printed where."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from vqa.datasets.pages import Dataset
from vqa.pages.scene import Box, Scene, Text
from vqa.pages.sheet import ink_box

AMOUNT = re.compile(r"^[^\d-]{0,3}(-?[\d,]*\.\d\d)$")
DATE = re.compile(
    r"(?<![\d-])\d{1,2}[/.-](?:\d{1,2}|[A-Z]{3})[/.-]\d{2,4}|\d{4}[/-]\d\d[/-]\d\d"
    r"|\d{1,2} [A-Z]{3,9} \d{2,4}|[A-Z]{3} \d\d, \d{4}",
    re.IGNORECASE,
)
TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d)?(?: ?[AP]M)?", re.IGNORECASE)


def asked(
    kinds: str, layouts: str, count: int = 60, size: int = 512
) -> Iterator[tuple[Scene, list[str], list[Text], str]]:
    """Scenes of both sides with the quoted names, all texts with ink, and the answer."""
    for split in ("train", "test"):
        data = Dataset(None, split, size=size, kinds=kinds, layouts=layouts, count=count)
        for index in range(count):
            scene = data.scene(index)
            texts = [text for text in scene.sheet.texts if set(text.text) - set("-=*._ ")]
            names = re.findall('"([^"]*)"', scene.question)
            yield scene, names, texts, scene.fact.answers[0]


def plain(text: str) -> str:
    return text.upper().strip(" :.")


def found(texts: list[Text], name: str) -> Text:
    """The one text that says `name`."""
    (text,) = [text for text in texts if plain(text.text) == plain(name)]
    return text


def in_row(texts: list[Text], text: Text) -> list[Text]:
    """What stands right of a text on its line, nearest first."""
    row = [t for t in texts if t.x > text.x and abs(t.y - text.y) <= text.face.size // 3]
    return sorted((t for t in row if t.text.strip() not in (":", "-", "")), key=lambda t: t.x)


def cents(text: str) -> int:
    match = AMOUNT.match(text.strip())
    assert match, text
    return round(float(match[1].replace(",", "")) * 100)


def overlap(one: Box, other: Box) -> int:
    return min(one[2], other[2]) - max(one[0], other[0])


@pytest.mark.parametrize("layout", ["receipt", "invoice", "form", "panel"])
def test_right_of_a_key(layout: str) -> None:
    for scene, (name,), texts, answer in asked("row", layout):
        right = in_row(texts, found(texts, name))
        told = right[0].text
        if told == "RM":
            told += " " + right[1].text
        assert told.upper() == answer.upper(), (scene.question, told)


@pytest.mark.parametrize("layout", ["form", "panel"])
def test_below_a_key(layout: str) -> None:
    for _, (name,), texts, answer in asked("below", layout, 40):
        key = found(texts, name)
        under = [t for t in texts if t.y > key.y and abs(t.x - key.x) <= 2 * key.face.size]
        assert min(under, key=lambda t: t.y).text == answer


def test_total_is_what_was_paid_less_the_change() -> None:
    judged = 0
    paid = {"CASH", "CASH TENDERED", "PAID AMOUNT", "PAYMENT", "TENDERED", "AMOUNT PAID"}
    change = {"CHANGE", "CHANGE DUE", "BALANCE", "CHANGE (RM)"}
    for scene, _, texts, _ in asked("total", "receipt,invoice", 100):
        money = [next((t for t in texts if plain(t.text) in keys), None) for keys in (paid, change)]
        if money[0] and money[1]:
            cash, back = (cents(in_row(texts, key)[-1].text) for key in money if key)
            assert cents(scene.fact.answers[-1]) == cash - back
            judged += 1
    assert judged >= 60


def test_there_is_one_date_and_one_time_to_find() -> None:
    for kind, form in (("date", DATE), ("time", TIME)):
        for scene, _, texts, answer in asked(kind, "receipt"):
            told = {match.upper() for text in texts for match in form.findall(text.text)}
            assert told == {answer}, scene.question


@pytest.mark.parametrize("kind", ["company", "address", "customer"])
def test_lines_follow_each_other(kind: str) -> None:
    layout = "invoice" if kind == "customer" else "receipt"
    for scene, _, texts, answer in asked(kind, layout, 40):
        shown = [text.text.upper() for text in sorted(texts, key=lambda t: t.y)]
        if layout == "invoice":  # other columns stand beside it
            assert all(any(word in line for line in shown) for word in answer.upper().split())
            continue
        starts = [n for n, line in enumerate(shown) if answer.startswith(line)]
        told = [" ".join(shown[n:end]) for n in starts for end in range(n + 1, n + 6)]
        assert answer in told, (answer, shown)
        assert kind != "company" or starts[0] == 0, "the company stands first"
        assert len(scene.evidence) == 1


def test_amounts_of_items() -> None:
    judged = 0
    for scene, names, texts, answer in asked("price,sum", "receipt,invoice", 100):
        amounts = []
        for name in names:
            right = [t for t in in_row(texts, found(texts, name)) if AMOUNT.match(t.text)]
            amounts += [cents(right[-1].text)] if right else []
        if len(amounts) == len(names):
            assert sum(amounts) == cents(answer), scene.question
            judged += 1
    assert judged >= 80


def test_largest_amount() -> None:
    for scene, _, texts, answer in asked("largest", "receipt", 30):
        assert any(plain(t.text) == plain(answer) for t in texts) and len(scene.evidence) == 1
    judged = 0
    for _, _, texts, answer in asked("which", "receipt", 60):
        text = found(texts, answer)
        mine = [t for t in in_row(texts, text) if AMOUNT.match(t.text)]
        heads = [t for t in texts if abs(t.x - text.x) <= 2 and t is not text]
        rows = [[t for t in in_row(texts, head) if AMOUNT.match(t.text)] for head in heads]
        below = {"TOTAL", "SUB", "NET", "GST", "SST", "GROSS", "TAX", "AMOUNT", "CASH", "PAID"}
        others = [
            cents(row[-1].text)
            for head, row in zip(heads, rows, strict=True)
            if row and len(row) > 1 and not set(plain(head.text).split()) & below
        ]
        if len(mine) > 1 and others:
            assert cents(mine[-1].text) >= max(others)
            judged += 1
    assert judged >= 10


def test_above() -> None:
    answers = set()
    for scene, names, texts, answer in asked("above", "receipt,table,form,panel"):
        one, other = (found(texts, name) for name in names)
        assert answer == ("yes" if one.y < other.y else "no"), scene.question
        answers.add(answer)
    assert answers == {"yes", "no"}


def column(texts: list[Text], head: Text) -> list[Text]:
    """What stands below a heading."""
    place = ink_box(head)
    return [t for t in texts if t.y > head.y and overlap(ink_box(t), place) > 0]


def number(text: str) -> float:
    return float(text.strip("%").replace(",", ""))


def test_cells_of_tables() -> None:
    for scene, (head, label), texts, answer in asked("cell", "table"):
        row = found(texts, label)
        (cell,) = [t for t in column(texts, found(texts, head)) if abs(t.y - row.y) <= 2]
        assert cell.text == answer, scene.question


def test_rows_of_tables() -> None:
    for scene, names, texts, answer in asked("which,compare,sum,count", "table", 80):
        if scene.kind == "count":
            rows = {t.y for t in texts if re.fullmatch(r"[\d,.]+%?", t.text)}
            assert str(len(rows)) == answer
            continue
        cells = {t.y: number(t.text) for t in column(texts, found(texts, names[0]))}
        start = found(texts, names[1] if len(names) > 1 else answer).x
        labels = {t.y: t.text for t in texts if t.x == start}
        values = {labels[y]: value for y, value in cells.items()}
        if scene.kind == "sum":
            assert int(answer) == sum(values[name] for name in names[1:])
        elif scene.kind == "which":
            choose = max if "highest" in scene.question else min
            assert answer == choose(values, key=values.__getitem__)
        else:
            assert answer == max(names[1:], key=values.__getitem__)


def test_values_of_charts_lie_where_the_axis_says() -> None:
    judged = 0
    for split in ("train", "test"):
        data = Dataset(None, split, kinds="value", layouts="chart", count=100)
        for index in range(100):
            scene, page = data.scene(index), data._page(index, 512)
            part = scene.fact.part
            if part is None or page.print is None:
                continue
            ticks = [t for t in scene.sheet.texts if t.text.isdigit()]
            bar, boxes = page.print.sheet.parts[part], [ink_box(tick) for tick in ticks]
            numbers = [int(tick.text) for tick in ticks]
            upright = len({tick.y for tick in ticks}) > 1
            # A bar ends at its value's line; a point's middle lies on it.
            low, high = (1, 3) if upright else (0, 2)
            places = [(box[low] + box[high]) / 2 for box in boxes]
            end = bar[1] if upright else bar[2]
            if upright and bar[3] - bar[1] == bar[2] - bar[0]:
                end = (bar[1] + bar[3]) // 2
            steps = [abs(b - a) for a, b in pairwise(places)]
            nearest = min(range(len(places)), key=lambda n: abs(places[n] - end))
            assert abs(places[nearest] - end) < 0.25 * min(steps)
            assert str(numbers[nearest]) == scene.fact.answers[0], scene.question
            judged += 1
    assert judged >= 40


def test_printed_values_of_charts() -> None:
    for scene, names, _, answer in asked("which,compare,sum,value", "chart"):
        labels = [t.text for t in scene.sheet.texts]
        assert all(labels.count(name) == 1 for name in names)
        if scene.kind in ("which", "compare"):
            assert answer in labels
        else:
            assert re.fullmatch(r"\d+%?", answer)


def test_ticked_boxes() -> None:
    for scene, names, texts, answer in asked("ticked,count", "form", 40):
        crossed = [t for t in texts if re.fullmatch(r"[\[(][xX][\])]", t.text)]
        if scene.kind == "count":
            assert str(len(crossed)) == answer
        else:
            label = found(texts, names[0])
            assert answer == ("yes" if any(abs(t.y - label.y) <= 2 for t in crossed) else "no")


def test_lines_say_what_is_asked() -> None:
    for scene, _, texts, answer in asked("text", "line", 60, 128):
        (text,) = texts
        words = text.text.split()
        told = {"first": words[0], "last": words[-1]}
        (which,) = re.findall("first|last", scene.question) or [None]
        assert answer == (told[which] if which else text.text)
