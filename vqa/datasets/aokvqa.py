"""A-OKVQA: 24,903 questions about COCO images that need knowledge of the world.

Source: the A-OKVQA project page (allenai.org/project/a-okvqa), Schwenk et al. 2022, version 1.0;
images are COCO 2017. Layout below `root`; JSON also in aokvqa/, images also in coco/:

    aokvqa_v1p0_{train,val,test}.json
    {train2017,val2017,test2017}/000000000042.jpg

Splits: train, val, test; test has no answers. Two official tasks: direct_answer (ten free answers)
and multiple_choice (one of four choices is right, and `choices` are given).
Metric: min(1, exact matches / 3), or 1 for the right choice. `score` takes every question; the
official direct-answer number, over the questions that are not difficult, is in `report`.
"""

from collections.abc import Sequence
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
    known_option,
    known_split,
    load_list,
    texts,
)
from vqa.metrics import aokvqa_accuracy, aokvqa_report, multiple_choice_accuracy

_TASKS = ("direct_answer", "multiple_choice")


class Dataset(Examples):
    """One split; `task` is direct_answer or multiple_choice.

    meta: "difficult" (no direct answer is expected) and "correct" (index of the right choice; None
    in test). Raises DataError.
    """

    splits = ("train", "val", "test")

    def __init__(
        self, root: str | None, split: str, skip_bad: bool = False, *, task: str = "direct_answer"
    ) -> None:
        super().__init__(skip_bad)
        self.split = known_split("aokvqa", split, self.splits)
        self.task = known_option("aokvqa", "task", task, _TASKS)
        place = Root(root, "aokvqa", "the A-OKVQA project page (allenai.org/project/a-okvqa)")
        name, folder = f"aokvqa_v1p0_{split}.json", f"{split}2017"
        file = place.file(name, f"aokvqa/{name}")
        self._images = place.images(folder, f"coco/{folder}")
        self.read(file, enumerate(load_list(file)), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """min(1, exact matches / 3) of a direct answer; 1 for exactly the right choice."""
        if self.task == "multiple_choice":
            return multiple_choice_accuracy(prediction, answers)
        return aokvqa_accuracy(prediction, answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """The official number of the task, without difficult questions where it leaves them out."""
        return aokvqa_report(examples, predictions)

    def _example(self, place: Place, row: Any) -> Example:
        a_row(row, "question_id", "image_id", "question", "choices")
        if row.get("split", self.split) != self.split:
            raise DataError(f"split is {row['split']!r} in a file of split {self.split!r}")
        question_id, question = an_id(row, "question_id"), a_text(row, "question")
        image = self._images.path(f"{a_number(row, 'image_id'):012d}.jpg")
        choices = texts(row, "choices")
        direct, correct = self._answers(row, choices)
        difficult = row.get("difficult_direct_answer", False)
        if type(difficult) is not bool:
            raise DataError(f"difficult_direct_answer must be true or false, not {difficult!r}")
        meta = {"difficult": difficult, "correct": correct}
        if self.task == "direct_answer":
            return Example(question_id, image, question, direct, meta=meta)
        right = () if correct is None else (choices[correct],)
        return Example(question_id, image, question, right, choices=choices, meta=meta)

    def _answers(
        self, row: dict[str, Any], choices: tuple[str, ...]
    ) -> tuple[tuple[str, ...], int | None]:
        """The direct answers and the index of the right choice; none in test."""
        if self.split == "test":
            return (), None
        a_row(row, "correct_choice_idx", "direct_answers", "difficult_direct_answer")
        correct = a_number(row, "correct_choice_idx")
        if correct >= len(choices):
            raise DataError(f"correct_choice_idx is {correct} of {len(choices)} choices")
        return texts(row, "direct_answers"), correct
