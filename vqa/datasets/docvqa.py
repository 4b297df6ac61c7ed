"""DocVQA (single page): 50,000 questions about 12,767 scanned pages.

Source: the Document VQA challenge of the Robust Reading Competition (rrc.cvc.uab.es, channel 17,
task 1; docvqa.org), Mathew et al. 2021, version 1.0. Layout below `root`, as first published or as
the portal names the files today:

    {split}_v1.0.json or {split}_v1.0_withQT.json    also in {split}/ or spdocvqa_qas/
    documents/abcd0001_1.png                         also in {split}/documents/ or spdocvqa_images/

Splits: train, val, test; test has no answers. Where the file has question types, they are the
question type (several are joined by ", ") and meta["question_types"]. Metric: ANLS.
"""

import os
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
from vqa.metrics import anls


class Dataset(Examples):
    """One split of DocVQA. Raises DataError."""

    splits = ("train", "val", "test")

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.split = known_split("docvqa", split, self.splits)
        place = Root(
            root, "docvqa", "the Robust Reading Competition (rrc.cvc.uab.es, Document VQA)"
        )
        names = (f"{split}_v1.0_withQT.json", f"{split}_v1.0.json")
        folders = ("", f"{split}/", "spdocvqa_qas/")
        file = place.file(*(folder + name for folder in folders for name in names))
        self._images = place.images("documents", f"{split}/documents", "spdocvqa_images")
        rows = listed(file, load_object(file), "data")
        self.read(file, enumerate(rows), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """ANLS, as the Robust Reading Competition computes it."""
        return anls(prediction, answers)

    def _example(self, place: Place, row: Any) -> Example:
        a_row(row, "questionId", "question", "image")
        check_split(row, "data_split", self.split)
        question_id, question = an_id(row, "questionId"), a_text(row, "question")
        image = self._images.path(os.path.basename(a_text(row, "image")))
        types = texts(row, "question_types") if row.get("question_types") else ()
        answers = () if self.split == "test" else texts(a_row(row, "answers"), "answers")
        meta = {"question_types": types} if types else None
        kind = ", ".join(types) or None
        return Example(question_id, image, question, answers, question_type=kind, meta=meta)
