"""VizWiz-VQA: 32,842 photos by blind people, each with a spoken question and ten answers.

Source: the VizWiz project page (vizwiz.org), Gurari et al. 2018, the 2020 version.
Layout below `root`; JSON also in Annotations/, images also in Images/ or images/:

    {train,val,test}.json
    {train,val,test}/VizWiz_{train,val,test}_00000042.jpg

Splits: train, val, test; test has no answers. The files have no ids: a question's id is its index
in the official file. "unanswerable" is an answer like others. meta: "answerable" (1 or 0) where the
file says so, for the second official task.
Metric: the accuracy of the VizWiz API.
"""

from collections.abc import Sequence
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import (
    Examples,
    Place,
    Root,
    a_row,
    a_text,
    answers_of,
    known_split,
    load_list,
)
from vqa.metrics import vizwiz_accuracy, vizwiz_report
from vqa.soft_targets import soft_targets


class Dataset(Examples):
    """One split of VizWiz-VQA, with answer types. Raises DataError."""

    splits = ("train", "val", "test")

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.split = known_split("vizwiz", split, self.splits)
        place = Root(root, "vizwiz", "the VizWiz project page (vizwiz.org)")
        file = place.file(f"{split}.json", f"Annotations/{split}.json")
        self._images = place.images(split, f"Images/{split}", f"images/{split}")
        self.read(file, enumerate(load_list(file)), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Each annotator left out in turn, min(1, matches among the others / 3)."""
        return vizwiz_accuracy(prediction, answers)

    def targets(self, answers: Sequence[str]) -> dict[str, float]:
        """min(1, 0.3 n) for an answer that n annotators gave."""
        return soft_targets(answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """Overall and per answer type."""
        return vizwiz_report(examples, predictions)

    def _example(self, place: Place, row: Any) -> Example:
        a_row(row, "image", "question")
        question = a_text(row, "question")
        image = self._images.path(a_text(row, "image"))
        meta = {"answerable": _answerable(row)} if "answerable" in row else None
        if self.split == "test":
            return Example(int(place), image, question, (), meta=meta)
        a_row(row, "answers", "answer_type", "answerable")
        kind = a_text(row, "answer_type")
        return Example(int(place), image, question, answers_of(row), kind, meta=meta)


def _answerable(row: dict[str, Any]) -> int:
    if type(row["answerable"]) is not int or row["answerable"] not in (0, 1):
        raise DataError(f"answerable must be 0 or 1, not {row['answerable']!r}")
    return int(row["answerable"])
