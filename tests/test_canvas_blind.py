"""What the question alone tells of the answer to a generated scene: nothing."""

import math
import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from vqa.canvas import kinds
from vqa.datasets import Example
from vqa.datasets.canvas import Dataset


def canvas(split: str = "train", **options: object) -> Dataset:
    return Dataset(None, split, fonts="builtin", **options)  # type: ignore[arg-type]


def by_question(train: list[Example]) -> dict[str, Counter[str]]:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for example in train:
        seen[example.question][example.answers[0]] += 1
    return seen


def majority(train: list[Example], asked: list[Example]) -> float:
    """The usual answer of the same question, or else of all."""
    seen = by_question(train)
    usual = Counter(example.answers[0] for example in train)
    hits = 0
    for example in asked:
        votes = seen.get(example.question, usual)
        hits += votes.most_common(1)[0][0] == example.answers[0]
    return hits / len(asked)


def bag_of_words(train: list[Example], asked: list[Example]) -> float:
    """Naive Bayes over words, with each word's place in the question."""

    def features(example: Example) -> list[str]:
        parts = re.findall(r"\w+", example.question)
        return parts + [f"{place}:{part}" for place, part in enumerate(parts)]

    vocabulary = sorted({word for example in train for word in features(example)})
    answers = sorted({example.answers[0] for example in train})
    column = {word: place for place, word in enumerate(vocabulary)}
    row = {answer: place for place, answer in enumerate(answers)}
    table = np.full((len(answers), len(vocabulary)), 0.1)
    prior = np.zeros(len(answers))
    for example in train:
        prior[row[example.answers[0]]] += 1
        table[row[example.answers[0]], [column[word] for word in features(example)]] += 1
    score = np.log(table / table.sum(1, keepdims=True))
    hits = 0
    for example in asked:
        known = [column[word] for word in features(example) if word in column]
        best = int((np.log(prior) + score[:, known].sum(1)).argmax())
        hits += answers[best] == example.answers[0]
    return hits / len(asked)


def chooser(train: list[Example], asked: list[Example]) -> float:
    """Of `the A or the B`, the one whose place, colour and form have been right more often."""

    def options(example: Example) -> list[tuple[str, list[str]]]:
        relation, one, other = re.split(r", the | or the ", example.question.rstrip("?"))
        return [
            (name, [f"{relation} {part}" for part in (str(place), name, *name.split())])
            for place, name in enumerate((one, other))
        ]

    wins: Counter[str] = Counter()
    for example in train:
        for name, features in options(example):
            wins.update({feature: (-1, 1)[name in example.answers] for feature in features})
    hits = 0
    for example in asked:
        best = max(options(example), key=lambda option: sum(wins[each] for each in option[1]))
        hits += best[0] in example.answers
    return hits / len(asked)


@pytest.mark.parametrize("kind", kinds.ALL)
def test_a_blind_model_knows_no_more_than_the_prior(kind: str) -> None:
    train = [*canvas("train", kinds=(kind,), count=3000)]
    for split in ("val", "test"):
        data = canvas(split, kinds=(kind,), count=1000)
        asked = [*data]
        chances = [1 / len(data._query(index).choices) for index in range(len(data))]
        chance = sum(chances) / len(chances)
        most = chance + 3 * math.sqrt(chance * (1 - chance) / len(asked))
        between_two = [chooser] if kind in ("position", "larger") else []
        for model in (majority, bag_of_words, *between_two):
            assert model(train, asked) <= most, (model.__name__, split)


def test_a_blind_model_would_find_a_leak() -> None:
    """The judge above judges: an answer that the question tells is found."""

    def leak(index: int) -> Example:
        answer = ("yes", "no")[index % 2]
        return Example(index, "", f"is the {('red', 'blue')[index % 2]} one {index}?", (answer,))

    def first(index: int) -> Example:
        one, other = (("red star", "blue star"), ("blue key", "red key"))[index % 2]
        return Example(index, "", f"which is larger, the {one} or the {other}?", (one,))

    assert bag_of_words([leak(i) for i in range(100)], [leak(i) for i in range(100, 200)]) == 1
    assert chooser([first(i) for i in range(100)], [first(i) for i in range(100, 200)]) == 1


@pytest.mark.parametrize("kind", kinds.ALL)
def test_answers_of_a_question_are_equally_likely(kind: str) -> None:
    data = canvas(kinds=(kind,), count=3000)
    places: dict[int, list[int]] = defaultdict(list)
    for index in range(len(data)):
        query = data._query(index)
        places[len(query.choices)].append(query.choices.index(query.answer))
    for size, found in places.items():
        mean, deviation = (size - 1) / 2, math.sqrt((size**2 - 1) / 12)
        assert abs(np.mean(found) - mean) <= 3.5 * deviation / math.sqrt(len(found))
        if len(found) >= 50 * size:
            shares = np.bincount(found, minlength=size) / len(found)
            spread = math.sqrt((1 - 1 / size) / size / len(found))
            assert np.abs(shares - 1 / size).max() <= 4 * spread


@pytest.mark.parametrize("kind", ["path", "same"])
def test_distance_does_not_tell_yes_from_no(kind: str) -> None:
    data = canvas(kinds=(kind,), size=128, object_size=16)
    apart: dict[str, list[float]] = {"yes": [], "no": []}
    for index in range(600):
        scene = data.scene(index)
        one, two = ((box[0] + box[2], box[1] + box[3]) for box in scene.evidence)
        apart[scene.answer].append(math.dist(one, two))
    yes, no = apart.values()
    error = math.sqrt(np.var(yes) / len(yes) + np.var(no) / len(no))
    assert abs(np.mean(yes) - np.mean(no)) <= 3.5 * error
