"""The form most servers want: a JSON array with one object a question."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vqa.datasets import DataError, Example
from vqa.submissions import Answers
from vqa.submissions._reading import (
    Identity,
    choice_fault,
    kind,
    missing,
    parse,
    shown,
    text_fault,
    unknown,
)


class Rows:
    """[{id_key: the question's id, answer_key: its answer}, ...], every question exactly once.

    Further keys of an object are no fault: servers do not look at them.
    """

    options: Mapping[str, Any] = {}
    whole: Mapping[str, str] = {}
    id_key = "question_id"
    answer_key = "answer"

    def value(self, row: Mapping[str, Any]) -> Any:
        """The answer."""
        return row["answer"]

    def identity(self, question: Example) -> Identity:
        """What the server knows a question by."""
        return question.question_id

    def given(self, answer: Any) -> Any:
        """An answer as this server wants it."""
        return answer

    def fault(self, answer: Any, question: Example) -> str | None:
        """Why an answer is none; a multiple-choice question wants one of its choices."""
        fault = text_fault(answer)
        if fault is None and question.choices:
            return choice_fault(answer, question.choices)
        return fault

    def text(self, questions: Sequence[Example], answers: Answers) -> str:
        """The array in the order of the data set."""
        return json.dumps(
            [
                {
                    self.id_key: self.identity(question),
                    self.answer_key: self.given(answers[question.question_id]),
                }
                for question in questions
            ]
        )

    def faults(self, text: str, questions: Sequence[Example]) -> Iterator[str]:
        """In the order of the file, then the questions that it has not."""
        rows = parse(text)
        if not isinstance(rows, list):
            yield (
                f"the file holds {kind(rows)}, not an array of "
                f'{{"{self.id_key}": ..., "{self.answer_key}": ...}}'
            )
            return
        asked = self._asked(questions)
        seen: dict[Identity, int] = {}
        for place, row in enumerate(rows):
            for fault in self._row_faults(row, place, asked, seen):
                yield f"row {place}: {fault}"
        yield from (missing(self.id_key, name) for name in asked if name not in seen)

    def _asked(self, questions: Sequence[Example]) -> dict[Identity, Example]:
        asked = {self.identity(question): question for question in questions}
        if len(asked) < len(questions):
            raise DataError(
                f"{len(questions):,} questions have {len(asked):,} different values of "
                f"{self.id_key!r}, by which the server tells them apart; repair the data set"
            )
        return asked

    def _row_faults(
        self, row: Any, place: int, asked: Mapping[Identity, Example], seen: dict[Identity, int]
    ) -> Iterator[str]:
        if type(row) is not dict:
            yield f"must be an object, not {shown(row)}"
            return
        if self.id_key not in row:
            yield f"{self.id_key!r} is missing in {shown(row)}"
            return
        name = meant = row[self.id_key]
        if type(name) not in (int, str) or name not in asked:
            fault, meant = unknown(self.id_key, name, asked)
            yield fault
            if meant is None:
                return
        if seen.setdefault(meant, place) != place:
            yield f"{self.id_key} {name!r} repeats row {seen[meant]}; keep one of them"
        if self.answer_key not in row:
            yield f"{self.id_key} {name!r} has no {self.answer_key!r}"
        elif told := self.fault(row[self.answer_key], asked[meant]):
            yield f"{self.id_key} {name!r}: {self.answer_key} {told}"
