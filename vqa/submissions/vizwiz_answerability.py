"""VizWiz-VQA, task 2: [{"image": str, "answerable": float}]; 1 is a question with an answer.

RECON: the keys follow the project page and the VizWiz API; the official check was not at hand.
"""

from collections.abc import Mapping
from typing import Any

from vqa.datasets import Example
from vqa.submissions import SubmissionError, vizwiz
from vqa.submissions._reading import shown

UNANSWERABLE = "unanswerable"


class Submission(vizwiz.Submission):
    """The results file of VizWiz-VQA, task 2; an answer is a probability in [0, 1]."""

    answer_key = "answerable"

    def value(self, row: Mapping[str, Any]) -> float:
        """1 - the probability of the answer "unanswerable"; 1 where the run did not rank it.

        Raises SubmissionError for a line without probabilities.
        """
        try:
            ranked = {one["answer"]: float(one["score"]) for one in row.get("top_k") or ()}
            ranked[row["answer"]] = float(row["probability"])
        except (KeyError, TypeError, ValueError):
            raise SubmissionError(
                f"question_id {row['question_id']!r} has no probabilities in the run; give the "
                "folder or the predictions.jsonl that vqa evaluate wrote"
            ) from None
        answerable = 1 - ranked.get(UNANSWERABLE, 0.0)
        return max(0.0, answerable) if answerable > -1e-6 else answerable  # rounded sums

    def fault(self, answer: Any, question: Example) -> str | None:
        """Anything but a number in [0, 1]."""
        if type(answer) not in (int, float) or not 0 <= answer <= 1:
            return f"must be a number in [0, 1], not {shown(answer)}"
        return None
