"""GQA: [{"questionId": str, "prediction": str}], for the official eval.py and the EvalAI server.

Its answers are lower case without a full stop and are compared letter by letter, so ours are
written like that. Which questions a phase wants is the data set's split and `questions` option.
"""

from typing import Any

from vqa.datasets import Example
from vqa.submissions._reading import shown, text_fault
from vqa.submissions._rows import Rows


class Submission(Rows):
    """The predictions file of GQA."""

    id_key = "questionId"
    answer_key = "prediction"

    def given(self, answer: Any) -> Any:
        """Lower case, no full stop, no white space around."""
        return answer.strip().removesuffix(".").rstrip().lower() if type(answer) is str else answer

    def fault(self, answer: Any, question: Example) -> str | None:
        """Text that can equal no official answer is one too."""
        wanted = self.given(answer)
        if fault := text_fault(answer):
            return fault
        if answer != wanted:
            told = "lower case without a full stop or white space around it"
            return f"{shown(answer)} must be {told}: {shown(wanted)}"
        return None
