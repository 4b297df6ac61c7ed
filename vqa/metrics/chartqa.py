"""Relaxed accuracy: ChartQA's, and PlotQA's before it.

Source: Masry et al. 2022 (ChartQA) after Methani et al. 2020, as pix2struct computes it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vqa.metrics.accepted import check_answers
from vqa.metrics.summary import mean_score, mean_scores, paired

if TYPE_CHECKING:
    from vqa.datasets import Example

_RELATIVE = 0.05


def relaxed_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the prediction is an accepted answer or a number within 5 % of one, else 0.0.

    "12%" is 0.12. Only what Python's float() reads is a number: "1,000" and "$5" are not. An answer
    that is zero or no number is compared as a string, capitals ignored. Raises ValueError without
    answers.
    """
    check_answers(answers)
    return float(any(_near(prediction, answer) for answer in answers))


def chartqa_report(examples: Sequence["Example"], predictions: Sequence[str]) -> dict[str, Any]:
    """Relaxed accuracy of the human and the augmented questions, and the mean of the two.

    `answer_type` says which a question is. The official "overall" is that mean, whatever their
    numbers; "mean_of_questions" weighs each question alike. With one kind alone the two are the
    same.
    """
    scores = [relaxed_accuracy(text, e.answers) for e, text in paired(examples, predictions)]
    kinds = mean_scores([example.answer_type for example in examples], scores)
    questions = mean_score(scores)
    means = [kind["unrounded"] for kind in kinds.values()] or [questions["overall_unrounded"]]
    mean = sum(means) / len(means)
    return {
        "overall": round(mean, 2),
        "overall_unrounded": mean,
        "mean_of_questions": questions["overall"],
        "n": questions["n"],
        "per_answer_type": kinds,
    }


def _near(prediction: str, answer: str) -> bool:
    predicted, expected = _number(prediction), _number(answer)
    if predicted is not None and expected:
        return abs(predicted - expected) / abs(expected) <= _RELATIVE
    return prediction.lower() == answer.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
