"""Scores of one predicted answer against the accepted ones: pure functions of strings."""

import unicodedata
from collections.abc import Sequence


def normalise(answer: str) -> str:
    """What two spellings of one answer share.

    Unicode NFKC, lower case, white space stripped and runs of it collapsed to one space, one full
    stop at the end removed. Nothing more: articles, number words and other punctuation stay.
    """
    text = " ".join(unicodedata.normalize("NFKC", answer).lower().split())
    return text.removesuffix(".").rstrip()


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the prediction equals an accepted answer after `normalise`, else 0.0.

    Raises ValueError when there is no accepted answer to compare with.
    """
    if isinstance(answers, str) or not answers:
        raise ValueError(f"answers must be a non-empty list of strings, not {answers!r}")
    predicted = normalise(prediction)
    return float(any(predicted == normalise(answer) for answer in answers))
