"""A-OKVQA: {question_id: {"direct_answer": str, "multiple_choice": str}} (the AI2 leaderboard).

Either task may be left out, then of all questions. The official check wants every question, and a
multiple_choice that is letter by letter one of the four choices. Difficult questions count for
multiple choice only, but their direct answers are sent too.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vqa.datasets import DataError, Example
from vqa.submissions import Answers
from vqa.submissions._reading import choice_fault, kind, missing, parse, shown, text_fault, unknown

TASKS = ("direct_answer", "multiple_choice")


class Submission:
    """The predictions file of A-OKVQA; an answer is {task: str} of one task or both."""

    options: Mapping[str, Any] = {"task": "multiple_choice"}  # these questions have their choices
    whole: Mapping[str, str] = {}

    def value(self, row: Mapping[str, Any]) -> Any:
        """The answer, of whichever task was evaluated."""
        return row["answer"]

    def text(self, questions: Sequence[Example], answers: Answers) -> str:
        """The object in the order of the data set."""
        return json.dumps({str(q.question_id): answers[q.question_id] for q in questions})

    def faults(self, text: str, questions: Sequence[Example]) -> Iterator[str]:
        """In the order of the file, then the questions that it has not."""
        asked: dict[int | str, Example] = {str(q.question_id): q for q in questions}
        if not all(question.choices for question in questions):
            raise DataError("A-OKVQA is open without choices; open it with task=multiple_choice")
        found = parse(text, _Object)
        if not isinstance(found, _Object):
            yield f"the file holds {kind(found)}, not an object of question ids"
            return
        entries = [entry for entry in found.values() if isinstance(entry, _Object)]
        tasks = [task for task in TASKS if any(task in entry for entry in entries)]
        yield from (f"question_id {name!r} is there twice; keep one" for name in found.repeated)
        for name, entry in found.items():
            if name not in asked:
                yield unknown("question_id", name, asked)[0]
                continue
            for fault in _entry_faults(entry, asked[name], tasks):
                yield f"question_id {name!r}: {fault}"
        yield from (missing("question_id", name) for name in asked if name not in found)


def joined(runs: Mapping[str, Answers]) -> dict[int | str, Any]:
    """Answers by task -> by question id."""
    found: dict[int | str, Any] = {}
    for task, answers in runs.items():
        for identity, answer in answers.items():
            found.setdefault(identity, {})[task] = answer
    return found


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys it had twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs)
        self.repeated = [key for key, count in counts.items() if count > 1]


def _entry_faults(entry: Any, question: Example, tasks: Sequence[str]) -> Iterator[str]:
    if not isinstance(entry, _Object):
        yield f'must be {{"direct_answer": ..., "multiple_choice": ...}}, not {shown(entry)}'
        return
    yield from (f"{key!r} is there twice; keep one" for key in entry.repeated)
    yield from (f"the key {shown(key)} is unknown" for key in entry if key not in TASKS)
    if not tasks:
        yield "neither direct_answer nor multiple_choice is given"
    for task in tasks:
        if task not in entry:
            yield f"{task} is missing, and other questions have one"
            continue
        fault = text_fault(entry[task])
        if fault is None and task == "multiple_choice":
            fault = choice_fault(entry[task], question.choices)
        if fault is not None:
            yield f"{task} {fault}"
