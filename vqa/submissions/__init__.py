"""Files for evaluation servers: one file each benchmark's own form; the name is the data set's.

A file `name.py` here holds `class Submission`; `create("name")` imports it. `name_task.py` is a
second form of the same data set. A file that the server would refuse is never written.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from vqa import datasets
from vqa.datasets import DataError, Dataset, Example
from vqa.gc_pause import gc_paused

Answers = Mapping[int | str, Any]
"""By question id what a form holds of a question; a string unless the form says otherwise."""

SHOWN = 5


class SubmissionError(ValueError):
    """A submission that cannot be made or read: the file, the value and the remedy."""


class Submission(Protocol):
    """The form in which one server wants its answers."""

    options: Mapping[str, Any]
    """Options that the data set must be opened with."""
    whole: Mapping[str, str]
    """A split -> the larger one whose questions its server wants answered."""

    def value(self, row: Mapping[str, Any]) -> Any:
        """What the form holds of a line of predictions.jsonl."""
        ...

    def text(self, questions: Sequence[Example], answers: Answers) -> str:
        """The file, of a data set of which every question has an answer."""
        ...

    def faults(self, text: str, questions: Sequence[Example]) -> Iterable[str]:
        """Every fault of a file, one sentence each.

        Raises SubmissionError with the only one where the rest cannot be read.
        """
        ...


def available() -> list[str]:
    """The names of all forms, sorted: the files of this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def create(dataset: str, task: str | None = None) -> Submission:
    """The form of a data set, or of another of its tasks. Raises SubmissionError without one."""
    name = f"{dataset}_{task}" if task else dataset
    if name not in available():
        told = f"task {task!r} of {dataset}" if task else repr(dataset)
        raise SubmissionError(
            f"no form of a submission is known for {told}; there is one for each of "
            f"{', '.join(available())}"
        )
    module = importlib.import_module(f"{__name__}.{name}")
    return cast(Submission, module.Submission())


def open_dataset(
    form: Submission,
    name: str,
    root: str | None = None,
    split: str = "test",
    skip_bad: bool = False,
    **options: Any,
) -> Dataset:
    """The questions that the server wants answered, with what `form` needs to check answers.

    Some servers take more than the split they score: test-dev of VQA v2 is the whole of test.
    """
    wanted = {**options, **form.options}
    return datasets.create(name, root, form.whole.get(split, split), skip_bad, **wanted)


def check(form: Submission, dataset: Dataset, content: bytes) -> list[str]:
    """All faults of a submission, each one sentence with the id and the value; empty if none."""
    return _unread(dataset) + _faults(form, _questions(dataset), content)


def write(form: Submission, dataset: Dataset, answers: Answers, file: Path) -> int:
    """Writes the submission as a whole, after a check against the data set; how many answers.

    Raises SubmissionError, which lists the first faults, and writes nothing.
    """
    from vqa.evaluation import journal

    questions = _questions(dataset)
    faults = _unread(dataset) + _unmatched(questions, answers)
    text = ""
    if not faults:
        try:
            text = form.text(questions, answers)
            faults = _faults(form, questions, text.encode())
        except SubmissionError as fault:
            faults = [str(fault)]
    if faults:
        raise SubmissionError(f"{file} is not written: {listed(faults, SHOWN)}")
    if file.is_dir():
        raise SubmissionError(f"{file} is a folder; give the name of a file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        journal.write(file, text)
    except OSError as error:
        raise SubmissionError(f"{file} cannot be written ({error.strerror})") from error
    return len(questions)


def listed(faults: Sequence[str], count: int) -> str:
    """How many faults there are, and the first of them, one a line."""
    lines = [f"{len(faults):,} fault{'s' * (len(faults) > 1)}", *faults[:count]]
    if len(faults) > count:
        lines.append(f"and {len(faults) - count:,} more")
    return "\n  ".join(lines)


def _questions(dataset: Dataset) -> list[Example]:
    questions = [dataset[index] for index in range(len(dataset))]
    if not questions:
        raise DataError("the data set has no questions to submit answers to")
    return questions


def _unread(dataset: Dataset) -> list[str]:
    """A row that was left out may be a question, and the server wants it answered."""
    if not dataset.skipped:
        return []
    count = len(dataset.skipped)
    return [
        f"{count:,} bad row{'s' * (count > 1)} of the data set left out, so the check is not "
        f"complete; repair the first: {dataset.skipped[0]}"
    ]


def _unmatched(questions: Sequence[Example], answers: Answers) -> list[str]:
    asked = {question.question_id for question in questions}
    unknown = [
        f"question_id {identity!r} of the run is not a question of the data set; give the split "
        "and the options that were evaluated"
        for identity in answers
        if identity not in asked
    ]
    missing = [
        f"question_id {identity!r} has no answer in the run; evaluate the whole split that is sent"
        for identity in (question.question_id for question in questions)
        if identity not in answers
    ]
    return unknown + missing


def _faults(form: Submission, questions: Sequence[Example], content: bytes) -> list[str]:
    if content.startswith(b"\xef\xbb\xbf"):
        return ["the file starts with a byte order mark; save it as UTF-8 without one"]
    try:
        with gc_paused():
            return list(form.faults(content.decode("utf-8"), questions))
    except UnicodeDecodeError as error:
        return [
            f"byte {error.start} ({content[error.start]:#04x}) is not UTF-8; save the file as UTF-8"
        ]
    except SubmissionError as fault:
        return [str(fault)]
