"""Questions that follow from others have the right answers."""

import random
import re

from vqa.data.derived import NOT_THERE, OF_PAGES, of_page, of_photo
from vqa.data.wordings import recognise, reword

TEXT = "JAYA BOOK\nTotal 84.30\nRM 100.00"


def derived(
    seed: int, facts: dict[str, tuple[str, ...]], text: str = TEXT
) -> list[tuple[str, ...]]:
    return [(d.kind, d.question, *d.answers) for d in of_page(facts, text, random.Random(seed))]


def test_the_total_is_compared_with_amounts_on_both_sides() -> None:
    answers = set()
    for seed in range(60):
        rows = derived(seed, {"total": ("RM 84.30", "84.30")})
        ((_, question, answer),) = [row for row in rows if row[0] == "more_than"]
        found = re.search(r"above ([\d.]+)\?", question)
        assert found is not None
        assert answer == ("yes" if float(found[1]) < 84.30 else "no")
        answers.add(answer)
    assert answers == {"yes", "no"}
    assert not [row for row in derived(0, {"total": ("free",)}) if row[0] == "more_than"]


def test_only_what_the_page_does_not_say_is_not_there() -> None:
    asked = set()
    for seed in range(60):
        for kind, question, answer in derived(seed, {"total": ("84.30",)}):
            if kind == "not_there":
                assert answer == NOT_THERE
                known = recognise(question)
                assert known is not None
                asked.add(known[0])
    assert {"phone", "gst", "cashier", "change", "date"} <= asked
    assert not {"total", "company"} & asked
    said = "Tel 03-1234567 Tax Invoice Cashier Ann Change 1.00 Round 12:30 12/03/2018"
    for seed in range(20):
        kinds = {recognise(q)[0] for k, q, _ in derived(seed, {}, said) if k == "not_there"}  # type: ignore[index]
        assert not kinds & {"phone", "gst", "cashier", "change", "rounding", "time", "date"}


def test_photos_are_asked_what_only_pages_tell_and_in_other_words() -> None:
    draw = random.Random(0)
    kinds = set()
    for _ in range(100):
        one = of_photo(draw)
        known = recognise(one.question)
        assert known is not None and one.answers == (NOT_THERE,)
        kinds.add(known[0])
        assert reword(one.question, draw) and "{" not in reword(one.question, draw)
    assert kinds == set(OF_PAGES)
