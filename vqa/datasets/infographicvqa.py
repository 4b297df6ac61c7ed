"""InfographicVQA: 30,035 questions about 5,485 infographics, many of them thousands of pixels tall.

Source: the Document VQA challenge of the Robust Reading Competition (rrc.cvc.uab.es, channel 17,
task 3; docvqa.org), Mathew et al. 2022, version 1.0. Layout below `root`:

    infographicsVQA_{split}_v1.0.json or ..._withQT.json     also in infographicsvqa_qas/
    infographicsvqa_images/12345.jpeg                        also in images/

The train file is also found as infographicVQA_train_v1.0.json, a name that is in use.
Splits: train, val, test; test has no answers. Where the file has them, the answer type is its
`answer_type` and the question type its `operation/reasoning` (several are joined by ", "); meta has
"answer_types", "operations" and "evidence" as lists. Metric: ANLS.
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
from vqa.metrics import anls

_KINDS = {
    "answer_types": "answer_type",
    "operations": "operation/reasoning",
    "evidence": "evidence",
}


class Dataset(Examples):
    """One split of InfographicVQA. Raises DataError."""

    splits = ("train", "val", "test")

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.split = known_split("infographicvqa", split, self.splits)
        place = Root(
            root, "infographicvqa", "the Robust Reading Competition (rrc.cvc.uab.es, Document VQA)"
        )
        stems = (f"infographicsVQA_{split}_v1.0", f"infographicVQA_{split}_v1.0")
        names = [stem + end for stem in stems for end in ("_withQT.json", ".json")]
        folders = ("", "infographicsvqa_qas/")
        file = place.file(*(folder + name for folder in folders for name in names))
        self._images = place.images("infographicsvqa_images", "images")
        rows = listed(file, load_object(file), "data")
        self.read(file, enumerate(rows), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """ANLS, as the Robust Reading Competition computes it."""
        return anls(prediction, answers)

    def _example(self, place: Place, row: Any) -> Example:
        a_row(row, "questionId", "question", "image_local_name")
        check_split(row, "data_split", self.split)
        question_id, question = an_id(row, "questionId"), a_text(row, "question")
        image = self._images.path(a_text(row, "image_local_name"))
        answers = () if self.split == "test" else texts(a_row(row, "answers"), "answers")
        # An empty list is usual: a question without an operation.
        meta = {name: texts(row, key) for name, key in _KINDS.items() if row.get(key)}
        return Example(
            question_id,
            image,
            question,
            answers,
            ", ".join(meta.get("answer_types", ())) or None,
            ", ".join(meta.get("operations", ())) or None,
            meta=meta or None,
        )
