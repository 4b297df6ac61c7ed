"""Wordings of questions: enough of them, apart from each other, and put in place of templates."""

import random
import re

import pytest

from vqa.data.wordings import SLOT, recognise, reword, wordings_by_kind

KINDS = wordings_by_kind()
VALUES = {
    "page": "receipt",
    "noun": "bar",
    "extreme": "highest",
    "things": "bars",
    "thing": "a dog",
    "who": "the man",
    "group": "apple",
}


def normalised(text: str) -> str:
    return re.sub(r"[^a-z0-9{}]+", " ", text.lower()).strip()


def test_every_kind_has_enough_wordings_of_two_hands() -> None:
    assert len(KINDS) == 55
    for kind, wordings in KINDS.items():
        assert len(wordings.train) >= 12 and len(wordings.test) >= 6, kind
        assert len(set(map(normalised, wordings.train))) >= 12, kind
        shared = set(map(normalised, wordings.train)) & set(map(normalised, wordings.test))
        assert not shared, (kind, shared)


def test_all_wordings_of_a_kind_have_the_same_slots() -> None:
    for kind, wordings in KINDS.items():
        slots = {tuple(sorted(SLOT.findall(text))) for text in (*wordings.train, *wordings.test)}
        assert len(slots) == 1, kind
        for template in wordings.original:
            assert {*slots.pop()} <= {*SLOT.findall(template)}, (kind, template)
            slots = {tuple(sorted(SLOT.findall(wordings.train[0])))}


def test_no_wording_stands_for_two_kinds() -> None:
    owner: dict[str, str] = {}
    for kind, wordings in KINDS.items():
        for text in (*wordings.train, *wordings.test):
            assert owner.setdefault(normalised(text), kind) == kind, text


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].original])
def test_recognise_knows_the_templates_of_data_sets(kind: str) -> None:
    for template in KINDS[kind].original:
        slots = {name: VALUES.get(name, f"X {name}") for name in SLOT.findall(template)}
        assert recognise(SLOT.sub(lambda slot: slots[slot[1]], template)) == (kind, slots)  # noqa: B023


@pytest.mark.parametrize(
    ("question", "kind"),
    (
        ('What is printed to the right of "TOTAL (RM)"?', "row"),
        ("How many people can you see?", "count_people"),
        ("How many dogs can you see?", "count_things"),
        ("What kind of animal is this?", "animal"),
        ("What kind of melon is this?", "variety"),
        ("Is this a dog or a cat?", "either_or"),
        ("Is this a dog?", "is_it"),
    ),
)
def test_recognise_prefers_the_template_with_more_of_its_own_words(
    question: str, kind: str
) -> None:
    known = recognise(question)
    assert known is not None and known[0] == kind


@pytest.mark.parametrize(
    "question",
    (
        "Is this photo in black and white?",
        "What kind of building is this?",
        "What is the date on this letter?",
        "Why is the man smiling?",
        "",
    ),
)
def test_reword_leaves_unknown_questions(question: str) -> None:
    assert recognise(question) is None and reword(question, random.Random(0)) == question


@pytest.mark.parametrize("split", ("train", "test"))
def test_reword_draws_all_wordings_of_the_split_and_keeps_slots(split: str) -> None:
    question, key = 'What is printed to the right of "Table no"?', "Table no"
    drawn = {reword(question, random.Random(seed), split) for seed in range(300)}
    own = getattr(KINDS["row"], split)
    assert drawn == {text.replace("{key}", key) for text in own}
    assert reword(question, random.Random(3), split) == reword(question, random.Random(3), split)


def test_reword_refuses_another_split() -> None:
    with pytest.raises(ValueError, match="train or test, not 'val'"):
        reword("What is the date on this receipt?", random.Random(0), "val")
