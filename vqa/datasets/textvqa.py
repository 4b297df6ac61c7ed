"""TextVQA: 45,336 questions about 28,408 photos whose answers are read from text in them.

Source: the TextVQA project page (textvqa.org), Singh et al. 2019, version 0.5.1; images from Open
Images. No OCR tokens are read or given to the model: state that beside a score.
Layout below `root`; images also in images/:

    TextVQA_0.5.1_{train,val,test}.json
    train_images/0123456789abcdef.jpg      of train and val
    test_images/0123456789abcdef.jpg

Splits: train, val, test; test has no answers. Metric: the accuracy of the TextVQA challenge.
"""

from collections.abc import Sequence
from typing import Any

from vqa.datasets import Example
from vqa.datasets._reading import (
    Examples,
    Place,
    Root,
    a_row,
    a_text,
    an_id,
    check_split,
    known_split,
    listed,
    load_object,
    texts,
)
from vqa.metrics import textvqa_accuracy
from vqa.soft_targets import soft_targets


class Dataset(Examples):
    """One split of TextVQA, ten answers each. Raises DataError."""

    splits = ("train", "val", "test")

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.split = known_split("textvqa", split, self.splits)
        place = Root(root, "textvqa", "the TextVQA project page (textvqa.org)")
        file = place.file(f"TextVQA_0.5.1_{split}.json")
        folder = "test_images" if split == "test" else "train_images"
        self._images = place.images(folder, f"images/{folder}")
        rows = listed(file, load_object(file), "data")
        self.read(file, enumerate(rows), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Each annotator left out in turn, min(1, matches among the others / 3), normalised."""
        return textvqa_accuracy(prediction, answers)

    def targets(self, answers: Sequence[str]) -> dict[str, float]:
        """min(1, 0.3 n) for an answer that n annotators gave."""
        return soft_targets(answers)

    def _example(self, place: Place, row: Any) -> Example:
        a_row(row, "question_id", "image_id", "question")
        check_split(row, "set_name", self.split)
        question_id, question = an_id(row, "question_id"), a_text(row, "question")
        image = self._images.path(f"{a_text(row, 'image_id')}.jpg")
        if self.split == "test":
            return Example(question_id, image, question, ())
        return Example(question_id, image, question, texts(a_row(row, "answers"), "answers"))
