"""Soft targets: 0.3 a person, one answer for all its spellings."""

from collections import Counter

import pytest

from vqa.metrics import vqa_accuracy
from vqa.metrics.vqa import processed
from vqa.soft_targets import soft_targets


@pytest.mark.parametrize(
    ("count", "target"), [(1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (7, 1.0), (10, 1.0)]
)
def test_three_tenths_a_person(count: int, target: float) -> None:
    found = soft_targets(["cat"] * count + [f"other {n}" for n in range(10 - count)])
    assert found["cat"] == pytest.approx(target)
    assert all(value == 0.3 for answer, value in found.items() if answer != "cat")


def test_distinct_answers_in_order_of_appearance() -> None:
    found = soft_targets(["z", "y", "z", "x"])
    assert list(found.items()) == [("z", 0.6), ("y", 0.3), ("x", 0.3)]


def test_spellings_count_together_under_the_most_frequent() -> None:
    answers = ["Two", "2", "two.", "2", "the cat", "Cat", "cat", "cat", "dont", "don't"]
    assert soft_targets(answers) == {"2": 1.0, "cat": 1.0, "dont": 0.6}


def test_the_first_of_equally_frequent_spellings() -> None:
    assert soft_targets(["Red", "red", "RED"]) == {"Red": 0.9}
    assert soft_targets(["red ", " red", "Red"]) == {"red": 0.9}


def test_blank_answers_are_left_out() -> None:
    assert soft_targets(["", " ", "a dog", "\t"]) == {"a dog": 0.3}
    assert soft_targets(["", ""]) == {"": 0.6}
    assert soft_targets(["a", "a", "b"]) == {"a": 0.6, "b": 0.3}  # a letter, not an article


def test_of_ten_answers_targets_are_the_official_accuracy() -> None:
    """Counted plainly, and near the official accuracy of the same answer."""
    answers = [
        "a red car",
        "red car",
        "Red Car",
        "car",
        "car",
        "automobile",
        "van",
        "van",
        "2",
        "two",
    ]
    found = soft_targets(answers)
    counts = Counter(map(processed, answers))
    for answer, target in found.items():
        assert target == pytest.approx(min(1, 0.3 * counts[processed(answer)]))
        assert target == pytest.approx(vqa_accuracy(answer, answers))


def test_the_answers_are_left_alone() -> None:
    answers = ["Two", "2 "]
    assert soft_targets(answers) == soft_targets(tuple(answers))
    assert answers == ["Two", "2 "]


@pytest.mark.parametrize("answers", [[], (), "yes"])
def test_no_answers_is_an_error(answers: list[str]) -> None:
    with pytest.raises(ValueError, match="non-empty list of strings"):
        soft_targets(answers)
