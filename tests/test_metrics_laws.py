"""Laws of every metric, and naive judges of the fast ones."""

import importlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vqa import metrics
from vqa.metrics import contractions, vqa

Metric = Callable[[str, Sequence[str]], float]
METRICS: dict[str, Metric] = {
    name: getattr(metrics, name)
    for name in metrics.__all__
    if name.endswith("accuracy") or name in ("anls", "exact_match")
}
# Awkward pieces: marks beside spaces, commas between digits, apostrophes, numbers, other scripts.
PIECES = ["yes", "No", "a", "the", "two", "dont", "y'all'dve", "3.5", "1,000", "5.", ".", ",", "?"]
PIECES += [
    " ",
    "  ",
    "\n",
    "\t",
    "\r",
    "-",
    "/",
    "50%",
    "'s",
    "İ",
    "ß",
    "３",
    "日本",
    "🙂",
    "(",
    "_",
]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/metrics.py, which holds the plain implementation."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("metrics")


def text(chance: random.Random) -> str:
    return "".join(chance.choices(PIECES, k=chance.randint(0, 5)))


def question(chance: random.Random) -> tuple[str, list[str]]:
    """A prediction and one to twelve answers, of few kinds so that some agree."""
    kinds = [text(chance) for _ in range(3)]
    answers = [chance.choice(kinds) for _ in range(chance.randint(1, 12))]
    return chance.choice([*kinds, text(chance)]), answers


def test_every_metric_is_here() -> None:
    assert {"vqa_accuracy", "anls", "exact_match", "relaxed_accuracy"} < set(METRICS)
    assert len(METRICS) == 9


@pytest.mark.parametrize("name", METRICS)
def test_pure_bounded_and_blind_to_order(name: str) -> None:
    chance, metric, found = random.Random(0), METRICS[name], set()
    for _ in range(500):
        prediction, answers = question(chance)
        kept = list(answers)
        score = metric(prediction, answers)
        assert answers == kept and metric(prediction, tuple(answers)) == score
        assert type(score) is float and 0 <= score <= 1
        chance.shuffle(answers)
        assert metric(prediction, answers) == score
        found.add(score)
    assert len(found) > 1


@pytest.mark.parametrize("name", METRICS)
def test_ten_equal_answers_are_right(name: str) -> None:
    assert METRICS[name]("cat", ["cat"] * 10) == 1.0
    assert METRICS[name]("dog", ["cat"] * 10) == 0.0


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("answers", [[], (), "yes"])
def test_no_list_of_answers_is_refused(name: str, answers: Sequence[str]) -> None:
    with pytest.raises(ValueError, match="non-empty list"):
        METRICS[name]("yes", answers)


def test_unanimous_answers_are_compared_as_they_are() -> None:
    assert metrics.vqa_accuracy("Yes", ["yes"] * 10) == 0
    assert metrics.vqa_accuracy("yes ", ["\tyes"] * 10) == 1
    assert metrics.vqa_accuracy("Yes", ["yes"] * 9 + ["no"]) == 1
    assert metrics.textvqa_accuracy("Yes", ["yes"] * 10) == 1


def test_vqa_accuracy_is_the_plain_one(plain: Any) -> None:
    chance, found = random.Random(1), set()
    for _ in range(4000):
        prediction, answers = question(chance)
        expected = plain.plain_accuracy(prediction, answers)
        assert metrics.vqa_accuracy(prediction, answers) == pytest.approx(expected, abs=1e-12)
        found.add(round(expected, 6))
    assert len(found) > 10


def test_processing_is_the_plain_one(plain: Any) -> None:
    chance = random.Random(2)
    for _ in range(4000):
        answer = text(chance) + text(chance)
        assert vqa.processed(answer) == plain.plain_process(answer), answer


def test_report_is_the_plain_one(plain: Any) -> None:
    examples, predictions = plain.made_up(1500)
    assert plain.agree(examples, predictions)
    predictions[0] = "wrong" if predictions[0] == examples[0].answers[0] else examples[0].answers[0]
    assert plain.plain_report(examples, predictions)["overall"] == pytest.approx(
        metrics.vqa_report(examples, predictions)["overall_unrounded"], abs=0.006
    )


def test_contractions_only_gain_apostrophes() -> None:
    table = contractions.CONTRACTIONS
    assert len(table) == 114
    for key, word in table.items():
        assert key.replace("'", "") == word.replace("'", "")
        assert key == "somebody'd" or len(word) == len(key) + 1
    assert not {"shed", "shell", "ill", "id", "were", "well", "lets", "its", "im"} & set(table)


def edit_distance(one: str, other: str) -> int:
    """By the recursion of its definition."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return edit_distance(one[1:], other[1:])
    return 1 + min(
        edit_distance(one[1:], other),
        edit_distance(one, other[1:]),
        edit_distance(one[1:], other[1:]),
    )


def test_strict_anls_is_the_paper_s_equation() -> None:
    chance, found = random.Random(3), set()
    for _ in range(400):
        prediction, *answers = (
            "".join(chance.choices("aB ", k=chance.randint(0, 5))) for _ in "123"
        )
        best = 0.0
        for answer in answers:
            one, other = (" ".join(t.lower().split()) for t in (prediction, answer))
            longest = max(len(one), len(other))
            distance = edit_distance(one, other) / longest if longest else 0
            best = max(best, 1 - distance if distance < 0.5 else 0)
        assert metrics.anls(prediction, answers, strict=True) == pytest.approx(best)
        found.add(round(best, 4))
    assert len(found) > 4


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("10.5", "10", 1),
        ("10.51", "10", 0),
        ("-9.5", "-10", 1),
        ("12%", "0.12", 1),
        ("0.0", "0", 0),  # zero is compared as a string
        ("1,000", "1000", 0),
        ("Blue", "blue", 1),
        (" blue", "blue", 0),
        ("nan", "nan", 0),
    ],
)
def test_relaxed_accuracy_by_hand(prediction: str, answer: str, expected: float) -> None:
    assert metrics.relaxed_accuracy(prediction, [answer]) == expected
    assert metrics.relaxed_accuracy(prediction, ["something else", answer]) == expected


def test_aokvqa_and_vizwiz_by_hand() -> None:
    answers = ["cab", "cab", "Cab", "taxi", "taxi", "taxi", "bus", "bus", "car", "van"]
    told = [metrics.aokvqa_accuracy(text, answers) for text in ("cab", "taxi", "van", "plane")]
    assert told == pytest.approx([2 / 3, 1, 1 / 3, 0])
    assert metrics.multiple_choice_accuracy("cab", ["cab"]) == 1
    assert metrics.multiple_choice_accuracy("Cab", ["cab"]) == 0
    # The prediction is processed, the answers are not.
    assert metrics.vizwiz_accuracy("The two dogs.", ["2 dogs"] * 3 + ["dog"] * 7) == pytest.approx(
        0.9
    )
    assert metrics.vizwiz_accuracy("Two Dogs", ["Two Dogs"] * 10) == 0
