"""A-OKVQA: direct answers and multiple choice.

Source: Schwenk et al. 2022, allenai/aokvqa, evaluation/eval_predictions.py. (Its stored version
leaves the difficult questions out of multiple choice; the paper and the data set's page leave them
out of direct answers, and so does this.)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vqa.metrics.accepted import check_answers
from vqa.metrics.summary import mean_score, paired

if TYPE_CHECKING:
    from vqa.datasets import Example


def aokvqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """min(1, answers equal to the prediction / 3): nothing processed, no annotator left out."""
    check_answers(answers)
    return min(1.0, list(answers).count(prediction) / 3)


def multiple_choice_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the prediction is the right choice, letter by letter, else 0.0."""
    check_answers(answers)
    return float(prediction in answers)


def aokvqa_report(examples: Sequence["Example"], predictions: Sequence[str]) -> dict[str, Any]:
    """Accuracy of direct answers, or of multiple choice where the answers are the right choice.

    Direct answers leave out the questions whose meta says "difficult"; "n" is what remains.
    Multiple choice is recognised by its single answer, which is one of the choices.
    """
    pairs = list(paired(examples, predictions))
    if all(len(e.answers) == 1 and e.answers[0] in e.choices for e in examples):
        scores = [multiple_choice_accuracy(text, example.answers) for example, text in pairs]
        return {"task": "multiple_choice", **mean_score(scores), "left_out": 0}
    easy = [(e, text) for e, text in pairs if not (e.meta or {}).get("difficult", False)]
    if not easy:
        raise ValueError(
            f"all {len(pairs)} questions are difficult ones, which A-OKVQA leaves out of direct "
            "answers; report on more questions"
        )
    scores = [aokvqa_accuracy(text, example.answers) for example, text in easy]
    left_out = len(pairs) - len(easy)
    return {"task": "direct_answer", **mean_score(scores), "left_out": left_out}
