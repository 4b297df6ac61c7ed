"""Exact match after a light normalisation: for data sets without an official metric."""

import unicodedata
from collections.abc import Sequence

from vqa.metrics.accepted import check_answers


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
    check_answers(answers)
    predicted = normalise(prediction)
    return float(any(predicted == normalise(answer) for answer in answers))
