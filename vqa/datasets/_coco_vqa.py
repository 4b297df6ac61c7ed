"""The file format of the VQA challenge about COCO images, shared by VQA v1, VQA v2 and OK-VQA.

Questions {"questions": [{question_id, image_id, question}]} and annotations {"annotations":
[{question_id, image_id, question_type, answer_type, answers: [{answer, ...}]}]}. Every answer of
every annotator is kept, in order. The files lie in `root`, or where the official tools look for
them: Questions/, Annotations/, Images/mscoco/{train2014,val2014,test2015}/.
"""

from collections.abc import Sequence
from sys import intern
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import (
    Examples,
    Place,
    Root,
    a_number,
    a_row,
    a_text,
    an_id,
    answers_of,
    listed,
    load_object,
    texts,
)
from vqa.gc_pause import gc_paused
from vqa.soft_targets import soft_targets

_SUBSETS = {
    "train": "train2014",
    "val": "val2014",
    "test": "test2015",
    "test-dev": "test-dev2015",
}


def subsets(*plain: str) -> dict[str, str]:
    """The plain split names and the official ones -> the official ones."""
    official = {name: _SUBSETS[name] for name in plain}
    return official | {subset: subset for subset in official.values()}


class CocoExamples(Examples):
    """Reads one split; `questions` and `annotations` are file names with {subset} in them.

    Test splits have no annotations, and answers=(). `answer_keys` are further keys of every answer,
    `choices` is the key of a question's choices. Raises DataError.
    """

    def __init__(
        self,
        place: Root,
        subset: str,
        skip_bad: bool,
        questions: str,
        annotations: str,
        answer_keys: tuple[str, ...] = (),
        choices: str | None = None,
    ) -> None:
        super().__init__(skip_bad)
        self._answer_keys = answer_keys
        self._choices = choices
        self._asked = place.file(*_paths("Questions", questions, subset))
        # The questions of test-dev are about images of test.
        folder = "test2015" if subset.startswith("test") else subset
        self._image = f"COCO_{folder}_%012d.jpg"
        self._images = place.images(folder, f"Images/mscoco/{folder}", f"Images/{folder}")
        self._annotated: str | None = None
        self._annotations: dict[int | str, dict[str, Any]] = {}
        self._seen: set[int | str] = set()
        if not subset.startswith("test"):
            self._annotated = place.file(*_paths("Annotations", annotations, subset))
        with gc_paused():
            self._join()
            # Only examples stay: the annotations of VQA v2 train take gigabytes.
            del self._annotations, self._seen

    def _join(self) -> None:
        if self._annotated is not None:
            self._annotate(self._annotated)
        rows = listed(self._asked, load_object(self._asked), "questions")
        self.read(self._asked, enumerate(rows), self._example)
        for question_id in self._annotations.keys() - self._seen:
            self.reject(f"{self._annotated}: question_id {question_id!r} is not in {self._asked}")

    def _annotate(self, file: str) -> None:
        """Annotations by question_id; what they hold is checked with their question."""
        for index, row in enumerate(listed(file, load_object(file), "annotations")):
            try:
                question_id = an_id(a_row(row, "question_id"), "question_id")
                if question_id in self._annotations:
                    raise DataError(f"question_id {question_id!r} is there twice")
            except DataError as reason:
                self.reject(f"{file}: row {index}: {reason}")
                continue
            self._annotations[question_id] = row

    def targets(self, answers: Sequence[str]) -> dict[str, float]:
        """min(1, 0.3 n) for an answer that n annotators gave."""
        return soft_targets(answers)

    def _example(self, place: Place, row: Any) -> Example:
        a_row(row, "question_id", "image_id", "question")
        question_id = an_id(row, "question_id")
        self._seen.add(question_id)
        image_id = a_number(row, "image_id")
        note = self._annotations.get(question_id)
        choices = texts(a_row(row, self._choices), self._choices) if self._choices else ()
        question, image = a_text(row, "question"), self._images.path(self._image % image_id)
        if self._annotated is None:
            return Example(question_id, image, question, (), choices=choices)
        if note is None:
            raise DataError(f"question_id {question_id!r} has no annotation in {self._annotated}")
        try:
            types, answers = self._noted(note, image_id)
        except DataError as reason:
            told = f"the annotation of {question_id!r} in {self._annotated}"
            raise DataError(f"{told}: {reason}") from reason
        return Example(question_id, image, question, answers, types[0], types[1], choices)

    def _noted(
        self, note: dict[str, Any], image_id: int
    ) -> tuple[tuple[str, str], tuple[str, ...]]:
        """(answer type, question type) and the answers of an annotation."""
        a_row(note, "image_id", "question_type", "answer_type", "answers")
        if note["image_id"] != image_id:
            raise DataError(f"image_id {note['image_id']!r} is not the question's {image_id}")
        answers = answers_of(note)
        if self._answer_keys:
            for answer in note["answers"]:
                a_row(answer, *self._answer_keys)
        types = intern(a_text(note, "answer_type")), intern(a_text(note, "question_type"))
        return types, answers


def _paths(folder: str, name: str, subset: str) -> tuple[str, str]:
    file = name.format(subset=subset)
    return file, f"{folder}/{file}"
