"""The scores, by hand-made cases."""

import pytest

from vqa.metrics import exact_match, normalise


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes", "yes"),
        ("  two \t dogs\n", "two dogs"),
        ("Red.", "red"),
        ("red .", "red"),
        ("3.5", "3.5"),
        ("ﬁve ２", "five 2"),  # a ligature and a full-width digit: NFKC
        ("a\u00a0b", "a b"),
        ("the cat!", "the cat!"),  # articles and other marks stay
        ("u.s.a.", "u.s.a"),
        ("wait..", "wait."),  # one full stop only
        ("", ""),
    ],
)
def test_normalise(answer: str, expected: str) -> None:
    assert normalise(answer) == expected


def test_exact_match() -> None:
    assert exact_match("YES.", ["no", "yes"]) == 1.0
    assert exact_match("a cat", ["cat"]) == 0.0
    assert exact_match("cat", ("Cat ",)) == 1.0
    assert exact_match("", ["no"]) == 0.0
    assert isinstance(exact_match("x", ["x"]), float)


@pytest.mark.parametrize("answers", [[], (), "yes"])
def test_exact_match_refuses_no_list_of_answers(answers: list[str]) -> None:
    with pytest.raises(ValueError, match="non-empty list"):
        exact_match("yes", answers)
