"""VizWiz: accuracy of answers, and how well a model knows which questions have one.

Source: the VizWiz Python API (Gurari et al. 2018), as public copies hold it.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from vqa.metrics.accepted import check_answers
from vqa.metrics.consensus import consensus
from vqa.metrics.summary import mean_score, mean_scores, paired
from vqa.metrics.vqa import processed

if TYPE_CHECKING:
    from vqa.datasets import Example


def vizwiz_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """VQA's formula with the prediction processed and the answers as the file holds them.

    The file's answers come processed. Other tools process them again, as `textvqa_accuracy` does.
    Raises ValueError without answers.
    """
    check_answers(answers)
    return consensus(list(answers).count(processed(prediction)), len(answers))


def answerability(
    probabilities: Sequence[float], answerable: Sequence[int | bool]
) -> dict[str, float]:
    """Average precision and F1, in [0, 1], of telling the questions that cannot be answered.

    `probabilities` are those of being answerable; a question counts as unanswerable where its own
    is below one half. Equal probabilities share one threshold, and without an unanswerable question
    both are 0, as in scikit-learn. Raises ValueError when the lengths differ, when there are none,
    or at a probability outside [0, 1].
    """
    if len(probabilities) != len(answerable) or not probabilities:
        raise ValueError(
            f"answerability needs one probability for each question and at least one, not "
            f"{len(probabilities)} for {len(answerable)} questions"
        )
    if bad := [p for p in probabilities if not 0 <= p <= 1]:
        raise ValueError(f"{bad[0]!r} is no probability of being answerable; give one in [0, 1]")
    ranked = sorted(zip((1 - p for p in probabilities), answerable, strict=True), reverse=True)
    positives = sum(not good for good in answerable)
    taken = found = 0
    precision = 0.0
    for _, ties in groupby(ranked, key=lambda pair: pair[0]):
        labels = [not good for _, good in ties]
        taken, found = taken + len(labels), found + sum(labels)
        precision += sum(labels) * found / taken
    told = [not good for score, good in ranked if score > 0.5]
    return {
        "average_precision": precision / max(1, positives),
        "f1": 2 * sum(told) / max(1, len(told) + positives),
    }


def vizwiz_report(
    examples: Sequence["Example"],
    predictions: Sequence[str],
    probabilities: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Accuracy overall and by answer type; with `probabilities` of being answerable, task 2 too.

    Task 2 reads "answerable" of each example's meta.
    """
    scores = [vizwiz_accuracy(text, e.answers) for e, text in paired(examples, predictions)]
    types = mean_scores([example.answer_type for example in examples], scores)
    report: dict[str, Any] = {**mean_score(scores), "per_answer_type": types}
    if probabilities is not None:
        labels = [(example.meta or {})["answerable"] for example in examples]
        task = answerability(probabilities, labels)
        report["answerability"] = {name: round(100 * value, 2) for name, value in task.items()}
        report["answerability"] |= {f"{name}_unrounded": 100 * v for name, v in task.items()}
    return report
