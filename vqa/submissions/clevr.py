"""CLEVR: a text file with one answer a line, in the order of question_index."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vqa.datasets import Example
from vqa.submissions import Answers, SubmissionError
from vqa.submissions._reading import shown, text_fault


class Submission:
    """The answers of CLEVR; a line has no id but its place."""

    options: Mapping[str, Any] = {}
    whole: Mapping[str, str] = {}

    def value(self, row: Mapping[str, Any]) -> Any:
        """The answer."""
        return row["answer"]

    def text(self, questions: Sequence[Example], answers: Answers) -> str:
        """Raises SubmissionError for an answer that is no line."""
        return "".join(f"{_line(name, answers[name])}\n" for name in _order(questions))

    def faults(self, text: str, questions: Sequence[Example]) -> Iterator[str]:
        """In the order of the file, then the lines that it has not."""
        # Not splitlines(): only these end a line for the server too.
        lines = text.removesuffix("\n").split("\n") if text else []
        order = _order(questions)
        for number, (name, line) in enumerate(zip(order, lines, strict=False), 1):
            if not line.strip():
                yield f"line {number} (question_index {name}) is empty; write an answer"
            elif line != line.strip() or "\r" in line:
                yield (
                    f"line {number} (question_index {name}): {shown(line)} has white space at its "
                    "end or a carriage return, which makes it another answer; remove that"
                )
        for number, line in enumerate(lines[len(order) :], len(order) + 1):
            yield f"line {number} ({shown(line)}) has no question: the split has {len(order):,}"
        for name in order[len(lines) :]:
            yield f"question_index {name} has no line; the server wants every question answered"


def _order(questions: Sequence[Example]) -> list[int]:
    return sorted(int(question.question_id) for question in questions)


def _line(name: int, answer: Any) -> str:
    fault = text_fault(answer)
    if fault is None and ("\n" in answer or "\r" in answer):
        fault = f"{shown(answer)} must be one line"
    if fault is not None:
        raise SubmissionError(f"question_index {name}: answer {fault}")
    return str(answer)
