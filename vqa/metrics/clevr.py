"""CLEVR: accuracy by the last function of a question's program.

Source: Johnson et al. 2017. Answers come from 28 words and are compared letter by letter.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vqa.metrics.gqa import gqa_accuracy
from vqa.metrics.summary import mean_score, mean_scores, paired

if TYPE_CHECKING:
    from vqa.datasets import Example


def clevr_report(examples: Sequence["Example"], predictions: Sequence[str]) -> dict[str, Any]:
    """Accuracy overall and by `question_type`, which is the last function of the program."""
    scores = [
        gqa_accuracy(text, example.answers) for example, text in paired(examples, predictions)
    ]
    types = [example.question_type for example in examples]
    return {**mean_score(scores), "per_question_type": mean_scores(types, scores)}
